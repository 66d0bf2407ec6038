//! Turns settings into a [`Config`]: defaults, and every check that needs only the settings.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use wharfinger_api_core::HttpServiceConfig;
use wharfinger_api_distribution::{ChallengeScheme, DistributionConfig};
use wharfinger_base::{Chain, Durability, Secret};
use wharfinger_blobs::{BlobsConfig, S3Keys};
use wharfinger_db::{DatabaseConfig, POSTGRES_CONNECTIONS};
use wharfinger_iam as iam;
use wharfinger_orchestrator::ServiceSettings;
use wharfinger_registry as registry;
use wharfinger_telemetry::{LogFormat, LogsConfig, TracesConfig, check_level};

use crate::config::audit::audit;
use crate::config::destinations::destinations;
use crate::config::events::sinks;
use crate::config::names::names;
use crate::config::network::{limits, listen, rate, tls};
use crate::config::problems::Problems;
use crate::config::{Config, LocalClusters, Problem, Settings, Upstreams};

/// A day, as in ECR (ECR user guide, "Pull through cache").
const PULL_THROUGH_REFRESH_SECONDS: u64 = 86_400;
const SLOW_REQUEST_MS: u64 = 1_000;
/// Three hours, as Amazon's agent keeps them.
const TASK_CLEANUP_SECONDS: u64 = 10_800;
/// As in ECS (ECS API reference, `minimumHealthyPercent`).
const SERVICE_HEALTHY_SECONDS: u64 = 40;
const SERVICE_HEALTHY_SECONDS_DEV: u64 = 5;

/// A push must get from its first layer to its manifest within half a lease; no client takes longer
/// than 30 days.
const BLOB_LEASE_SECONDS: RangeInclusive<u64> = 1..=60 * 86_400;

impl Config {
    /// Applies defaults and checks the values. All problems are found at once, not only the first.
    pub fn from_settings(settings: &Settings) -> Result<Self, Vec<Problem>> {
        resolve(settings)
    }
}

fn resolve(settings: &Settings) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::default();
    let dev = settings.dev.unwrap_or(false);
    let listen = listen(&mut problems, dev, settings.listen.as_deref());
    let tls = tls(&mut problems, settings);
    let names = names(&mut problems, settings, listen, tls.is_some());
    let data_dir = data_dir(settings, dev);
    let durability = problems.either(
        "durability",
        settings.durability.as_deref(),
        ("full", Durability::Full),
        ("relaxed", Durability::Relaxed),
    );
    let slow = problems.within(
        "slow_request_ms",
        settings.slow_request_ms,
        SLOW_REQUEST_MS,
        0..=3_600_000,
    );
    let traces = traces(&mut problems, settings.otel_endpoint.as_deref());
    let task_cleanup = problems.within(
        "task_cleanup_seconds",
        settings.task_cleanup_seconds,
        TASK_CLEANUP_SECONDS,
        0..=365 * 86_400,
    );
    let service_healthy = problems.within(
        "service_healthy_seconds",
        settings.service_healthy_seconds,
        if dev {
            SERVICE_HEALTHY_SECONDS_DEV
        } else {
            SERVICE_HEALTHY_SECONDS
        },
        0..=3_600,
    );
    let http = HttpServiceConfig {
        access_log: settings.access_log.unwrap_or(false),
        slow_request: Duration::from_millis(slow),
        rate_limit: rate(&mut problems, settings),
        traces: traces.is_some(),
    };
    let remote = settings.replication_destinations.as_deref();
    let replication_destinations = destinations(&mut problems, remote, names.account);
    let event_sinks = sinks(&mut problems, settings.events.as_ref());
    let mut registry = registry(&mut problems, settings);
    registry.event_sinks = event_sinks.iter().map(|sink| sink.filter.clone()).collect();
    let s3_keys = s3_keys(&mut problems, settings);
    let config = Config {
        dev,
        listen,
        tls,
        limits: limits(&mut problems, settings),
        database: database(
            &mut problems,
            settings.database.as_deref(),
            &data_dir,
            durability,
        ),
        archive: archive(&mut problems, settings, s3_keys.clone()),
        blobs: blobs(&mut problems, settings, s3_keys.clone(), &data_dir),
        s3_keys,
        audit: audit(&mut problems, settings, &data_dir),
        durability,
        key_file: settings
            .key_file
            .as_ref()
            .map_or_else(|| data_dir.join("key"), PathBuf::from),
        data_dir,
        names,
        distribution: distribution(&mut problems, settings, dev),
        oidc_key_sets: settings.oidc_key_sets.as_ref().map(PathBuf::from),
        registry_token_ttl: registry_token_ttl(&mut problems, settings.registry_token_seconds),
        upstreams: problems.parsed(
            "upstreams",
            settings.upstreams.as_deref(),
            Upstreams::default(),
        ),
        pull_through_refresh: pull_through_refresh(&mut problems, settings),
        registry,
        event_sinks,
        replication_destinations,
        local_clusters: problems.parsed(
            "local_clusters",
            settings.local_clusters.as_deref(),
            LocalClusters::All,
        ),
        docker_host: settings.docker_host.clone(),
        task_cleanup_wait: Duration::from_secs(task_cleanup),
        services: ServiceSettings {
            healthy_after: Duration::from_secs(service_healthy),
        },
        logs: logs(&mut problems, settings),
        http,
        traces,
    };
    if problems.0.is_empty() {
        Ok(config)
    } else {
        Err(problems.0)
    }
}

