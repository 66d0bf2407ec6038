//! Task definitions: registered, described, listed, deregistered and deleted.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::model::{
    Compatibility, ContainerDefinition, EphemeralStorage, FamilyRevision, IpcMode, NetworkMode,
    PidMode, ProxyConfiguration, RuntimePlatform, Tag, TaskDefinition, TaskDefinitionDocument,
    TaskDefinitionPlacementConstraint, TaskDefinitionStatus, Volume,
};
use wharfinger_orchestrator::{FamilyStatus, TaskDefinitionListing, check_deletions, role_arn};

use crate::demands::{TASKS_SERVICE, pass_role, with_tags};
use crate::resource::{EcsResourceId, home};
use crate::views::{EpochSeconds, Failure};
use crate::{Ecs, Result, error, paging};

/// `TaskDefinition` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskDefinitionView {
    task_definition_arn: String,
    family: String,
    revision: i64,
    status: TaskDefinitionStatus,
    registered_at: EpochSeconds,
    registered_by: String,
    deregistered_at: Option<EpochSeconds>,
    delete_requested_at: Option<EpochSeconds>,
    #[serde(flatten)]
    document: TaskDefinitionDocument,
}

impl From<TaskDefinition> for TaskDefinitionView {
    fn from(definition: TaskDefinition) -> Self {
        Self {
            task_definition_arn: definition.arn().to_string(),
            family: definition.name.family,
            revision: definition.name.revision,
            status: definition.status,
            registered_at: definition.registered_at.into(),
            registered_by: definition.registered_by,
            deregistered_at: definition.deregistered_at.map(EpochSeconds::from),
            delete_requested_at: definition.delete_requested_at.map(EpochSeconds::from),
            document: definition.document,
        }
    }
}

/// The response of the operations that return a task definition with its tags.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskDefinitionOutput {
    task_definition: TaskDefinitionView,
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterTaskDefinition {
    family: String,
    task_role_arn: Option<String>,
    execution_role_arn: Option<String>,
    network_mode: Option<NetworkMode>,
    container_definitions: Vec<ContainerDefinition>,
    volumes: Option<Vec<Volume>>,
    placement_constraints: Option<Vec<TaskDefinitionPlacementConstraint>>,
    requires_compatibilities: Option<Vec<Compatibility>>,
    cpu: Option<String>,
    memory: Option<String>,
    tags: Option<Vec<Tag>>,
    pid_mode: Option<PidMode>,
    ipc_mode: Option<IpcMode>,
    proxy_configuration: Option<ProxyConfiguration>,
    inference_accelerators: Option<Vec<serde::de::IgnoredAny>>,
    ephemeral_storage: Option<EphemeralStorage>,
    runtime_platform: Option<RuntimePlatform>,
    enable_fault_injection: Option<bool>,
    trusted_execution_configuration: Option<serde::de::IgnoredAny>,
}

impl Operation for RegisterTaskDefinition {
    type Service = Ecs;
    type Output = TaskDefinitionOutput;

