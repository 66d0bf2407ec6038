//! Rules that hold for every decision, in generated histories of services.

mod scenarios;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::world::World;
use super::*;
use crate::model::DeploymentRolloutState;

/// What may happen between two decisions.
#[derive(Clone, Debug)]
enum Happening {
    Run(usize),
    End(usize),
    Advance(u64),
    Deploy,
    Scale(usize),
    Drain(usize),
    Sicken(usize),
    Heal(usize),
    Protect(usize),
    Silence(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        6 => (0..64_usize).prop_map(Run),
        4 => (0..64_usize).prop_map(End),
        3 => (1..60_u64).prop_map(Advance),
        1 => Just(Deploy),
        1 => (0..9_usize).prop_map(Scale),
        1 => (0..6_usize).prop_map(Drain),
        1 => (0..64_usize).prop_map(Sicken),
        1 => (0..64_usize).prop_map(Heal),
        1 => (0..64_usize).prop_map(Protect),
        1 => (0..6_usize).prop_map(Silence),
    ]
}

impl World {
    fn happens(&mut self, happening: &Happening) {
        let any =
            |number: usize| (!self.view.tasks.is_empty()).then(|| number % self.view.tasks.len());
        match *happening {
            Happening::Run(number) => {
                if let Some(place) = any(number) {
                    self.run(place);
                }
            }
            Happening::End(number) => {
                if let Some(place) = any(number) {
                    self.end(place);
                }
            }
            Happening::Advance(seconds) => self.advance(seconds),
            Happening::Deploy => self.deploy(),
            Happening::Scale(desired) => {
                if self.view.service.scheduling != Scheduling::Daemon {
                    self.view.service.desired = desired;
                }
            }
            Happening::Drain(place) => self.view.instances[place].role = InstanceRole::Draining,
            Happening::Silence(place) => self.view.instances[place].role = InstanceRole::Silent,
            Happening::Sicken(number) | Happening::Heal(number) => {
                let sick = matches!(happening, Happening::Sicken(_));
                if let Some(place) = any(number) {
                    let task = &mut self.view.tasks[place];
                    if task.phase == Phase::Running {
                        task.check = if sick {
                            HealthCheckState::Unhealthy
                        } else {
                            HealthCheckState::Healthy
                        };
                    }
                }
            }
            Happening::Protect(number) => {
                if let Some(place) = any(number) {
                    let until = self.now.plus(Duration::from_mins(2));
                    self.view.tasks[place].protected_until = Some(until);
                }
            }
        }
    }
}

fn percents() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![
        Just((100, 200)),
        Just((50, 100)),
        Just((0, 100)),
        Just((50, 150)),
        Just((75, 125)),
        (0..=100_u32, 100..=200_u32),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Each step checks the bounds; the decisions about an unchanged world end; and once nothing
    /// goes wrong any more, the service has what it should have.
    #[test]
    fn replicas_stay_within_bounds_and_converge(
        desired in 0..9_usize,
        percents in percents(),
        rebalances: bool,
        history in prop::collection::vec(happening(), 0..80),
    ) {
        let mut world = World::new(desired, percents);
        if rebalances {
            world.view.service.scheduling = Scheduling::BalancedReplicas;
        }
        for happening in &history {
            world.settle();
            world.happens(happening);
        }
        for instance in &mut world.view.instances {
            instance.role = InstanceRole::Usable;
        }
        for task in &mut world.view.tasks {
            task.check = HealthCheckState::Absent;
        }
        world.calm(60);
        let (low, high) = world.bounds();
        let desired = world.view.service.desired;
        let moves = desired == 0 || high > desired || low < desired;
        if moves {
            prop_assert_eq!(world.primary().rollout, DeploymentRolloutState::Completed);
            prop_assert_eq!(world.view.deployments.len(), 1);
            prop_assert_eq!(world.view.tasks.len(), desired);
            prop_assert_eq!(world.healthy(), desired);
            prop_assert!(world.view.service.is_steady);
        }
    }

    #[test]
    fn daemons_have_one_task_on_each_instance(
        percents in prop_oneof![Just((0, 100)), Just((50, 100)), Just((60, 100))],
        history in prop::collection::vec(happening(), 0..80),
    ) {
        let mut world = World::new(6, percents);
        world.view.service.scheduling = Scheduling::Daemon;
        for happening in &history {
            world.settle();
            for place in 0..world.view.instances.len() {
                let there = world.count(|task| task.instance == Some(place));
                prop_assert!(there <= 1, "{there} tasks on one instance");
            }
            world.happens(happening);
        }
        world.view.instances[5].role = InstanceRole::Draining;
        for instance in &mut world.view.instances[..5] {
            instance.role = InstanceRole::Usable;
        }
        for task in &mut world.view.tasks {
            task.check = HealthCheckState::Absent;
        }
        world.calm(40);
        prop_assert_eq!(world.view.service.desired, 5);
        prop_assert_eq!(world.view.tasks.len(), 5);
        prop_assert_eq!(world.healthy(), 5);
        prop_assert_eq!(world.view.deployments.len(), 1);
        prop_assert_eq!(world.primary().rollout, DeploymentRolloutState::Completed);
    }
}
