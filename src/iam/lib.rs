//! Identity and access management: users, access keys, policies and decisions.
//!
//! [`Iam::authenticate_sigv4`] (AWS APIs) and [`Iam::authenticate_header`] (`/v2/` and `/token`)
//! verify credentials and return a [`Caller`]. [`evaluate()`] decides whether that caller may
//! perform an action, and gives the reason. [`Users`] manages users and access keys.

mod access_keys;
mod account;
mod attachments;
mod authenticate;
mod authorization_details;
mod authorization_messages;
mod aws_policies;
mod budget;
mod compiled;
mod condition;
mod context;
mod credential_report;
mod decision;
mod effect;
mod entities;
mod entity;
mod error;
mod evaluate;
mod explain;
mod freshness;
mod glob;
mod grants;
mod identities;
mod identity_db;
mod index_mode;
mod inspect;
mod instance_profiles;
mod key;
mod managed;
mod managed_policies;
mod master_key_proof;
mod members;
mod new_role;
mod new_session;
mod oidc_providers;
mod outline;
mod owned_keys;
mod owner;
mod pattern;
mod policy;
mod policy_listings;
mod policy_lookup;
mod policy_set;
mod principal;
mod principal_ids;
mod reset;
mod resource;
mod role_sessions;
mod roles;
mod scopes;
mod seal;
mod service_roles;
mod session_claims;
mod session_keys;
mod sessions;
mod store;
mod strict_json;
mod tags;
mod target_role;
mod token;
mod unique_ids;
mod users;
mod web_identity;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use access_keys::MAX_KEYS;
pub use account::Accounts;
use authenticate::Authenticator;
pub use authenticate::{PASSWORD_USER, SigV4Claim, Signed};
pub use authorization_details::{AccountDetail, DetailKind, EntityDetail};
pub use authorization_messages::AuthorizationMessages;
pub use budget::{EvaluationBudget, EvaluationLimit};
pub use context::{AccessRequest, ConditionContext, SimulatedContext};
pub use decision::{Decision, Denial, Grant, MatchedStatement, PolicyKind};
pub use effect::Effect;
pub use entities::{Entities, NewEntity};
pub use entity::{Entity, EntityKind, EntityName, RoleSettings, RoleUse};
pub use error::{Error, PolicyError};
pub use evaluate::evaluate;
pub use explain::{
    Applicability, ExplainedPolicy, ExplainedStatement, Explainer, Explanation, context_keys,
};
pub use grants::{LayerGrant, RegistryGrant};
use identities::Identities;
use identity_db::IdentityDb;
pub use inspect::AttachedPolicies;
pub use managed::{AwsManagedPolicy, aws_managed_policies, managed_policy, managed_policy_names};
pub use managed_policies::{
    ManagedPolicies, ManagedPolicy, ManagedPolicyVersion, NewManagedPolicy,
};
pub use new_role::NewRole;
pub use new_session::{Inherited, NewRoleSession, inherited};
pub use oidc_providers::{NewOidcProvider, OidcProvider, OidcProviders};
pub use outline::TextPosition;
pub use owned_keys::{KeyOwner, KeyRecord};
pub use policy::{Grammar, Policy};
pub use policy_listings::{EntityFilter, PolicyFilter, PolicyUsage};
pub use policy_set::{PolicySet, TrustPolicy};
pub use principal::{
    Caller, IdentityPolicies, NamedPolicy, Principal, RoleName, UserName, federated_arn,
};
pub use resource::Resource;
pub use role_sessions::{AssumedRole, RoleSessions};
pub use roles::RoleChange;
pub use scopes::{ScopeAction, ScopeActions, ScopeError, ScopeTarget, TokenScope, TokenScopes};
use seal::Seal;
pub use seal::{KeyFileError, MasterKey, SealBroken, SecretSeal};
pub use service_roles::{ServiceRole, service_role, service_role_path};
pub use sessions::NewSession;
use sessions::Sessions;
pub use store::access_keys::{AccessKeySummary, KeyUse};
pub use store::account::CredentialReport;
pub use store::policy_entities::PolicyEntity;
pub use target_role::TargetRole;
pub use token::{IssuedToken, install_crypto_provider};
use token::{SignIn, Tokens};
pub use users::{MAX_POLICIES, NewAccessKey, PolicyAttachment, UserSummary, Users};
pub use web_identity::{FederatedCaller, WebIdentities, WebIdentityError};
use wharfinger_aws::{AccountId, sigv4};
use wharfinger_base::{Clock, Ids};
use wharfinger_db::{Db, Migration};
pub use wharfinger_oidc::TokenError;