    const NAME: &'static str = "RegisterTaskDefinition";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        let name = format!("task-definition/{}:*", self.family);
        Ok(EcsResourceId::Named(home(scope), name))
    }

    /// The roles are handed to the containers of tasks.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let id = self.resource(scope)?;
        let own = Demand::new(Self::ACTION, id.clone());
        let mut demands = with_tags::<Self>(own, id, self.tags.as_deref());
        let mut passed: Vec<String> = Vec::new();
        for role in [&self.task_role_arn, &self.execution_role_arn] {
            let role = role_arn(&home(scope), role.as_deref())?;
            if let Some(role) = role.filter(|role| !passed.contains(role)) {
                demands.push(pass_role(&role, TASKS_SERVICE)?);
                passed.push(role);
            }
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<TaskDefinitionOutput> {
        let unsupported = |feature: &str| {
            let message = format!("This server does not support '{feature}'.");
            Err(error::client(message))
        };
        if self
            .inference_accelerators
            .is_some_and(|list| !list.is_empty())
        {
            return unsupported("inferenceAccelerators");
        }
        if self.trusted_execution_configuration.is_some() {
            return unsupported("trustedExecutionConfiguration");
        }
        let document = TaskDefinitionDocument {
            container_definitions: self.container_definitions,
            task_role_arn: self.task_role_arn,
            execution_role_arn: self.execution_role_arn,
            network_mode: self.network_mode,
            volumes: self.volumes.unwrap_or_default(),
            requires_attributes: Vec::new(),
            placement_constraints: self.placement_constraints.unwrap_or_default(),
            compatibilities: Vec::new(),
            requires_compatibilities: self.requires_compatibilities,
            runtime_platform: self.runtime_platform,
            cpu: self.cpu,
            memory: self.memory,
            pid_mode: self.pid_mode,
            ipc_mode: self.ipc_mode,
            proxy_configuration: self.proxy_configuration,
            ephemeral_storage: self.ephemeral_storage,
            enable_fault_injection: self.enable_fault_injection,
        };
        let definitions = &cx.state().orchestrator.task_definitions;
        let (home, tags) = (home(cx.scope()), self.tags.unwrap_or_default());
        let caller = cx.caller().arn().to_string();
        let registered = definitions.register(&home, &self.family, document, &caller, tags);
        let registered = registered.await?;
        Ok(TaskDefinitionOutput {
            tags: registered.tags.clone(),
            task_definition: registered.into(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum TaskDefinitionField {
    #[serde(rename = "TAGS")]
    Tags,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeTaskDefinition {
    task_definition: String,
    include: Option<Vec<TaskDefinitionField>>,
}

impl Operation for DescribeTaskDefinition {
    type Service = Ecs;
    type Output = TaskDefinitionOutput;

    const NAME: &'static str = "DescribeTaskDefinition";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<TaskDefinitionOutput> {
        let definitions = &cx.state().orchestrator.task_definitions;
        let home = home(cx.scope());
        let mut found = definitions.describe(&home, &self.task_definition).await?;
        let mut tags = std::mem::take(&mut found.tags);
        if !self
            .include
            .is_some_and(|fields| fields.contains(&TaskDefinitionField::Tags))
        {
            tags.clear();
        }
        Ok(TaskDefinitionOutput {
            task_definition: found.into(),
            tags,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeregisterTaskDefinition {
    task_definition: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeregisterTaskDefinitionOutput {
    task_definition: TaskDefinitionView,
}

impl Operation for DeregisterTaskDefinition {
    type Service = Ecs;
    type Output = DeregisterTaskDefinitionOutput;

    const NAME: &'static str = "DeregisterTaskDefinition";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DeregisterTaskDefinitionOutput> {
        let definitions = &cx.state().orchestrator.task_definitions;
        let home = home(cx.scope());
        let found = definitions.deregister(&home, &self.task_definition).await?;
        Ok(DeregisterTaskDefinitionOutput {
            task_definition: found.into(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteTaskDefinitions {
    task_definitions: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteTaskDefinitionsOutput {
    task_definitions: Vec<TaskDefinitionView>,
    failures: Vec<Failure>,
}

impl Operation for DeleteTaskDefinitions {
    type Service = Ecs;
    type Output = DeleteTaskDefinitionsOutput;

    const NAME: &'static str = "DeleteTaskDefinitions";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Named(
            home(scope),
            "task-definition/*".to_owned(),
        ))
    }

    /// The permission to delete each of them.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        check_deletions(&self.task_definitions)?;
        let home = home(scope);
        let demands = self.task_definitions.iter().map(|text| {
            let id = match FamilyRevision::parse(&home, text) {
                Some(FamilyRevision { family, revision }) => EcsResourceId::TaskDefinition {
                    home: home.clone(),
                    family,
                    revision,
                },
                // It names nothing, and the response says so to those who may delete all.
                None => EcsResourceId::Named(home.clone(), "task-definition/*".to_owned()),
            };
            Demand::new(Self::ACTION, id)
        });
        let mut demands: Vec<_> = demands.collect();
        if demands.is_empty() {
            demands.push(Demand::new(Self::ACTION, self.resource(scope)?));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DeleteTaskDefinitionsOutput> {
        let definitions = &cx.state().orchestrator.task_definitions;
        let home = home(cx.scope());
        let deletions = definitions.delete(&home, self.task_definitions).await?;
        let deleted = deletions.deleted.into_iter().map(TaskDefinitionView::from);
        let failures = deletions.failures.into_iter().map(|failure| Failure {
            arn: Some(failure.name),
            reason: failure.reason.to_owned(),
            detail: None,
        });
        Ok(DeleteTaskDefinitionsOutput {
            task_definitions: deleted.collect(),
            failures: failures.collect(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum SortOrder {
    #[serde(rename = "ASC")]
    Ascending,
    #[serde(rename = "DESC")]
    Descending,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTaskDefinitions {
    family_prefix: Option<String>,
    status: Option<TaskDefinitionStatus>,
    sort: Option<SortOrder>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTaskDefinitionsOutput {
    task_definition_arns: Vec<String>,
    next_token: Option<String>,
}

impl Operation for ListTaskDefinitions {
    type Service = Ecs;
    type Output = ListTaskDefinitionsOutput;

    const NAME: &'static str = "ListTaskDefinitions";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListTaskDefinitionsOutput> {
        let limit = paging::limit(self.max_results, paging::MAX_ITEMS)?;
        let home = home(cx.scope());
        let listing = TaskDefinitionListing {
            status: self.status.unwrap_or(TaskDefinitionStatus::Active),
            family: self.family_prefix.filter(|family| !family.is_empty()),
            descending: self.sort == Some(SortOrder::Descending),
        };
        let family = listing.family.as_deref().unwrap_or_default();
        let key = format!("{} {} {family}", listing.status, listing.descending);
        let after = paging::position(Self::NAME, &key, self.next_token.as_deref())?;
        let after = FamilyRevision::parse(&home, &after);
        let definitions = &cx.state().orchestrator.task_definitions;
        let page = definitions.page(&home, listing, after, limit).await?;
        let next = page
            .next
            .map(|last| paging::token(Self::NAME, &key, &last.to_string()));
        let arns = page.items.iter().map(|name| name.arn(&home).to_string());
        Ok(ListTaskDefinitionsOutput {
            task_definition_arns: arns.collect(),
            next_token: next,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum TaskDefinitionFamilyStatus {
    Active,
    Inactive,
    All,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTaskDefinitionFamilies {
    family_prefix: Option<String>,
    status: Option<TaskDefinitionFamilyStatus>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTaskDefinitionFamiliesOutput {
    families: Vec<String>,
    next_token: Option<String>,
}

impl Operation for ListTaskDefinitionFamilies {
    type Service = Ecs;
    type Output = ListTaskDefinitionFamiliesOutput;

    const NAME: &'static str = "ListTaskDefinitionFamilies";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListTaskDefinitionFamiliesOutput> {
        let limit = paging::limit(self.max_results, paging::MAX_ITEMS)?;
        let status = match self.status {
            Some(TaskDefinitionFamilyStatus::Active) => FamilyStatus::Active,
            Some(TaskDefinitionFamilyStatus::Inactive) => FamilyStatus::Inactive,
            Some(TaskDefinitionFamilyStatus::All) | None => FamilyStatus::All,
        };
        let prefix = self.family_prefix.unwrap_or_default();
        let key = format!("{status:?} {prefix}");
        let after = paging::position(Self::NAME, &key, self.next_token.as_deref())?;
        let definitions = &cx.state().orchestrator.task_definitions;
        let home = home(cx.scope());
        let page = definitions
            .families(&home, &prefix, status, &after, limit)
            .await?;
        let next = page.next.map(|last| paging::token(Self::NAME, &key, &last));
        Ok(ListTaskDefinitionFamiliesOutput {
            families: page.items,
            next_token: next,
        })
    }
}
