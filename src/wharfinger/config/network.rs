//! The listener: address, TLS, limits of connections and callers.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use wharfinger_api_core::RateLimitConfig;
use wharfinger_http::{ConnectionLimits, TlsFiles};

use crate::config::problems::Problems;
use crate::config::{DEFAULT_PORT, Settings};

/// Timeouts in seconds: one of more than a day is a mistake.
const SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Bytes of an HTTP/2 flow-control window: from the protocol's initial size to 1 GiB.
const HTTP2_WINDOW: RangeInclusive<u32> = 65_535..=1 << 30;

pub(super) fn listen(problems: &mut Problems, dev: bool, given: Option<&str>) -> SocketAddr {
    let ip = if dev {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::UNSPECIFIED
    };
    let listen = problems.parsed("listen", given, SocketAddr::from((ip, DEFAULT_PORT)));
    if dev && !listen.ip().is_loopback() {
        problems.add(
            "listen",
            format!(
                "dev takes any credentials, so it listens on loopback only, and {} is not",
                listen.ip()
            ),
        );
    }
    listen
}

pub(super) fn tls(problems: &mut Problems, settings: &Settings) -> Option<TlsFiles> {
    match (&settings.tls_certificate, &settings.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
        (None, None) => None,
        (Some(_), None) => {
            problems.add("tls_key", "tls_certificate is set, so this must be too");
            None
        }
        (None, Some(_)) => {
            problems.add("tls_certificate", "tls_key is set, so this must be too");
            None
        }
    }
}

pub(super) fn limits(problems: &mut Problems, settings: &Settings) -> ConnectionLimits {
    let default = timeouts(problems, settings);
    let mut count = |key, given, default: usize, range| {
        usize::try_from(problems.within(key, given, default as u64, range)).unwrap_or(default)
    };
    let connections = count(
        "max_connections",
        settings.max_connections,
        default.connections,
        1..=1 << 20,
    );
    let connections_per_address = count(
        "max_connections_per_address",
        settings.max_connections_per_address,
        // Half of all: one address alone never keeps the others out.
        (connections / 2).max(1),
        1..=1 << 20,
    );
    let header_bytes = count(
        "max_header_bytes",
        settings.max_header_bytes,
        default.header_bytes,
        8_192..=1 << 20,
    );
    let resets = count(
        "http2_resets",
        settings.http2_resets,
        default.resets,
        1..=1 << 20,
    );
    ConnectionLimits {
        connections,
        connections_per_address,
        header_bytes,
        minimum_rate: problems.within(
            "minimum_rate",
            settings.minimum_rate,
            default.minimum_rate,
            1..=1 << 30,
        ),
        streams: problems.within(
            "http2_streams",
            settings.http2_streams,
            default.streams,
            1..=1 << 16,
        ),
        stream_window_bytes: problems.within(
            "http2_stream_window_bytes",
            settings.http2_stream_window_bytes,
            default.stream_window_bytes,
            HTTP2_WINDOW,
        ),
        connection_window_bytes: problems.within(
            "http2_connection_window_bytes",
            settings.http2_connection_window_bytes,
            default.connection_window_bytes,
            HTTP2_WINDOW,
        ),
        resets,
        ..default
    }
}

/// The default limits with the configured timeouts.
fn timeouts(problems: &mut Problems, settings: &Settings) -> ConnectionLimits {
    let default = ConnectionLimits::default();
    let mut seconds = |key, given, default: Duration| {
        Duration::from_secs(problems.within(key, given, default.as_secs(), SECONDS))
    };
    ConnectionLimits {
        header_timeout: seconds(
            "header_timeout_seconds",
            settings.header_timeout_seconds,
            default.header_timeout,
        ),
        idle_timeout: seconds(
            "idle_timeout_seconds",
            settings.idle_timeout_seconds,
            default.idle_timeout,
        ),
        stall_timeout: seconds(
            "stall_timeout_seconds",
            settings.stall_timeout_seconds,
            default.stall_timeout,
        ),
        linger_timeout: seconds(
            "linger_timeout_seconds",
            settings.linger_timeout_seconds,
            default.linger_timeout,
        ),
        drain_timeout: seconds(
            "drain_timeout_seconds",
            settings.drain_timeout_seconds,
            default.drain_timeout,
        ),
        ..default
    }
}

pub(super) fn rate(problems: &mut Problems, settings: &Settings) -> Option<RateLimitConfig> {
    let per_second = problems.within(
        "rate_per_second",
        settings.rate_per_second,
        0,
        0..=1_000_000,
    );
    if per_second == 0 {
        return None;
    }
    let burst = problems.within(
        "rate_burst",
        settings.rate_burst,
        per_second.saturating_mul(2),
        1..=2_000_000,
    );
    Some(RateLimitConfig { per_second, burst })
}
