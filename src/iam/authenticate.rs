//! Verifies credentials: Signature Version 4, the password of `docker login` and Bearer tokens.
//! Under `--dev` any credentials are accepted.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use wharfinger_aws::sigv4::{Claim, Credential, Request, SignatureError, SigningKey};
use wharfinger_aws::{AccountId, Region};
use wharfinger_base::{Clock, Timestamp};

use crate::error::Error;
use crate::grants::{LayerGrant, RegistryGrant};
use crate::identities::Identities;
use crate::owner::Identity;
use crate::principal::{Caller, Principal};
use crate::sessions::Sessions;
use crate::token::{Holder, MAX_TOKEN_BYTES, SignIn, SignInClaims, Tokens};

/// The only user name that comes with a password.
pub const PASSWORD_USER: &str = "AWS";
/// Verified sign-ins expected, which are remembered so that the same header costs one hash the next
/// time.
const SIGN_INS: usize = 8_192;
/// Memory for verified sign-ins, in bytes.
const SIGN_IN_BYTES: u64 = 16 * 1024 * 1024;
/// Memory of one sign-in besides its claims, in bytes.
const SIGN_IN_ENTRY_BYTES: u64 = 512;
/// Derived signing keys remembered: one for each key, day, region and service in use, at about 500
/// bytes each. To derive one costs as much as the rest of a verification.
const SIGNING_KEYS: usize = 8_192;
/// Longest credential scope whose signing key is remembered, in bytes: a secret of 40, and names
/// far longer than those of any service.
const MAX_REMEMBERED_SCOPE_BYTES: usize = 256;
/// Longest `Authorization` value read, in bytes: a token of the longest kind in base 64.
const MAX_HEADER_BYTES: usize = MAX_TOKEN_BYTES * 4 / 3 + 64;

/// A caller proved by a signature, and the scope that was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    pub caller: Arc<Caller>,
    /// `None` only under `--dev`, for a request without a readable signature.
    pub region: Option<Region>,
    pub service: Option<String>,
}

/// A request with an acceptable head and a known key, whose signature is not verified yet.
#[derive(Debug)]
pub struct SigV4Claim(ClaimKind);

#[derive(Debug)]
enum ClaimKind {
    /// Under `--dev` every signature is accepted.
    Dev(Signed),
    Signed(Claim, Arc<Caller>),
}

impl SigV4Claim {
    /// Whose memory the request uses, as [`Caller::budget_id`], if its signature proves to be
    /// valid; `None` under `--dev`.
    #[must_use]
    pub fn budget_id(&self) -> Option<&str> {
        match &self.0 {
            ClaimKind::Dev(_) => None,
            ClaimKind::Signed(_, caller) => caller.budget_id(),
        }
    }
}

/// A verified sign-in; the caller's state is still looked up at each use.
enum SignedIn {
    Dev(Arc<Caller>),
    Token(Box<TokenSignIn>),
}

struct TokenSignIn {
    kind: SignIn,
    claims: SignInClaims,
    grant: Option<Arc<RegistryGrant>>,
    /// The caller limited to `grant`, built for one state of its identity.
    limited: ArcSwapOption<(Arc<Identity>, Arc<Caller>)>,
}

/// A remembered sign-in.
#[derive(Clone)]
struct CachedSignIn {
    signed_in: Arc<SignedIn>,
    header_bytes: usize,
}

/// Weighs a sign-in by its memory in bytes: the claims and the scopes that they hold are each about
/// as long as the header.
#[derive(Clone)]
struct SignInBytes;

impl Weighter<[u8; 32], CachedSignIn> for SignInBytes {
    fn weight(&self, _: &[u8; 32], cached: &CachedSignIn) -> u64 {
        SIGN_IN_ENTRY_BYTES + 2 * cached.header_bytes as u64
    }
}

pub(super) struct Authenticator {
    identities: Arc<Identities>,
    sessions: Arc<Sessions>,
    tokens: Arc<Tokens>,
    clock: Clock,
    sign_ins: Cache<[u8; 32], CachedSignIn, SignInBytes>,
    signing_keys: Cache<String, SigningKey>,
    /// Under `--dev`: the caller of requests that name no account.
    dev: Option<Arc<Caller>>,
}

