//! Services in an index, without a reconciler.

use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::Db;
use wharfinger_db::testing::every_engine;

use super::*;
use crate::Orchestrator;
use crate::model::{
    ClusterDetails, ClusterName, FamilyRevision, PlacementStrategy, PlacementStrategyType,
    TaskDefinitionDocument, TaskDefinitionStatus, home,
};

pub(crate) const NOW: Timestamp = Timestamp::from_ms(1_000_000);
pub(crate) const NAME: &str = "web";

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) cluster: Cluster,
    /// Revisions 1 and 2.
    pub(crate) definitions: [TaskDefinition; 2],
}

fn definition(revision: i64) -> TaskDefinition {
    let document = r#"{"compatibilities": ["EC2"], "containerDefinitions": [
        {"name": "app", "image": "app:latest", "memory": 64},
        {"name": "log", "image": "log:latest", "memory": 64, "versionConsistency": "disabled"},
        {"name": "fixed", "image": "fixed@sha256:00", "memory": 64}]}"#;
    let document: TaskDefinitionDocument = serde_json::from_str(document).expect("a document");
    TaskDefinition {
        home: home(),
        name: FamilyRevision {
            family: NAME.to_owned(),
            revision,
        },
        status: TaskDefinitionStatus::Active,
        registered_at: NOW,
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: "me".to_owned(),
        document,
        tags: Vec::new(),
    }
}

pub(crate) fn new_service() -> NewService {
    NewService {
        name: NAME.to_owned(),
        desired_count: Some(2),
        created_by: "me".to_owned(),
        ..NewService::default()
    }
}

impl World {
    pub(crate) async fn on(db: Db) -> Self {
        let orchestrator = Orchestrator::new(&db, &Clock::manual(NOW), &Ids::default());
        let name = ClusterName {
            home: home(),
            name: "c".to_owned(),
        };
        let clusters = &orchestrator.clusters;
        let cluster = clusters.create(&name, ClusterDetails::default()).await;
        let definitions = [1, 2].map(definition);
        let stored = definitions.clone();
        let write = db.write(move |tx| {
            let mut stored = stored.iter();
            stored.try_for_each(|one| task_definitions::insert(tx, one))
        });
        write.await.expect("the statements run");
        Self {
            db,
            orchestrator,
            cluster: cluster.expect("a cluster"),
            definitions,
        }
    }

    pub(crate) async fn create(&self, new: NewService) -> Result<ServiceDescription> {
        let (services, definition) = (&self.orchestrator.services, &self.definitions[0]);
        services.create(&self.cluster, definition, new).await
    }

    pub(crate) async fn update(
        &self,
        definition: Option<&TaskDefinition>,
        update: ServiceUpdate,
    ) -> ServiceDescription {
        let services = &self.orchestrator.services;
        let updated = services.update(&self.cluster, NAME, definition, update);
        updated.await.expect("a service")
    }

    pub(crate) async fn described(&self) -> ServiceDescription {
        let services = &self.orchestrator.services;
        let found = services.describe(&self.cluster, vec![NAME.to_owned()]);
        let found = found.await.expect("reads").pop().flatten();
        found.expect("the service is there")
    }

    /// Removes the row of a task definition.
    pub(crate) async fn forget(&self, definition: &TaskDefinition) {
        let name = definition.name.clone();
        let write = self
            .db
            .write(move |tx| task_definitions::delete(tx, &home(), &name));
        write.await.expect("the statements run");
    }
}

#[tokio::test]
async fn an_update_without_a_task_definition_keeps_the_one_of_an_update_before() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.create(new_service()).await.expect("a service");
        let second = &world.definitions[1];
        let updated = world.update(Some(second), ServiceUpdate::default()).await;
        let deployment = updated.deployments[0].0.id.clone();
        let scale = ServiceUpdate {
            desired_count: Some(5),
            ..ServiceUpdate::default()
        };
        let scaled = world.update(None, scale).await;
        assert_eq!(scaled.service.desired_count, 5);
        let target = &scaled.service.details.target;
        assert_eq!(target.task_definition.as_ref(), Some(&second.name));
        assert_eq!(scaled.deployments[0].0.id, deployment);
    }
}

#[tokio::test]
async fn the_same_client_token_gives_the_service_that_it_made() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let request = |request: &str| NewService {
            token: Some(ClientToken {
                operation: "CreateService",
                token: "t".to_owned(),
                request: request.to_owned(),
            }),
            ..new_service()
        };
        let made = world.create(request("r")).await.expect("a service");
        let scale = ServiceUpdate {
            desired_count: Some(5),
            ..ServiceUpdate::default()
        };
        world.update(None, scale).await;
        let again = world.create(request("r")).await.expect("a service");
        assert_eq!(again.service.id, made.service.id);
        assert_eq!(again.service.desired_count, 5);
        let refused = world.create(request("other")).await;
        assert_eq!(refused, invalid(NOT_IDEMPOTENT));
        let deleted = world
            .orchestrator
            .services
            .delete(&world.cluster, NAME, true);
        deleted.await.expect("a service");
        let message = "Unable to Start a service that is still Draining.";
        let refused = world.create(request("r")).await;
        assert_eq!(refused, invalid(message), "what it made was deleted");
    }
}

#[tokio::test]
async fn a_spread_among_hosts_is_stored_as_one_among_instances() {
    use PlacementStrategyType::{Random, Spread};
    let strategies = |fields: [&str; 2]| {
        [Spread, Random]
            .into_iter()
            .zip(fields)
            .map(|(kind, field)| PlacementStrategy {
                kind: Some(kind),
                field: Some(field.to_owned()),
            })
            .collect::<Vec<_>>()
    };
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let new = NewService {
            placement_strategy: strategies(["host", ""]),
            ..new_service()
        };
        let stored = strategies(["instanceId", ""]);
        let made = world.create(new).await.expect("a service").service;
        assert_eq!(made.details.placement_strategy, stored);
        let zones = strategies(["attribute:ecs.availability-zone", ""]);
        for (given, stored) in [(zones.clone(), zones), (strategies(["host", ""]), stored)] {
            let update = ServiceUpdate {
                placement_strategy: Some(given),
                ..ServiceUpdate::default()
            };
            let updated = world.update(None, update).await.service;
            assert_eq!(updated.details.placement_strategy, stored);
        }
    }
}
