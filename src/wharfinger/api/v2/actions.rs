//! PURE: which ECR actions each route of `/v2/` stands for, and which token scope it needs. The
//! table is data: access control, tests and documentation read the same rows.

use wharfinger_iam::ScopeAction;

use crate::api::v2::route::Endpoint;

/// What one endpoint asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub endpoint: Endpoint,
    pub method: &'static str,
    /// The path as documentation writes it.
    pub path: &'static str,
    /// All of them must be allowed on the repository. None: any sign-in will do.
    pub actions: &'static [&'static str],
    pub scope: Scope,
}

/// What a bearer token must name: the words of distribution's token scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    None,
    Pull,
    Push,
    Delete,
    /// `registry:catalog:*`
    Catalog,
}

impl Scope {
    /// The actions of a `repository:NAME:…` scope that a challenge names. Pushing clients also look
    /// at what they push.
    #[must_use]
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Pull => &["pull"],
            Self::Push => &["pull", "push"],
            Self::Delete => &["delete"],
            Self::Catalog => &["*"],
        }
    }

    /// The one verb without which the request is refused.
    #[must_use]
    pub const fn verb(self) -> Option<ScopeAction> {
        match self {
            Self::None => None,
            Self::Pull => Some(ScopeAction::Pull),
            Self::Push => Some(ScopeAction::Push),
            Self::Delete => Some(ScopeAction::Delete),
            Self::Catalog => Some(ScopeAction::All),
        }
    }
}

pub const CHECK_LAYER: &str = "ecr:BatchCheckLayerAvailability";
pub const READ_LAYER: &str = "ecr:GetDownloadUrlForLayer";
pub const READ_IMAGE: &str = "ecr:BatchGetImage";
pub const PUT_IMAGE: &str = "ecr:PutImage";
pub const DELETE_IMAGE: &str = "ecr:BatchDeleteImage";
pub const LIST_IMAGES: &str = "ecr:ListImages";
pub const START_UPLOAD: &str = "ecr:InitiateLayerUpload";
pub const APPEND_UPLOAD: &str = "ecr:UploadLayerPart";
pub const FINISH_UPLOAD: &str = "ecr:CompleteLayerUpload";
pub const DESCRIBE_REPOSITORIES: &str = "ecr:DescribeRepositories";
/// Besides the endpoint's own, where a push makes its repository.
pub const CREATE_REPOSITORY: &str = "ecr:CreateRepository";

/// Every endpoint once. Beyond the rows: a POST that carries a whole blob (`?digest=`) needs all
/// three upload actions, a closing PUT with bytes also `ecr:UploadLayerPart`, a mount also
/// `ecr:GetDownloadUrlForLayer` on its source. `BatchGetImage` for referrers is what AWS asks for
/// its own `ListImageReferrers`; asking after and cancelling an upload have no action of their own
/// at AWS.
pub const TABLE: [Row; 16] = [
    row(Endpoint::Ping, "GET", "/v2/", &[], Scope::None),
    row(
        Endpoint::Catalog,
        "GET",
        "/v2/_catalog",
        &[DESCRIBE_REPOSITORIES],
        Scope::Catalog,
    ),
    row(
        Endpoint::ReadBlob,
        "GET",
        "/v2/NAME/blobs/DIGEST",
        &[READ_LAYER],
        Scope::Pull,
    ),
    row(
        Endpoint::CheckBlob,
        "HEAD",
        "/v2/NAME/blobs/DIGEST",
        &[CHECK_LAYER],
        Scope::Pull,
    ),
    row(
        Endpoint::DeleteBlob,
        "DELETE",
        "/v2/NAME/blobs/DIGEST",
        &[DELETE_IMAGE],
        Scope::Delete,
    ),
    row(
        Endpoint::ReadManifest,
        "GET",
        "/v2/NAME/manifests/REFERENCE",
        &[READ_IMAGE],
        Scope::Pull,
    ),
    row(
        Endpoint::CheckManifest,
        "HEAD",
        "/v2/NAME/manifests/REFERENCE",
        &[READ_IMAGE],
        Scope::Pull,
    ),
    row(
        Endpoint::PutManifest,
        "PUT",
        "/v2/NAME/manifests/REFERENCE",
        &[PUT_IMAGE],
        Scope::Push,
    ),
    row(
        Endpoint::DeleteManifest,
        "DELETE",
        "/v2/NAME/manifests/REFERENCE",
        &[DELETE_IMAGE],
        Scope::Delete,
    ),
    row(
        Endpoint::StartUpload,
        "POST",
        "/v2/NAME/blobs/uploads/",
        &[START_UPLOAD],
        Scope::Push,
    ),
    row(
        Endpoint::AskUpload,
        "GET",
        "/v2/NAME/blobs/uploads/ID",
        &[APPEND_UPLOAD],
        Scope::Push,
    ),
    row(
        Endpoint::AppendUpload,
        "PATCH",
        "/v2/NAME/blobs/uploads/ID",
        &[APPEND_UPLOAD],
        Scope::Push,
    ),
    row(
        Endpoint::FinishUpload,
        "PUT",
        "/v2/NAME/blobs/uploads/ID",
        &[FINISH_UPLOAD],
        Scope::Push,
    ),
    row(
        Endpoint::CancelUpload,
        "DELETE",
        "/v2/NAME/blobs/uploads/ID",
        &[APPEND_UPLOAD],
        Scope::Push,
    ),
    row(
        Endpoint::ListTags,
        "GET",
        "/v2/NAME/tags/list",
        &[LIST_IMAGES],
        Scope::Pull,
    ),
    row(
        Endpoint::ListReferrers,
        "GET",
        "/v2/NAME/referrers/DIGEST",
        &[READ_IMAGE],
        Scope::Pull,
    ),
];

