//! Sizes and times that both sides of the protocol rely on.

use std::time::Duration;

/// The version of the protocol that agents name in their request.
pub const PROTOCOL_VERSION: u32 = 2;

/// The largest frame that an agent sends on ACS: a stop verification of some hundred tasks.
pub const ACS_AGENT_FRAME_BYTES: usize = 128 * 1024;

/// The largest frame that an agent sends on TCS: figures of [`TASKS_PER_METRICS`] tasks.
pub const TCS_AGENT_FRAME_BYTES: usize = 512 * 1024;

/// The largest frame that the control plane sends. A task definition has at most 64 KiB, which
/// escaping can double, and a payload holds [`TASKS_PER_PAYLOAD`] of them.
pub const SERVER_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Tasks of one `PayloadMessage` at most.
pub const TASKS_PER_PAYLOAD: usize = 10;

/// Tasks of one `PublishMetricsRequest` or `PublishHealthRequest` at most.
pub const TASKS_PER_METRICS: usize = 10;

/// How often the control plane sends a heartbeat. Amazon's agent drops a connection on which
/// nothing came for one to two minutes.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// A connection on which nothing came for this long is dead, for either side: two heartbeats, and
/// time for a slow network.
pub const SILENCE: Duration = Duration::from_secs(75);

/// A message without acknowledgement is sent again after this long. An agent acknowledges a payload
/// when it has stored it, before it pulls anything.
pub const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(15);
