//! The orchestrator: clusters, container instances, task definitions, tasks and services.

pub mod account_settings;
mod agent_sessions;
mod assignments;
mod attributes;
mod capacity_providers;
pub mod capacity_strategy;
mod clusters;
mod deployment;
mod error;
pub mod identifiers;
mod instances;
pub mod model;
mod nodes;
pub mod payload;
pub mod placement;
mod quotas;
mod reconcile;
mod registration;
mod service_wake;
mod services;
mod state_change;
mod store;
mod tags;
mod task_credentials;
mod task_definition;
mod task_definitions;
mod tasks;

pub use account_settings::AccountSettings;
pub use agent_sessions::{AgentSession, AgentSessions, SessionEvent};
pub use assignments::{AssignedTask, Assignments, Reporter, TaskToRun, registrant};
pub use attributes::{
    AttributeFilter, Attributes, TargetAttribute, check_count as check_attribute_count,
};
pub use capacity_providers::CapacityProviders;
pub use clusters::{ClusterCounts, Clusters, LaunchCounts};
pub use error::Error;
pub use instances::{DescribedInstance, InstanceFilter, Instances, StateFailure};
use nodes::Nodes;
pub use reconcile::{
    AgentPoll, Cleanup, InstanceReconciler, ServiceReconciler, TaskDefinitionCleanup, WaitingTasks,
};
pub use registration::Registration;
pub use service_wake::ServiceWake;
pub use services::{
    ContainerImage, DeploymentCounts, NewService, RevisionCounts, RevisionDescription,
    ServiceDeploymentDescription, ServiceDescription, ServiceSettings, ServiceUpdate, Services,
    StopType,
};
pub use state_change::{ContainerReport, ReportedStatus, TaskReport};
pub use tags::{Tags, check as check_tags};
pub use task_credentials::{CredentialsError, RENEWED_BEFORE, TaskCredentials};
pub use task_definitions::{
    DeletionFailure, Deletions, FamilyStatus, TaskDefinitionListing, TaskDefinitions,
    check_deletions, role_arn,
};
pub use tasks::{
    ClientToken, ExplainedPlacement, Launch, Placement, Protection, ProtectionFailure, StartTasks,
    StartedTasks, TaskFilter, Tasks, check_expression, check_launch, check_launch_type,
    check_overrides, check_placement, check_platform,
};
use wharfinger_base::{Clock, Ids};
use wharfinger_db::{Db, Migration, migration};

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[migration!("V0016__orchestrator")];

/// All operations of the orchestrator.
#[derive(Clone)]
pub struct Orchestrator {
    pub assignments: Assignments,
    pub attributes: Attributes,
    pub clusters: Clusters,
    pub instances: Instances,
    pub services: Services,
    pub task_definitions: TaskDefinitions,
    pub tasks: Tasks,
    pub capacity_providers: CapacityProviders,
    pub settings: AccountSettings,
    pub tags: Tags,
    nodes: Nodes,
    db: Db,
}

impl Orchestrator {
    pub fn new(db: &Db, clock: &Clock, ids: &Ids) -> Self {
        let nodes = Nodes::new(db.clone(), clock.clone(), ids.clone());
        let sessions = AgentSessions::default();
        let wake = ServiceWake::default();
        Self {
            assignments: Assignments::new(
                db.clone(),
                clock.clone(),
                sessions.clone(),
                nodes.clone(),
                wake.clone(),
            ),
            attributes: Attributes::new(db.clone()),
            instances: Instances::new(
                db.clone(),
                clock.clone(),
                ids.clone(),
                sessions.clone(),
                nodes.clone(),
                wake.clone(),
            ),
            clusters: Clusters::new(db.clone(), clock.clone(), ids.clone()),
            services: Services::new(
                db.clone(),
                clock.clone(),
                ids.clone(),
                wake.clone(),
                ServiceSettings::default(),
            ),
            task_definitions: TaskDefinitions::new(db.clone(), clock.clone()),
            tasks: Tasks::new(
                db.clone(),
                clock.clone(),
                ids.clone(),
                nodes.clone(),
                sessions,
                wake,
            ),
            capacity_providers: CapacityProviders::new(db.clone(), clock.clone()),
            settings: AccountSettings::new(db.clone()),
            tags: Tags::new(db.clone()),
            nodes,
            db: db.clone(),
        }
    }

    /// The same with other settings for services. To be called before anything runs.
    #[must_use]
    pub fn with_services(mut self, settings: ServiceSettings) -> Self {
        self.services.settings = settings;
        self
    }

    /// The reconciler of services.
    pub fn service_reconciler(&self) -> ServiceReconciler {
        let (services, tasks) = (self.services.clone(), self.tasks.clone());
        ServiceReconciler::new(services, tasks, self.nodes.clone())
    }

    /// The reconciler of tasks that wait for capacity.
    pub fn waiting_tasks(&self) -> WaitingTasks {
        WaitingTasks::new(self.db.clone(), self.tasks.clone())
    }

    /// The reconciler that removes old rows.
    pub fn cleanup(&self) -> Cleanup {
        Cleanup::new(self.db.clone())
    }
}

impl Orchestrator {
    /// Deletes everything of all accounts, for development servers. Agents see that their instances
    /// are gone.
    pub async fn reset(&self) -> Result<(), Error> {
        self.db.write(store::reset::everything).await?;
        self.assignments.forget_definitions();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    mod simulation;

    use wharfinger_db::Db;

    #[test]
    fn the_tables_can_be_made() {
        assert!(Db::memory(super::MIGRATIONS).is_ok());
    }
}
