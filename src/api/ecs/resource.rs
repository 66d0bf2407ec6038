//! The resources of ECS as policies see them.

use wharfinger_api_core::RequestScope;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{EntityKind, Iam, Resource};
use wharfinger_orchestrator::identifiers::{
    NamedResource, cluster_name, cluster_name_of_any_account,
};
use wharfinger_orchestrator::model::{
    AccountRegion, Cluster, ClusterName, ClusterStatus, InstanceId, Tag, TaskDefinition, TaskId,
};
use wharfinger_orchestrator::{Orchestrator, TaskDefinitions};

use crate::{Error, Result, State};

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EcsResourceId {
    /// An account in a region, for actions that policies allow on `*` only.
    Account(AccountRegion),
    /// What has this text after the account in its ARN, whether it exists or not: what a request
    /// creates, or with `*` all of a kind.
    Named(AccountRegion, String),
    Cluster(ClusterName),
    Instance(ClusterName, InstanceId),
    Task(ClusterName, TaskId),
    Service(ClusterName, String),
    TaskDefinition {
        home: AccountRegion,
        family: String,
        revision: i64,
    },
    CapacityProvider(AccountRegion, String),
    /// What a request names as a task definition to run: a revision, or a family for its newest.
    Definition(AccountRegion, String),
    /// A role that a request hands to containers.
    Role(Arn),
}

/// A resource as decisions and operations use it.
#[derive(Clone, Debug)]
pub struct EcsResource {
    account: AccountId,
    arn: Option<Arn>,
    tags: Vec<(String, String)>,
    /// The cluster, if it is one and exists.
    cluster: Option<Cluster>,
    /// The task definition, if a request names one to run and it exists.
    definition: Option<TaskDefinition>,
}

impl EcsResource {
    pub(super) async fn load(state: &State, id: &EcsResourceId) -> Result<Self> {
        let orchestrator = &state.orchestrator;
        Ok(match id {
            EcsResourceId::Account(home) => Self::untagged(home.account, None),
            EcsResourceId::Named(home, name) => Self::untagged(home.account, Some(home.arn(name))),
            EcsResourceId::Cluster(name) => {
                let cluster = orchestrator.clusters.get(name).await?;
                let tags = cluster.as_ref().map(|cluster| &cluster.details.tags[..]);
                Self {
                    tags: pairs(tags.unwrap_or_default()),
                    cluster,
                    ..Self::untagged(name.home.account, Some(name.arn()))
                }
            }
            EcsResourceId::Definition(home, name) => {
                Self::definition_of(&orchestrator.task_definitions, home, name).await?
            }
            EcsResourceId::Role(arn) => Self::role(&state.iam, arn).await?,
            EcsResourceId::Instance(cluster, id) => {
                let named = NamedResource::Instance(cluster.clone(), id.clone());
                Self::tagged(orchestrator, &named).await?
            }
            EcsResourceId::Task(cluster, id) => {
                let named = NamedResource::Task(cluster.clone(), id.clone());
                Self::tagged(orchestrator, &named).await?
            }
            EcsResourceId::Service(cluster, name) => {
                let named = NamedResource::Service(cluster.clone(), name.clone());
                Self::tagged(orchestrator, &named).await?
            }
            EcsResourceId::TaskDefinition {
                home,
                family,
                revision,
            } => {
                let named = NamedResource::TaskDefinition {
                    home: home.clone(),
                    family: family.clone(),
                    revision: *revision,
                };
                Self::tagged(orchestrator, &named).await?
            }
            EcsResourceId::CapacityProvider(home, name) => {
                let named = NamedResource::CapacityProvider(home.clone(), name.clone());
                Self::tagged(orchestrator, &named).await?
            }
        })
    }

    const fn untagged(account: AccountId, arn: Option<Arn>) -> Self {
        Self {
            account,
            arn,
            tags: Vec::new(),
            cluster: None,
            definition: None,
        }
    }

