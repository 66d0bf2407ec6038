//! The life of tasks, step by step, and rules that hold on every way.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use wharfinger_ecs_protocol::DependencyCondition;

use super::*;
use crate::plan::{Dependency, RestartRule};
use crate::view::Health;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_ms(0).plus(SECOND * u32::try_from(seconds).expect("small"))
}

fn container(name: &str) -> ContainerPlan {
    ContainerPlan {
        name: name.to_owned(),
        essential: true,
        depends_on: Vec::new(),
        create_after: BTreeSet::new(),
        start_timeout: None,
        stop_timeout: SECOND * 30,
        restart: None,
    }
}

fn after(mut container: ContainerPlan, on: &str, condition: DependencyCondition) -> ContainerPlan {
    let on = on.to_owned();
    container.depends_on.push(Dependency { on, condition });
    container
}

fn optional(mut container: ContainerPlan) -> ContainerPlan {
    container.essential = false;
    container
}

/// A plan and what is seen of it, which tests change.
struct World {
    plan: TaskPlan,
    view: TaskView,
    now: Timestamp,
}

impl World {
    fn new(containers: Vec<ContainerPlan>) -> Self {
        let mut view = TaskView::default();
        for one in &containers {
            view.containers
                .insert(one.name.clone(), ContainerView::default());
        }
        Self {
            plan: TaskPlan { containers },
            view,
            now: at(0),
        }
    }

    fn see(&mut self, name: &str, state: ContainerState) {
        let seen = self.view.containers.get_mut(name).expect("a container");
        seen.state = state;
        seen.work = None;
    }

    fn health(&mut self, name: &str, health: Health) {
        self.view
            .containers
            .get_mut(name)
            .expect("a container")
            .health = health;
    }

    fn exited(&mut self, name: &str, code: i64, since: u64) {
        let exit = Exit {
            code,
            since: at(since),
            at: self.now,
        };
        self.see(name, ContainerState::Exited(exit));
    }

    fn running(&mut self, name: &str) {
        let since = self.now;
        self.see(name, ContainerState::Running { since });
    }

    fn step(&self) -> Step {
        step(&self.plan, &self.view, self.now)
    }

    fn actions(&self) -> Vec<Action> {
        self.step().actions
    }
}

fn start(name: &str) -> Action {
    Action::Start(name.to_owned())
}

fn stop(name: &str) -> Action {
    Action::Stop(name.to_owned())
}

#[test]
fn a_task_of_one_container_is_pulled_created_started_and_ends() {
    let mut world = World::new(vec![container("web")]);
    assert_eq!(world.actions(), [Action::Pull("web".to_owned())]);
    world.see("web", ContainerState::Pulled);
    assert_eq!(world.actions(), [Action::Create("web".to_owned())]);
    world.see("web", ContainerState::Created);
    assert_eq!(world.actions(), [start("web")]);
    assert_eq!(world.step().status, TaskStatus::Pending);
    world.running("web");
    let step = world.step();
    assert_eq!((step.actions, step.status), (vec![], TaskStatus::Running));
    world.exited("web", 3, 0);
    let step = world.step();
    assert_eq!((step.actions, step.status), (vec![], TaskStatus::Stopped));
    assert_eq!(step.cause, Some(StopCause::EssentialExited));
}

#[test]
fn nothing_is_requested_for_twice() {
    let mut world = World::new(vec![container("web")]);
    world.view.containers.get_mut("web").expect("it").work = Some(Work::Pull);
    assert_eq!(world.actions(), []);
}

#[test]
fn all_images_are_pulled_at_once_and_starts_follow_their_dependencies() {
    let init = optional(container("init"));
    let web = after(container("web"), "init", DependencyCondition::Success);
    let mut world = World::new(vec![init, web]);
    assert_eq!(world.actions().len(), 2);
    world.see("init", ContainerState::Created);
    world.see("web", ContainerState::Created);
    assert_eq!(world.actions(), [start("init")]);
    world.running("init");
    assert_eq!(world.actions(), []);
    world.exited("init", 0, 0);
    assert_eq!(world.actions(), [start("web")]);
    // An optional container that ended leaves the task as it is.
    world.running("web");
    let step = world.step();
    assert_eq!((step.status, step.cause), (TaskStatus::Running, None));
}

#[test]
fn a_failed_predecessor_fails_what_needed_its_success() {
    let init = optional(container("init"));
    let web = after(container("web"), "init", DependencyCondition::Success);
    let mut world = World::new(vec![init, web]);
    world.see("web", ContainerState::Created);
    world.exited("init", 1, 0);
    let Some(Action::Fail(name, Unresolvable::Impossible { on, condition })) =
        world.actions().pop()
    else {
        panic!("{:?}", world.actions());
    };
    assert_eq!(
        (name.as_str(), on.as_str(), condition),
        ("web", "init", "SUCCESS")
    );
    world.see("web", ContainerState::Failed);
    let step = world.step();
    assert_eq!(step.status, TaskStatus::Stopped);
    assert_eq!(step.cause, Some(StopCause::FailedToStart));
}

