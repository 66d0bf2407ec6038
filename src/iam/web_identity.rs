//! Web identities: verifies the tokens of registered OIDC providers, and makes callers of them.
//!
//! Source: STS API reference, `AssumeRoleWithWebIdentity`; IAM user guide, "Available keys for AWS
//! OIDC federation" and "Pass session tags in AWS STS".

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use wharfinger_aws::AccountId;
use wharfinger_base::{Chain, Clock};
use wharfinger_oidc::{
    ConfiguredKeySets, Expected, KeySets, Provider, TokenError, UnverifiedToken, WebIdentity,
};

use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::oidc_providers::OidcProviders;
use crate::principal::{Caller, Principal};

/// The claim with session tags, and the claim with the source identity.
const TAGS_CLAIM: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY_CLAIM: &str = "https://aws.amazon.com/source_identity";

/// Claims that become condition keys by their own names. `aud` and `oaud` do so besides.
const KEYS: &[&str] = &["sub", "amr", "email"];
/// Claims of GitHub Actions that do so as well. Other providers' claims of these names are keys
/// too, so that a GitHub Enterprise server needs no list.
const WORKFLOW_KEYS: &[&str] = &[
    "actor",
    "actor_id",
    "enterprise_id",
    "environment",
    "job_workflow_ref",
    "ref",
    "repository",
    "repository_id",
    "workflow",
];

/// Longest subject (`SubjectFromWebIdentityToken` of the STS API reference), in bytes.
const MAX_SUBJECT_BYTES: usize = 255;
/// Longest value of another claim that becomes a condition key, in bytes.
const MAX_VALUE_BYTES: usize = 1_024;
/// Most values of one claim.
const MAX_VALUES: usize = 50;

/// Whom a provider vouches for, and what the token says of the session.
#[derive(Clone, Debug)]
pub struct FederatedCaller {
    /// A caller without policies of its own, with the condition keys of its claims.
    pub caller: Caller,
    pub issuer: String,
    pub subject: String,
    pub audience: String,
    pub tags: Vec<(String, String)>,
    pub transitive_keys: Vec<String>,
    pub source_identity: Option<String>,
}

