//! Identity and access: who calls, what they may do, and the credentials that prove it.
//!
//! Credentials go in at [`Iam::authenticate_sigv4`] (the AWS APIs) and [`Iam::authenticate_header`]
//! (`/v2/` and `/token`), a [`Caller`] comes out; [`evaluate()`] then says whether that caller may
//! do a thing, and why not. Users and keys are kept by [`Users`].

mod authenticate;
mod budget;
mod compiled;
mod condition;
mod context;
mod error;
mod evaluate;
mod glob;
mod identities;
mod key;
mod managed;
mod pattern;
mod policy;
mod principal;
mod resource;
mod scopes;
mod seal;
mod store;
mod strict_json;
mod token;
mod users;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use authenticate::Authenticator;
pub use authenticate::{PASSWORD_USER, Signed};
pub use budget::{EvaluationBudget, EvaluationLimit};
use compiled::CompiledPolicies;
pub use context::{AccessRequest, ConditionContext};
pub use error::{Error, PolicyError};
pub use evaluate::{Decision, Denial, Grant, MatchedStatement, PolicyKind, PolicySet, evaluate};
use identities::Identities;
pub use managed::{managed_policy, managed_policy_names};
pub use policy::{Effect, Grammar, Policy};
pub use principal::{Caller, IdentityPolicies, NamedPolicy, Principal, UserName};
pub use resource::Resource;
pub use scopes::{ScopeAction, ScopeActions, ScopeError, ScopeTarget, TokenScope, TokenScopes};
use seal::Seal;
pub use seal::{KeyFileError, MasterKey};
use serde::Deserialize;
pub use store::AccessKeySummary;
pub use token::{IssuedToken, LayerGrant, RegistryGrant, install_crypto_provider};
use token::{SignIn, Tokens};
pub use users::{MAX_KEYS, MAX_POLICIES, NewAccessKey, PolicyAttachment, UserSummary, Users};
use wharfinger_aws::{AccountId, sigv4};
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::{Db, Migration};

/// The tables of accounts, users, keys and policies.
pub const MIGRATIONS: &[Migration] = &[wharfinger_db::migration!("V0003__iam")];

/// How long the password of `GetAuthorizationToken` holds (ECR's own figure).
pub const PASSWORD_TTL: Duration = Duration::from_hours(12);
/// How long a layer's download URL holds (about what ECR gives).
pub const LAYER_TICKET_TTL: Duration = Duration::from_hours(1);

/// The `[iam]` table of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The account whose root gets the first access key, and that requests without another one
    /// belong to.
    pub account: AccountId,
    /// Where the master key is; `master.key` in the data folder where not said.
    pub key_file: Option<PathBuf>,
    /// Seconds that a Bearer token of `/token` holds; 60 to 3600.
    pub registry_token_seconds: u64,
    /// Take any credentials. Never from the file: only the flag `--dev` says so.
    #[serde(skip)]
    pub dev: bool,
}

impl Config {
    /// Shorter tokens would run out between a client's requests; longer ones would outlive what
    /// they are for.
    const REGISTRY_TOKEN_SECONDS: std::ops::RangeInclusive<u64> = 60..=3600;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account: AccountId::DEV,
            key_file: None,
            registry_token_seconds: 300,
            dev: false,
        }
    }
}

/// The handle of the room: sign-in, tokens, compiled policies, users.
pub struct Iam {
    authenticator: Authenticator,
    tokens: Arc<Tokens>,
    policies: Arc<CompiledPolicies>,
    users: Users,
    clock: Clock,
    config: Config,
}

