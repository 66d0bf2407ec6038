//! The digests of images that the first task of a service revision reports, by which later tasks
//! of the revision pull them.
//!
//! Source: ECS API reference, `ContainerImage` and `versionConsistency`.

use std::sync::Arc;

use wharfinger_db::Tx;

use crate::error::Result;
use crate::model::{ContainerDefinition, Deployment, Task, TaskDefinition};
use crate::services::changed;
use crate::store::{deployments, services};

/// Keeps the digests of a task's images as those of its service revision where it has none yet.
/// `definition` reads the definition of the task.
pub(super) fn keep(
    tx: &mut Tx<'_>,
    task: &Task,
    definition: impl Fn(&mut Tx<'_>) -> Result<Option<Arc<TaskDefinition>>>,
) -> Result<()> {
    let (Some(service), Some(deployment)) = (&task.service, &task.deployment) else {
        return Ok(());
    };
    if reported(task).next().is_none() {
        return Ok(());
    }
    let Some(deployment) = deployments::by_id(tx, deployment)? else {
        return Ok(());
    };
    if is_complete(task, &deployment) {
        return Ok(());
    }
    let Some(definition) = definition(tx)? else {
        return Ok(());
    };
    let resolved: Vec<_> = reported(task)
        .filter(|(name, _)| {
            let mut containers = definition.document.container_definitions.iter();
            let found = containers.find(|one| one.name.as_deref() == Some(name));
            found.is_some_and(ContainerDefinition::is_resolved_once)
        })
        .collect();
    let kept = &deployment.details.image_digests;
    if resolved.iter().all(|(name, _)| kept.contains_key(*name)) {
        return Ok(());
    }
    // A rollback brings back a revision: it is shown by the deployment that had it first.
    let revision_id = &deployment.details.revision_id;
    let first = deployments::by_revision(tx, service, revision_id)?;
    let first = first.filter(|first| first.id != deployment.id);
    let mut is_changed = false;
    for mut one in first.into_iter().chain([deployment]) {
        let before = one.details.image_digests.len();
        for (name, digest) in &resolved {
            let digests = &mut one.details.image_digests;
            let digest = || (*digest).to_owned();
            digests.entry((*name).to_owned()).or_insert_with(digest);
        }
        if one.details.image_digests.len() > before {
            deployments::update(tx, &one)?;
            is_changed = true;
        }
    }
    if is_changed && let Some(service) = services::by_id(tx, service)? {
        // A decision under way would write the deployment as it read it.
        changed(services::update(tx, &service)?)?;
    }
    Ok(())
}

/// Containers that were not told a digest, each with the one that its agent found.
fn reported(task: &Task) -> impl Iterator<Item = (&str, &str)> {
    let containers = task.details.containers.iter();
    containers.filter_map(|container| {
        let (name, digest) = (
            container.name.as_deref()?,
            container.image_digest.as_deref()?,
        );
        let is_told = task.details.image_digests.contains_key(name);
        (!is_told && is_digest(digest)).then_some((name, digest))
    })
}

fn is_complete(task: &Task, deployment: &Deployment) -> bool {
    reported(task).all(|(name, _)| deployment.details.image_digests.contains_key(name))
}

/// Whether it is a digest of a manifest: others would be told what this agent says.
fn is_digest(text: &str) -> bool {
    let hex = |length: usize, hash: &str| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        hash.len() == length && hash.bytes().all(is_hex)
    };
    match text.split_once(':') {
        Some(("sha256", hash)) => hex(64, hash),
        Some(("sha512", hash)) => hex(128, hash),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Timestamp;
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::assignments::Reporter;
    use crate::model::{
        Container, DeploymentId, DeploymentStatus, DesiredStatus, InstanceId, LaunchType,
        ServiceId, TaskDetails, TaskId, TaskStatus,
    };
    use crate::services::tests::{NAME, NOW, World, new_service};
    use crate::services::{ContainerImage, ServiceUpdate};
    use crate::state_change::{ContainerReport, ReportedStatus, TaskReport};
    use crate::store::tasks;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    impl World {
        async fn primary(&self) -> Deployment {
            let described = self.described().await;
            described.deployments[0].0.clone()
        }

        /// Adds a task of the deployment whose containers were not told a digest.
        async fn run(&self, id: &str, service: &ServiceId, deployment: &DeploymentId) -> TaskId {
            let names = ["app", "log", "fixed"];
            let containers = names.map(|name| Container {
                name: Some(name.to_owned()),
                ..Container::default()
            });
            let task = Task {
                id: TaskId(id.to_owned()),
                cluster: self.cluster.id.clone(),
                instance: Some(InstanceId("i".to_owned())),
                service: Some(service.clone()),
                deployment: Some(deployment.clone()),
                definition: self.definitions[0].name.clone(),
                group: format!("service:{NAME}"),
                started_by: None,
                launch_type: LaunchType::Ec2,
                last_status: TaskStatus::Pending,
                desired_status: DesiredStatus::Running,
                created_at: NOW,
                stopped_at: None,
                protected_until: None,
                version: 1,
                details: TaskDetails {
                    containers: containers.into(),
                    ..TaskDetails::default()
                },
            };
            let id = task.id.clone();
            let inserted = self.db.write(move |tx| tasks::insert(tx, &task));
            inserted.await.expect("the statements run");
            id
        }

        /// All containers of the task have images of this digest.
        async fn report(&self, task: &TaskId, digest: &str) {
            let containers = ["app", "log", "fixed"].map(|name| ContainerReport {
                name: name.to_owned(),
                status: Some(ReportedStatus::Pending),
                image_digest: Some(digest.to_owned()),
                ..ContainerReport::default()
            });
            let report = TaskReport {
                containers: containers.into(),
                ..TaskReport::default()
            };
            let assignments = &self.orchestrator.assignments;
            let instance = InstanceId("i".to_owned());
            let reporter = Reporter::Instance(&instance);
            let taken = assignments.report(&self.cluster, task, reporter, report);
            taken.await.expect("taken");
        }

        async fn images(&self, revision_id: &str) -> Vec<ContainerImage> {
            let services = &self.orchestrator.services;
            let found = services.revision(&self.cluster, NAME, revision_id).await;
            found.expect("reads").expect("a revision").images
        }
    }

    #[tokio::test]
    async fn a_revision_keeps_what_its_first_task_reports() {
        for db in every_engine(crate::MIGRATIONS) {
            let world = World::on(db).await;
            let service = world
                .create(new_service())
                .await
                .expect("a service")
                .service;
            let deployment = world.primary().await;
            assert!(deployment.details.image_digests.is_empty());
            let first = world.run("1", &service.id, &deployment.id).await;
            world.report(&first, "sha256:nonsense").await;
            assert!(world.primary().await.details.image_digests.is_empty());
            let second = world.run("2", &service.id, &deployment.id).await;
            world.report(&second, &digest('a')).await;
            let kept = world.described().await;
            let expected = [("app".to_owned(), digest('a'))].into();
            assert_eq!(kept.deployments[0].0.details.image_digests, expected);
            assert!(
                kept.service.version > service.version,
                "a decision under way must read the deployment again"
            );
            let third = world.run("3", &service.id, &deployment.id).await;
            world.report(&third, &digest('b')).await;
            let after = world.described().await;
            assert_eq!(after.deployments[0].0.details.image_digests, expected);
            assert_eq!(after.service.version, kept.service.version);
            let image = |name: &str, image: &str, digest: Option<String>| ContainerImage {
                container_name: name.to_owned(),
                image: image.to_owned(),
                image_digest: digest,
            };
            let revision_id = &deployment.details.revision_id;
            assert_eq!(
                world.images(revision_id).await,
                [
                    image("app", "app:latest", Some(digest('a'))),
                    image("log", "log:latest", None),
                    image("fixed", "fixed@sha256:00", Some("sha256:00".to_owned())),
                ]
            );
            let force = ServiceUpdate {
                force_new_deployment: true,
                ..ServiceUpdate::default()
            };
            world.update(None, force).await;
            let forced = world.primary().await;
            assert_ne!(forced.id, deployment.id);
            assert!(forced.details.image_digests.is_empty(), "resolved anew");
        }
    }

    #[tokio::test]
    async fn what_a_rollback_resolves_is_shown_of_its_revision() {
        for db in every_engine(crate::MIGRATIONS) {
            let world = World::on(db).await;
            let service = world
                .create(new_service())
                .await
                .expect("a service")
                .service;
            let first = world.primary().await;
            let mut rollback = first.clone();
            rollback.id = DeploymentId("ecs-svc/2".to_owned());
            rollback.details.service_deployment_id = "other".to_owned();
            rollback.created_at = Timestamp::from_ms(NOW.as_ms() + 1);
            let mut replaced = first.clone();
            replaced.status = DeploymentStatus::Inactive;
            let (new, old) = (rollback.clone(), replaced);
            let written = world.db.write(move |tx| {
                deployments::insert(tx, &new)?;
                deployments::update(tx, &old)
            });
            written.await.expect("the statements run");
            let task = world.run("1", &service.id, &rollback.id).await;
            world.report(&task, &digest('c')).await;
            let primary = world.primary().await;
            assert_eq!(primary.id, rollback.id);
            let expected = [("app".to_owned(), digest('c'))].into();
            assert_eq!(primary.details.image_digests, expected);
            let images = world.images(&first.details.revision_id).await;
            assert_eq!(images[0].image_digest, Some(digest('c')));
        }
    }
}