/// Why no caller is made of a token.
#[derive(Debug, thiserror::Error)]
pub enum WebIdentityError {
    #[error("no OIDC provider of the account has the URL {0}")]
    NoProvider(String),
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The claim for session tags has another form than STS knows.
    #[error("the claim {0} of the token has another form than expected")]
    SessionClaim(&'static str),
    #[error("the keys of the identity provider could not be retrieved")]
    Unreachable,
    #[error(transparent)]
    Iam(#[from] Error),
}

#[derive(Deserialize)]
struct TagClaims {
    #[serde(default)]
    principal_tags: std::collections::BTreeMap<String, Vec<String>>,
    #[serde(default)]
    transitive_tag_keys: Vec<String>,
}

/// Verifies web-identity tokens.
pub struct WebIdentities {
    pub(super) providers: OidcProviders,
    key_sets: KeySets,
    clock: Clock,
}

impl WebIdentities {
    /// `key_sets` is a file with key sets that are not fetched.
    ///
    /// # Errors
    /// [`Error::KeySetFile`].
    pub(super) fn new(
        db: &IdentityDb,
        clock: &Clock,
        key_sets: Option<&Path>,
        dev: bool,
    ) -> Result<Self, Error> {
        let configured = key_sets.map(|path| ConfiguredKeySets::open(path, clock.clone()));
        let configured = configured.transpose();
        let configured =
            configured.map_err(|error| Error::KeySetFile(Chain(&error).to_string()))?;
        Ok(Self {
            providers: OidcProviders {
                db: db.clone(),
                clock: clock.clone(),
                plain_http: dev,
            },
            key_sets: KeySets::new(configured, clock.clone(), dev),
            clock: clock.clone(),
        })
    }

    /// Verifies a token by the provider of the account that its issuer names.
    ///
    /// # Errors
    /// [`WebIdentityError`].
    pub async fn verify(
        &self,
        account: AccountId,
        token: &str,
    ) -> Result<FederatedCaller, WebIdentityError> {
        let token = UnverifiedToken::read(token)?;
        let provider = self.providers.by_issuer(account, token.issuer()).await?;
        let unknown = || WebIdentityError::NoProvider(token.issuer().chars().take(255).collect());
        let provider = provider.ok_or_else(unknown)?;
        let place = Provider {
            url: &provider.url,
            thumbprints: &provider.thumbprints,
        };
        let keys = self.key_sets.of(place, &token).await;
        let keys = keys.map_err(|_| WebIdentityError::Unreachable)?;
        let expected = Expected {
            issuer: &provider.url,
            client_ids: &provider.client_ids,
        };
        let identity = token.verify(&keys, &expected, self.clock.now())?;
        let subject = identity.subject.clone();
        let name = provider.arn.resource().split_once('/');
        let keys = condition_keys(name.map_or("", |(_, name)| name), &identity)?;
        let principal = Principal::WebIdentity {
            provider: provider.arn,
            subject,
        };
        let mut caller = Caller::new(account, principal, Arc::default());
        caller.session_keys = keys.into();
        federated(caller, identity)
    }
}

fn federated(caller: Caller, identity: WebIdentity) -> Result<FederatedCaller, WebIdentityError> {
    let wrong = |claim| WebIdentityError::SessionClaim(claim);
    let source_identity = match identity.claims.get(SOURCE_IDENTITY_CLAIM) {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(wrong(SOURCE_IDENTITY_CLAIM)),
    };
    let claims = match identity.claims.get(TAGS_CLAIM) {
        None => None,
        Some(claims) => Some(TagClaims::deserialize(claims).map_err(|_| wrong(TAGS_CLAIM))?),
    };
    let (mut tags, mut transitive_keys) = (Vec::new(), Vec::new());
    if let Some(claims) = claims {
        transitive_keys = claims.transitive_tag_keys;
        for (key, values) in claims.principal_tags {
            let [value] = values.as_slice() else {
                return Err(wrong(TAGS_CLAIM));
            };
            tags.push((key, value.clone()));
        }
    }
    Ok(FederatedCaller {
        caller,
        issuer: identity.issuer,
        subject: identity.subject,
        audience: identity.audience,
        tags,
        transitive_keys,
        source_identity,
    })
}

/// The condition keys of a token's claims: the provider's name, a colon and the claim, in lower
/// case. `aud` is the authorized party where the token names one, and `oaud` the audience then.
///
/// # Errors
/// A claim that is too long to be compared. Without its key, conditions would hold that shall not.
fn condition_keys(
    provider: &str,
    identity: &WebIdentity,
) -> Result<Vec<(String, Vec<String>)>, TokenError> {
    let mut keys = Vec::new();
    let mut add = |name: &str, claim: &'static str, values: Vec<String>| {
        let limit = if claim == "sub" {
            MAX_SUBJECT_BYTES
        } else {
            MAX_VALUE_BYTES
        };
        if values.len() > MAX_VALUES || values.iter().any(|value| value.len() > limit) {
            return Err(TokenError::Claim(claim));
        }
        keys.push((format!("{provider}:{name}").to_ascii_lowercase(), values));
        Ok(())
    };
    if identity.claims.contains_key("azp") {
        add("aud", "azp", vec![identity.audience.clone()])?;
        add("oaud", "aud", identity.audiences.clone())?;
    } else {
        add("aud", "aud", identity.audiences.clone())?;
    }
    for claim in KEYS.iter().chain(WORKFLOW_KEYS).copied() {
        if let Some(values) = identity.texts(claim) {
            let values = values.into_iter().map(ToOwned::to_owned).collect();
            add(claim, claim, values)?;
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use wharfinger_base::Timestamp;

    use super::*;

    fn identity(claims: &Value) -> WebIdentity {
        WebIdentity {
            issuer: "https://ci.example.com".to_owned(),
            subject: "job".to_owned(),
            audience: "client".to_owned(),
            audiences: vec!["client".to_owned(), "other".to_owned()],
            expires_at: Timestamp::default(),
            claims: claims.as_object().cloned().unwrap_or_else(Map::new),
        }
    }

    fn keys(claims: &Value) -> Result<Vec<(String, String)>, TokenError> {
        let keys = condition_keys("CI.example.com/Jobs", &identity(claims))?;
        let keys = keys
            .into_iter()
            .map(|(key, values)| (key, values.join(",")));
        Ok(keys.collect())
    }

    #[test]
    fn claims_become_keys_of_the_provider() {
        let pair =
            |key: &str, value: &str| (format!("ci.example.com/jobs:{key}"), value.to_owned());
        let claims = json!({"sub": "job", "amr": ["a", "b"], "x": "y", "ref": "main", "email": 7});
        assert_eq!(
            keys(&claims),
            Ok(vec![
                pair("aud", "client,other"),
                pair("sub", "job"),
                pair("amr", "a,b"),
                pair("ref", "main"),
            ])
        );
        assert_eq!(
            keys(&json!({"azp": "client"})),
            Ok(vec![pair("aud", "client"), pair("oaud", "client,other")])
        );
        for (claim, most) in [("sub", 255), ("ref", 1_024)] {
            assert!(keys(&json!({claim: "x".repeat(most)})).is_ok());
            let error = keys(&json!({claim: "x".repeat(most + 1)})).err();
            assert_eq!(error, Some(TokenError::Claim(claim)));
        }
    }

    #[test]
    fn a_token_may_bring_session_tags_and_a_source_identity() {
        let read = |claims: Value| {
            let caller = Caller::root(AccountId::DEV);
            federated(caller, identity(&claims))
        };
        let tags = json!({
            "principal_tags": {"team": ["red"], "cost": ["7"]},
            "transitive_tag_keys": ["team"],
        });
        let found = read(json!({TAGS_CLAIM: tags, SOURCE_IDENTITY_CLAIM: "ann"}));
        let found = found.expect("a caller");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(found.tags, [pair("cost", "7"), pair("team", "red")]);
        assert_eq!(found.transitive_keys, ["team"]);
        assert_eq!(found.source_identity.as_deref(), Some("ann"));
        for wrong in [
            json!({TAGS_CLAIM: "x"}),
            json!({TAGS_CLAIM: {"principal_tags": {"a": "b"}}}),
            json!({TAGS_CLAIM: {"principal_tags": {"a": ["b", "c"]}}}),
            json!({SOURCE_IDENTITY_CLAIM: ["ann"]}),
        ] {
            let error = read(wrong).err();
            assert!(matches!(error, Some(WebIdentityError::SessionClaim(_))));
        }
    }
}
