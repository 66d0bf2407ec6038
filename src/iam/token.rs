//! Tokens that this registry signs for itself: the 12-hour password of `docker login`, the short
//! Bearer token, the ticket in a layer's download URL. All are JWTs (HS256), so they hold no `:`
//! and no blank; each kind has a key of its own.

use std::sync::Once;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Region};
use wharfinger_base::{Secret, Timestamp};
use wharfinger_oci::{Digest, RepositoryName};

use crate::error::Error;
use crate::principal::Caller;
use crate::scopes::TokenScopes;
use crate::seal::{MasterKey, Purpose, derive};

/// Longest token read, in bytes: ours stay under 4 KiB even with [`TokenScopes::MAX`] long names.
pub(super) const MAX_TOKEN_BYTES: usize = 12 * 1024;

/// Names the one cryptography provider of the process to the JWT library. Call it first in `main`;
/// calling it again does nothing.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that the same provider stands already.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// A token just made.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub token: Secret<String>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The one layer that a download URL opens, without further sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerGrant {
    pub account: AccountId,
    pub region: Region,
    pub repository: RepositoryName,
    pub digest: Digest,
}

/// What a password or Bearer token says: who, by which key, until when. Nothing of the policies,
/// which are read anew at each use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignInClaims {
    pub(super) account: AccountId,
    /// Only under `--dev` may it be missing.
    #[serde(rename = "key", skip_serializing_if = "Option::is_none", default)]
    pub(super) access_key_id: Option<String>,
    /// The user's id, or the account's for its root.
    pub(super) sub: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    scope: Option<String>,
    iat: i64,
    exp: i64,
}

impl SignInClaims {
    pub(super) fn scopes(&self) -> TokenScopes {
        TokenScopes::parse(self.scope.as_deref().unwrap_or_default())
    }

    pub(super) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_ms(self.exp.saturating_mul(1000))
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct TicketClaims {
    account: AccountId,
    region: Region,
    repository: String,
    digest: Digest,
    exp: i64,
}

/// Signs and reads the tokens of one master key.
pub(super) struct Tokens {
    password: Signer,
    registry: Signer,
    ticket: Signer,
}

struct Signer {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Signer {
    fn new(master: &MasterKey, purpose: Purpose) -> Self {
        let key = derive(master, purpose);
        Self {
            encoding: EncodingKey::from_secret(key.reveal()),
            decoding: DecodingKey::from_secret(key.reveal()),
        }
    }

    fn sign(&self, claims: &impl Serialize) -> Result<Secret<String>, Error> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map(Secret::new)
            .map_err(|_| Error::Signing)
    }

    /// The claims, if we signed them. Their expiry is the caller's to check, against the one clock.
    fn read<T: DeserializeOwned + Clone>(&self, token: &str) -> Option<T> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        decode::<T>(token, &self.decoding, &validation)
            .ok()
            .map(|data| data.claims)
    }
}

/// Which of the two sign-in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignIn {
    Password,
    Registry,
}

impl Tokens {
    pub(super) fn new(master: &MasterKey) -> Self {
        install_crypto_provider();
        Self {
            password: Signer::new(master, Purpose::Password),
            registry: Signer::new(master, Purpose::RegistryToken),
            ticket: Signer::new(master, Purpose::LayerTicket),
        }
    }

    /// A token by which `caller` may come again until `now` + `ttl` (whole seconds), within
    /// `scopes` for a Bearer token.
    pub(super) fn issue(
        &self,
        kind: SignIn,
        caller: &Caller,
        scopes: Option<&TokenScopes>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<IssuedToken, Error> {
        let issued_at = now.as_ms().div_euclid(1000);
        let expires = issued_at.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        let claims = SignInClaims {
            account: caller.account,
            access_key_id: caller.access_key_id.as_deref().map(ToOwned::to_owned),
            sub: caller.user_id().to_owned(),
            scope: scopes.map(ToString::to_string),
            iat: issued_at,
            exp: expires,
        };
        let token = self.signer(kind).sign(&claims)?;
        Ok(IssuedToken {
            token,
            issued_at: Timestamp::from_ms(issued_at * 1000),
            expires_at: claims.expires_at(),
        })
    }

    /// The claims of a token of this kind, expired or not; `None` for anything that we did not sign
    /// as one.
    pub(super) fn read(&self, kind: SignIn, token: &str) -> Option<SignInClaims> {
        self.signer(kind).read(token)
    }

    const fn signer(&self, kind: SignIn) -> &Signer {
        match kind {
            SignIn::Password => &self.password,
            SignIn::Registry => &self.registry,
        }
    }

    pub(super) fn issue_ticket(
        &self,
        grant: &LayerGrant,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<IssuedToken, Error> {
        let expires_at = now.plus(ttl);
        let claims = TicketClaims {
            account: grant.account,
            region: grant.region.clone(),
            repository: grant.repository.as_str().to_owned(),
            digest: grant.digest,
            exp: expires_at.as_ms(),
        };
        Ok(IssuedToken {
            token: self.ticket.sign(&claims)?,
            issued_at: now,
            expires_at,
        })
    }

    pub(super) fn read_ticket(&self, token: &str, now: Timestamp) -> Result<LayerGrant, Error> {
        let claims: TicketClaims = self.ticket.read(token).ok_or(Error::InvalidTicket)?;
        if Timestamp::from_ms(claims.exp) <= now {
            return Err(Error::InvalidTicket);
        }
        let repository = claims
            .repository
            .parse()
            .map_err(|_| Error::InvalidTicket)?;
        Ok(LayerGrant {
            account: claims.account,
            region: claims.region,
            repository,
            digest: claims.digest,
        })
    }
}
