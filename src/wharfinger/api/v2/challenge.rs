//! PURE: the `WWW-Authenticate` header of a 401, in the form that is configured; both kinds of
//! credentials are taken either way.

use http::HeaderValue;

use crate::api::v2::actions::{Scope, challenge_scope};
use crate::config::Challenge;

/// What a challenge is about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Where clients reach this server, without a slash at the end: `https://registry.example`.
    pub base: &'a str,
    /// The host that the request addressed, if it can be quoted. Where it names a registry, the
    /// token endpoint learns by it which registry the token is for.
    pub host: Option<&'a str>,
    pub scope: Scope,
    pub repository: Option<&'a str>,
    /// The repository that a mount takes its blob from.
    pub source: Option<&'a str>,
    /// RFC 6750's word for what is wrong with the token that came, if one came.
    pub error: Option<&'static str>,
}

/// The header. The words `basic` and `bearer` stand in it once each at most, as the scheme: some
/// clients look for them anywhere.
#[must_use]
pub fn challenge(kind: Challenge, asked: &Asked<'_>) -> HeaderValue {
    let Asked {
        base,
        host,
        scope,
        repository,
        source,
        error,
    } = *asked;
    let base_host = base.split_once("://").map_or(base, |(_, host)| host);
    let service = host.unwrap_or(base_host);
    let text = match kind {
        Challenge::Basic => format!("Basic realm=\"{base}/\",service=\"ecr.amazonaws.com\""),
        Challenge::Bearer => {
            let mut text = format!("Bearer realm=\"{base}/token\",service=\"{service}\"");
            if let Some(scope) = challenge_scope(scope, repository, source) {
                text.push_str(",scope=\"");
                text.push_str(&scope);
                text.push('"');
            }
            if let Some(error) = error {
                text.push_str(",error=\"");
                text.push_str(error);
                text.push('"');
            }
            text
        }
    };
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"registry\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked {
        base: "http://localhost:4566",
        host: None,
        scope: Scope::Push,
        repository: Some("a/b"),
        source: Some("c/d"),
        error: None,
    };

    #[test]
    fn challenges_by_example() {
        assert_eq!(
            challenge(Challenge::Basic, &ASKED),
            "Basic realm=\"http://localhost:4566/\",service=\"ecr.amazonaws.com\""
        );
        let asked = Asked {
            error: Some("insufficient_scope"),
            ..ASKED
        };
        let expected = "Bearer realm=\"http://localhost:4566/token\",service=\"localhost:4566\",\
                        scope=\"repository:a/b:pull,push repository:c/d:pull\",error=\"insufficient_scope\"";
        assert_eq!(challenge(Challenge::Bearer, &asked), expected);
        let hosted = Asked {
            host: Some("123456789012.dkr.ecr.us-east-1.localhost:4566"),
            scope: Scope::None,
            ..ASKED
        };
        assert_eq!(
            challenge(Challenge::Bearer, &hosted),
            "Bearer realm=\"http://localhost:4566/token\",\
             service=\"123456789012.dkr.ecr.us-east-1.localhost:4566\""
        );
        let ping = Asked {
            scope: Scope::None,
            repository: None,
            source: None,
            ..ASKED
        };
        assert_eq!(
            challenge(Challenge::Bearer, &ping),
            "Bearer realm=\"http://localhost:4566/token\",service=\"localhost:4566\""
        );
    }
}
