//! Credentials in, [`Caller`] out: Signature Version 4, the password of `docker login`, Bearer
//! tokens; and, under `--dev`, anything.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use wharfinger_aws::sigv4::{Claim, Credential, Request, SignatureError, SigningKey};
use wharfinger_aws::{AccountId, Region};
use wharfinger_base::{Clock, Timestamp};

use crate::error::Error;
use crate::identities::{Identities, Identity};
use crate::principal::Caller;
use crate::scopes::TokenScopes;
use crate::token::{MAX_TOKEN_BYTES, SignIn, SignInClaims, Tokens};

/// The only user name that comes with a password.
pub const PASSWORD_USER: &str = "AWS";
/// Verified sign-ins remembered, so that the same header costs one hash the next time. An entry
/// takes about 500 bytes.
const SIGN_INS: usize = 8_192;
/// Derived signing keys remembered: one for each key, day, region and service in use.
const SIGNING_KEYS: usize = 1_024;
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

/// A sign-in whose proof held; the caller's state is still looked up at each use.
enum SignedIn {
    Dev(Arc<Caller>),
    Token(Box<TokenSignIn>),
}

struct TokenSignIn {
    kind: SignIn,
    claims: SignInClaims,
    access_key_id: String,
    scopes: Option<Arc<TokenScopes>>,
    /// The caller with the token's scopes, made for one state of its identity.
    scoped: ArcSwapOption<(Arc<Identity>, Arc<Caller>)>,
}

pub(super) struct Authenticator {
    identities: Identities,
    tokens: Arc<Tokens>,
    clock: Clock,
    sign_ins: Cache<[u8; 32], Arc<SignedIn>>,
    signing_keys: Cache<String, SigningKey>,
    /// Under `--dev`: who comes without naming an account.
    dev: Option<Arc<Caller>>,
}

impl Authenticator {
    pub(super) fn new(
        identities: Identities,
        tokens: Arc<Tokens>,
        clock: Clock,
        dev: bool,
    ) -> Self {
        let dev = dev.then(|| Arc::new(Caller::root(AccountId::DEV)));
        Self {
            identities,
            tokens,
            clock,
            sign_ins: Cache::new(SIGN_INS),
            signing_keys: Cache::new(SIGNING_KEYS),
            dev,
        }
    }

    pub(super) const fn is_dev(&self) -> bool {
        self.dev.is_some()
    }

    // === Signature Version 4 ===

    pub(super) async fn sigv4(&self, request: &Request<'_>) -> Result<Signed, Error> {
        let claim = Claim::read(request);
        if let Some(nobody) = &self.dev {
            return Ok(dev_signed(nobody, claim.ok().flatten().as_ref()));
        }
        let claim = claim?.ok_or(Error::MissingCredentials)?;
        // Session credentials are not issued here (yet), so no token is one of ours.
        if claim.security_token.is_some() {
            return Err(Error::UnknownKey);
        }
        let identity = self
            .identities
            .get(&claim.credential.access_key_id)
            .await?
            .ok_or(Error::UnknownKey)?;
        if identity.disabled {
            return Err(Error::DisabledKey);
        }
        self.verify(&claim, request, &identity)?;
        let Credential {
            region, service, ..
        } = claim.credential;
        let region = region
            .parse()
            .map_err(|_| SignatureError::Credential(region))?;
        Ok(Signed {
            caller: Arc::clone(&identity.caller),
            region: Some(region),
            service: Some(service),
        })
    }