/// The tables of accounts, users, keys and policies.
pub const MIGRATIONS: &[Migration] = &[
    wharfinger_db::migration!("V0003__iam"),
    wharfinger_db::migration!("V0007__settings"),
    wharfinger_db::migration!("V0008__users_by_unique_id"),
    wharfinger_db::migration!("V0010__identities"),
    wharfinger_db::migration!("V0011__managed_policies"),
    wharfinger_db::migration!("V0012__entities"),
    wharfinger_db::migration!("V0013__oidc_providers"),
    wharfinger_db::migration!("V0014__account"),
    wharfinger_db::migration!("V0015__identity_generation"),
];

/// How long the password of `GetAuthorizationToken` holds (ECR's own figure).
pub const PASSWORD_TTL: Duration = Duration::from_hours(12);
/// The query parameter of a layer's download URL that holds its ticket.
pub const LAYER_TICKET_PARAMETER: &str = "ticket";
/// How long a layer's download URL holds (about what ECR gives).
pub const LAYER_TICKET_TTL: Duration = Duration::from_hours(1);

/// How long a Bearer token of `/token` may hold: shorter ones expire between the requests of one
/// push, and longer ones are of no use to a client.
pub const REGISTRY_TOKEN_SECONDS: std::ops::RangeInclusive<u64> = 60..=3_600;

/// How identities are handled on this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The account whose root gets the first access key.
    pub account: AccountId,
    /// How long a Bearer token of `/token` holds, within [`REGISTRY_TOKEN_SECONDS`].
    pub registry_token_ttl: Duration,
    /// Whether any credentials are accepted (`--dev`).
    pub dev: bool,
    /// A file with key sets of OIDC providers that the server does not fetch.
    pub oidc_key_sets: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account: AccountId::DEV,
            registry_token_ttl: Duration::from_mins(5),
            dev: false,
            oidc_key_sets: None,
        }
    }
}

/// Authentication, tokens and users over one index.
pub struct Iam {
    authenticator: Authenticator,
    role_sessions: RoleSessions,
    web_identities: WebIdentities,
    sessions: Arc<Sessions>,
    tokens: Arc<Tokens>,
    users: Users,
    entities: Entities,
    managed_policies: ManagedPolicies,
    accounts: Accounts,
    authorization_messages: AuthorizationMessages,
    clock: Clock,
    config: Config,
}