    async fn definition_of(
        definitions: &TaskDefinitions,
        home: &AccountRegion,
        name: &str,
    ) -> Result<Self> {
        let definition = match definitions.resolve(home, name).await {
            Ok(definition) => Some(definition),
            // The operation itself says what is wrong.
            Err(wharfinger_orchestrator::Error::Client(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let arn = definition.as_ref().map_or_else(
            || match name.parse::<Arn>() {
                Ok(arn) => arn,
                Err(_) => home.arn(&format!("task-definition/{name}")),
            },
            TaskDefinition::arn,
        );
        let tags = definition.as_ref().map(|definition| &definition.tags[..]);
        Ok(Self {
            tags: pairs(tags.unwrap_or_default()),
            definition,
            ..Self::untagged(home.account, Some(arn))
        })
    }

    async fn tagged(orchestrator: &Orchestrator, named: &NamedResource) -> Result<Self> {
        let tags = orchestrator.tags.find(named).await?;
        Ok(Self {
            tags: pairs(&tags.unwrap_or_default()),
            ..Self::untagged(named.home().account, Some(named.arn()))
        })
    }

    async fn role(iam: &Iam, arn: &Arn) -> Result<Self> {
        let account = arn.account_id().unwrap_or(iam.account());
        let name = arn.resource().rsplit('/').next().unwrap_or_default();
        let found = iam.entities().find(account, EntityKind::Role, name).await;
        let found = found.map_err(Error::internal)?;
        // A role with this name and another path is another role.
        let found = found.filter(|role| role.arn == *arn);
        Ok(Self {
            tags: found.map(|role| role.tags).unwrap_or_default(),
            ..Self::untagged(account, Some(arn.clone()))
        })
    }

    /// The task definition of [`EcsResourceId::Definition`], if it exists and is active.
    pub(super) fn definition(&self) -> Option<&TaskDefinition> {
        self.definition.as_ref()
    }

    /// The cluster, which must be there and active.
    ///
    /// # Errors
    /// `ClusterNotFoundException`.
    pub(super) fn active_cluster(&self) -> Result<&Cluster> {
        let cluster = self.cluster()?;
        match cluster.status {
            ClusterStatus::Active => Ok(cluster),
            ClusterStatus::Inactive => Err(wharfinger_orchestrator::Error::ClusterInactive.into()),
        }
    }

    /// The cluster, also an inactive one.
    ///
    /// # Errors
    /// `ClusterNotFoundException`.
    pub(super) fn cluster(&self) -> Result<&Cluster> {
        let missing = wharfinger_orchestrator::Error::ClusterNotFound;
        self.cluster.as_ref().ok_or_else(|| missing.into())
    }
}

impl Resource for EcsResource {
    fn arn(&self) -> Option<&Arn> {
        self.arn.as_ref()
    }

    fn account(&self) -> AccountId {
        self.account
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}

/// Tags as conditions have them.
pub(super) fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    let pair = |tag: &Tag| {
        let value = tag.value.clone().unwrap_or_default();
        tag.key.clone().map(|key| (key, value))
    };
    tags.iter().filter_map(pair).collect()
}

/// The account and region that a request addresses.
pub(super) fn home(scope: &RequestScope) -> AccountRegion {
    AccountRegion {
        account: scope.account,
        region: scope.region.clone(),
    }
}

/// The cluster that the member `cluster` of a request names. It is one of the caller's account, so
/// that an operation which needs no permission on the cluster cannot reach another's.
pub(super) fn cluster_of(scope: &RequestScope, text: Option<&str>) -> Result<ClusterName> {
    Ok(cluster_name(&home(scope), text)?)
}

/// A cluster, whose account may be another one, for operations that need a permission on it.
pub(super) fn cluster_to_decide(scope: &RequestScope, text: Option<&str>) -> Result<ClusterName> {
    Ok(cluster_name_of_any_account(&home(scope), text)?)
}

/// The cluster of [`cluster_of`] as the resource of an operation.
pub(super) fn cluster_id(scope: &RequestScope, text: Option<&str>) -> Result<EcsResourceId> {
    Ok(EcsResourceId::Cluster(cluster_of(scope, text)?))
}

impl From<NamedResource> for EcsResourceId {
    fn from(named: NamedResource) -> Self {
        match named {
            NamedResource::Cluster(name) => Self::Cluster(name),
            NamedResource::Instance(cluster, id) => Self::Instance(cluster, id),
            NamedResource::Task(cluster, id) => Self::Task(cluster, id),
            NamedResource::Service(cluster, name) => Self::Service(cluster, name),
            NamedResource::TaskDefinition {
                home,
                family,
                revision,
            } => Self::TaskDefinition {
                home,
                family,
                revision,
            },
            NamedResource::CapacityProvider(home, name) => Self::CapacityProvider(home, name),
        }
    }
}