#[test]
fn health_is_waited_for_until_the_start_timeout() {
    let mut db = container("db");
    db.start_timeout = Some(SECOND * 10);
    let web = after(container("web"), "db", DependencyCondition::Healthy);
    let mut world = World::new(vec![db, web]);
    world.see("web", ContainerState::Created);
    world.running("db");
    let step = world.step();
    assert_eq!((step.actions, step.wake_at), (vec![], Some(at(10))));
    world.health("db", Health::Healthy);
    assert_eq!(world.actions(), [start("web")]);
    world.health("db", Health::Unhealthy);
    world.now = at(10);
    assert!(matches!(
        world.actions().as_slice(),
        [Action::Fail(name, Unresolvable::TimedOut { .. })] if name == "web"
    ));
}

#[test]
fn an_essential_container_that_ends_stops_the_others_in_reverse_order() {
    let db = container("db");
    let app = after(container("app"), "db", DependencyCondition::Start);
    let web = after(container("web"), "app", DependencyCondition::Start);
    let side = container("side");
    let mut world = World::new(vec![db, app, web, side]);
    for name in ["db", "app", "web"] {
        world.running(name);
    }
    world.exited("side", 0, 0);
    assert_eq!(world.actions(), [stop("web")]);
    world.exited("web", 0, 0);
    assert_eq!(world.actions(), [stop("app")]);
    world.exited("app", 137, 0);
    assert_eq!(world.actions(), [stop("db")]);
    assert_eq!(world.step().status, TaskStatus::Running);
    world.exited("db", 0, 0);
    assert_eq!(world.step().status, TaskStatus::Stopped);
}

#[test]
fn a_task_that_is_stopped_early_gives_up_its_pulls() {
    let mut world = World::new(vec![container("a"), container("b"), container("c")]);
    world.view.containers.get_mut("a").expect("it").work = Some(Work::Pull);
    world.see("b", ContainerState::Created);
    world.view.containers.get_mut("c").expect("it").work = Some(Work::Start);
    world.view.desired = DesiredStatus::Stopped;
    let step = world.step();
    assert_eq!(step.actions, [Action::Abandon("a".to_owned())]);
    assert_eq!(step.status, TaskStatus::Pending);
    world.see("a", ContainerState::Absent);
    world.running("c");
    assert_eq!(world.actions(), [stop("c")]);
    world.exited("c", 143, 0);
    let step = world.step();
    assert_eq!(step.status, TaskStatus::Stopped);
    assert_eq!(step.cause, Some(StopCause::Requested));
}

#[test]
fn a_container_is_started_again_after_it_ran_for_the_period() {
    let mut web = container("web");
    web.restart = Some(RestartRule {
        ignored_exit_codes: vec![0],
        period: SECOND * 60,
    });
    let mut world = World::new(vec![web]);
    world.now = at(60);
    world.exited("web", 1, 0);
    let step = world.step();
    assert_eq!(step.actions, [Action::Restart("web".to_owned())]);
    assert_eq!((step.status, step.cause), (TaskStatus::Running, None));
    // Too early, an ignored code, or a task that ends: no.
    world.exited("web", 1, 1);
    assert_eq!(world.step().cause, Some(StopCause::EssentialExited));
    world.exited("web", 0, 0);
    assert_eq!(world.step().cause, Some(StopCause::EssentialExited));
    world.exited("web", 1, 0);
    world.view.desired = DesiredStatus::Stopped;
    assert_eq!(world.actions(), []);
    assert_eq!(world.step().status, TaskStatus::Stopped);
}

#[test]
fn a_container_is_created_after_those_whose_volumes_it_uses() {
    let mut web = container("web");
    web.create_after.insert("data".to_owned());
    let mut world = World::new(vec![optional(container("data")), web]);
    world.see("data", ContainerState::Pulled);
    world.see("web", ContainerState::Pulled);
    assert_eq!(world.actions(), [Action::Create("data".to_owned())]);
    world.see("data", ContainerState::Created);
    assert!(world.actions().contains(&Action::Create("web".to_owned())));
    world.see("data", ContainerState::Failed);
    assert!(matches!(world.actions().as_slice(), [Action::Fail(name, _)] if name == "web"));
}