impl Iam {
    /// Opens the identities of an index with the master key of the deployment.
    ///
    /// # Errors
    /// [`Error::WrongMasterKey`] where the secrets in the index were sealed under another key.
    pub async fn open(
        db: Db,
        master: &MasterKey,
        clock: Clock,
        ids: Ids,
        config: Config,
    ) -> Result<Self, Error> {
        let seal = Arc::new(Seal::new(master, ids.clone()));
        let db = IdentityDb::new(db, ids.clone());
        master_key_proof::prove(&db, &seal, clock.now()).await?;
        let tokens = Arc::new(Tokens::new(master));
        let identities = Identities::new(db.clone(), Arc::clone(&seal), clock.clone());
        let identities = Arc::new(identities);
        let key_sets = config.oidc_key_sets.as_deref();
        let web_identities = WebIdentities::new(&db, &clock, key_sets, config.dev)?;
        let sessions = Arc::new(Sessions::new(master, clock.clone(), ids.clone()));
        let role_sessions = RoleSessions {
            identities: Arc::clone(&identities),
            sessions: Arc::clone(&sessions),
            dev: config.dev,
        };
        let authenticator = Authenticator::new(
            identities,
            Arc::clone(&sessions),
            Arc::clone(&tokens),
            clock.clone(),
            config.dev,
        );
        let entities = Entities {
            db: db.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
        };
        let managed_policies = ManagedPolicies {
            db: db.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
        };
        let authorization_ids = ids.clone();
        let accounts = Accounts {
            db: db.clone(),
            clock: clock.clone(),
        };
        let users = Users {
            db,
            seal,
            clock: clock.clone(),
            ids,
        };
        Ok(Self {
            authenticator,
            role_sessions,
            web_identities,
            sessions,
            tokens,
            users,
            entities,
            managed_policies,
            accounts,
            authorization_messages: AuthorizationMessages::new(master, authorization_ids),
            clock,
            config,
        })
    }

    /// Makes the configured account and an access key of its root, to be shown once; `None` where
    /// the root has a key.
    pub async fn bootstrap(&self) -> Result<Option<NewAccessKey>, Error> {
        self.users.bootstrap(self.config.account).await
    }

    /// Records that this server serves the index.
    ///
    /// # Errors
    /// [`Error::NotDevIndex`] where a server under `--dev` would serve an index that was made
    /// without.
    pub async fn claim_index(&self) -> Result<(), Error> {
        index_mode::claim(&self.users.db, self.is_dev()).await
    }

    /// The repository policy as it is stored: with the unique ids of the users and roles that it
    /// names. Under `--dev`, where every caller is a root, it stays as it is.
    ///
    /// # Errors
    /// [`PolicyError::PrincipalNotFound`] for a user or role that does not exist.
    pub async fn bind_principals(&self, policy: &str) -> Result<String, Error> {
        if self.is_dev() {
            return Ok(policy.to_owned());
        }
        let policy = policy.to_owned();
        let bound = self
            .users
            .db
            .read(move |tx| principal_ids::bind(tx, &policy));
        bound.await
    }

    /// A stored repository policy as it is shown: with the ARNs of the users and roles that still
    /// exist.
    pub async fn show_principals(&self, policy: &str) -> Result<String, Error> {
        let policy = policy.to_owned();
        let shown = self
            .users
            .db
            .read(move |tx| principal_ids::show(tx, &policy));
        shown.await
    }

    /// Whether any credentials are accepted, including none (`--dev`).
    pub const fn is_dev(&self) -> bool {
        self.authenticator.is_dev()
    }

    /// The account of the server's own root.
    pub const fn account(&self) -> AccountId {
        self.config.account
    }

    pub const fn users(&self) -> &Users {
        &self.users
    }

    /// Users, groups, roles and instance profiles, as the IAM API manages them.
    pub const fn entities(&self) -> &Entities {
        &self.entities
    }

    pub const fn oidc_providers(&self) -> &OidcProviders {
        &self.web_identities.providers
    }

    /// Verifies the tokens of OIDC providers.
    pub const fn web_identities(&self) -> &WebIdentities {
        &self.web_identities
    }

    /// Issues the sessions of roles.
    pub const fn role_sessions(&self) -> &RoleSessions {
        &self.role_sessions
    }

    /// Seals why requests were denied.
    pub const fn authorization_messages(&self) -> &AuthorizationMessages {
        &self.authorization_messages
    }

    /// Aliases and reports of accounts.
    pub const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub const fn managed_policies(&self) -> &ManagedPolicies {
        &self.managed_policies
    }

    /// Checks all of a signed AWS request that does not depend on its body: key, scope date, time
    /// and covered headers. `body_hash` of the request is not used.
    pub async fn check_sigv4_head(
        &self,
        request: &sigv4::Request<'_>,
    ) -> Result<SigV4Claim, Error> {
        self.authenticator.sigv4_head(request).await
    }

