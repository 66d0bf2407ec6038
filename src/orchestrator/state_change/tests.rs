//! Reports move a task forward and never back.

use proptest::prelude::*;

use super::*;
use crate::model::{
    Attachment, ClusterId, FamilyRevision, InstanceId, LaunchType, NetworkConfiguration,
    TaskDetails,
};

const NOW: Timestamp = Timestamp::from_ms(1_000);
const LATER: Timestamp = Timestamp::from_ms(2_000);

fn task() -> Task {
    let container = |name: &str| Container {
        name: Some(name.to_owned()),
        last_status: Some("PENDING".to_owned()),
        ..Container::default()
    };
    Task {
        id: TaskId("t".to_owned()),
        cluster: ClusterId("c".to_owned()),
        instance: Some(InstanceId("i".to_owned())),
        service: None,
        deployment: None,
        definition: FamilyRevision {
            family: "web".to_owned(),
            revision: 1,
        },
        group: "family:web".to_owned(),
        started_by: None,
        launch_type: LaunchType::Ec2,
        last_status: TaskStatus::Pending,
        desired_status: DesiredStatus::Running,
        created_at: Timestamp::from_ms(1),
        stopped_at: None,
        protected_until: None,
        version: 1,
        details: TaskDetails {
            containers: vec![container("web"), container("log")],
            ..TaskDetails::default()
        },
    }
}

fn reported(status: ReportedStatus) -> TaskReport {
    TaskReport {
        status: Some(status),
        ..TaskReport::default()
    }
}

fn running() -> Task {
    apply(&task(), &reported(ReportedStatus::Running), NOW).expect("a change")
}

#[test]
fn a_running_task_has_its_start_from_the_first_report() {
    let running = running();
    assert_eq!(running.last_status, TaskStatus::Running);
    assert_eq!(running.details.started_at, Some(NOW));
    let again = apply(&running, &reported(ReportedStatus::Running), LATER);
    assert_eq!(again, None);
}

#[test]
fn a_late_report_changes_nothing() {
    let mut late = reported(ReportedStatus::Pending);
    late.reason = Some("late".to_owned());
    assert_eq!(apply(&running(), &late, LATER), None);
    let stopped = apply(&running(), &reported(ReportedStatus::Stopped), NOW).expect("a change");
    for status in [ReportedStatus::Running, ReportedStatus::Stopped] {
        assert_eq!(apply(&stopped, &reported(status), LATER), None);
    }
}

#[test]
fn a_task_that_stops_runs_no_more_and_says_why() {
    let stopped = apply(&running(), &reported(ReportedStatus::Stopped), LATER).expect("a change");
    assert_eq!(stopped.last_status, TaskStatus::Stopped);
    assert_eq!(stopped.desired_status, DesiredStatus::Stopped);
    assert_eq!(stopped.stopped_at, Some(LATER));
    let details = &stopped.details;
    let code = TaskStopCode::EssentialContainerExited;
    assert_eq!(details.stop_code, Some(code));
    let reason = "Essential container in task exited";
    assert_eq!(details.stopped_reason.as_deref(), Some(reason));
    let states = details.containers.iter();
    assert!(
        states
            .clone()
            .all(|one| one.last_status.as_deref() == Some("STOPPED"))
    );
}

#[test]
fn a_task_that_never_ran_failed_to_start() {
    let mut report = reported(ReportedStatus::Stopped);
    report.containers.push(ContainerReport {
        name: "web".to_owned(),
        status: Some(ReportedStatus::Stopped),
        reason: Some("CannotPullContainerError: not found".to_owned()),
        ..ContainerReport::default()
    });
    let stopped = apply(&task(), &report, NOW).expect("a change");
    let details = &stopped.details;
    assert_eq!(details.stop_code, Some(TaskStopCode::TaskFailedToStart));
    assert_eq!(
        details.stopped_reason.as_deref(),
        Some("Task failed to start")
    );
    let reason = details.containers[0].reason.as_deref();
    assert_eq!(reason, Some("CannotPullContainerError: not found"));
    assert_eq!(details.containers[1].reason, None);
}

