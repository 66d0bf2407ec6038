//! Limits on one connection and on all connections together: sizes, counts and times.

use std::time::Duration;

/// Limits on connections. Every field is a key of the configuration file.
///
/// Before it signs in, a peer can make one HTTP/2 connection hold, with the default limits: 1 MiB
/// that no handler has read (`connection_window_bytes`), the heads of its streams (`streams` times
/// `header_bytes`, 3.1 MiB), and the first 8 KiB of each stream's body, which the budget of request
/// bodies does not charge (0.8 MiB). That is 4.9 MiB, and 9.8 GiB for `connections_per_address` of
/// them; a server with less memory needs a lower number of these. An HTTP/1 connection has one head
/// and one body at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections served at once. Further connections wait in the kernel's accept queue.
    pub connections: usize,
    /// Connections of one peer address (IPv6: of one /64 network) served at once. Further ones are
    /// closed at once.
    pub connections_per_address: usize,
    /// Bytes of one request's head (request line and header fields); a longer one gets 431. On
    /// HTTP/2 the limit of the decoded header list.
    pub header_bytes: usize,
    /// From the first byte of a request's head until the head is complete. Also the limit of a TLS
    /// handshake and of the first byte of a new connection.
    pub header_timeout: Duration,
    /// A connection without a request in flight is closed after this long.
    pub idle_timeout: Duration,
    /// The period over which a transfer that waits for the peer must keep the minimum rate.
    pub stall_timeout: Duration,
    /// Bytes per second below which a transfer that waits for the peer counts as stalled.
    pub minimum_rate: u64,
    /// How long the rest of an unwanted request body is discarded after the response.
    pub linger_timeout: Duration,
    /// After a stop signal, requests in flight have this long to finish.
    pub drain_timeout: Duration,
    /// Concurrent streams of one HTTP/2 connection. RFC 9113 advises at least 100.
    pub streams: u32,
    /// HTTP/2 flow control: bytes that a peer may send on a stream before the server has consumed
    /// them.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection together.
    pub connection_window_bytes: u32,
    /// HTTP/2 streams that a peer may reset before the connection is closed: those that wait to be
    /// accepted, and those by which resets exceed completed requests.
    pub resets: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            // Half of all: one address alone never keeps the others out.
            connections_per_address: 2_048,
            header_bytes: 32 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_mins(1),
            // Far below any working link, and far above one byte a minute.
            minimum_rate: 128,
            linger_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            // What RFC 9113 advises, and no more: each stream may hold a head.
            streams: 100,
            // 512 KiB fill 1 Gbit/s at a round trip of 4 ms.
            stream_window_bytes: 512 * 1024,
            // Two streams: one that nobody reads does not stop the others.
            connection_window_bytes: 1024 * 1024,
            // Twice the concurrent streams, and some: a client may give up everything that it has
            // under way.
            resets: 256,
        }
    }
}

/// Largest HTTP/2 frame: 64 KiB instead of 16 KiB saves headers and system calls on uploads.
pub(crate) const FRAME_BYTES: u32 = 64 * 1024;

/// HTTP/2 pings find peers that vanished without closing their connection.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections that the kernel may queue before `accept` (it lowers this to `net.core.somaxconn`).
pub(crate) const BACKLOG: u32 = 4_096;

/// The pause after a failed `accept` (no file descriptors left): long enough not to spin, short
/// enough not to be noticed.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Failed calls of `accept` are logged at most this often.
pub(crate) const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// While all connections are in use, a connection without a request in flight is
/// closed after this long instead of the idle timeout.
pub(crate) const IDLE_WHEN_FULL: Duration = Duration::from_secs(1);

/// A request body of at most this length that its handler did not read is read before the response
/// is sent, so that the connection can be kept: less than a new connection costs.
pub(crate) const SHORT_BODY_BYTES: u64 = 64 * 1024;

/// For how long a short body is waited for. It is usually there already.
pub(crate) const SHORT_BODY_TIME: Duration = Duration::from_millis(100);

/// Bytes of an unwanted request body that are discarded after the response: several seconds of a
/// fast sender, which has read the response by then.
pub(crate) const LINGER_BYTES: u64 = 256 * 1024 * 1024;

/// Discarding ends when the peer has been silent for this long.
pub(crate) const LINGER_IDLE: Duration = Duration::from_secs(2);

impl ConnectionLimits {
    /// The interval between two checks of a connection's header and idle timeouts: a quarter of the
    /// shortest timeout, so that none is exceeded by much.
    #[must_use]
    pub(crate) fn check_interval(&self) -> Duration {
        let shortest = self.header_timeout.min(self.idle_timeout);
        (shortest / 4).clamp(Duration::from_millis(25), IDLE_WHEN_FULL)
    }

    /// Bytes that a transfer must move within [`ConnectionLimits::stall_timeout`]: at least one.
    #[must_use]
    pub(crate) fn stall_bytes(&self) -> u64 {
        let millis = u64::try_from(self.stall_timeout.as_millis()).unwrap_or(u64::MAX);
        (self.minimum_rate.saturating_mul(millis) / 1_000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_nobody_reads_holds_little() {
        let limits = ConnectionLimits::default();
        let heads = limits.streams as usize * limits.header_bytes;
        let unread = limits.connection_window_bytes as usize;
        assert!(heads + unread < 5 * 1024 * 1024);
        assert!(limits.stream_window_bytes < limits.connection_window_bytes);
    }
}
