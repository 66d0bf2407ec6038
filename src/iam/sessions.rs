//! Temporary credentials. Nothing is stored for them: the session token holds the secret, whose the
//! credentials are and when they end, sealed for the access key id that it came with. The owner is
//! loaded at each use, so that a session ends with it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use wharfinger_aws::AccountId;
use wharfinger_base::{Clock, Ids, Secret, Timestamp};

use crate::error::Error;
use crate::identities::Identities;
use crate::new_session::{CheckedSession, percent};
use crate::owner::{Identity, Owner};
use crate::policy::{Grammar, Policy};
use crate::principal::{Caller, IdentityPolicies, NamedPolicy, Principal, TemporaryCredentials};
use crate::seal::{MasterKey, Purpose, TokenSeal};
use crate::session_claims::{RoleSession, SessionClaims};
use crate::session_keys;
use crate::store;

/// Longest session token that is issued or read, in bytes. The password of `docker login` holds it
/// in Base64, in a header in Base64 again.
const MAX_TOKEN_BYTES: usize = 4_096;
/// Sessions in use that are expected, which are remembered so that a token is opened once.
const SESSIONS: usize = 8_192;
/// Memory for remembered sessions, in bytes.
const SESSION_BYTES: u64 = 16 * 1024 * 1024;
/// Memory of one session besides its token and what that holds, in bytes.
const SESSION_ENTRY_BYTES: u64 = 1_024;
/// Memory of a compiled policy for each byte of its text.
const POLICY_FACTOR: u64 = 10;
/// The name of an inline session policy among the policies of a session.
const INLINE_POLICY: &str = "inline session policy";
/// How long the session of a user lasts unless its request says so (STS API reference,
/// `GetSessionToken`).
const USER_SESSION: Duration = Duration::from_hours(12);
/// The longest session of an account's root, whatever its request says (STS API reference,
/// `GetSessionToken`).
const MAX_ROOT_SESSION: Duration = Duration::from_hours(1);

/// Temporary credentials when they have just been issued: the only time that their secret can be
/// shown.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
    pub session_token: Secret<String>,
    pub expires_at: Timestamp,
}

impl NewSession {
    /// How much of the longest session token this one is, in percent.
    #[must_use]
    pub fn token_utilization(&self) -> usize {
        percent(self.session_token.reveal().len(), MAX_TOKEN_BYTES)
    }
}

/// A session whose token was opened.
struct OpenedSession {
    claims: SessionClaims,
    access_key_id: Arc<str>,
    credentials: Arc<TemporaryCredentials>,
    /// The inline session policy.
    policy: Option<NamedPolicy>,
    /// The session for one state of its owner.
    current: ArcSwapOption<(Arc<Owner>, Arc<Identity>)>,
}

/// Weighs a session by its memory in bytes.
#[derive(Clone)]
struct SessionWeight;

impl Weighter<[u8; 32], Arc<OpenedSession>> for SessionWeight {
    fn weight(&self, _: &[u8; 32], session: &Arc<OpenedSession>) -> u64 {
        let policy = session.policy.as_ref();
        let policy = policy.map_or(0, |named| named.policy.text().len() as u64);
        let token = session.credentials.token.reveal().len() as u64;
        SESSION_ENTRY_BYTES + 4 * token + POLICY_FACTOR * policy
    }
}

/// Issues session tokens and opens them.
pub(super) struct Sessions {
    seal: TokenSeal,
    clock: Clock,
    ids: Ids,
    opened: Cache<[u8; 32], Arc<OpenedSession>, SessionWeight>,
}

impl Sessions {
    pub(super) fn new(master: &MasterKey, clock: Clock, ids: Ids) -> Self {
        Self {
            seal: TokenSeal::new(master, Purpose::SessionToken, ids.clone()),
            clock,
            ids,
            opened: Cache::with_weighter(SESSIONS, SESSION_BYTES, SessionWeight),
        }
    }

    /// Issues credentials that the caller, a user or a root, may use in place of its access key.
    ///
    /// # Errors
    /// [`Error::SessionOfSession`] for a caller whose credentials are temporary already.
    pub(super) fn issue(
        &self,
        caller: &Caller,
        duration: Option<Duration>,
        min_token_bytes: usize,
    ) -> Result<NewSession, Error> {
        let (owner, duration) = own_session(caller, duration, "GetSessionToken")?;
        self.seal(caller.account, owner, duration, None, min_token_bytes)
    }

    /// Issues credentials for a federated user, to whom the caller lends its permissions.
    ///
    /// # Errors
    /// [`Error::SessionOfSession`] for a caller whose credentials are temporary,
    /// [`Error::PackedPolicyTooLarge`] for a session that does not fit into a token.
    pub(super) fn issue_federated(
        &self,
        caller: &Caller,
        duration: Option<Duration>,
        session: RoleSession,
        min_token_bytes: usize,
    ) -> Result<NewSession, Error> {
        let (owner, duration) = own_session(caller, duration, "GetFederationToken")?;
        let account = caller.account;
        self.seal(account, owner, duration, Some(session), min_token_bytes)
    }