fn pull_through_refresh(problems: &mut Problems, settings: &Settings) -> Duration {
    Duration::from_secs(problems.within(
        "pull_through_refresh_seconds",
        settings.pull_through_refresh_seconds,
        PULL_THROUGH_REFRESH_SECONDS,
        0..=365 * 86_400,
    ))
}

fn database(
    problems: &mut Problems,
    given: Option<&str>,
    data_dir: &Path,
    durability: Durability,
) -> DatabaseConfig {
    let file = |path| DatabaseConfig::Sqlite { path, durability };
    match given {
        None => file(data_dir.join("index.sqlite")),
        Some(url) if is_postgres(url) => DatabaseConfig::Postgres {
            url: Secret::new(url.to_owned()),
            connections: POSTGRES_CONNECTIONS,
        },
        Some(path) => {
            if path.is_empty() || path.contains("://") {
                problems.add(
                    "database",
                    "it must be a postgres:// URL or the path of a file",
                );
            }
            file(PathBuf::from(path))
        }
    }
}

fn distribution(problems: &mut Problems, settings: &Settings, dev: bool) -> DistributionConfig {
    let challenge = problems.either(
        "auth_challenge",
        settings.auth_challenge.as_deref(),
        ("basic", ChallengeScheme::Basic),
        ("bearer", ChallengeScheme::Bearer),
    );
    DistributionConfig {
        challenge,
        create_on_push: settings.create_on_push.unwrap_or(dev),
        presigned_redirects: settings.presigned_redirects.unwrap_or(false),
    }
}

fn registry(problems: &mut Problems, settings: &Settings) -> registry::Config {
    let default = registry::Config::default();
    let expiry = problems.within(
        "upload_expiry_seconds",
        settings.upload_expiry_seconds,
        default.upload_expiry.as_secs(),
        1..=365 * 86_400,
    );
    let lease = problems.within(
        "blob_lease_seconds",
        settings.blob_lease_seconds,
        default.blob_lease.as_secs(),
        BLOB_LEASE_SECONDS,
    );
    let gc_load = problems.within(
        "gc_load_percent",
        settings.gc_load_percent,
        default.gc_load_percent.into(),
        0..=100,
    );
    let stall = settings
        .stall_timeout_seconds
        .map_or(default.body_idle_timeout, Duration::from_secs);
    registry::Config {
        accept_missing_references: settings
            .accept_missing_references
            .unwrap_or(default.accept_missing_references),
        max_blob_bytes: problems.within(
            "max_blob_bytes",
            settings.max_blob_bytes,
            default.max_blob_bytes,
            1..=1 << 50,
        ),
        blob_lease: Duration::from_secs(lease),
        gc_load_percent: u32::try_from(gc_load).unwrap_or(default.gc_load_percent),
        upload_expiry: Duration::from_secs(expiry),
        max_open_uploads: problems.within(
            "max_open_uploads",
            settings.max_open_uploads,
            default.max_open_uploads,
            1..=1_000_000,
        ),
        max_open_uploads_per_caller: problems.within(
            "max_open_uploads_per_caller",
            settings.max_open_uploads_per_caller,
            default.max_open_uploads_per_caller,
            1..=1_000_000,
        ),
        body_idle_timeout: stall,
        // Any server may share a PostgreSQL index; a file has one (the serving lock sees to it).
        several_replicas: settings.database.as_deref().is_some_and(is_postgres),
        event_sinks: default.event_sinks,
        scans: registry::ScanConfig {
            interval: Duration::from_secs(problems.within(
                "scan_interval_seconds",
                settings.scan_interval_seconds,
                default.scans.interval.as_secs(),
                0..=365 * 86_400,
            )),
            attach_documents: settings
                .scan_documents
                .unwrap_or(default.scans.attach_documents),
        },
    }
}

