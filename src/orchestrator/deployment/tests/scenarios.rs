//! Histories of services whose course is known in advance.

use super::*;

fn rollout(world: &World) -> DeploymentRolloutState {
    world.primary().rollout
}

/// Tasks of the primary deployment, and of older ones, that are not told to stop.
fn live(world: &World) -> (usize, usize) {
    let live = |primary: bool| {
        world.count(|task| task.phase != Phase::Stopping && (task.deployment == Some(0)) == primary)
    };
    (live(true), live(false))
}

fn running(desired: usize, percents: (u32, u32)) -> World {
    let mut world = World::new(desired, percents);
    world.calm(3);
    assert_eq!(rollout(&world), DeploymentRolloutState::Completed);
    world.events.clear();
    world
}

fn end_stopped(world: &mut World) {
    for place in (0..world.view.tasks.len()).rev() {
        if world.view.tasks[place].phase == Phase::Stopping {
            world.end(place);
        }
    }
}

fn run_all(world: &mut World) {
    for place in 0..world.view.tasks.len() {
        world.run(place);
    }
}

#[test]
fn a_new_service_starts_its_tasks_and_becomes_steady() {
    let mut world = World::new(3, (100, 200));
    world.settle();
    assert_eq!(live(&world), (3, 0));
    run_all(&mut world);
    world.settle();
    assert_eq!(rollout(&world), DeploymentRolloutState::InProgress);
    world.advance(41);
    world.settle();
    assert_eq!(rollout(&world), DeploymentRolloutState::Completed);
    let expected = [
        Event::Completed(world.primary().id.clone()),
        Event::SteadyState,
    ];
    assert_eq!(world.events, expected);
}

#[test]
fn by_default_new_tasks_are_healthy_before_old_ones_stop() {
    let mut world = running(4, (100, 200));
    world.deploy();
    world.settle();
    assert_eq!(live(&world), (4, 4), "twice as many for a while");
    run_all(&mut world);
    world.settle();
    assert_eq!(live(&world), (4, 4), "they ran for no 40 seconds yet");
    world.advance(40);
    world.settle();
    assert_eq!(live(&world), (4, 0));
    assert_eq!(world.view.deployments.len(), 2, "old tasks still stop");
    end_stopped(&mut world);
    world.settle();
    assert_eq!(world.view.deployments.len(), 1);
    assert_eq!(rollout(&world), DeploymentRolloutState::Completed);
}

#[test]
fn half_the_tasks_may_stop_first_if_the_minimum_says_so() {
    let mut world = running(4, (50, 100));
    world.deploy();
    world.settle();
    assert_eq!(live(&world), (0, 2), "no space above 100%, two may go");
    end_stopped(&mut world);
    world.settle();
    assert_eq!(live(&world), (2, 2));
    world.calm(6);
    assert_eq!(live(&world), (4, 0));
}

#[test]
fn a_second_update_during_a_first_keeps_what_serves() {
    let mut world = running(4, (100, 200));
    world.deploy();
    world.settle();
    world.deploy();
    world.settle();
    let starting = world.count(|task| task.deployment == Some(1) && task.phase == Phase::Starting);
    assert_eq!(
        starting, 0,
        "tasks of the second that serve nobody stop at once"
    );
    assert_eq!(
        world.count(|task| task.deployment == Some(2)),
        4,
        "the first still serves"
    );
    world.calm(8);
    assert_eq!(live(&world), (4, 0));
}

#[test]
fn tasks_that_just_started_to_run_are_not_all_stopped_by_an_update() {
    let mut world = World::new(4, (100, 200));
    world.settle();
    run_all(&mut world);
    world.deploy();
    world.settle();
    assert_eq!(live(&world), (4, 4));
}

#[test]
fn bounds_that_allow_nothing_are_reported() {
    let mut world = running(2, (75, 100));
    world.deploy();
    world.settle();
    assert_eq!(world.events, [Event::Blocked]);
    assert_eq!(live(&world), (0, 2));
}

#[test]
fn a_task_that_ended_is_replaced_at_once() {
    let mut world = running(3, (100, 200));
    world.end(1);
    world.settle();
    assert_eq!(live(&world), (3, 0));
    assert!(!world.view.service.is_steady);
    world.calm(2);
    assert_eq!(world.events.last(), Some(&Event::SteadyState));
}

#[test]
fn scaling_in_stops_what_does_not_serve_first_and_spares_protected_tasks() {
    let mut world = running(4, (100, 200));
    world.view.service.desired = 6;
    world.settle();
    world.view.service.desired = 4;
    world.settle();
    assert_eq!(world.count(|task| task.phase == Phase::Running), 4);
    let until = world.now.plus(Duration::from_hours(1));
    for task in &mut world.view.tasks {
        if task.phase == Phase::Running {
            task.protected_until = Some(until);
        }
    }
    world.view.service.desired = 1;
    world.settle();
    assert_eq!(world.count(|task| task.phase == Phase::Running), 4);
    assert_eq!(step(&world.view, world.now).next, Some(until));
    world.advance(3_601);
    world.settle();
    assert_eq!(live(&world), (1, 0));
}

