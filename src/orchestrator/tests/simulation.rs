//! A simulation of services on hosts that fail, with the production code and a clock of its own.
//!
//! Each seed is a history: hosts die and come back, agents fall silent, connections break, messages
//! and reports come late, twice, in any order or not at all, containers end, users change the
//! service, a server of the control plane restarts, the clocks jump forwards and backwards. Every
//! second history has two servers on one index, with clocks that differ a little, which work at the
//! same time. Rules are checked after every event, and at the end the service must be as wanted,
//! even if a host never comes back.
//! A failure names its seed. `SEEDS=N` runs more of them, `SEED=N` one.

mod checks;
mod dice;
mod events;
mod host;
mod turns;
mod world;

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use self::dice::Dice;
use self::world::{Outcome, World};

/// Seeds of an ordinary run, and events of each.
const SEEDS: u64 = 100;
const EVENTS: usize = 80;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

#[test]
fn services_come_to_what_is_wanted_whatever_happens() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let (next, tasks) = (AtomicU64::new(seeds.start), AtomicUsize::new(0));
    let broken = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match std::panic::catch_unwind(|| history(seed)) {
                Ok(outcome) => {
                    tasks.fetch_add(outcome.tasks.len(), Ordering::Relaxed);
                }
                Err(_) => {
                    broken.lock().expect("no panic").push(seed);
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let broken = broken.into_inner().expect("no panic");
    assert!(broken.is_empty(), "a rule was broken: SEED={broken:?}");
    let (tasks, count) = (tasks.into_inner() as u64, seeds.end - seeds.start);
    assert!(
        tasks > 5 * count,
        "{tasks} tasks in {count} histories: too little happens"
    );
}

/// What failed once must fail again.
#[test]
fn a_history_repeats_with_its_seed() {
    for seed in 0..4 {
        assert_eq!(history(seed), history(seed), "SEED={seed}");
    }
}

fn history(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(run(seed))
}

/// Runs a history.
async fn run(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed, &mut dice).await;
    for _ in 0..EVENTS {
        if world.happens(&mut dice).await {
            world.check().await;
        }
    }
    world.calm(dice.one_in(3)).await;
    Outcome {
        tasks: world.seen.into_keys().chain(world.stopped).collect(),
        history: world.history,
        elapsed: world.elapsed,
    }
}
