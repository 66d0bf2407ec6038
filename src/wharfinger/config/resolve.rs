//! Turns settings into a [`Config`]: defaults, and every check that needs only the settings.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use url::Url;
use wharfinger_api_core::{HttpServiceConfig, Names, RateLimitConfig};
use wharfinger_aws::{AccountId, Region};
use wharfinger_base::{Chain, Durability, Secret};
use wharfinger_blobs::{BlobsConfig, S3Keys};
use wharfinger_db::{DatabaseConfig, POSTGRES_CONNECTIONS};
use wharfinger_http::{ConnectionLimits, TlsFiles};
use wharfinger_iam as iam;
use wharfinger_registry as registry;
use wharfinger_telemetry::{LogFormat, LogsConfig, TracesConfig, check_level};

use crate::config::{Challenge, Config, DEFAULT_PORT, Problem, Settings};

const DEFAULT_REGION: &str = "us-east-1";

const SLOW_REQUEST_MS: u64 = 1_000;

/// A timeout of more than a day is a slip of the hand.
const SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Bytes of an HTTP/2 flow-control window: from the protocol's initial size to 1 GiB.
const HTTP2_WINDOW: RangeInclusive<u32> = 65_535..=1 << 30;

/// Collects problems while values are taken.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &'static str, why: impl Display) {
        self.0.push(Problem {
            key,
            why: why.to_string(),
        });
    }

    /// The parsed value, or the default where nothing is set or it cannot be parsed (which is a
    /// problem then).
    fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        given: Option<&str>,
        default: T,
    ) -> T {
        match given.map(str::parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(why)) => {
                self.add(key, why);
                default
            }
        }
    }

    fn within<N: Copy + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        given: Option<N>,
        default: N,
        range: RangeInclusive<N>,
    ) -> N {
        let value = given.unwrap_or(default);
        if !range.contains(&value) {
            self.add(
                key,
                format!(
                    "{value} is not between {} and {}",
                    range.start(),
                    range.end()
                ),
            );
        }
        value
    }

    /// One of two words.
    fn either<T: Copy>(
        &mut self,
        key: &'static str,
        given: Option<&str>,
        first: (&str, T),
        second: (&str, T),
    ) -> T {
        match given {
            None => first.1,
            Some(word) if word == first.0 => first.1,
            Some(word) if word == second.0 => second.1,
            Some(other) => {
                self.add(
                    key,
                    format!("`{other}` is neither {} nor {}", first.0, second.0),
                );
                first.1
            }
        }
    }
}

pub(super) fn resolve(settings: Settings) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::default();
    let dev = settings.dev.unwrap_or(false);
    let listen = listen(&mut problems, dev, settings.listen.as_deref());
    let tls = tls(&mut problems, &settings);
    let names = names(&mut problems, &settings, listen, tls.is_some());
    let data_dir = PathBuf::from(settings.data_dir.as_deref().unwrap_or(if dev {
        "./data/dev"
    } else {
        "./data"
    }));
    let durability = (("full", Durability::Full), ("relaxed", Durability::Relaxed));
    let durability = problems.either(
        "durability",
        settings.durability.as_deref(),
        durability.0,
        durability.1,
    );
    let challenge = (("basic", Challenge::Basic), ("bearer", Challenge::Bearer));
    let slow = problems.within(
        "slow_request_ms",
        settings.slow_request_ms,
        SLOW_REQUEST_MS,
        0..=3_600_000,
    );
    let traces = traces(&mut problems, settings.otel_endpoint.clone());
    let http = HttpServiceConfig {
        access_log: settings.access_log.unwrap_or(false),
        slow_request: Duration::from_millis(slow),
        rate_limit: rate(&mut problems, &settings),
        traces: traces.is_some(),
    };
    let config = Config {
        dev,
        listen,
        tls,
        limits: limits(&mut problems, &settings),
        database: database(
            &mut problems,
            settings.database.as_deref(),
            &data_dir,
            durability,
        ),
        blobs: blobs(&mut problems, &settings, &data_dir),
        durability,
        key_file: settings
            .key_file
            .as_ref()
            .map_or_else(|| data_dir.join("key"), PathBuf::from),
        data_dir,
        names,
        challenge: problems.either(
            "auth_challenge",
            settings.auth_challenge.as_deref(),
            challenge.0,
            challenge.1,
        ),
        registry_token_ttl: registry_token_ttl(&mut problems, settings.registry_token_seconds),
        create_on_push: settings.create_on_push.unwrap_or(dev),
        presigned_redirects: settings.presigned_redirects.unwrap_or(false),
        registry: registry(&mut problems, &settings),
        logs: logs(&mut problems, &settings),
        http,
        traces,
    };
    if problems.0.is_empty() {
        Ok(config)
    } else {
        Err(problems.0)
    }
}

