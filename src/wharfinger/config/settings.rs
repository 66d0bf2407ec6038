//! Settings as they are written down: one field is one key of the file, one environment variable
//! and one flag.

use serde::{Deserialize, Serialize};

use crate::config::{DestinationSettings, EventSettings};

/// What may be set, and was it? Laid over each other by [`Settings::over`]: flags over environment
/// over file; what no one set gets its default in [`crate::config::Config::from_settings`]. There
/// is no `Debug`: some values are secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address and port to listen on, for everything [default: 0.0.0.0:4566; 127.0.0.1:4566 with
    /// --dev]
    #[arg(long, env = "WHARFINGER_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Folder for index, blobs and key file [default: ./data; ./data/dev with --dev]
    #[arg(long, env = "WHARFINGER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The index: a `postgres://` URL, or the path of a `SQLite` file [default: index.sqlite under
    /// the data folder]
    #[arg(
        long,
        env = "WHARFINGER_DATABASE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: Option<String>,
    /// The blobs: <s3://BUCKET/PREFIX?endpoint=URL&region=NAME>, or a folder [default: blobs under
    /// the data folder]
    #[arg(
        long,
        env = "WHARFINGER_BLOBS",
        value_name = "URL",
        hide_env_values = true
    )]
    pub blobs: Option<String>,
    /// A cheaper store for blobs that only archived images need, written as for blobs [default:
    /// archive under the blobs, for what compression makes smaller]
    #[arg(
        long,
        env = "WHARFINGER_ARCHIVE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub archive: Option<String>,
    /// Access key id for the bucket, instead of the usual AWS chain
    #[arg(long, env = "WHARFINGER_S3_ACCESS_KEY_ID", value_name = "ID")]
    pub s3_access_key_id: Option<String>,
    /// Its secret; better in the environment than in a flag, which others can see
    #[arg(
        long,
        env = "WHARFINGER_S3_SECRET_ACCESS_KEY",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub s3_secret_access_key: Option<String>,
    /// Whether an acknowledged write survives a power cut (full) or only a crash of the process
    /// (relaxed) [default: full]
    #[arg(long, env = "WHARFINGER_DURABILITY", value_name = "full|relaxed")]
    pub durability: Option<String>,
    /// File with the key that encrypts secrets in the index; made on the first start [default: key
    /// under the data folder]
    #[arg(long, env = "WHARFINGER_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<String>,
    /// For development: loopback only, any credentials, repositories made by pushing, state
    /// emptied by request
    #[arg(
        long,
        env = "WHARFINGER_DEV",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub dev: Option<bool>,
    /// The URL by which clients reach this server [default: http://localhost:PORT, or https with
    /// TLS]
    #[arg(long, env = "WHARFINGER_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// What stands before a repository's name in its URI; may hold {account} and {region}
    /// [default: host of the public URL]
    #[arg(long, env = "WHARFINGER_REPOSITORY_URI", value_name = "TEMPLATE")]
    pub repository_uri: Option<String>,
    /// The account that requests belong to when nothing else says so [default: 123456789012]
    #[arg(long, env = "WHARFINGER_ACCOUNT", value_name = "DIGITS")]
    pub account: Option<String>,
    /// The region that requests belong to when nothing else says so [default: us-east-1]
    #[arg(long, env = "WHARFINGER_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// Only this domain's hosts {account}.dkr.ecr.{region}.DOMAIN name a registry [default: any
    /// domain]
    #[arg(long, env = "WHARFINGER_DOMAIN", value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// The authentication scheme of /v2/: basic, as ECR does, or bearer, by tokens from
    /// /token [default: basic]
    #[arg(long, env = "WHARFINGER_AUTH_CHALLENGE", value_name = "basic|bearer")]
    pub auth_challenge: Option<String>,
    /// Seconds that a token of /token holds [default: 300]
    #[arg(
        long,
        env = "WHARFINGER_REGISTRY_TOKEN_SECONDS",
        value_name = "SECONDS"
    )]
    pub registry_token_seconds: Option<u64>,
    /// File with the key sets of OIDC providers that the server cannot reach: a JSON object of
    /// issuers and key sets [default: none; key sets are fetched]
    #[arg(long, env = "WHARFINGER_OIDC_KEY_SETS", value_name = "FILE")]
    pub oidc_key_sets: Option<String>,
    /// Make a missing repository when someone who may create it pushes to it [default: false; true
    /// with --dev]
    #[arg(
        long,
        env = "WHARFINGER_CREATE_ON_PUSH",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub create_on_push: Option<bool>,
    /// Take manifests whose blobs or manifests are not there (sparse images) [default: false]
    #[arg(
        long,
        env = "WHARFINGER_ACCEPT_MISSING_REFERENCES",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub accept_missing_references: Option<bool>,
    /// Send pulls of blobs to the bucket by presigned URLs instead of carrying the bytes [default:
    /// false]
    #[arg(
        long,
        env = "WHARFINGER_PRESIGNED_REDIRECTS",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub presigned_redirects: Option<bool>,
    /// Seconds after which an upload that nobody touches is forgotten [default: 86400]
    #[arg(long, env = "WHARFINGER_UPLOAD_EXPIRY_SECONDS", value_name = "SECONDS")]
    pub upload_expiry_seconds: Option<u64>,
    /// Seconds for which a blob that no image needs is kept after its last use by a push [default:
    /// 86400]
    #[arg(long, env = "WHARFINGER_BLOB_LEASE_SECONDS", value_name = "SECONDS")]
    pub blob_lease_seconds: Option<u64>,
    /// Percent of the time that garbage collection may work; 0 turns it off in this server
    /// [default: 25]
    #[arg(long, env = "WHARFINGER_GC_LOAD_PERCENT", value_name = "PERCENT")]
    pub gc_load_percent: Option<u64>,
    /// Most uploads that may be open at once, of all callers [default: 20000]
    #[arg(long, env = "WHARFINGER_MAX_OPEN_UPLOADS", value_name = "COUNT")]
    pub max_open_uploads: Option<u64>,
    /// Most uploads that one user may have open at once [default: 5000]
    #[arg(
        long,
        env = "WHARFINGER_MAX_OPEN_UPLOADS_PER_CALLER",
        value_name = "COUNT"
    )]
    pub max_open_uploads_per_caller: Option<u64>,
    /// Seconds after a scan of an image until the next one may be requested [default: 86400, as ECR
    /// has it]
    #[arg(long, env = "WHARFINGER_SCAN_INTERVAL_SECONDS", value_name = "SECONDS")]
    pub scan_interval_seconds: Option<u64>,
    /// Whether documents about the packages of scanned images are attached to them [default: true]
    #[arg(
        long,
        env = "WHARFINGER_SCAN_DOCUMENTS",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub scan_documents: Option<bool>,
    /// Bytes of the largest blob [default: 54525952000, as ECR has it]
    #[arg(long, env = "WHARFINGER_MAX_BLOB_BYTES", value_name = "BYTES")]
    pub max_blob_bytes: Option<u64>,
    /// Other addresses at which the pull-through cache reaches upstream registries, such as mirrors
    /// [default: none]
    #[arg(long, env = "WHARFINGER_UPSTREAMS", value_name = "HOST=URL,...")]
    pub upstreams: Option<String>,
    /// Seconds for which the pull-through cache serves a tag without a look upstream [default:
    /// 86400, as in ECR]
    #[arg(
        long,
        env = "WHARFINGER_PULL_THROUGH_REFRESH_SECONDS",
        value_name = "SECONDS"
    )]
    pub pull_through_refresh_seconds: Option<u64>,
    /// PEM file with the certificate chain; TLS is spoken where this and --tls-key are set
    #[arg(long, env = "WHARFINGER_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<String>,
    /// PEM file with its private key
    #[arg(long, env = "WHARFINGER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Connections served at once; more wait [default: 4096]
    #[arg(long, env = "WHARFINGER_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<u64>,
    /// Connections of one address served at once; more are closed [default: half of all]
    #[arg(
        long,
        env = "WHARFINGER_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "COUNT"
    )]
    pub max_connections_per_address: Option<u64>,
    /// Bytes of a request's head [default: 32768]
    #[arg(long, env = "WHARFINGER_MAX_HEADER_BYTES", value_name = "BYTES")]
    pub max_header_bytes: Option<u64>,
    /// Seconds for a TLS handshake and for each request's head to arrive [default: 10]
    #[arg(
        long,
        env = "WHARFINGER_HEADER_TIMEOUT_SECONDS",
        value_name = "SECONDS"
    )]
    pub header_timeout_seconds: Option<u64>,
    /// Seconds after which a connection without a request is closed [default: 75]
    #[arg(long, env = "WHARFINGER_IDLE_TIMEOUT_SECONDS", value_name = "SECONDS")]
    pub idle_timeout_seconds: Option<u64>,
    /// Seconds that a transfer may stand still, or crawl, before it is cut [default: 60]
    #[arg(long, env = "WHARFINGER_STALL_TIMEOUT_SECONDS", value_name = "SECONDS")]
    pub stall_timeout_seconds: Option<u64>,
    /// Bytes per second below which a transfer that waits for the peer is stalled [default: 128]
    #[arg(long, env = "WHARFINGER_MINIMUM_RATE", value_name = "BYTES")]
    pub minimum_rate: Option<u64>,
    /// Seconds for which the rest of an unwanted request body is discarded [default: 10]
    #[arg(
        long,
        env = "WHARFINGER_LINGER_TIMEOUT_SECONDS",
        value_name = "SECONDS"
    )]
    pub linger_timeout_seconds: Option<u64>,
    /// Concurrent streams of one HTTP/2 connection [default: 100]
    #[arg(long, env = "WHARFINGER_HTTP2_STREAMS", value_name = "COUNT")]
    pub http2_streams: Option<u32>,
    /// Bytes that a client may send ahead on one HTTP/2 stream [default: 524288]
    #[arg(
        long,
        env = "WHARFINGER_HTTP2_STREAM_WINDOW_BYTES",
        value_name = "BYTES"
    )]
    pub http2_stream_window_bytes: Option<u32>,
    /// Bytes that a client may send ahead on one HTTP/2 connection [default: 1048576]
    #[arg(
        long,
        env = "WHARFINGER_HTTP2_CONNECTION_WINDOW_BYTES",
        value_name = "BYTES"
    )]
    pub http2_connection_window_bytes: Option<u32>,
    /// HTTP/2 streams that a client may reset beyond those it completes [default: 256]
    #[arg(long, env = "WHARFINGER_HTTP2_RESETS", value_name = "COUNT")]
    pub http2_resets: Option<u64>,
    /// Seconds that requests in flight get to finish after a stop signal [default: 30]
    #[arg(long, env = "WHARFINGER_DRAIN_TIMEOUT_SECONDS", value_name = "SECONDS")]
    pub drain_timeout_seconds: Option<u64>,
    /// Requests per second that one caller may make for long; 0 is any number [default: 0]
    #[arg(long, env = "WHARFINGER_RATE_PER_SECOND", value_name = "COUNT")]
    pub rate_per_second: Option<u32>,
    /// Requests that one caller may make at once on top [default: twice the rate]
    #[arg(long, env = "WHARFINGER_RATE_BURST", value_name = "COUNT")]
    pub rate_burst: Option<u32>,
    /// A level (error, warn, info, debug, trace) or directives such as
    /// `info,wharfinger::registry=debug` [default: info]
    #[arg(long, env = "WHARFINGER_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log lines for people (plain) or for machines (json) [default: plain]
    #[arg(long, env = "WHARFINGER_LOG_FORMAT", value_name = "plain|json")]
    pub log_format: Option<String>,
    /// Log every request, not only those that fail, change something or are slow [default: false]
    #[arg(
        long,
        env = "WHARFINGER_ACCESS_LOG",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub access_log: Option<bool>,
    /// Milliseconds from which a request counts as slow and is logged [default: 1000]
    #[arg(long, env = "WHARFINGER_SLOW_REQUEST_MS", value_name = "MILLISECONDS")]
    pub slow_request_ms: Option<u64>,
    /// Keep an audit log of what is changed and refused, under the data folder [default: true]
    #[arg(
        long,
        env = "WHARFINGER_AUDIT",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    pub audit: Option<bool>,
    /// Size of the audit log, such as 512MiB; the oldest records are deleted [default: 256MiB]
    #[arg(long, env = "WHARFINGER_AUDIT_MAX_SIZE", value_name = "SIZE")]
    pub audit_max_size: Option<String>,
    /// Age up to which audit records are kept, such as 12h or 365d [default: 90d]
    #[arg(long, env = "WHARFINGER_AUDIT_MAX_AGE", value_name = "TIME")]
    pub audit_max_age: Option<String>,
    /// Clusters that this host joins as a container instance: all, none, or names with commas
    /// between [default: all]
    #[arg(
        long,
        env = "WHARFINGER_LOCAL_CLUSTERS",
        value_name = "all|none|NAME,..."
    )]
    pub local_clusters: Option<String>,
    /// Docker Engine that runs their tasks: `unix:///PATH` or `tcp://HOST:PORT` [default:
    /// `DOCKER_HOST`, else the system's socket]
    #[arg(long, env = "WHARFINGER_DOCKER_HOST", value_name = "URL")]
    pub docker_host: Option<String>,
    /// Seconds for which the containers of a stopped task are kept [default: 10800]
    #[arg(long, env = "WHARFINGER_TASK_CLEANUP_SECONDS", value_name = "SECONDS")]
    pub task_cleanup_seconds: Option<u64>,
    /// Seconds that a task of a service runs until it counts as healthy, if none of its containers
    /// has a health check [default: 40, as in ECS; with --dev 5]
    #[arg(
        long,
        env = "WHARFINGER_SERVICE_HEALTHY_SECONDS",
        value_name = "SECONDS"
    )]
    pub service_healthy_seconds: Option<u64>,
    /// Collector of OpenTelemetry traces over HTTP [default: `OTEL_EXPORTER_OTLP_ENDPOINT`; none:
    /// no traces]
    #[arg(long, env = "WHARFINGER_OTEL_ENDPOINT", value_name = "URL")]
    pub otel_endpoint: Option<String>,
    /// Where events go. A table, which stands in the config file only.
    #[arg(skip)]
    pub events: Option<EventSettings>,
    /// Registries of other servers that images are replicated to. Tables, as above.
    #[arg(skip)]
    pub replication_destinations: Option<Vec<DestinationSettings>>,
}

