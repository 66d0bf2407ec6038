//! Tokens that this registry signs and reads itself: the 12-hour password of `docker login`, the
//! short-lived Bearer token, and the ticket in the download URL of a layer. All are JWTs (HS256),
//! so they contain no `:` and no space. Each kind has its own key.

use std::sync::Once;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Region};
use wharfinger_base::{Secret, Timestamp};
use wharfinger_oci::Digest;

use crate::error::Error;
use crate::grants::{LayerGrant, RegistryGrant};
use crate::principal::Caller;
use crate::scopes::TokenScopes;
use crate::seal::{MasterKey, Purpose, derive};

/// Longest token that is signed or read, in bytes. With its scheme it stays below the 8 KiB that
/// common proxies allow for one header line. [`TokenScopes::MAX`] scopes of usual names fit; the
/// longest names do not, so the length is checked when a token is issued.
pub(super) const MAX_TOKEN_BYTES: usize = 8_000;

/// Selects the cryptography provider that the JWT library uses in this process. Call it first in
/// `main`; calling it again does nothing.
pub fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the same provider is installed already.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// A newly issued token.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub token: Secret<String>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The caller that a token was issued to. Key, user and policies are looked up at each use, so a
/// token ends with its key and its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) account: AccountId,
    /// Missing only in tokens issued under `--dev`.
    #[serde(rename = "key", skip_serializing_if = "Option::is_none", default)]
    pub(super) access_key_id: Option<String>,
    /// The session token that belongs to the key of a session. Without the secret that is sealed
    /// in it, nothing can be signed with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) session: Option<String>,
    /// The unique id of the user, or the account id of its root.
    pub(super) sub: String,
}

impl Holder {
    fn of(caller: &Caller) -> Self {
        Self {
            account: caller.account,
            access_key_id: caller.access_key_id.as_deref().map(ToOwned::to_owned),
            session: (caller.temporary.as_ref()).map(|session| session.token.reveal().clone()),
            sub: caller.user_id().to_owned(),
        }
    }
}

/// When what is issued to `caller` for `ttl` ends: not after its session.
fn expiry(caller: &Caller, now: Timestamp, ttl: Duration) -> Timestamp {
    let expires_at = now.plus(ttl);
    let session = caller.temporary.as_ref();
    session.map_or(expires_at, |session| expires_at.min(session.expires_at))
}

/// The claims of a password or a Bearer token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignInClaims {
    #[serde(flatten)]
    pub(super) holder: Holder,
    /// The registry and scopes of a Bearer token; a password has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    registry: Option<RegistryClaims>,
    iat: i64,
    exp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RegistryClaims {
    account: AccountId,
    region: Region,
    scope: String,
}

impl SignInClaims {
    pub(super) fn grant(&self) -> Option<RegistryGrant> {
        let claims = self.registry.as_ref()?;
        Some(RegistryGrant {
            account: claims.account,
            region: claims.region.clone(),
            scopes: TokenScopes::parse(&claims.scope).ok()?,
        })
    }

    pub(super) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_ms(self.exp.saturating_mul(1000))
    }
}

/// The claims of a layer's download URL. `account` and `region` name the registry.
#[derive(Clone, Serialize, Deserialize)]
struct TicketClaims {
    holder: Holder,
    account: AccountId,
    region: Region,
    repository: String,
    digest: Digest,
    exp: i64,
}

/// Signs and reads tokens under keys derived from one master key.
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

    /// # Errors
    /// [`Error::TokenTooLong`] for a token that [`Signer::read`] would not take.
    fn sign(&self, claims: &impl Serialize) -> Result<Secret<String>, Error> {
        let token = encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|_| Error::Signing)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::TokenTooLong);
        }
        Ok(Secret::new(token))
    }

    /// Returns the claims if this key signed them. The caller checks the expiry.
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

/// The two kinds of sign-in token.
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

    /// Issues a token that authenticates `caller` until `now` + `ttl` (whole seconds) or the end of
    /// its session, limited to `grant` for a Bearer token.
    pub(super) fn issue(
        &self,
        kind: SignIn,
        caller: &Caller,
        grant: Option<&RegistryGrant>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<IssuedToken, Error> {
        let issued_at = now.as_ms().div_euclid(1000);
        let expires = expiry(caller, Timestamp::from_ms(issued_at * 1000), ttl);
        let claims = SignInClaims {
            holder: Holder::of(caller),
            registry: grant.map(|grant| RegistryClaims {
                account: grant.account,
                region: grant.region.clone(),
                scope: grant.scopes.to_string(),
            }),
            iat: issued_at,
            exp: expires.as_ms().div_euclid(1000),
        };
        let token = self.signer(kind).sign(&claims)?;
        Ok(IssuedToken {
            token,
            issued_at: Timestamp::from_ms(issued_at * 1000),
            expires_at: claims.expires_at(),
        })
    }

    /// Returns the claims of a token of this kind, expired or not; `None` for anything that was not
    /// signed as one.
    pub(super) fn read(&self, kind: SignIn, token: &str) -> Option<SignInClaims> {
        self.signer(kind).read(token)
    }

    const fn signer(&self, kind: SignIn) -> &Signer {
        match kind {
            SignIn::Password => &self.password,
            SignIn::Registry => &self.registry,
        }
    }

    /// Issues the ticket of a download URL to `caller`, whose permission is checked at each use.
    pub(super) fn issue_ticket(
        &self,
        caller: &Caller,
        grant: &LayerGrant,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<IssuedToken, Error> {
        let expires_at = expiry(caller, now, ttl);
        let claims = TicketClaims {
            holder: Holder::of(caller),
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

    /// Returns who a ticket was issued to, and for which layer.
    pub(super) fn read_ticket(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<(Holder, LayerGrant), Error> {
        let claims: TicketClaims = self.ticket.read(token).ok_or(Error::InvalidTicket)?;
        if Timestamp::from_ms(claims.exp) <= now {
            return Err(Error::InvalidTicket);
        }
        let repository = claims
            .repository
            .parse()
            .map_err(|_| Error::InvalidTicket)?;
        let grant = LayerGrant {
            account: claims.account,
            region: claims.region,
            repository,
            digest: claims.digest,
        };
        Ok((claims.holder, grant))
    }
}