    /// A key id is never used again for another secret, so a derived key stays right for as long as
    /// it is remembered. Only one that verified a signature is.
    fn verify(
        &self,
        claim: &Claim,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<(), SignatureError> {
        let Credential {
            access_key_id,
            date,
            region,
            service,
        } = &claim.credential;
        let scope = format!("{access_key_id}/{date}/{region}/{service}");
        let now = self.clock.now();
        if let Some(key) = self.signing_keys.get(&scope) {
            return claim.verify_with_key(request, &key, now);
        }
        let key = claim.credential.signing_key(identity.secret.reveal());
        claim.verify_with_key(request, &key, now)?;
        self.signing_keys.insert(scope, key);
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
        if let Some(signed_in) = self.sign_ins.get(&fingerprint) {
            return self.admit(&signed_in).await;
        }
        let signed_in = Arc::new(self.prove(value)?);
        let caller = self.admit(&signed_in).await?;
        self.sign_ins.insert(fingerprint, signed_in);
        Ok(caller)
    }

    pub(super) async fn basic(&self, user: &str, password: &str) -> Result<Arc<Caller>, Error> {
        self.admit(&self.prove_basic(user, password)?).await
    }

    pub(super) async fn bearer(&self, token: &str) -> Result<Arc<Caller>, Error> {
        self.admit(&self.prove_bearer(token)?).await
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
                .map(|claims| claims.account)
                .or_else(|| user.parse().ok());
            return Ok(SignedIn::Dev(dev_caller(nobody, account, None)));
        }
        let claims = claims.filter(|_| user == PASSWORD_USER);
        Self::token_sign_in(SignIn::Password, claims, None)
    }

    fn prove_bearer(&self, token: &str) -> Result<SignedIn, Error> {
        let claims = self.tokens.read(SignIn::Registry, token);
        let scopes = claims.as_ref().map(|claims| Arc::new(claims.scopes()));
        if let Some(nobody) = &self.dev {
            return Ok(SignedIn::Dev(dev_caller(
                nobody,
                claims.map(|claims| claims.account),
                scopes,
            )));
        }
        Self::token_sign_in(SignIn::Registry, claims, scopes)
    }

    fn token_sign_in(
        kind: SignIn,
        claims: Option<SignInClaims>,
        scopes: Option<Arc<TokenScopes>>,
    ) -> Result<SignedIn, Error> {
        let claims = claims.ok_or(Error::BadCredentials)?;
        // Tokens given out under `--dev` may lack a key; they are worth nothing elsewhere.
        let access_key_id = claims.access_key_id.clone().ok_or(Error::BadCredentials)?;
        Ok(SignedIn::Token(Box::new(TokenSignIn {
            kind,
            claims,
            access_key_id,
            scopes,
            scoped: ArcSwapOption::empty(),
        })))
    }

    /// Lets in whom the token names, if it has not expired and its key and owner still stand.
    async fn admit(&self, signed_in: &SignedIn) -> Result<Arc<Caller>, Error> {
        let token = match signed_in {
            SignedIn::Dev(caller) => return Ok(Arc::clone(caller)),
            SignedIn::Token(token) => token,
        };
        token.check_time(self.clock.now())?;
        let identity = self
            .identities
            .get(&token.access_key_id)
            .await?
            .ok_or(Error::UnknownKey)?;
        if identity.disabled {
            return Err(Error::DisabledKey);
        }
        if identity.caller.account != token.claims.account
            || identity.caller.user_id() != token.claims.sub
        {
            return Err(Error::BadCredentials);
        }
        Ok(token.caller(identity))
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
    scopes: Option<Arc<TokenScopes>>,
) -> Arc<Caller> {
    let account = account.unwrap_or(nobody.account);
    match scopes {
        None if account == nobody.account => Arc::clone(nobody),
        None => Arc::new(Caller::root(account)),
        Some(scopes) => Arc::new(Caller::root(account).with_scopes(scopes)),
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

    /// The caller as this token lets it in.
    fn caller(&self, identity: Arc<Identity>) -> Arc<Caller> {
        let Some(scopes) = &self.scopes else {
            return Arc::clone(&identity.caller);
        };
        if let Some(scoped) = self
            .scoped
            .load()
            .as_deref()
            .filter(|(known, _)| Arc::ptr_eq(known, &identity))
        {
            return Arc::clone(&scoped.1);
        }
        let caller = Arc::new(Caller::clone(&identity.caller).with_scopes(Arc::clone(scopes)));
        self.scoped
            .store(Some(Arc::new((identity, Arc::clone(&caller)))));
        caller
    }
}