impl Authenticator {
    pub(super) fn new(
        identities: Arc<Identities>,
        sessions: Arc<Sessions>,
        tokens: Arc<Tokens>,
        clock: Clock,
        dev: bool,
    ) -> Self {
        let dev = dev.then(|| Arc::new(Caller::root(AccountId::DEV)));
        Self {
            identities,
            sessions,
            tokens,
            clock,
            sign_ins: Cache::with_weighter(SIGN_INS, SIGN_IN_BYTES, SignInBytes),
            signing_keys: Cache::new(SIGNING_KEYS),
            dev,
        }
    }

    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    pub(super) const fn is_dev(&self) -> bool {
        self.dev.is_some()
    }

    // === Signature Version 4 ===

    /// Checks all of a signed request that does not depend on its body, so that nothing is read
    /// from senders without a valid key.
    pub(super) async fn sigv4_head(&self, request: &Request<'_>) -> Result<SigV4Claim, Error> {
        let claim = Claim::read(request);
        if let Some(nobody) = &self.dev {
            let signed = dev_signed(nobody, claim.ok().flatten().as_ref());
            return Ok(SigV4Claim(ClaimKind::Dev(signed)));
        }
        let claim = claim?.ok_or(Error::MissingCredentials)?;
        let identity = self.identity_of(&claim).await?;
        claim.check_head(request.headers, self.clock.now())?;
        let caller = Arc::clone(&identity.caller);
        Ok(SigV4Claim(ClaimKind::Signed(claim, caller)))
    }

    /// Verifies the signature. The key is looked up again, since it may have been disabled while
    /// the body was received.
    pub(super) async fn sigv4(
        &self,
        claim: SigV4Claim,
        request: &Request<'_>,
    ) -> Result<Signed, Error> {
        let claim = match claim.0 {
            ClaimKind::Dev(signed) => return Ok(signed),
            ClaimKind::Signed(claim, _) => claim,
        };
        let identity = self.identity_of(&claim).await?;
        self.verify(&claim, request, &identity)?;
        let Credential {
            access_key_id,
            region,
            service,
            ..
        } = claim.credential;
        let region: Region = region
            .parse()
            .map_err(|_| SignatureError::Credential(region))?;
        self.identities
            .note_use(&identity, &access_key_id, region.as_str(), &service);
        Ok(Signed {
            caller: Arc::clone(&identity.caller),
            region: Some(region),
            service: Some(service),
        })
    }

    async fn identity_of(&self, claim: &Claim) -> Result<Arc<Identity>, Error> {
        let (key, token) = (&claim.credential.access_key_id, &claim.security_token);
        let identity = self.identity(key, token.as_deref()).await?;
        // Without MFA, sessions of users do not manage identities (STS API reference,
        // `GetSessionToken`).
        let of_role = matches!(identity.caller.principal, Principal::AssumedRole { .. });
        if token.is_some() && !of_role && claim.credential.service == "iam" {
            return Err(Error::UnknownKey);
        }
        Ok(identity)
    }

