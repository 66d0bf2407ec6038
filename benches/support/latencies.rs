//! Latencies of a run, kept whole: a run has at most some hundred thousand responses, and whole
//! numbers need no buckets.

use std::time::Duration;

/// Latencies in microseconds, in the order of the responses.
#[derive(Default)]
pub(crate) struct Latencies {
    micros: Vec<u32>,
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.micros
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// The value that `share` (0 to 1) of the latencies do not exceed, in milliseconds; 0 when
    /// there are none.
    pub(crate) fn percentile_ms(&mut self, share: f64) -> f64 {
        if self.micros.is_empty() {
            return 0.0;
        }
        self.micros.sort_unstable();
        let index = (share * (self.micros.len() - 1) as f64).round() as usize;
        f64::from(self.micros[index]) / 1000.0
    }
}