impl Settings {
    /// Reads the text of a config file. The error names the line, and the key where it is known,
    /// but never quotes a value, which may be a secret.
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        toml::from_str(text).map_err(|error| FileError::of(&error, text))
    }

    /// These settings, and `below` where they say nothing.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let fields = |settings| match serde_json::to_value(settings) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let mut merged = fields(below);
        merged.extend(
            fields(self)
                .into_iter()
                .filter(|(_, value)| !value.is_null()),
        );
        // Both came from this very type, so the way back cannot fail.
        serde_json::from_value(serde_json::Value::Object(merged)).unwrap_or_default()
    }
}

/// Why a config file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct FileError {
    line: usize,
    what: String,
}

impl FileError {
    fn of(error: &toml::de::Error, text: &str) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.as_bytes()[..at].split(|byte| *byte == b'\n');
        let line = before.count();
        let key = text
            .lines()
            .nth(line - 1)
            .and_then(|line| line.split_once('='))
            .map(|(key, _)| key.trim())
            .filter(|key| is_key(key));
        Self {
            line,
            what: without_value(error.message(), key),
        }
    }
}

/// The parser's message, without the part of a message about a wrong type that quotes the value.
fn without_value(message: &str, key: Option<&str>) -> String {
    let key = key.unwrap_or("the value");
    match message.split_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid type") => {
            format!("{key} must be {expected}")
        }
        Some((found, _)) if found.starts_with("invalid value") => {
            format!("{key} is out of range")
        }
        Some((found, _)) if found.starts_with("unknown field") => found.to_owned(),
        _ => format!("{key} is not valid TOML, or its key stands twice"),
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
