//! `Authorization` headers for registries: passwords, and tokens that token servers give for them.
//!
//! Source: the token specification of the Distribution project.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use quick_cache::sync::Cache;
use serde::Deserialize;
use url::Url;
use wharfinger_base::Timestamp;
use wharfinger_oci::{Algorithm, Digest};

use crate::Result;
use crate::challenge::Challenge;
use crate::endpoint::Credentials;
use crate::error::Error;

/// Headers in memory, at some 4 KiB each.
const CAPACITY: usize = 1_024;
/// Longest header that is kept. Tokens with longer ones are requested each time.
const MAX_KEPT_BYTES: usize = 16 * 1024;
/// Largest response of a token server, in bytes.
pub(crate) const MAX_TOKEN_RESPONSE_BYTES: usize = 64 * 1024;
/// How long a token is valid that does not say so.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(1);
/// A header is not used for longer, whatever the token server says: permissions change.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// A token is renewed so long before its end: a request may be on its way for a while.
const MARGIN: Duration = Duration::from_secs(10);

/// What a header permits, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) origin: String,
    /// A hash of name and password, so that the cache keeps neither.
    pub(crate) credentials: Option<Digest>,
    pub(crate) scope: String,
}

#[derive(Clone)]
struct Known {
    header: HeaderValue,
    until: Timestamp,
}

/// Headers that registries have accepted before.
pub(crate) struct Authorizations(Cache<Key, Known>);

impl Authorizations {
    pub(crate) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    pub(crate) fn get(&self, key: &Key, now: Timestamp) -> Option<HeaderValue> {
        let known = self.0.get(key)?;
        (known.until > now).then_some(known.header)
    }

    pub(crate) fn insert(&self, key: Key, header: HeaderValue, until: Timestamp) {
        if header.len() <= MAX_KEPT_BYTES {
            self.0.insert(key, Known { header, until });
        }
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.0.remove(key);
    }
}

/// Hashes credentials for a [`Key`].
pub(crate) fn fingerprint(credentials: &Credentials) -> Digest {
    let Credentials { username, password } = credentials;
    // The length keeps apart what the concatenation does not.
    let text = format!("{}:{username}{}", username.len(), password.reveal());
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

/// Whether a text has the password, as it is or as the header of the Basic scheme has it.
pub(crate) fn is_told_in(credentials: &Credentials, text: &str) -> bool {
    let Credentials { username, password } = credentials;
    let pair = STANDARD.encode(format!("{username}:{}", password.reveal()));
    [password.reveal(), &pair]
        .iter()
        .any(|secret| !secret.is_empty() && text.contains(*secret))
}

/// The header of the Basic scheme, and until when it is kept.
///
/// # Errors
/// [`Error::Denied`] without credentials.
pub(crate) fn basic(
    credentials: Option<&Credentials>,
    now: Timestamp,
) -> Result<(HeaderValue, Timestamp)> {
    let Some(Credentials { username, password }) = credentials else {
        return Err(Error::Denied("it requires a password".to_owned()));
    };
    let pair = STANDARD.encode(format!("{username}:{}", password.reveal()));
    Ok((sensitive(&format!("Basic {pair}"))?, now.plus(MAX_LIFETIME)))
}

/// The URL at which a token is to be had; `None` for the Basic scheme.
///
/// # Errors
/// [`Error::Invalid`] for a realm that is not a URL.
pub(crate) fn token_url(
    challenge: &Challenge,
    default_scope: &str,
    username: Option<&str>,
) -> Result<Option<Url>> {
    let Challenge::Bearer {
        realm,
        service,
        scope,
    } = challenge
    else {
        return Ok(None);
    };
    let invalid = || Error::Invalid("its token server has no URL".to_owned());
    let mut url: Url = realm.parse().map_err(|_| invalid())?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || !url.has_host() {
        return Err(invalid());
    }
    url.set_fragment(None);
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    let scope = scope.as_deref().unwrap_or(default_scope);
    if !scope.is_empty() {
        query.append_pair("scope", scope);
    }
    if let Some(username) = username {
        query.append_pair("account", username);
    }
    drop(query);
    Ok(Some(url))
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// The header of the token in a token server's response, and until when it is valid.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn bearer(body: &[u8], now: Timestamp) -> Result<(HeaderValue, Timestamp)> {
    let invalid = |_| Error::Invalid("its token server gives no token".to_owned());
    let response: TokenResponse = serde_json::from_slice(body).map_err(invalid)?;
    let token = response.token.filter(|token| !token.is_empty());
    let token = token.or(response.access_token).unwrap_or_default();
    if token.is_empty() {
        return Err(Error::Invalid("its token server gives no token".to_owned()));
    }
    let lifetime = response
        .expires_in
        .map_or(DEFAULT_LIFETIME, Duration::from_secs);
    let lifetime = lifetime.min(MAX_LIFETIME).saturating_sub(MARGIN);
    Ok((sensitive(&format!("Bearer {token}"))?, now.plus(lifetime)))
}

fn sensitive(text: &str) -> Result<HeaderValue> {
    let invalid = |_| Error::Invalid("its credentials do not fit into a header".to_owned());
    let mut value = HeaderValue::from_str(text).map_err(invalid)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Secret;

    use super::*;

    #[test]
    fn a_token_url_has_service_scope_and_account() {
        let challenge = |realm: &str, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: Some("a b".to_owned()),
            scope: scope.map(str::to_owned),
        };
        let url = |realm, scope, account| {
            let url = token_url(&challenge(realm, scope), "repository:x:pull", account);
            url.map(|url| url.map(String::from))
        };
        let expected = "https://x/t?a=1&service=a+b&scope=repository%3Ax%3Apull&account=me";
        let found = url("https://x/t?a=1", None, Some("me"));
        assert_eq!(found, Ok(Some(expected.to_owned())));
        let expected = "https://x/t?service=a+b&scope=aws".to_owned();
        assert_eq!(url("https://x/t#f", Some("aws"), None), Ok(Some(expected)));
        for realm in ["x", "", "https://me:pw@x/t", "mailto:me"] {
            assert!(url(realm, None, None).is_err(), "{realm}");
        }
        assert_eq!(token_url(&Challenge::Basic, "", None), Ok(None));
    }

    #[test]
    fn a_token_is_kept_for_as_long_as_it_says_within_bounds() {
        let now = Timestamp::from_ms(0);
        let until = |body: &str| bearer(body.as_bytes(), now).map(|(_, until)| until.as_ms());
        assert_eq!(until(r#"{"token":"t"}"#), Ok(50_000));
        assert_eq!(
            until(r#"{"access_token":"t","expires_in":300}"#),
            Ok(290_000)
        );
        assert_eq!(until(r#"{"token":"t","expires_in":999999}"#), Ok(3_590_000));
        assert_eq!(until(r#"{"token":"t","expires_in":1}"#), Ok(0));
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#] {
            assert!(until(body).is_err(), "{body}");
        }
    }

    #[test]
    fn fingerprints_tell_names_from_passwords() {
        let of = |username: &str, password: &str| {
            fingerprint(&Credentials {
                username: username.to_owned(),
                password: Secret::new(password.to_owned()),
            })
        };
        assert_eq!(of("a", "bc"), of("a", "bc"));
        assert_ne!(of("a", "bc"), of("ab", "c"));
        assert_ne!(of("a", "bc"), of("a", "bd"));
    }
}