#[test]
fn agents_cannot_store_long_texts_or_times_that_nobody_can_read() {
    let long = Some("x".repeat(100_000));
    let mut report = reported(ReportedStatus::Running);
    report.pull_started_at = Some(Timestamp::from_ms(i64::MIN));
    report.execution_stopped_at = Some(Timestamp::from_ms(i64::MAX));
    report.containers.push(ContainerReport {
        name: "web".to_owned(),
        image_digest: long.clone(),
        runtime_id: long.clone(),
        network_bindings: Some(vec![NetworkBinding {
            bind_ip: long.clone(),
            host_port_range: long.clone(),
            container_port_range: long,
            ..NetworkBinding::default()
        }]),
        ..ContainerReport::default()
    });
    let task = task();
    let changed = apply(&task, &report, NOW).expect("a change");
    let size = serde_json::to_string(&changed.details).expect("JSON").len();
    assert!(size < 10_000, "{size}");
    assert_eq!(changed.details.pull_started_at, Some(Timestamp::from_ms(0)));
    assert_eq!(changed.details.execution_stopped_at, Some(NOW));
}

#[test]
fn the_reason_of_who_stopped_a_task_stays() {
    let mut requested = running();
    requested.desired_status = DesiredStatus::Stopped;
    requested.details.stop_code = Some(TaskStopCode::UserInitiated);
    requested.details.stopped_reason = Some("Task stopped by user".to_owned());
    let mut report = reported(ReportedStatus::Stopped);
    report.reason = Some("Essential container in task exited".to_owned());
    let stopped = apply(&requested, &report, NOW).expect("a change");
    assert_eq!(stopped.details.stop_code, Some(TaskStopCode::UserInitiated));
    let reason = stopped.details.stopped_reason.as_deref();
    assert_eq!(reason, Some("Task stopped by user"));
}

#[test]
fn reports_of_containers_alone_leave_the_task_where_it_is() {
    let report = TaskReport {
        containers: vec![ContainerReport {
            name: "log".to_owned(),
            status: Some(ReportedStatus::Stopped),
            exit_code: Some(3),
            ..ContainerReport::default()
        }],
        ..TaskReport::default()
    };
    let changed = apply(&running(), &report, LATER).expect("a change");
    assert_eq!(changed.last_status, TaskStatus::Running);
    assert_eq!(changed.details.containers[1].exit_code, Some(3));
    let mut restarted = report.clone();
    restarted.containers[0].status = Some(ReportedStatus::Running);
    restarted.containers[0].exit_code = Some(0);
    assert_eq!(apply(&changed, &restarted, LATER), None);
}

#[test]
fn containers_that_the_task_lacks_are_ignored() {
    let report = TaskReport {
        containers: vec![ContainerReport {
            name: "~internal~ecs~pause".to_owned(),
            status: Some(ReportedStatus::Running),
            ..ContainerReport::default()
        }],
        ..TaskReport::default()
    };
    assert_eq!(apply(&task(), &report, NOW), None);
}

#[test]
fn the_address_of_an_awsvpc_task_is_that_of_its_bindings() {
    let mut task = task();
    task.details.network_configuration = Some(NetworkConfiguration::default());
    task.details.attachments = vec![Attachment {
        id: Some("eni".to_owned()),
        ..Attachment::default()
    }];
    let binding = NetworkBinding {
        bind_ip: Some("172.20.0.9".to_owned()),
        ..NetworkBinding::default()
    };
    let mut report = reported(ReportedStatus::Running);
    report.containers.push(ContainerReport {
        name: "web".to_owned(),
        network_bindings: Some(vec![binding]),
        ..ContainerReport::default()
    });
    let running = apply(&task, &report, NOW).expect("a change");
    let attachment = &running.details.attachments[0];
    assert_eq!(attachment.status.as_deref(), Some("ATTACHED"));
    for container in &running.details.containers {
        let interfaces = container.network_interfaces.as_deref().expect("interfaces");
        let address = interfaces[0].private_ipv4_address.as_deref();
        assert_eq!(address, Some("172.20.0.9"));
        assert_eq!(interfaces[0].attachment_id.as_deref(), Some("eni"));
    }
    let stopped = apply(&running, &reported(ReportedStatus::Stopped), LATER).expect("a change");
    let status = stopped.details.attachments[0].status.as_deref();
    assert_eq!(status, Some("DELETED"));
}