impl Iam {
    /// Joins the index and the master key.
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
        prove_master_key(&db, &seal, clock.now()).await?;
        let tokens = Arc::new(Tokens::new(master));
        let policies = Arc::new(CompiledPolicies::new());
        let identities = Identities::new(
            db.clone(),
            Arc::clone(&seal),
            clock.clone(),
            Arc::clone(&policies),
        );
        let authenticator =
            Authenticator::new(identities, Arc::clone(&tokens), clock.clone(), config.dev);
        let users = Users {
            db,
            seal,
            clock: clock.clone(),
            ids,
        };
        Ok(Self {
            authenticator,
            tokens,
            policies,
            users,
            clock,
            config,
        })
    }

    /// On the first start of all, makes the configured account and its root's access key, to be
    /// shown once; `None` ever after.
    pub async fn bootstrap(&self) -> Result<Option<NewAccessKey>, Error> {
        self.users.bootstrap(self.config.account).await
    }

    /// Forgets all accounts, users and keys, for `POST /_wharfinger/reset`.
    ///
    /// # Errors
    /// [`Error::NotDev`] on any server but one under `--dev`.
    pub async fn reset(&self) -> Result<(), Error> {
        if !self.is_dev() {
            return Err(Error::NotDev);
        }
        Ok(self.users.db.write(store::clear).await?)
    }

    /// Are any credentials, and none, taken?
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

    /// Who signed this request of an AWS API, in the header or the query.
    pub async fn authenticate_sigv4(&self, request: &sigv4::Request<'_>) -> Result<Signed, Error> {
        self.authenticator.sigv4(request).await
    }

    /// Who sent this `Authorization` header (`Basic` or `Bearer`) to `/v2/` or `/token`. The same
    /// header again costs about a microsecond; users, keys and policies are no older than a
    /// second.
    pub async fn authenticate_header(
        &self,
        authorization: Option<&str>,
    ) -> Result<Arc<Caller>, Error> {
        self.authenticator.header(authorization).await
    }

    /// Who has this password, for doors that take it in a form (`POST /token`).
    pub async fn authenticate_basic(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Arc<Caller>, Error> {
        self.authenticator.basic(user, password).await
    }

    pub async fn authenticate_bearer(&self, token: &str) -> Result<Arc<Caller>, Error> {
        self.authenticator.bearer(token).await
    }

    /// The password that `GetAuthorizationToken` hands out, for the user name [`PASSWORD_USER`].
    pub fn password_for(&self, caller: &Caller) -> Result<IssuedToken, Error> {
        self.tokens.issue(
            SignIn::Password,
            caller,
            None,
            self.clock.now(),
            PASSWORD_TTL,
        )
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
        let (least, most) = Config::REGISTRY_TOKEN_SECONDS.into_inner();
        let ttl = Duration::from_secs(self.config.registry_token_seconds.clamp(least, most));
        self.tokens
            .issue(SignIn::Registry, caller, Some(grant), self.clock.now(), ttl)
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

    /// The policy of a repository (or registry) out of its text, compiled once.
    pub fn resource_policy(
        &self,
        text: &str,
        grammar: Grammar,
    ) -> Result<Arc<Policy>, PolicyError> {
        self.policies.get(text, grammar)
    }
}

/// Compares the key file with the proof in the index; writes the proof where the index is new.
async fn prove_master_key(db: &Db, seal: &Arc<Seal>, now: Timestamp) -> Result<(), Error> {
    const PROOF: &[u8] = b"wharfinger";
    let (id, proof) = (seal.key_id().to_owned(), seal.seal("master key", PROOF));
    let mut known = db.read(store::master_keys).await?;
    if known.is_empty() {
        // Two servers may start at once: the first proof stands, and both compare with it.
        known = db
            .write(move |tx| {
                if store::master_keys(tx)?.is_empty() {
                    store::insert_master_key(tx, &id, &proof, now)?;
                }
                store::master_keys(tx)
            })
            .await?;
    }
    let ours = known.iter().find(|(id, _)| id == seal.key_id());
    if ours.is_some_and(|(_, proof)| {
        seal.open("master key", proof)
            .is_ok_and(|text| text.reveal() == PROOF)
    }) {
        return Ok(());
    }
    let known = known
        .into_iter()
        .map(|(id, _)| id)
        .collect::<Vec<_>>()
        .join(", ");
    Err(Error::WrongMasterKey {
        known,
        found: seal.key_id().to_owned(),
    })
}

#[cfg(test)]
mod tests;