    /// Issues the credentials of a session of a role.
    ///
    /// # Errors
    /// [`Error::PackedPolicyTooLarge`] for a session that does not fit into a token.
    pub(super) fn issue_for_role(
        &self,
        owner: &Owner,
        session: CheckedSession,
        min_token_bytes: usize,
    ) -> Result<NewSession, Error> {
        let role = owner.role().ok_or(Error::Signing)?;
        let (account, role) = (owner.account, role.name.id.as_str());
        self.seal(
            account,
            role,
            session.duration,
            Some(session.role),
            min_token_bytes,
        )
    }

    fn seal(
        &self,
        account: AccountId,
        owner: &str,
        duration: Duration,
        role: Option<RoleSession>,
        min_token_bytes: usize,
    ) -> Result<NewSession, Error> {
        let now = self.clock.now();
        let claims = SessionClaims {
            secret: session_keys::new_secret(&self.ids),
            account,
            owner: owner.to_owned(),
            issued: now.as_ms().div_euclid(1000),
            expires: now.plus(duration).as_ms().div_euclid(1000),
            role,
        };
        let access_key_id = session_keys::new_id(account, &self.ids);
        let mut text = serde_json::to_vec(&claims).map_err(|_| Error::Signing)?;
        // Blanks at the end of the document make the token as long as the caller wants it.
        let wanted = min_token_bytes.min(MAX_TOKEN_BYTES) / 4 * 3;
        let padded = wanted.saturating_sub(TokenSeal::overhead());
        text.resize(text.len().max(padded), b' ');
        let token = STANDARD.encode(self.seal.seal(&access_key_id, &text));
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::PackedPolicyTooLarge {
                percent: percent(token.len(), MAX_TOKEN_BYTES),
            });
        }
        Ok(NewSession {
            access_key_id,
            expires_at: claims.expires_at(),
            secret_access_key: Secret::new(claims.secret),
            session_token: Secret::new(token),
        })
    }

    /// The holder of a session token, and the secret that signs with it.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] for a token that was not issued with this key id, and after the owner
    /// was deleted; [`Error::SessionExpired`].
    pub(super) async fn identity(
        &self,
        identities: &Identities,
        access_key_id: &str,
        token: &str,
    ) -> Result<Arc<Identity>, Error> {
        let session = self.open(access_key_id, token)?;
        if session.claims.expires_at() <= self.clock.now() {
            return Err(Error::SessionExpired);
        }
        let claims = &session.claims;
        let owner = identities.owner(claims.account, &claims.owner).await?;
        let owner = owner.ok_or(Error::UnknownKey)?;
        if let Some(current) = session.current(&owner) {
            return Ok(current);
        }
        // They are read after the owner and used as long, so they are no older.
        let arns = claims
            .role
            .as_ref()
            .map_or(&[][..], |role| &role.policy_arns);
        let policies = identities.session_policies(claims.account, arns).await?;
        Ok(session.identity(owner, policies))
    }

    fn open(&self, access_key_id: &str, token: &str) -> Result<Arc<OpenedSession>, Error> {
        if !session_keys::is_id(access_key_id) || token.len() > MAX_TOKEN_BYTES {
            return Err(Error::UnknownKey);
        }
        // The key id has a fixed length, so that no two pairs read the same.
        let fingerprint = Sha256::new()
            .chain_update(access_key_id)
            .chain_update(token);
        let fingerprint: [u8; 32] = fingerprint.finalize().into();
        if let Some(known) = self.opened.get(&fingerprint) {
            return Ok(known);
        }
        let sealed = STANDARD.decode(token).map_err(|_| Error::UnknownKey)?;
        let text = self.seal.open(access_key_id, &sealed);
        let text = text.map_err(|_broken| Error::UnknownKey)?;
        let claims: SessionClaims =
            serde_json::from_slice(text.reveal()).map_err(|_| Error::UnknownKey)?;
        let policy = claims.role.as_ref().and_then(|role| role.policy.as_ref());
        let policy = policy.map(|text| Policy::parse(text.get(), Grammar::Identity));
        let policy = policy.transpose().map_err(|_| Error::UnknownKey)?;
        let opened = Arc::new(OpenedSession {
            access_key_id: access_key_id.into(),
            credentials: Arc::new(TemporaryCredentials {
                token: Secret::new(token.to_owned()),
                expires_at: claims.expires_at(),
                role: claims.role.clone(),
            }),
            policy: policy.map(|policy| NamedPolicy {
                owner: None,
                name: INLINE_POLICY.into(),
                policy: Arc::new(policy),
            }),
            claims,
            current: ArcSwapOption::empty(),
        });
        self.opened.insert(fingerprint, Arc::clone(&opened));
        Ok(opened)
    }
}