    /// The holder of an access key, or of a session where there is a session token.
    pub(super) async fn identity(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Arc<Identity>, Error> {
        let identity = match session_token {
            Some(token) => {
                let identities = &self.identities;
                let session = self.sessions.identity(identities, access_key_id, token);
                session.await?
            }
            None => {
                let found = self.identities.get(access_key_id).await?;
                found.ok_or(Error::UnknownKey)?
            }
        };
        if identity.disabled {
            return Err(Error::DisabledKey);
        }
        Ok(identity)
    }

    /// Verifies a signature with a derived key, which is cached once it verified one, by the
    /// secret: the key ids of two sessions may be the same.
    fn verify(
        &self,
        claim: &Claim,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<(), SignatureError> {
        let Credential {
            date,
            region,
            service,
            ..
        } = &claim.credential;
        let secret = identity.secret.reveal();
        let scope = format!("{secret}/{date}/{region}/{service}");
        if let Some(key) = self.signing_keys.get(&scope) {
            return claim.verify_signature(request, &key);
        }
        let key = claim.credential.signing_key(secret);
        claim.verify_signature(request, &key)?;
        if scope.len() <= MAX_REMEMBERED_SCOPE_BYTES {
            self.signing_keys.insert(scope, key);
        }
        Ok(())
    }

    // === The Authorization header of `/v2/` and `/token` ===

    /// `Basic` with the password of `GetAuthorizationToken`, or `Bearer` with a registry token.
    pub(super) async fn header(&self, value: Option<&str>) -> Result<Arc<Caller>, Error> {
        let Some(value) = value else {
            return self.dev.clone().ok_or(Error::MissingCredentials);
        };
        if value.len() > MAX_HEADER_BYTES {
            return self.dev.clone().ok_or(Error::BadCredentials);
        }
        let fingerprint: [u8; 32] = Sha256::digest(value).into();
        if let Some(cached) = self.sign_ins.get(&fingerprint) {
            return self.admit(&cached.signed_in).await;
        }
        let signed_in = Arc::new(self.prove(value)?);
        let caller = self.admit(&signed_in).await?;
        let header_bytes = value.len();
        self.sign_ins.insert(
            fingerprint,
            CachedSignIn {
                signed_in,
                header_bytes,
            },
        );
        Ok(caller)
    }

    pub(super) async fn basic(&self, user: &str, password: &str) -> Result<Arc<Caller>, Error> {
        self.admit(&self.prove_basic(user, password)?).await
    }

    fn prove(&self, value: &str) -> Result<SignedIn, Error> {
        let (scheme, parameter) = value.split_once(' ').unwrap_or((value, ""));
        let parameter = parameter.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.prove_bearer(parameter);
        }
        let decoded = STANDARD
            .decode(parameter)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) if scheme.eq_ignore_ascii_case("basic") => {
                self.prove_basic(user, password)
            }
            _ => self
                .dev
                .clone()
                .map(SignedIn::Dev)
                .ok_or(Error::BadCredentials),
        }
    }

    fn prove_basic(&self, user: &str, password: &str) -> Result<SignedIn, Error> {
        let claims = self.tokens.read(SignIn::Password, password);
        if let Some(nobody) = &self.dev {
            let account = claims
                .map(|claims| claims.holder.account)
                .or_else(|| user.parse().ok());
            return Ok(SignedIn::Dev(dev_caller(nobody, account, None)));
        }
        let claims = claims.filter(|_| user == PASSWORD_USER);
        Self::token_sign_in(SignIn::Password, claims, None)
    }

    fn prove_bearer(&self, token: &str) -> Result<SignedIn, Error> {
        let claims = self.tokens.read(SignIn::Registry, token);
        let grant = claims.as_ref().and_then(SignInClaims::grant).map(Arc::new);
        if let Some(nobody) = &self.dev {
            let account = claims.map(|claims| claims.holder.account);
            return Ok(SignedIn::Dev(dev_caller(nobody, account, grant)));
        }
        // A Bearer token without a grant would not be limited at all.
        let grant = grant.ok_or(Error::BadCredentials)?;
        Self::token_sign_in(SignIn::Registry, claims, Some(grant))
    }

    fn token_sign_in(
        kind: SignIn,
        claims: Option<SignInClaims>,
        grant: Option<Arc<RegistryGrant>>,
    ) -> Result<SignedIn, Error> {
        Ok(SignedIn::Token(Box::new(TokenSignIn {
            kind,
            claims: claims.ok_or(Error::BadCredentials)?,
            grant,
            limited: ArcSwapOption::empty(),
        })))
    }

    /// Returns the caller that the token names, if the token has not expired.
    async fn admit(&self, signed_in: &SignedIn) -> Result<Arc<Caller>, Error> {
        let token = match signed_in {
            SignedIn::Dev(caller) => return Ok(Arc::clone(caller)),
            SignedIn::Token(token) => token,
        };
        token.check_time(self.clock.now())?;
        Ok(token.caller(self.holder(&token.claims.holder).await?))
    }

    /// Returns the identity that holds a token, if its key and its owner are still valid.
    async fn holder(&self, holder: &Holder) -> Result<Arc<Identity>, Error> {
        // Tokens issued under `--dev` may lack a key; they are not valid elsewhere.
        let key = holder
            .access_key_id
            .as_deref()
            .ok_or(Error::BadCredentials)?;
        let identity = self.identity(key, holder.session.as_deref()).await?;
        if identity.caller.account != holder.account || identity.caller.user_id() != holder.sub {
            return Err(Error::BadCredentials);
        }
        Ok(identity)
    }

    // === The ticket of a layer's download URL ===

    pub(super) async fn ticket(&self, ticket: &str) -> Result<(Arc<Caller>, LayerGrant), Error> {
        let (holder, grant) = self.tokens.read_ticket(ticket, self.clock.now())?;
        if let Some(nobody) = &self.dev {
            return Ok((dev_caller(nobody, Some(holder.account), None), grant));
        }
        match self.holder(&holder).await {
            Ok(identity) => Ok((Arc::clone(&identity.caller), grant)),
            Err(error) if error.is_internal() => Err(error),
            Err(_) => Err(Error::InvalidTicket),
        }
    }
}