    /// Verifies the signature of a request whose head was checked.
    pub async fn authenticate_sigv4(
        &self,
        claim: SigV4Claim,
        request: &sigv4::Request<'_>,
    ) -> Result<Signed, Error> {
        self.authenticator.sigv4(claim, request).await
    }

    /// The caller of this `Authorization` header (`Basic` or `Bearer`) of `/v2/` or `/token`. The
    /// same header again costs about a microsecond; users, keys and policies are at most one second
    /// old.
    pub async fn authenticate_header(
        &self,
        authorization: Option<&str>,
    ) -> Result<Arc<Caller>, Error> {
        self.authenticator.header(authorization).await
    }

    /// The caller with this password, which `POST /token` takes in a form.
    pub async fn authenticate_basic(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Arc<Caller>, Error> {
        self.authenticator.basic(user, password).await
    }

    /// The caller that the credentials of a session stand for.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where its owner is gone.
    pub async fn session_caller(&self, session: &NewSession) -> Result<Arc<Caller>, Error> {
        let token = session.session_token.reveal();
        let identity = self
            .authenticator
            .identity(&session.access_key_id, Some(token));
        Ok(Arc::clone(&identity.await?.caller))
    }

    /// The password that `GetAuthorizationToken` returns, for the user name [`PASSWORD_USER`].
    pub fn password_for(&self, caller: &Caller) -> Result<IssuedToken, Error> {
        self.tokens.issue(
            SignIn::Password,
            caller,
            None,
            self.clock.now(),
            PASSWORD_TTL,
        )
    }

    /// Issues temporary credentials that the caller, a user or a root, may use in place of its
    /// access key: for twelve hours unless `duration` says so, a root for one hour at most.
    ///
    /// # Errors
    /// [`Error::SessionOfSession`] for a caller whose credentials are temporary already.
    pub fn session_token(
        &self,
        caller: &Caller,
        duration: Option<Duration>,
        min_token_bytes: usize,
    ) -> Result<NewSession, Error> {
        self.sessions.issue(caller, duration, min_token_bytes)
    }

    /// The account that an access key belongs to, of a user, a root or a session; `None` for no
    /// key's id.
    pub async fn account_of_key(&self, access_key_id: &str) -> Result<Option<AccountId>, Error> {
        if let Some(account) = session_keys::account_of(access_key_id) {
            return Ok(Some(account));
        }
        let id = access_key_id.to_owned();
        let found = self
            .users
            .db
            .get(move |tx| store::access_keys::account_of(tx, &id));
        Ok(found.await?.and_then(|account| account.parse().ok()))
    }

    /// Issues a Bearer token limited to `grant`. The caller must hold it already: nothing is
    /// decided here.
    ///
    /// # Errors
    /// [`Error::TokenTooLong`] where the scopes make the token longer than one that is accepted.
    pub fn registry_token(
        &self,
        caller: &Caller,
        grant: &RegistryGrant,
    ) -> Result<IssuedToken, Error> {
        self.tokens.issue(
            SignIn::Registry,
            caller,
            Some(grant),
            self.clock.now(),
            self.config.registry_token_ttl,
        )
    }

    /// Issues the ticket of a layer's download URL. Whoever has it reads that layer in the name of
    /// `caller` until it expires.
    pub fn layer_ticket(&self, caller: &Caller, grant: &LayerGrant) -> Result<IssuedToken, Error> {
        self.tokens
            .issue_ticket(caller, grant, self.clock.now(), LAYER_TICKET_TTL)
    }

    /// Returns the caller that a ticket was issued to, as it stands now, and the layer.
    ///
    /// # Errors
    /// [`Error::InvalidTicket`] also where the key or the user of the ticket is gone or disabled.
    pub async fn verify_layer_ticket(
        &self,
        ticket: &str,
    ) -> Result<(Arc<Caller>, LayerGrant), Error> {
        self.authenticator.ticket(ticket).await
    }
}

#[cfg(test)]
mod tests;