#[test]
fn scaling_in_takes_from_the_fullest_zone_and_instance() {
    // Instances 0 and 3 are in zone a, 1 and 4 in b, 2 and 5 in c.
    let mut world = running(4, (100, 200));
    for (task, instance) in world.view.tasks.iter_mut().zip([0, 0, 3, 1]) {
        task.instance = Some(instance);
    }
    world.view.service.desired = 3;
    world.settle();
    let stopped = world
        .view
        .tasks
        .iter()
        .find(|task| task.phase == Phase::Stopping);
    assert_eq!(stopped.and_then(|task| task.instance), Some(0));
}

#[test]
fn starts_that_fail_pause_longer_each_time() {
    let mut world = World::new(1, (100, 200));
    let mut pauses = Vec::new();
    for _ in 0..14 {
        world.settle();
        if let Some(until) = world.view.service.starts.throttled_until
            && until > world.now
        {
            assert_eq!(world.view.tasks.len(), 0, "starts wait");
            pauses.push(until.since(world.now).as_secs());
            world.now = until;
            world.settle();
        }
        assert_eq!(world.view.tasks.len(), 1);
        world.end(0);
    }
    assert_eq!(pauses, [10, 10, 10, 20, 20, 20, 40, 40, 40, 80, 80]);
    assert!(world.events.contains(&Event::CannotStart));
}

#[test]
fn a_clock_that_went_back_holds_up_neither_deployments_nor_starts() {
    let hour = Duration::from_hours(1);
    let mut world = running(3, (100, 100));
    world.now = world.now.minus(hour);
    world.view.service.percents.maximum = 150;
    world.deploy();
    world.calm(8);
    assert_eq!(
        (rollout(&world), live(&world)),
        (DeploymentRolloutState::Completed, (3, 0))
    );
    for _ in 0..3 {
        world.end(0);
        world
            .view
            .ended
            .iter_mut()
            .for_each(|task| task.has_run = false);
    }
    world.settle();
    assert_eq!(live(&world), (0, 0), "starts wait");
    world.now = world.now.minus(hour);
    world.settle();
    assert_eq!(live(&world), (3, 0));
}

#[test]
fn the_circuit_breaker_fails_a_deployment_and_rolls_it_back() {
    let mut world = running(4, (100, 200));
    world.view.service.breaker.enabled = true;
    world.view.service.breaker.rolls_back = true;
    let good = world.primary().id.clone();
    world.deploy();
    let bad = world.primary().id.clone();
    for _ in 0..3 {
        world.settle();
        let place = world
            .view
            .tasks
            .iter()
            .position(|task| task.deployment == Some(0));
        world.end(place.expect("a task of the new deployment"));
    }
    world.settle();
    assert_eq!(
        world
            .events
            .iter()
            .filter(|event| **event == Event::Failed(bad.clone()))
            .count(),
        1
    );
    assert!(world.events.contains(&Event::RollingBack(good)));
    assert!(world.primary().is_rollback);
    assert!(world.healthy() >= 4, "the old tasks serve all the time");
    world.calm(6);
    assert_eq!((world.view.deployments.len(), live(&world)), (1, (4, 0)));
    assert_eq!(rollout(&world), DeploymentRolloutState::Completed);
}

#[test]
fn without_rollback_a_failed_deployment_starts_nothing_more_and_stops_nothing() {
    let mut world = running(4, (50, 200));
    world.view.service.breaker.enabled = true;
    world.deploy();
    world.settle();
    for _ in 0..3 {
        let place = world
            .view
            .tasks
            .iter()
            .position(|task| task.deployment == Some(0));
        world.end(place.expect("a task"));
    }
    world.settle();
    assert_eq!(rollout(&world), DeploymentRolloutState::Failed);
    let before = live(&world);
    world.calm(4);
    assert_eq!(live(&world), before);
    world.deploy();
    world.calm(6);
    assert_eq!(
        (rollout(&world), live(&world)),
        (DeploymentRolloutState::Completed, (4, 0))
    );
}

#[test]
fn a_healthy_task_clears_the_count_unless_told_otherwise() {
    for resets in [true, false] {
        let mut world = World::new(4, (100, 200));
        world.view.service.breaker.enabled = true;
        world.view.service.breaker.resets = resets;
        world.settle();
        world.end(0);
        world.end(0);
        world.settle();
        assert_eq!(world.primary().failed_tasks, 2);
        world.run(0);
        world.advance(40);
        world.settle();
        assert_eq!(world.primary().failed_tasks, if resets { 0 } else { 2 });
        // It ran, and ended by itself.
        world.end(0);
        world.settle();
        let failed = rollout(&world) == DeploymentRolloutState::Failed;
        assert_eq!(failed, !resets);
    }
}

