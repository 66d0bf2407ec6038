//! Limits on one connection and on all connections together: sizes, counts and times.

use std::time::Duration;

/// Limits on connections. Every field is a key of the configuration file.
///
/// Before it signs in, a peer can make one HTTP/2 connection hold, with the default limits: 1 MiB
/// that no handler has read (`connection_window_bytes`), the heads of its streams (`streams` times
/// `header_bytes`, 3.1 MiB), what a request takes besides while it waits (44 KiB with 100 header
/// fields, measured; 4.3 MiB), and the first 8 KiB of each stream's body, which the budget of
/// request bodies does not charge (0.8 MiB). That is 9.2 MiB. An address has up to 64 such
/// connections, and all addresses together 256; further ones get 6 streams and a window of 64 KiB,
/// which is 568 KiB. All of the `connections_per_address` together hold 1.7 GiB, and all
/// `connections` 4.4 GiB; a server with less memory needs lower numbers of these. An HTTP/1
/// connection has one head and one body at a time.
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
    /// Concurrent streams of one HTTP/2 connection. RFC 9113 advises at least 100. This and the two
    /// windows are lower for connections of an address beyond its first 64, and for those of all
    /// addresses beyond 256.
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

/// The number of connections of one address that get the configured HTTP/2 limits: more than any
/// client opens, and as much as a proxy needs for 6,400 requests at a time.
const FULL_CONNECTIONS_PER_ADDRESS: usize = 64;

/// The number of HTTP/2 connections of all addresses that get the configured limits: four addresses
/// of as many as they may have. They hold 2.3 GiB. Further ones work as well, but upload more
/// slowly.
pub(crate) const FULL_CONNECTIONS: usize = 256;

/// HTTP/2 limits of further connections of the address, where they are lower than the configured
/// ones. Such a connection holds 568 KiB instead of 9.2 MiB.
const FURTHER_CONNECTIONS: Http2Limits = Http2Limits {
    streams: 6,
    // Half of the connection's: one stream that nobody reads does not stop the others.
    stream_window_bytes: 32 * 1024,
    // What HTTP/2 begins with; it knows no smaller one.
    connection_window_bytes: 65_535,
};

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

/// Whether a connection can get the configured HTTP/2 limits by the number of connections that its
/// address had when it was accepted.
#[must_use]
pub(crate) const fn may_be_full(earlier_connections: usize) -> bool {
    earlier_connections < FULL_CONNECTIONS_PER_ADDRESS
}

/// The limits of one HTTP/2 connection; see the fields of [`ConnectionLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Http2Limits {
    pub(crate) streams: u32,
    pub(crate) stream_window_bytes: u32,
    pub(crate) connection_window_bytes: u32,
}

impl ConnectionLimits {
    /// The HTTP/2 limits of a connection: those that are configured if it is a `full` one, else
    /// lower ones.
    #[must_use]
    pub(crate) fn http2(&self, full: bool) -> Http2Limits {
        let configured = Http2Limits {
            streams: self.streams,
            stream_window_bytes: self.stream_window_bytes,
            connection_window_bytes: self.connection_window_bytes,
        };
        if full {
            return configured;
        }
        let further = FURTHER_CONNECTIONS;
        Http2Limits {
            streams: further.streams.min(configured.streams),
            stream_window_bytes: further
                .stream_window_bytes
                .min(configured.stream_window_bytes),
            connection_window_bytes: further
                .connection_window_bytes
                .min(configured.connection_window_bytes),
        }
    }

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

    const MIB: usize = 1024 * 1024;
    /// Of each request body, what the budget of request bodies does not charge.
    const UNCHARGED_BYTES: usize = 8 * 1024;
    /// What a waiting request with 100 header fields takes besides their text (measured).
    const REQUEST_BYTES: usize = 44 * 1024;

    /// Bytes that a peer can make a connection hold before it signs in.
    fn held(limits: &ConnectionLimits, full: bool) -> usize {
        let http2 = limits.http2(full);
        let per_stream = limits.header_bytes + REQUEST_BYTES + UNCHARGED_BYTES;
        http2.connection_window_bytes as usize + http2.streams as usize * per_stream
    }

    #[test]
    fn a_connection_that_nobody_reads_holds_little() {
        let limits = ConnectionLimits::default();
        assert!(held(&limits, true) < 9 * MIB + MIB / 4);
        assert!(held(&limits, false) < 569 * 1024);
        for full in [true, false] {
            let http2 = limits.http2(full);
            assert!(http2.stream_window_bytes < http2.connection_window_bytes);
        }
    }

    #[test]
    fn all_connections_of_one_address_hold_less_than_two_gibibytes() {
        let limits = ConnectionLimits::default();
        let earlier = 0..limits.connections_per_address;
        let held = |earlier| held(&limits, may_be_full(earlier));
        let total: usize = earlier.map(held).sum();
        assert!(total < 1_740 * MIB, "{total} bytes");
    }

    #[test]
    fn all_connections_of_a_server_hold_less_than_five_gibibytes() {
        let limits = ConnectionLimits::default();
        let each = (0..limits.connections).map(|number| held(&limits, number < FULL_CONNECTIONS));
        let total: usize = each.sum();
        assert!(total < 4_506 * MIB, "{total} bytes");
    }

    #[test]
    fn the_first_64_connections_of_an_address_get_what_is_configured() {
        let limits = ConnectionLimits {
            streams: 200,
            stream_window_bytes: 300_000,
            connection_window_bytes: 400_000,
            ..ConnectionLimits::default()
        };
        let configured = Http2Limits {
            streams: 200,
            stream_window_bytes: 300_000,
            connection_window_bytes: 400_000,
        };
        assert_eq!([0, 63, 64].map(may_be_full), [true, true, false]);
        assert_eq!(limits.http2(true), configured);
        let further = Http2Limits {
            streams: 6,
            stream_window_bytes: 32_768,
            connection_window_bytes: 65_535,
        };
        assert_eq!(limits.http2(false), further);
    }

    #[test]
    fn further_connections_never_get_more_than_is_configured() {
        let limits = ConnectionLimits {
            streams: 2,
            stream_window_bytes: 20_000,
            connection_window_bytes: 30_000,
            ..ConnectionLimits::default()
        };
        assert_eq!(limits.http2(false), limits.http2(true));
    }
}