/// The owner and the length of a session that a user or a root makes of its own permissions.
///
/// # Errors
/// [`Error::SessionOfSession`] with the operation.
fn own_session<'a>(
    caller: &'a Caller,
    duration: Option<Duration>,
    operation: &'static str,
) -> Result<(&'a str, Duration), Error> {
    match &caller.principal {
        _ if caller.temporary.is_some() => Err(Error::SessionOfSession(operation)),
        Principal::AssumedRole { .. } | Principal::FederatedUser { .. } => {
            Err(Error::SessionOfSession(operation))
        }
        Principal::User(user) => Ok((user.id.as_str(), duration.unwrap_or(USER_SESSION))),
        Principal::Root => {
            let duration = duration.unwrap_or(MAX_ROOT_SESSION);
            Ok((store::ROOT, duration.min(MAX_ROOT_SESSION)))
        }
        Principal::WebIdentity { .. } | Principal::Service(_) | Principal::Anonymous => {
            Err(Error::MissingCredentials)
        }
    }
}

impl OpenedSession {
    /// The session for this state of its owner, where it is known.
    fn current(&self, owner: &Arc<Owner>) -> Option<Arc<Identity>> {
        let current = self.current.load();
        let current = current.as_deref();
        let current = current.filter(|(known, _)| Arc::ptr_eq(known, owner));
        current.map(|(_, identity)| Arc::clone(identity))
    }

    /// The session for this state of its owner and of its managed session policies.
    fn identity(&self, owner: Arc<Owner>, mut policies: Vec<NamedPolicy>) -> Arc<Identity> {
        let role = self.claims.role.as_ref();
        let mut caller = owner
            .caller(role.map(|role| role.name.as_str()))
            .with_access_key(Arc::clone(&self.access_key_id))
            .with_temporary_credentials(Arc::clone(&self.credentials));
        caller.issued_at = Some(self.claims.issued_at());
        if let Some(role) = role {
            // A managed policy that was deleted allows nothing, and still limits the session.
            // A federated user without session policies is allowed nothing by its lender's own.
            let limited = self.policy.is_some()
                || !role.policy_arns.is_empty()
                || matches!(caller.principal, Principal::FederatedUser { .. });
            policies.extend(self.policy.clone());
            caller.session_policies = limited.then(|| Arc::new(IdentityPolicies { policies }));
            caller.tags = role.tags_over(&caller.tags);
            caller.session_keys = role.condition_keys().into();
        }
        let identity = Arc::new(Identity::of_session(
            Arc::new(caller),
            Secret::new(self.claims.secret.clone()),
            Arc::clone(&owner),
        ));
        let current = (owner, Arc::clone(&identity));
        self.current.store(Some(Arc::new(current)));
        identity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session_claims::SessionTag;

    proptest! {
        /// A session that fits is opened as it was sealed, by its own key id only.
        #[test]
        fn sessions_of_roles_are_opened_as_they_were_sealed(
            name in "[a-z]{2,64}",
            tags in proptest::collection::vec(("\\PC{1,64}", "\\PC{0,128}"), 0..40),
            arns in proptest::collection::vec("[a-z]{20,200}", 0..10),
            min_token_bytes in 0_usize..5_000,
        ) {
            let ids = Ids::default();
            let sessions = Sessions::new(&MasterKey::random(&ids), Clock::System, ids);
            let tag = |(key, value): (String, String)| SessionTag {
                transitive: value.len() % 2 == 0,
                key,
                value,
            };
            let mut role = RoleSession::named(&name);
            role.tags = tags.into_iter().map(tag).collect();
            role.policy_arns = arns;
            let (account, hour) = (AccountId::DEV, Duration::from_hours(1));
            let made = sessions.seal(account, "AROA1", hour, Some(role.clone()), min_token_bytes);
            let session = match made {
                Err(Error::PackedPolicyTooLarge { percent }) => {
                    prop_assert!(percent > 100);
                    return Ok(());
                }
                made => made.expect("a session"),
            };
            let token = session.session_token.reveal();
            prop_assert!(token.len() <= MAX_TOKEN_BYTES && session.token_utilization() <= 100);
            prop_assert!(token.len() + 4 > min_token_bytes.min(MAX_TOKEN_BYTES));
            let opened = sessions.open(&session.access_key_id, token).expect("opened");
            let found = opened.claims.role.as_ref().expect("a role");
            prop_assert_eq!(&found.tags, &role.tags);
            prop_assert_eq!(&found.policy_arns, &role.policy_arns);
            prop_assert_eq!(&found.name, &name);
            prop_assert_eq!(&opened.claims.owner, "AROA1");
            let other = session_keys::new_id(account, &sessions.ids);
            prop_assert!(sessions.open(&other, token).is_err());
        }
    }

    /// Whoever may issue sessions can present as many valid tokens as it likes.
    #[test]
    fn remembered_sessions_are_bounded_in_bytes() {
        let ids = Ids::default();
        let sessions = Sessions::new(&MasterKey::random(&ids), Clock::System, ids);
        let root = Caller::root(AccountId::DEV);
        for _ in 0..15_000 {
            let session = sessions.issue(&root, None, 0).expect("a session");
            let token = session.session_token.reveal();
            assert!(sessions.open(&session.access_key_id, token).is_ok());
        }
        assert!(sessions.opened.weight() <= SESSION_BYTES);
        assert!(sessions.opened.len() > 1_000);
    }
}
