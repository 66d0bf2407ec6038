//! Runs simulations: histories of events, each of which follows from a seed.
//!
//! A failure names its seed. `SEED=N` in the environment runs that history alone, and `SEEDS=N` an
//! eighth of N: these take longer than the histories of other crates.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use wharfinger_base::Ids;

/// Randomness that repeats with its seed.
pub(crate) struct Dice(Ids);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Each sequence is a part of a long one. The first word of a seed says which.
        Self(Ids::seeded(u64::from_le_bytes(Ids::seeded(seed).bytes())))
    }

    pub(crate) fn below(&self, count: usize) -> usize {
        let word = u64::from_le_bytes(self.0.bytes());
        usize::try_from(word % count.max(1) as u64).unwrap_or_default()
    }

    pub(crate) fn one_in(&self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn one_of<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// Runs `seeds` histories, on all cores, unless the environment says otherwise. Each returns how
/// often the event happened that it is about.
///
/// # Panics
/// Where a history does, and where on average no more than `least` of these events happened.
pub(crate) fn run<F: Future<Output = u64>>(
    seeds: u64,
    least: u64,
    history: impl Fn(u64) -> F + Sync,
) {
    let one = number("SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").map_or(seeds, |seeds| seeds.div_ceil(8)),
    };
    let count = seeds.end - seeds.start;
    let (next, events) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime");
            let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(history(seed))));
            let Ok(happened) = outcome else {
                next.store(seeds.end, Ordering::Relaxed);
                panic!("a rule was broken: SEED={seed}");
            };
            events.fetch_add(happened, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let events = events.into_inner();
    assert!(
        one.is_some() || events > least * count,
        "{events} events in {count} histories: too little happens"
    );
}
