//! What a caller must be allowed to do: the IAM actions of the Distribution API, and the form in
//! which an endpoint requires them.

use wharfinger_iam::ScopeAction;

use crate::query::Query;

/// The service that the actions belong to.
pub(crate) const ECR: &str = "ecr";

pub(crate) const CHECK_LAYER: &str = "ecr:BatchCheckLayerAvailability";
pub(crate) const READ_LAYER: &str = "ecr:GetDownloadUrlForLayer";
pub(crate) const READ_IMAGE: &str = "ecr:BatchGetImage";
pub(crate) const PUT_IMAGE: &str = "ecr:PutImage";
pub(crate) const DELETE_IMAGE: &str = "ecr:BatchDeleteImage";
pub(crate) const LIST_IMAGES: &str = "ecr:ListImages";
pub(crate) const START_UPLOAD: &str = "ecr:InitiateLayerUpload";
pub(crate) const APPEND_UPLOAD: &str = "ecr:UploadLayerPart";
pub(crate) const FINISH_UPLOAD: &str = "ecr:CompleteLayerUpload";
pub(crate) const DESCRIBE_REPOSITORIES: &str = "ecr:DescribeRepositories";
/// Needed in addition where a pull imports an image from an upstream registry.
pub(crate) const IMPORT_IMAGE: &str = "ecr:BatchImportUpstreamImage";
/// Needed in addition where a push creates its repository.
pub(crate) const CREATE_REPOSITORY: &str = "ecr:CreateRepository";

/// The permissions that an endpoint requires.
pub(crate) struct RequiredPermissions {
    /// The IAM actions that the caller must be allowed on the repository; none where any valid
    /// credentials are enough.
    pub(crate) actions: &'static [&'static str],
    /// The actions that a particular request needs in addition.
    pub(crate) more_actions: fn(&RequestTraits<'_>) -> &'static [&'static str],
    /// What the scope of a Bearer token must contain; [`ScopeAction::All`] stands for
    /// `registry:catalog:*`.
    pub(crate) scope: Option<ScopeAction>,
    /// Whether `ecr:CreateRepository` permits creating the repository if it is missing.
    pub(crate) creates_repository: bool,
}

/// What decides which additional actions a request needs.
pub(crate) struct RequestTraits<'a> {
    pub(crate) query: &'a Query<'a>,
    pub(crate) has_body: bool,
}

/// The actions by which content becomes visible or is gone. The parts of an upload are not: nobody
/// sees them before its end.
const AUDITED: [&str; 3] = [PUT_IMAGE, DELETE_IMAGE, FINISH_UPLOAD];

impl RequiredPermissions {
    /// The action of a request that the audit log has in any case, without the service's prefix;
    /// `None` for a request that it has only where it is denied.
    pub(crate) fn audited_action(&self, request: &RequestTraits<'_>) -> Option<&'static str> {
        let mut actions = self.actions.iter().chain((self.more_actions)(request));
        let audited = actions.find(|action| AUDITED.contains(action))?;
        audited.split_once(':').map(|(_, name)| name)
    }

    /// Any valid credentials are enough.
    pub(crate) const NONE: Self = Self {
        actions: &[],
        more_actions: |_| &[],
        scope: None,
        creates_repository: false,
    };

    pub(crate) const fn new(actions: &'static [&'static str], scope: ScopeAction) -> Self {
        Self {
            actions,
            scope: Some(scope),
            ..Self::NONE
        }
    }

    /// Permits creating the repository.
    pub(crate) const fn creating_repository(self) -> Self {
        Self {
            creates_repository: true,
            ..self
        }
    }

    /// Adds actions that only some requests need.
    pub(crate) const fn and(
        self,
        more_actions: fn(&RequestTraits<'_>) -> &'static [&'static str],
    ) -> Self {
        Self {
            more_actions,
            ..self
        }
    }
}