#[test]
fn a_task_is_as_healthy_as_its_essential_containers() {
    let health = |web, log| {
        let reported = [("web".to_owned(), web), ("log".to_owned(), log)];
        let changed = apply_health(&running(), &reported, |name| name == "web");
        changed.and_then(|task| task.details.health_status)
    };
    let (good, bad) = (HealthStatus::Healthy, HealthStatus::Unhealthy);
    assert_eq!(health(good, bad), Some(good));
    assert_eq!(health(bad, good), Some(bad));
    let same = apply_health(&running(), &[], |_| true);
    assert_eq!(same, None);
}

#[test]
fn a_report_of_some_containers_leaves_the_health_of_the_others() {
    let (good, bad) = (HealthStatus::Healthy, HealthStatus::Unhealthy);
    let mut task = running();
    for container in &mut task.details.containers {
        container.health_status = Some(HealthStatus::Unknown);
    }
    let mut report = |name: &str, status, expected| {
        let changed = apply_health(&task, &[(name.to_owned(), status)], |_| true);
        task = changed.expect("a change");
        assert_eq!(task.details.health_status, Some(expected), "{name}");
    };
    report("web", good, HealthStatus::Unknown);
    report("log", bad, bad);
    report("web", HealthStatus::Unknown, bad);
    report("web", good, bad);
    report("log", good, good);
}

#[test]
fn a_lost_task_keeps_an_earlier_reason() {
    let reason = "Host EC2 (instance i-1) terminated.";
    let code = Some(TaskStopCode::TerminationNotice);
    let stopped = lost(&running(), code, reason, NOW).expect("a change");
    assert_eq!(stopped.details.stopped_reason.as_deref(), Some(reason));
    assert_eq!(stopped.details.stop_code, code);
    assert_eq!(lost(&stopped, code, reason, LATER), None);
    let mut requested = running();
    requested.details.stopped_reason = Some("mine".to_owned());
    let stopped = lost(&requested, code, reason, NOW).expect("a change");
    assert_eq!(stopped.details.stopped_reason.as_deref(), Some("mine"));
}

fn any_report() -> impl Strategy<Value = TaskReport> {
    let status = prop_oneof![
        Just(None),
        Just(Some(ReportedStatus::Pending)),
        Just(Some(ReportedStatus::Running)),
        Just(Some(ReportedStatus::Stopped)),
    ];
    let container = (
        prop_oneof!["web", "log", "x"],
        status.clone(),
        any::<Option<i32>>(),
    );
    let container = container.prop_map(|(name, status, exit_code)| ContainerReport {
        name,
        status,
        exit_code,
        ..ContainerReport::default()
    });
    let containers = proptest::collection::vec(container, 0..3);
    (status, containers).prop_map(|(status, containers)| TaskReport {
        status,
        containers,
        ..TaskReport::default()
    })
}

proptest! {
    /// Whatever agents report in whatever order, no task and no container moves back, and a report
    /// that is repeated changes nothing.
    #[test]
    fn states_only_move_forward(reports in proptest::collection::vec(any_report(), 0..12)) {
        let mut task = task();
        for (at, report) in reports.iter().enumerate() {
            let now = Timestamp::from_ms(10 + i64::try_from(at).expect("few"));
            let Some(next) = apply(&task, report, now) else { continue };
            prop_assert!(next.last_status >= task.last_status);
            prop_assert!(next.details.started_at.is_some() || task.details.started_at.is_none());
            let containers = task.details.containers.iter().zip(&next.details.containers);
            for (before, after) in containers {
                let status = |one: &Container| {
                    one.last_status.as_deref().and_then(ReportedStatus::parse)
                };
                prop_assert!(status(after) >= status(before));
            }
            prop_assert_eq!(apply(&next, report, now), None, "repeated");
            prop_assert_eq!(next.last_status == TaskStatus::Stopped, next.stopped_at.is_some());
            task = next;
        }
    }
}