#[test]
fn a_sick_task_is_replaced_before_it_stops_if_there_is_space() {
    let mut world = running(3, (100, 200));
    world.view.tasks[0].check = HealthCheckState::Unhealthy;
    world.settle();
    assert_eq!(live(&world), (4, 0));
    run_all(&mut world);
    world.settle();
    assert_eq!(live(&world), (4, 0), "the replacement is not healthy yet");
    world.advance(40);
    world.settle();
    assert_eq!(live(&world), (3, 0));
    assert_eq!(world.view.tasks[0].phase, Phase::Stopping);
}

#[test]
fn sick_tasks_stop_one_by_one_where_there_is_no_space() {
    let mut world = running(3, (50, 100));
    for task in &mut world.view.tasks[..2] {
        task.check = HealthCheckState::Unhealthy;
    }
    world.settle();
    assert_eq!(world.count(|task| task.phase == Phase::Stopping), 1);
    world.calm(6);
    assert_eq!(world.healthy(), 3);
}

#[test]
fn health_is_ignored_during_the_grace_period() {
    let mut world = running(2, (100, 200));
    world.view.service.grace = Duration::from_mins(10);
    world.view.tasks[0].check = HealthCheckState::Unhealthy;
    world.settle();
    assert_eq!(live(&world), (2, 0));
    world.advance(600);
    world.settle();
    assert_eq!(live(&world), (3, 0));
}

#[test]
fn tasks_leave_an_instance_that_drains_under_the_bounds() {
    let mut world = running(6, (100, 200));
    world.view.instances[0].role = InstanceRole::Draining;
    world.settle();
    assert_eq!(live(&world).0, 7, "a replacement starts first");
    world.calm(3);
    assert_eq!(world.count(|task| task.instance == Some(0)), 0);
    assert_eq!(world.healthy(), 6);
}

#[test]
fn zones_come_into_balance_by_one_task_at_a_time() {
    let mut world = running(4, (100, 200));
    for (task, instance) in world.view.tasks.iter_mut().zip([0, 0, 3, 3]) {
        task.instance = Some(instance);
    }
    world.view.service.scheduling = Scheduling::BalancedReplicas;
    world.settle();
    assert_eq!(live(&world), (5, 0));
    assert!(matches!(&world.events[0], Event::Unbalanced(zones) if zones[0] == ("a".into(), 4)));
    world.calm(12);
    let in_zone =
        |zone: usize| world.count(|task| task.instance.is_some_and(|place| place % 3 == zone));
    assert_eq!([in_zone(0), in_zone(1), in_zone(2)], [2, 1, 1]);
    assert!(world.view.service.is_steady);
}

#[test]
fn a_large_service_starts_in_batches() {
    let mut world = World::new(2_500, (100, 200));
    let plan = world.step();
    assert!(plan.again);
    assert_eq!(world.view.tasks.len(), 1_000);
    world.settle();
    assert_eq!(world.view.tasks.len(), 2_500);
}

#[test]
fn a_deleted_service_stops_everything_and_ends() {
    let mut world = running(3, (100, 200));
    world.view.service.is_draining = true;
    world.view.service.desired = 0;
    world.step();
    assert_eq!(live(&world), (0, 0));
    assert!(!world.deactivated);
    world.step();
    assert!(world.deactivated);
}

#[test]
fn a_user_can_roll_back_a_deployment_or_just_stop_it() {
    for (request, rolls_back) in [(StopRequest::RollBack, true), (StopRequest::Abort, false)] {
        let mut world = running(2, (100, 200));
        world.deploy();
        world.settle();
        world.view.deployments[0].stop = Some(request);
        world.settle();
        assert_eq!(world.primary().is_rollback, rolls_back);
        assert!(world.healthy() >= 2);
        if rolls_back {
            world.calm(6);
            assert_eq!(rollout(&world), DeploymentRolloutState::Completed);
        }
    }
}

#[test]
fn a_daemon_stays_on_an_instance_that_drains_until_the_others_are_gone() {
    let mut world = World::new(0, (0, 100));
    world.view.service.scheduling = Scheduling::Daemon;
    world.calm(3);
    assert_eq!(world.view.service.desired, 6);
    assert_eq!(world.healthy(), 6);
    world.view.instances[0].role = InstanceRole::Draining;
    world.view.instances[0].has_other_tasks = true;
    world.settle();
    assert_eq!(live(&world), (6, 0));
    world.view.instances[0].has_other_tasks = false;
    world.settle();
    assert_eq!(live(&world), (5, 0));
    world.view.instances[1].role = InstanceRole::Unfit;
    world.settle();
    assert_eq!(live(&world), (4, 0));
}
