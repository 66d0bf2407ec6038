//! Web-identity tokens: JSON Web Tokens signed with RSA or ECDSA. PURE.
//!
//! Source: RFC 7515 and RFC 7519; `OpenID` Connect Core 1.0, section 3.1.3.7; IAM user guide,
//! "Create an OIDC identity provider in IAM" (algorithms, required claims and five
//! minutes of clock skew).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use wharfinger_base::Timestamp;

use crate::claims::{Expected, WebIdentity};
use crate::error::TokenError;
use crate::key_set::KeySet;

/// Longest token that is read, in bytes (`WebIdentityToken` of the STS API reference).
pub(super) const MAX_TOKEN_BYTES: usize = 20_000;
/// Longest key id of a token, in bytes; real ones are hashes.
const MAX_KEY_ID_BYTES: usize = 512;

/// A token whose signature is not verified yet.
#[derive(Debug)]
pub struct UnverifiedToken<'t> {
    text: &'t str,
    algorithm: Algorithm,
    key_id: Option<String>,
    issuer: String,
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    /// Extensions that a reader must know; none is known here (RFC 7515, 4.1.11).
    crit: Option<Value>,
}

impl<'t> UnverifiedToken<'t> {
    /// Reads the form of a token and what is needed to find its provider's key.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], [`TokenError::Algorithm`], or [`TokenError::Claim`] for a token
    /// without an issuer.
    pub fn read(text: &'t str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(TokenError::Malformed);
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header = decoded(header).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let header: RawHeader = header.ok_or(TokenError::Malformed)?;
        let claims = decoded(claims).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let claims: Map<String, Value> = claims.ok_or(TokenError::Malformed)?;
        let long_id = (header.kid.as_ref()).is_some_and(|id| id.len() > MAX_KEY_ID_BYTES);
        if decoded(signature).is_none() || header.crit.is_some() || long_id {
            return Err(TokenError::Malformed);
        }
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::RS256,
            "RS384" => Algorithm::RS384,
            "RS512" => Algorithm::RS512,
            "ES256" => Algorithm::ES256,
            "ES384" => Algorithm::ES384,
            _ => return Err(TokenError::Algorithm),
        };
        let issuer = claims.get("iss").and_then(Value::as_str);
        Ok(Self {
            text,
            algorithm,
            key_id: header.kid,
            issuer: issuer.ok_or(TokenError::Claim("iss"))?.to_owned(),
        })
    }

    /// The issuer that the token claims to have.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether the key set has a key that may have signed the token. If not, the provider may have
    /// begun to use a new key.
    #[must_use]
    pub fn has_key_in(&self, keys: &KeySet) -> bool {
        keys.find(self.key_id.as_deref(), self.algorithm).is_some()
    }

    /// Verifies the signature with the provider's keys, and the claims.
    ///
    /// # Errors
    /// Every variant but [`TokenError::Malformed`] and [`TokenError::Algorithm`].
    pub fn verify(
        &self,
        keys: &KeySet,
        expected: &Expected<'_>,
        now: Timestamp,
    ) -> Result<WebIdentity, TokenError> {
        let key = keys.find(self.key_id.as_deref(), self.algorithm);
        let key = key.ok_or(TokenError::UnknownKey)?;
        // The library reads the system's clock, so times are checked with the other claims.
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let verified = decode::<Map<String, Value>>(self.text, key, &validation);
        let claims = verified.map_err(|_| TokenError::Signature)?.claims;
        WebIdentity::of(claims, expected, now)
    }
}

#[cfg(test)]
#[path = "tests/token.rs"]
mod tests;