fn listen(problems: &mut Problems, dev: bool, given: Option<&str>) -> SocketAddr {
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

fn tls(problems: &mut Problems, settings: &Settings) -> Option<TlsFiles> {
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

fn names(problems: &mut Problems, settings: &Settings, listen: SocketAddr, tls: bool) -> Names {
    let public_url = match settings.public_url.as_deref() {
        None => derived_url(listen, tls),
        Some(given) => match check_url(given) {
            Ok(url) => url,
            Err(why) => {
                problems.add("public_url", why);
                derived_url(listen, tls)
            }
        },
    };
    let localhost = || "localhost".parse().expect("a well-formed template");
    let derived = Names::derived_uri(&public_url).unwrap_or_else(localhost);
    let repository_uri = problems.parsed(
        "repository_uri",
        settings.repository_uri.as_deref(),
        derived,
    );
    let domain = settings
        .domain
        .as_ref()
        .map(|domain| domain.to_ascii_lowercase());
    if domain.as_ref().is_some_and(|domain| !is_domain(domain)) {
        problems.add("domain", "it must be a domain name such as example.com");
    }
    Names {
        url_is_derived: settings.public_url.is_none(),
        uri_is_derived: settings.repository_uri.is_none(),
        public_url,
        repository_uri,
        account: problems.parsed("account", settings.account.as_deref(), AccountId::DEV),
        region: region(problems, settings.region.as_deref()),
        domain,
    }
}

fn region(problems: &mut Problems, given: Option<&str>) -> Region {
    let default = || Region::from_str(DEFAULT_REGION).expect("the default region is well-formed");
    given
        .map_or_else(|| Ok(default()), str::parse)
        .unwrap_or_else(|why| {
            problems.add("region", why);
            default()
        })
}

/// Docker on this machine reaches any address by `localhost`, and trusts it without TLS.
fn derived_url(listen: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    if listen.ip().is_unspecified() || listen.ip().is_loopback() {
        format!("{scheme}://localhost:{}", listen.port())
    } else {
        format!("{scheme}://{listen}")
    }
}

fn check_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|why| why.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("it must begin with http:// or https:// and name a host".to_owned());
    }
    if url.path() != "/"
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
    {
        return Err(
            "it must hold nothing but scheme, host and port: /v2/ is always at the root".to_owned(),
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn limits(problems: &mut Problems, settings: &Settings) -> ConnectionLimits {
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
        default.connections_per_address,
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

fn rate(problems: &mut Problems, settings: &Settings) -> Option<RateLimitConfig> {
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

fn registry(problems: &mut Problems, settings: &Settings) -> registry::Config {
    let default = registry::Config::default();
    let expiry = problems.within(
        "upload_expiry_seconds",
        settings.upload_expiry_seconds,
        default.upload_expiry.as_secs(),
        1..=365 * 86_400,
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

fn blobs(problems: &mut Problems, settings: &Settings, data_dir: &Path) -> BlobsConfig {
    let keys = match (&settings.s3_access_key_id, &settings.s3_secret_access_key) {
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
    };
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

fn traces(problems: &mut Problems, endpoint: Option<String>) -> Option<TracesConfig> {
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty())?;
    if Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        Some(TracesConfig { endpoint })
    } else {
        problems.add("otel_endpoint", "it must be an http or https URL");
        None
    }
}