const fn row(
    endpoint: Endpoint,
    method: &'static str,
    path: &'static str,
    actions: &'static [&'static str],
    scope: Scope,
) -> Row {
    Row {
        endpoint,
        method,
        path,
        actions,
        scope,
    }
}

impl Endpoint {
    /// This endpoint's row: the table is in the order of the enum, which a test holds.
    #[must_use]
    pub const fn row(self) -> &'static Row {
        const ROWS: &[Row; 16] = &TABLE;
        &ROWS[self as usize]
    }
}

/// The actions behind a verb of a token's scope, by the same table.
#[must_use]
pub fn behind(verb: ScopeAction) -> &'static [&'static str] {
    match verb {
        ScopeAction::Pull => &[READ_IMAGE, READ_LAYER, CHECK_LAYER, LIST_IMAGES],
        ScopeAction::Push => &[START_UPLOAD, APPEND_UPLOAD, FINISH_UPLOAD, PUT_IMAGE],
        ScopeAction::Delete => &[DELETE_IMAGE],
        ScopeAction::All => &[],
    }
}

/// The scope of a challenge: `repository:NAME:pull,push`, and the source of a mount after a blank.
#[must_use]
pub fn challenge_scope(
    scope: Scope,
    repository: Option<&str>,
    source: Option<&str>,
) -> Option<String> {
    let mut text = match (scope, repository) {
        (Scope::Catalog, _) => "registry:catalog:*".to_owned(),
        (Scope::None, _) | (_, None) => return None,
        (scope, Some(name)) => format!("repository:{name}:{}", scope.words().join(",")),
    };
    if let Some(source) = source {
        text.push_str(" repository:");
        text.push_str(source);
        text.push_str(":pull");
    }
    Some(text)
}

#[cfg(test)]
mod laws {
    use http::Method;

    use super::super::route::Route;
    use super::*;

    #[test]
    fn every_row_stands_at_its_endpoint_and_its_path_parses_to_it() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.endpoint as usize, index, "{row:?}");
            assert_eq!(row.endpoint.row(), row);
            let path = row
                .path
                .replace("NAME", "team/web")
                .replace("REFERENCE", "latest")
                .replace("DIGEST", digest);
            let path = path.replace("ID", "67e55044-10b1-426f-9247-bb680e5fe0c8");
            let method: Method = row.method.parse().expect("a method");
            assert_eq!(
                Route::parse(&method, &path).map(|route| route.endpoint()),
                Ok(row.endpoint),
                "{path}"
            );
        }
    }

    #[test]
    fn a_verb_stands_for_the_actions_of_its_rows() {
        for row in TABLE {
            let Some(verb) = row.scope.verb().filter(|verb| *verb != ScopeAction::All) else {
                continue;
            };
            assert!(
                row.actions
                    .iter()
                    .all(|action| behind(verb).contains(action)),
                "{row:?}"
            );
        }
    }

    #[test]
    fn challenges_name_what_is_needed() {
        assert_eq!(
            challenge_scope(Scope::Pull, Some("a/b"), None).as_deref(),
            Some("repository:a/b:pull")
        );
        let mount = challenge_scope(Scope::Push, Some("a/b"), Some("c/d"));
        assert_eq!(
            mount.as_deref(),
            Some("repository:a/b:pull,push repository:c/d:pull")
        );
        assert_eq!(
            challenge_scope(Scope::Catalog, None, None).as_deref(),
            Some("registry:catalog:*")
        );
        assert_eq!(challenge_scope(Scope::None, None, None), None);
    }
}
