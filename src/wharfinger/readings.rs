//! The numbers that parts of the server count by themselves, for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wharfinger_audit::AuditLog;
use wharfinger_http::Traffic;
use wharfinger_orchestrator::Orchestrator;
use wharfinger_registry::{ArchiveProgress, Progress, Registry, ReplicationProgress};
use wharfinger_telemetry::{Kind, Reading};

use crate::app::App;
use crate::event_delivery::event_readings;
use crate::scan_readings::scan_readings;

/// The readings of a server.
pub(crate) fn all(traffic: &Arc<Traffic>, app: &App) -> Vec<Reading> {
    let mut readings = traffic_readings(traffic);
    readings.extend(audit_readings(&app.audit));
    readings.push(agent_reading(&app.orchestrator));
    readings.extend(collection_readings(&app.registry));
    readings.extend(archive_readings(&app.registry));
    readings.extend(replication_readings(&app.registry));
    readings.extend(scan_readings(&app.registry.scans));
    readings.extend(event_readings(&app.registry.events.counts()));
    readings
}

/// Makes readings of what counts by itself.
fn readings_of<T: Send + Sync + 'static>(
    counted: &Arc<T>,
) -> impl Fn(&'static str, &'static str, Kind, fn(&T) -> u64) -> Reading {
    let counted = Arc::clone(counted);
    move |name, help, kind, read| {
        let counted = Arc::clone(&counted);
        Reading {
            name,
            help,
            kind,
            read: Box::new(move || read(&counted)),
        }
    }
}

/// The numbers of the audit log, for `/metrics`.
fn audit_readings(audit: &AuditLog) -> [Reading; 2] {
    let reading = |name, help, read: fn((u64, u64)) -> u64| {
        let audit = audit.clone();
        Reading {
            name,
            help,
            kind: Kind::Counter,
            read: Box::new(move || read(audit.counts())),
        }
    };
    [
        reading(
            "audit_events",
            "Events written to the audit log",
            |(written, _)| written,
        ),
        reading(
            "audit_events_lost",
            "Events that the audit log has not, since its queue was full or the disk failed",
            |(_, lost)| lost,
        ),
    ]
}

/// The numbers of garbage collection, for `/metrics`.
fn collection_readings(registry: &Registry) -> [Reading; 6] {
    let reading = readings_of(registry.collector.progress());
    [
        reading(
            "gc_links_removed",
            "Links from repositories to blobs removed because no image needed them",
            Kind::Counter,
            Progress::links,
        ),
        reading(
            "gc_blobs_removed",
            "Blobs removed because nothing needed them",
            Kind::Counter,
            Progress::blobs,
        ),
        reading(
            "gc_removed_bytes",
            "Bytes of the blobs removed because nothing needed them",
            Kind::Counter,
            Progress::bytes,
        ),
        reading(
            "gc_failures",
            "Steps of garbage collection that failed and are tried again",
            Kind::Counter,
            Progress::failures,
        ),
        reading(
            "gc_blobs_waiting",
            "Blobs without links that wait for the end of their lease or for removal",
            Kind::Gauge,
            Progress::waiting,
        ),
        reading(
            "gc_last_pass_seconds",
            "Time of the last step that left nothing to collect, in seconds since the epoch",
            Kind::Gauge,
            Progress::last_pass_seconds,
        ),
    ]
}

/// The numbers of the archive, for `/metrics`.
fn archive_readings(registry: &Registry) -> [Reading; 6] {
    let reading = readings_of(registry.archive_progress());
    [
        reading(
            "archive_blobs_stored",
            "Blobs that this server moved to the archive",
            Kind::Counter,
            ArchiveProgress::stored,
        ),
        reading(
            "archive_blobs_restored",
            "Blobs that this server brought back from the archive",
            Kind::Counter,
            ArchiveProgress::restored,
        ),
        reading(
            "archive_failures",
            "Moves to and from the archive that failed and are tried again",
            Kind::Counter,
            ArchiveProgress::failures,
        ),
        reading(
            "archive_blobs",
            "Blobs in the archive, as counted in the last minutes",
            Kind::Gauge,
            ArchiveProgress::blobs,
        ),
        reading(
            "archive_content_bytes",
            "Bytes of the blobs in the archive when they are restored",
            Kind::Gauge,
            ArchiveProgress::bytes,
        ),
        reading(
            "archive_stored_bytes",
            "Bytes that the blobs in the archive take there",
            Kind::Gauge,
            ArchiveProgress::stored_bytes,
        ),
    ]
}

/// The numbers of replication, for `/metrics`.
fn replication_readings(registry: &Registry) -> [Reading; 4] {
    let reading = readings_of(registry.replication_progress());
    [
        reading(
            "replications_ended",
            "Copies of images and deletions that this server replicated",
            Kind::Counter,
            ReplicationProgress::ended,
        ),
        reading(
            "replications_failed",
            "Copies of images and deletions that this server gave up to replicate",
            Kind::Counter,
            ReplicationProgress::failed,
        ),
        reading(
            "replication_attempts_failed",
            "Attempts to replicate that failed and are repeated",
            Kind::Counter,
            ReplicationProgress::repeated,
        ),
        reading(
            "replications_waiting",
            "Copies of images and deletions that wait to be replicated by any server, up to 100000",
            Kind::Gauge,
            ReplicationProgress::waiting,
        ),
    ]
}

/// The number of agents that hold a connection, for `/metrics`.
fn agent_reading(orchestrator: &Orchestrator) -> Reading {
    let assignments = orchestrator.assignments.clone();
    Reading {
        name: "agents_connected",
        help: "Container agents that hold a connection to this server",
        kind: Kind::Gauge,
        read: Box::new(move || assignments.session_count() as u64),
    }
}

/// The listener's numbers, for `/metrics`.
fn traffic_readings(traffic: &Arc<Traffic>) -> Vec<Reading> {
    let reading = readings_of(traffic);
    vec![
        reading(
            "connections_accepted",
            "Connections accepted",
            Kind::Counter,
            |traffic| traffic.accepted.load(Relaxed),
        ),
        reading(
            "connections_cut",
            "Connections and streams ended because the peer was too slow or abusive",
            Kind::Counter,
            |traffic| traffic.cut.load(Relaxed),
        ),
        reading(
            "connections_turned_away",
            "Connections closed because their address had too many",
            Kind::Counter,
            |traffic| traffic.turned_away.load(Relaxed),
        ),
        reading(
            "requests_malformed",
            "Requests that got 400 or 431 before they reached a handler",
            Kind::Counter,
            |traffic| traffic.refused.load(Relaxed),
        ),
        reading(
            "connections_open",
            "Connections open",
            Kind::Gauge,
            |traffic| traffic.open.load(Relaxed),
        ),
        reading(
            "received_bytes",
            "Bytes received",
            Kind::Counter,
            |traffic| traffic.bytes_in.load(Relaxed),
        ),
        reading("sent_bytes", "Bytes sent", Kind::Counter, |traffic| {
            traffic.bytes_out.load(Relaxed)
        }),
    ]
}