fn registry_token_ttl(problems: &mut Problems, given: Option<u64>) -> Duration {
    let default = iam::Config::default().registry_token_ttl.as_secs();
    Duration::from_secs(problems.within(
        "registry_token_seconds",
        given,
        default,
        iam::REGISTRY_TOKEN_SECONDS,
    ))
}

fn is_postgres(database: &str) -> bool {
    database.starts_with("postgres://") || database.starts_with("postgresql://")
}

/// The folder of the server's own files.
fn data_dir(settings: &Settings, dev: bool) -> PathBuf {
    let default = if dev { "./data/dev" } else { "./data" };
    PathBuf::from(settings.data_dir.as_deref().unwrap_or(default))
}

/// The store of archived blobs, if it is another one. Servers that share blobs in a bucket must
/// share the archive, too.
fn archive(
    problems: &mut Problems,
    settings: &Settings,
    keys: Option<S3Keys>,
) -> Option<BlobsConfig> {
    let given = settings.archive.as_deref()?;
    let is_bucket = |text: &str| text.starts_with("s3://");
    if settings.blobs.as_deref().is_some_and(is_bucket) && !is_bucket(given) {
        problems.add(
            "archive",
            "the blobs are in a bucket, so the archive must be in one, too",
        );
        return None;
    }
    BlobsConfig::parse(given, keys)
        .inspect_err(|why| problems.add("archive", why))
        .ok()
}

/// The key for buckets.
fn s3_keys(problems: &mut Problems, settings: &Settings) -> Option<S3Keys> {
    match (&settings.s3_access_key_id, &settings.s3_secret_access_key) {
        (Some(access_key_id), Some(secret)) => Some(S3Keys {
            access_key_id: access_key_id.clone(),
            secret_access_key: Secret::new(secret.clone()),
        }),
        (None, None) => None,
        (Some(_), None) => {
            problems.add(
                "s3_secret_access_key",
                "s3_access_key_id is set, so this must be too",
            );
            None
        }
        (None, Some(_)) => {
            problems.add(
                "s3_access_key_id",
                "s3_secret_access_key is set, so this must be too",
            );
            None
        }
    }
}

fn blobs(
    problems: &mut Problems,
    settings: &Settings,
    keys: Option<S3Keys>,
    data_dir: &Path,
) -> BlobsConfig {
    let folder = BlobsConfig::Disk {
        root: data_dir.join("blobs"),
    };
    let Some(given) = settings.blobs.as_deref() else {
        return folder;
    };
    BlobsConfig::parse(given, keys).unwrap_or_else(|why| {
        problems.add("blobs", why);
        folder
    })
}

fn logs(problems: &mut Problems, settings: &Settings) -> LogsConfig {
    let level = settings
        .log_level
        .clone()
        .unwrap_or_else(|| "info".to_owned());
    if let Err(why) = check_level(&level) {
        problems.add("log_level", Chain(&why));
    }
    LogsConfig {
        level,
        format: problems.parsed(
            "log_format",
            settings.log_format.as_deref(),
            LogFormat::Plain,
        ),
    }
}

fn traces(problems: &mut Problems, endpoint: Option<&str>) -> Option<TracesConfig> {
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
    if Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        Some(TracesConfig {
            endpoint: endpoint.to_owned(),
        })
    } else {
        problems.add("otel_endpoint", "it must be an http or https URL");
        None
    }
}
