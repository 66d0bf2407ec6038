//! The application: the handles that the APIs share.

use std::sync::Arc;

use wharfinger_api_agent::AgentState;
use wharfinger_api_ecr as ecr;
use wharfinger_api_ecs as ecs;
use wharfinger_api_iam::iam;
use wharfinger_audit::AuditLog;
use wharfinger_aws::Arn;
use wharfinger_base::{Clock, Ids};
use wharfinger_db::Db;
use wharfinger_iam::Iam;
use wharfinger_monitoring::Logs;
use wharfinger_orchestrator::Orchestrator;
use wharfinger_orchestrator::payload::Registries;
use wharfinger_registry::{
    self as registry, ProfileKey, PullThrough, Registry, RegistryId, RepositoryResource,
    SigningKeys,
};
use wharfinger_scanning::Advisories;
use wharfinger_secrets::{Parameters, Secrets};

use crate::config::Config;

/// The handles of one server. Each API gets those that it needs.
pub struct App {
    pub clock: Clock,
    /// The registry's clock, which a development server sets ahead on request. Signatures, sessions
    /// and tasks go by the other one.
    pub registry_clock: Clock,
    pub ids: Ids,
    /// For readiness only: APIs reach rows through the services of the domains.
    pub db: Db,
    pub iam: Arc<Iam>,
    pub registry: Registry,
    pub signing_keys: SigningKeys,
    pub advisories: Advisories,
    pub pull_through: PullThrough,
    pub orchestrator: Orchestrator,
    pub logs: Logs,
    pub secrets: Secrets,
    pub parameters: Parameters,
    /// Off except in a server.
    pub audit: AuditLog,
    pub config: Config,
}

impl App {
    /// The repository that an ARN names, with the policy and tags that decide about it, also where
    /// there is none of the name; `None` for anything else than a repository. For commands, which
    /// only read the registry.
    pub(super) async fn repository(
        &self,
        arn: &Arn,
    ) -> Result<Option<Arc<RepositoryResource>>, registry::Error> {
        let name = arn.resource().strip_prefix("repository/");
        let (Some(name), "ecr", Some(account)) = (name, arn.service(), arn.account_id()) else {
            return Ok(None);
        };
        let (Ok(name), Ok(region)) = (name.parse(), arn.region().parse()) else {
            return Ok(None);
        };
        let registry = RegistryId { account, region };
        let found = self.registry.repositories.load_resource(&registry, &name);
        found.await.map(Some)
    }

    /// The registry of this server's account, for commands.
    fn home(&self) -> RegistryId {
        RegistryId {
            account: self.config.names.account,
            region: self.config.names.region.clone(),
        }
    }

    /// Makes a signing key of the server's account.
    pub(super) async fn create_signing_key(
        &self,
        name: &str,
    ) -> Result<ProfileKey, registry::Error> {
        self.signing_keys.create(&self.home(), name).await
    }

    /// A signing key of the server's account.
    pub(super) async fn signing_key(&self, name: &str) -> Result<ProfileKey, registry::Error> {
        self.signing_keys.find(&self.home(), name).await
    }

    /// The connections of container agents.
    pub(super) fn agent_state(&self) -> AgentState {
        AgentState::new(
            self.orchestrator.clone(),
            Arc::clone(&self.iam),
            (self.clock.clone(), self.ids.clone()),
            self.audit.clone(),
            (self.config.names.region.clone(), self.registries()),
        )
    }

    /// The registries whose images agents pull with tokens of this server.
    fn registries(&self) -> Registries {
        let names = &self.config.names;
        let port = self.config.listen.port();
        let own = ["localhost", "127.0.0.1"].map(|host| format!("{host}:{port}"));
        let (_, rest) = names.public_url.split_once("://").unwrap_or_default();
        let public = rest.split('/').next().unwrap_or_default().to_owned();
        let registry = names.repository_uri.registry(&names.account, &names.region);
        Registries {
            hosts: own.into_iter().chain([public, registry]).collect(),
            domain: names.domain.clone(),
            region: names.region.clone(),
            endpoint: names.public_url.clone(),
        }
    }

    pub(super) fn ecr_state(&self) -> ecr::State {
        ecr::State {
            registry: self.registry.clone(),
            pull_through: self.pull_through.clone(),
            iam: Arc::clone(&self.iam),
            names: Arc::new(self.config.names.clone()),
            presigned_downloads: self.config.distribution.presigned_redirects,
        }
    }

    pub(super) fn ecs_state(&self) -> ecs::State {
        ecs::State {
            orchestrator: self.orchestrator.clone(),
            iam: Arc::clone(&self.iam),
            names: Arc::new(self.config.names.clone()),
        }
    }

    pub(super) fn iam_state(&self) -> iam::State {
        iam::State {
            iam: Arc::clone(&self.iam),
        }
    }
}
