//! PURE: the `WWW-Authenticate` header of a 401, in the configured form. Both kinds of credentials
//! are accepted with either form.

use http::HeaderValue;
use wharfinger_iam::ScopeAction;

/// How clients are told to authenticate on `/v2/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeScheme {
    /// By password, as ECR does.
    #[default]
    Basic,
    /// By tokens of `/token`.
    Bearer,
}

/// What a challenge states.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Challenge<'a> {
    /// The URL of this server for the client, without a slash at its end.
    pub(crate) base_url: &'a str,
    /// The host that the request addressed, if it can be quoted. It may name a registry, and the
    /// token endpoint learns by it which one the token is for.
    pub(crate) host: Option<&'a str>,
    pub(crate) scope: Option<ScopeAction>,
    pub(crate) repository: Option<&'a str>,
    /// The repository that a mount takes its blob from.
    pub(crate) source: Option<&'a str>,
    /// The error code of RFC 6750 for the token that was sent, if one was.
    pub(crate) error: Option<&'static str>,
}

/// Formats the header. The words `basic` and `bearer` occur only as its scheme, since some clients
/// search for them anywhere.
#[must_use]
pub(crate) fn challenge(scheme: ChallengeScheme, needed: &Challenge<'_>) -> HeaderValue {
    let base_url = needed.base_url;
    let text = match scheme {
        ChallengeScheme::Basic => {
            format!("Basic realm=\"{base_url}/\",service=\"ecr.amazonaws.com\"")
        }
        ChallengeScheme::Bearer => {
            let base_host = base_url
                .split_once("://")
                .map_or(base_url, |(_, host)| host);
            let service = needed.host.unwrap_or(base_host);
            let scope = parameter("scope", scopes(needed));
            let error = parameter("error", needed.error.map(ToOwned::to_owned));
            format!("Bearer realm=\"{base_url}/token\",service=\"{service}\"{scope}{error}")
        }
    };
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"registry\""))
}

fn parameter(name: &str, value: Option<String>) -> String {
    value.map_or_else(String::new, |value| format!(",{name}=\"{value}\""))
}

/// The scopes that the request needs, separated by a space. Clients that push also pull.
fn scopes(needed: &Challenge<'_>) -> Option<String> {
    let actions = match needed.scope? {
        ScopeAction::Pull => "pull",
        ScopeAction::Push => "pull,push",
        ScopeAction::Delete => "delete",
        ScopeAction::All => return Some("registry:catalog:*".to_owned()),
    };
    let target = format!("repository:{}:{actions}", needed.repository?);
    Some(match needed.source {
        Some(source) => format!("{target} repository:{source}:pull"),
        None => target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNT: Challenge<'_> = Challenge {
        base_url: "http://localhost:4566",
        host: None,
        scope: Some(ScopeAction::Push),
        repository: Some("a/b"),
        source: Some("c/d"),
        error: None,
    };

    #[test]
    fn the_basic_form_is_that_of_ecr() {
        assert_eq!(
            challenge(ChallengeScheme::Basic, &MOUNT),
            "Basic realm=\"http://localhost:4566/\",service=\"ecr.amazonaws.com\""
        );
    }

    #[test]
    fn the_bearer_form_names_the_scopes_and_the_error() {
        let needed = Challenge {
            error: Some("insufficient_scope"),
            ..MOUNT
        };
        assert_eq!(
            challenge(ChallengeScheme::Bearer, &needed),
            "Bearer realm=\"http://localhost:4566/token\",service=\"localhost:4566\",\
             scope=\"repository:a/b:pull,push repository:c/d:pull\",\
             error=\"insufficient_scope\""
        );
        let catalog = Challenge {
            scope: Some(ScopeAction::All),
            repository: None,
            source: None,
            ..MOUNT
        };
        assert_eq!(
            challenge(ChallengeScheme::Bearer, &catalog),
            "Bearer realm=\"http://localhost:4566/token\",service=\"localhost:4566\",\
             scope=\"registry:catalog:*\""
        );
    }

    #[test]
    fn the_service_is_the_host_that_was_addressed() {
        let ping = Challenge {
            host: Some("123456789012.dkr.ecr.us-east-1.localhost:4566"),
            scope: None,
            ..MOUNT
        };
        assert_eq!(
            challenge(ChallengeScheme::Bearer, &ping),
            "Bearer realm=\"http://localhost:4566/token\",\
             service=\"123456789012.dkr.ecr.us-east-1.localhost:4566\""
        );
    }
}
