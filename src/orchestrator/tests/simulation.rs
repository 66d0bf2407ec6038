//! A simulation of services on hosts that fail, with the production code and a clock of its own.
//!
//! Each seed is a history: hosts die and come back, agents fall silent, reports come late, twice
//! and in any order, containers end, users change the service, a server of the control plane
//! restarts, the clock jumps. Every second history has two servers on one index, which work at the
//! same time. Rules are checked after every event, and at the end the service must be as wanted.
//! A failure names its seed. `SEEDS=N` runs more of them, `SEED=N` one.

mod checks;
mod dice;
mod events;
mod host;
mod turns;
mod world;

use self::dice::Dice;
use self::world::World;

/// Seeds of an ordinary run, and events of each.
const SEEDS: u64 = 100;
const EVENTS: usize = 80;

#[test]
fn services_come_to_what_is_wanted_whatever_happens() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let mut tasks = 0;
    for seed in seeds.clone() {
        let history = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            runtime.expect("a runtime").block_on(run(seed))
        });
        assert!(history.is_ok(), "the history of SEED={seed} broke a rule");
        tasks += history.unwrap_or_default();
    }
    let histories = usize::try_from(seeds.end - seeds.start).unwrap_or_default();
    assert!(
        tasks > 5 * histories,
        "{tasks} tasks in {histories} histories: too little happens"
    );
}

/// Runs a history; returns how many tasks there were.
async fn run(seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed, &mut dice).await;
    for _ in 0..EVENTS {
        world.happens(&mut dice).await;
        world.check().await;
    }
    world.calm().await;
    world.seen.len() + world.stopped.len()
}