/// A container of a random plan: it depends on earlier ones only.
fn random_plan() -> impl Strategy<Value = Vec<ContainerPlan>> {
    let conditions = prop_oneof![
        Just(DependencyCondition::Start),
        Just(DependencyCondition::Complete),
        Just(DependencyCondition::Success),
        Just(DependencyCondition::Healthy),
    ];
    let one = (
        any::<bool>(),
        prop::collection::vec((any::<prop::sample::Index>(), conditions), 0..3),
        prop::option::of(1_u32..20),
        any::<bool>(),
    );
    prop::collection::vec(one, 1..6).prop_map(|drawn| {
        let mut containers = Vec::new();
        for (number, (essential, dependencies, timeout, restart)) in drawn.into_iter().enumerate() {
            let mut made = container(&format!("c{number}"));
            made.essential = essential || number == 0;
            made.start_timeout = timeout.map(|seconds| SECOND * seconds);
            made.restart = restart.then(|| RestartRule {
                ignored_exit_codes: vec![0],
                period: SECOND * 5,
            });
            if number > 0 {
                for (index, condition) in dependencies {
                    made = after(made, &format!("c{}", index.index(number)), condition);
                }
            }
            containers.push(made);
        }
        containers
    })
}

/// Carries out one action, with a chance of failure.
fn carry_out(world: &mut World, action: &Action, chance: u8) {
    match action {
        Action::Pull(name) if chance < 10 => world.see(name, ContainerState::Failed),
        Action::Pull(name) => world.see(name, ContainerState::Pulled),
        Action::Create(name) => world.see(name, ContainerState::Created),
        Action::Start(name) if chance < 10 => world.see(name, ContainerState::Failed),
        Action::Start(name) | Action::Restart(name) => world.running(name),
        Action::Stop(name) => world.exited(name, 143, 0),
        Action::Abandon(name) => world.see(name, ContainerState::Absent),
        Action::Fail(name, _) => world.see(name, ContainerState::Failed),
    }
}

/// What must be true of an action at the moment that it is requested.
fn check(world: &World, action: &Action) {
    let of = |name: &str| world.view.containers[name].clone();
    let plan = |name: &str| world.plan.container(name).expect("a container").clone();
    match action {
        Action::Start(name) => {
            for dependency in plan(name).depends_on {
                let other = of(&dependency.on);
                let met = match dependency.condition {
                    DependencyCondition::Create => other.state != ContainerState::Absent,
                    DependencyCondition::Start => other.state.is_past_start(),
                    DependencyCondition::Complete => {
                        matches!(other.state, ContainerState::Exited(_))
                    }
                    DependencyCondition::Success => {
                        matches!(other.state, ContainerState::Exited(Exit { code: 0, .. }))
                    }
                    DependencyCondition::Healthy => {
                        other.state.is_running() && other.health == Health::Healthy
                    }
                };
                assert!(met, "{name} starts although {dependency:?} is not met");
            }
        }
        Action::Stop(name) => {
            assert!(of(name).state.is_running());
            for other in &world.plan.containers {
                let depends = other.depends_on.iter().any(|one| one.on == *name);
                assert!(
                    !(depends && of(&other.name).state.is_running()),
                    "{name} is stopped before {}",
                    other.name
                );
            }
        }
        Action::Restart(name) => assert!(plan(name).restart.is_some()),
        _ => {}
    }
}

proptest! {
    #[test]
    fn every_way_keeps_the_order_and_ends(
        containers in random_plan(),
        chances in prop::collection::vec(any::<u8>(), 200),
        stop_at in 0_usize..150,
    ) {
        let mut world = World::new(containers);
        prop_assert!(world.plan.is_resolvable());
        let mut reached = TaskStatus::Pending;
        for (round, chance) in chances.into_iter().enumerate() {
            world.now = world.now.plus(SECOND);
            if round >= stop_at {
                world.view.desired = DesiredStatus::Stopped;
            }
            let step = world.step();
            prop_assert_eq!(&step, &world.step());
            if reached == TaskStatus::Stopped {
                prop_assert_eq!(step.status, TaskStatus::Stopped);
                prop_assert!(step.actions.is_empty());
            }
            reached = reached.max(step.status);
            for action in &step.actions {
                check(&world, action);
            }
            if step.actions.is_empty() {
                // Nothing to do: the world goes on.
                let running: Vec<String> = world
                    .view
                    .containers
                    .iter()
                    .filter(|(_, seen)| seen.state.is_running())
                    .map(|(name, _)| name.clone())
                    .collect();
                if let Some(name) = running.get(usize::from(chance) % running.len().max(1)) {
                    match chance % 4 {
                        0 => world.health(name, Health::Healthy),
                        1 => world.health(name, Health::Unhealthy),
                        2 => world.exited(name, i64::from(chance % 3), 0),
                        _ => {}
                    }
                }
            } else {
                let chosen = usize::from(chance) % step.actions.len();
                carry_out(&mut world, &step.actions[chosen], chance);
            }
        }
        prop_assert_eq!(reached, TaskStatus::Stopped);
    }
}
