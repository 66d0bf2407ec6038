//! What one connection, and all of them together, may take: sizes, counts and times, each with its
//! reason.

use std::time::Duration;

/// Bounds on connections. Every field is a key of the config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at once; more wait in the kernel's accept queue.
    pub connections: usize,
    /// Bytes of one request's head (request line and header fields); past it the answer is 431.
    pub header_bytes: usize,
    /// From a connection's first byte, and from the first byte of each later head, until the head
    /// is complete. TLS handshakes too.
    pub header_timeout: Duration,
    /// A connection with no request in flight is closed after this long.
    pub idle_timeout: Duration,
    /// A peer that neither sends a body nor takes an answer at [`MINIMUM_RATE`] over this long is
    /// cut off.
    pub stall_timeout: Duration,
    /// After a stop signal, requests in flight have this long to finish.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            header_bytes: 32 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Bytes per second below which a transfer counts as stalled: far below any working link, far above
/// one byte a minute.
pub(super) const MINIMUM_RATE: u64 = 128;

/// Concurrent streams of one HTTP/2 connection: RFC 9113 advises no fewer than 100.
pub(super) const STREAMS: u32 = 128;

/// HTTP/2 flow control: what a sender may have under way per stream and per connection. 1 MiB fills
/// 1 Gbit/s at 8 ms.
pub(super) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// HTTP/2 frames: 64 KiB instead of 16 KiB saves headers and calls on uploads.
pub(super) const FRAME_BYTES: u32 = 64 * 1024;

/// HTTP/2 pings find peers that vanished without a word.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(30);
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections the kernel may queue before `accept` (it clamps this to `net.core.somaxconn`).
pub(super) const BACKLOG: u32 = 4_096;

/// The pause after a failed `accept` (no file descriptors left): long enough not to spin, short
/// enough not to be noticed.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Limits {
    /// How often a connection's watchdog looks: a quarter of the shortest timeout, so that none
    /// overruns by much, yet never in a hurry.
    #[must_use]
    pub fn watch_interval(&self) -> Duration {
        let shortest = self
            .header_timeout
            .min(self.idle_timeout)
            .min(self.stall_timeout);
        (shortest / 4).clamp(Duration::from_millis(25), Duration::from_secs(5))
    }
}
