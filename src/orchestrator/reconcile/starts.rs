//! Starts the tasks that a decision requested.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::deployment::{Change, Event};
use crate::error::{Error, Result};
use crate::model::{
    PlacementConstraint, PlacementConstraintType, PropagateTags, Tag, TaskOverride,
};
use crate::placement::Unplaced;
use crate::reconcile::changes::{events, has_lately};
use crate::reconcile::service_view::ServiceRows;
use crate::services::Services;
use crate::store::service_events;
use crate::tasks::{Launch, Placement, ServiceGuard, StartTasks, StartedTasks, Tasks};

/// What became of starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts {
    pub(super) started: usize,
    /// Some task found no instance.
    pub(super) is_unplaced: bool,
}

/// Carries out the starts of a plan. They happen only while the service has this version, or the
/// one that an earlier start of the plan gave it.
pub(super) async fn carry_out(
    services: &Services,
    tasks: &Tasks,
    rows: &ServiceRows,
    changes: &[Change],
    mut version: i64,
    now: Timestamp,
) -> Result<Starts> {
    let mut total = Starts::default();
    for change in changes {
        let (placement, zone) = match change {
            Change::Start { count, zone } => (Placement::Chosen(*count), zone.clone()),
            Change::StartOn(instances) => (Placement::On(instances.clone()), None),
            _ => continue,
        };
        let started = match request(rows, placement, zone.as_deref(), version) {
            Ok(request) => tasks.start(request).await,
            Err(error) => Err(error),
        };
        let started = match started {
            Ok(started) => started,
            // A provider or constraint that was legal when the service was made, or a task
            // definition that is gone.
            Err(Error::InvalidParameter(why)) => {
                total.is_unplaced = true;
                let event = Event::Unplaced(format!("Reason: {why}"));
                report(services, rows, vec![event], now).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        version += i64::from(!started.tasks.is_empty());
        total.started += started.tasks.len();
        total.is_unplaced |= started.unplaced.is_some();
        report(services, rows, reports(&started, zone), now).await?;
    }
    Ok(total)
}

fn reports(started: &StartedTasks, zone: Option<String>) -> Vec<Event> {
    let ids: Vec<_> = started.tasks.iter().map(|task| task.id.clone()).collect();
    let mut events = Vec::new();
    match zone {
        _ if ids.is_empty() => {}
        Some(zone) => events.push(Event::StartedToBalance { zone, tasks: ids }),
        None => events.push(Event::Started(ids)),
    }
    if let Some(unplaced) = &started.unplaced {
        events.push(Event::Unplaced(why(unplaced)));
    }
    events
}

/// Why no instance took a task, in the words of ECS.
fn why(unplaced: &Unplaced) -> String {
    match unplaced.closest() {
        Some((instance, refusal)) => format!(
            "The closest matching (container-instance {}) {}",
            instance.0,
            refusal.in_event()
        ),
        None => "Reason: No Container Instances were found in your cluster.".to_owned(),
    }
}

async fn report(
    services: &Services,
    rows: &ServiceRows,
    reported: Vec<Event>,
    now: Timestamp,
) -> Result<()> {
    if reported.is_empty() {
        return Ok(());
    }
    let (services_of_write, service) = (services.clone(), rows.service.clone());
    let work = move |tx: &mut Tx<'_>| -> Result<()> {
        let mut new = Vec::new();
        for event in &reported {
            if !event.is_muted() || !has_lately(tx, &service, event, now)? {
                new.push(event.clone());
            }
        }
        let new = events(&services_of_write, &service, new.iter(), now);
        if !new.is_empty() {
            service_events::insert(tx, &service.id, &new)?;
        }
        Ok(())
    };
    services.db.write(work).await
}

/// The request for tasks of the primary deployment.
///
/// # Errors
/// [`Error::InvalidParameter`] where its task definition is gone, or a capacity provider is not the
/// cluster's any more.
fn request(
    rows: &ServiceRows,
    placement: Placement,
    zone: Option<&str>,
    version: i64,
) -> Result<StartTasks> {
    let (Some(primary), Some(Some(definition))) =
        (rows.deployments.first(), rows.definitions.first())
    else {
        let gone = "The task definition of the service does not exist any more.";
        return Err(Error::InvalidParameter(gone.to_owned()));
    };
    let (service, target) = (&rows.service, &primary.details.target);
    let details = &service.details;
    let mut constraints = details.placement_constraints.clone();
    constraints.extend(zone.map(|zone| PlacementConstraint {
        kind: Some(PlacementConstraintType::MemberOf),
        expression: Some(format!("attribute:ecs.availability-zone == '{zone}'")),
    }));
    let launch = Launch::of(
        &rows.cluster.details,
        target.launch_type,
        &target.capacity_provider_strategy,
    )?;
    Ok(StartTasks {
        cluster: rows.cluster.clone(),
        definition: definition.clone(),
        placement,
        launch,
        group: Some(rows.group()),
        service: Some(service.id.clone()),
        deployment: Some(primary.id.clone()),
        started_by: Some(primary.id.0.clone()),
        overrides: TaskOverride::default(),
        constraints,
        strategy: details.placement_strategy.clone(),
        platform_version: target.platform_version.clone(),
        network_configuration: target.network_configuration.clone(),
        enable_execute_command: details.enable_execute_command,
        tags: tags(rows),
        image_digests: primary.details.image_digests.clone(),
        token: None,
        guard: Some(ServiceGuard {
            service: service.id.clone(),
            version,
        }),
    })
}

/// The tags of the service's tasks.
fn tags(rows: &ServiceRows) -> Vec<Tag> {
    let details = &rows.service.details;
    let definition = rows.definitions.first().and_then(Option::as_ref);
    let mut tags = match details.propagate_tags {
        PropagateTags::Service => details.tags.clone(),
        PropagateTags::TaskDefinition => definition.map(|one| one.tags.clone()).unwrap_or_default(),
        PropagateTags::None => Vec::new(),
    };
    if details.enable_ecs_managed_tags {
        let managed = |key: &str, value: &str| Tag {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        };
        tags.push(managed("aws:ecs:clusterName", &rows.cluster.name.name));
        tags.push(managed("aws:ecs:serviceName", &rows.service.name));
    }
    tags
}