fn dev_signed(nobody: &Arc<Caller>, claim: Option<&Claim>) -> Signed {
    let Some(claim) = claim else {
        return Signed {
            caller: Arc::clone(nobody),
            region: None,
            service: None,
        };
    };
    let Credential {
        access_key_id,
        region,
        service,
        ..
    } = &claim.credential;
    Signed {
        caller: dev_caller(nobody, access_key_id.parse().ok(), None),
        region: region.parse().ok(),
        service: Some(service.clone()),
    }
}

/// The root of the named account, or of the usual one.
fn dev_caller(
    nobody: &Arc<Caller>,
    account: Option<AccountId>,
    grant: Option<Arc<RegistryGrant>>,
) -> Arc<Caller> {
    let account = account.unwrap_or(nobody.account);
    match grant {
        None if account == nobody.account => Arc::clone(nobody),
        None => Arc::new(Caller::root(account)),
        Some(grant) => Arc::new(Caller::root(account).with_registry_grant(grant)),
    }
}

impl TokenSignIn {
    fn check_time(&self, now: Timestamp) -> Result<(), Error> {
        match self.kind {
            _ if now < self.claims.expires_at() => Ok(()),
            SignIn::Password => Err(Error::PasswordExpired),
            SignIn::Registry => Err(Error::TokenExpired),
        }
    }

    /// The caller of `identity`, limited to the token's grant.
    fn caller(&self, identity: Arc<Identity>) -> Arc<Caller> {
        let Some(grant) = &self.grant else {
            return Arc::clone(&identity.caller);
        };
        if let Some(limited) = self
            .limited
            .load()
            .as_deref()
            .filter(|(known, _)| Arc::ptr_eq(known, &identity))
        {
            return Arc::clone(&limited.1);
        }
        let caller = Caller::clone(&identity.caller).with_registry_grant(Arc::clone(grant));
        let caller = Arc::new(caller);
        self.limited
            .store(Some(Arc::new((identity, Arc::clone(&caller)))));
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each spelling of one valid header is an entry of its own.
    #[test]
    fn remembered_sign_ins_are_bounded_in_bytes() {
        let cache = Cache::with_weighter(SIGN_INS, SIGN_IN_BYTES, SignInBytes);
        let signed_in = Arc::new(SignedIn::Dev(Arc::new(Caller::root(AccountId::DEV))));
        for at in 0..3_000_u32 {
            let cached = CachedSignIn {
                signed_in: Arc::clone(&signed_in),
                header_bytes: MAX_HEADER_BYTES,
            };
            cache.insert(Sha256::digest(at.to_be_bytes()).into(), cached);
        }
        assert!(cache.weight() <= SIGN_IN_BYTES, "{} bytes", cache.weight());
        assert!(cache.len() > 100);
    }
}
