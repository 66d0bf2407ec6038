//! The table `[events]` of the config file: where events are delivered to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use wharfinger_event_sinks::{FileSinkConfig, WebhookConfig};
use wharfinger_registry::{Bounds, DeliverySettings, SinkFilter};

use crate::config::problems::Problems;
use crate::config::units::{UnitError, size, time};

/// Most sinks: each event is stored once for each sink that takes it.
const MAX_SINKS: usize = 16;
/// As long, and as often, as `EventBridge` tries.
const MAX_AGE: Duration = Duration::from_hours(24);
const MAX_ATTEMPTS: u32 = 185;
/// Some 50 MB of the index for each sink that does not respond.
const MAX_WAITING: u64 = 100_000;
const TIMEOUT_SECONDS: u64 = 10;
const FILE_BYTES: u64 = 64 << 20;
const FILES_KEPT: u32 = 4;

/// The types of events that there are.
const DETAIL_TYPES: [&str; 6] = [
    "ECR Image Action",
    "ECR Image Scan",
    "ECR Pull Through Cache Action",
    "ECR Referrer Action",
    "ECR Replication Action",
    "ECR Scan Resource Change",
];

/// `[events]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventSettings {
    files: Vec<FileSettings>,
    webhooks: Vec<WebhookSettings>,
}

/// `[[events.files]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSettings {
    name: String,
    path: String,
    max_size: Option<String>,
    keep: Option<u32>,
    sync: Option<bool>,
    #[serde(default)]
    detail_types: Vec<String>,
    #[serde(default)]
    repository_prefixes: Vec<String>,
    max_waiting: Option<u64>,
    max_attempts: Option<u32>,
    max_age: Option<String>,
}

/// `[[events.webhooks]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSettings {
    name: String,
    url: String,
    secret_file: Option<String>,
    ca_file: Option<String>,
    timeout_seconds: Option<u64>,
    #[serde(default)]
    detail_types: Vec<String>,
    #[serde(default)]
    repository_prefixes: Vec<String>,
    max_waiting: Option<u64>,
    max_attempts: Option<u32>,
    max_age: Option<String>,
}

/// A sink as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSinkConfig {
    pub filter: SinkFilter,
    pub delivery: DeliverySettings,
    pub kind: SinkKind,
}

/// What a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    File(FileSinkConfig),
    Webhook(WebhookConfig),
}

/// The settings that both kinds of sinks have.
struct Common<'a> {
    name: &'a str,
    detail_types: &'a [String],
    repository_prefixes: &'a [String],
    max_waiting: Option<u64>,
    max_attempts: Option<u32>,
    max_age: Option<&'a str>,
}

/// The sinks. None where the table is missing.
pub(super) fn sinks(
    problems: &mut Problems,
    settings: Option<&EventSettings>,
) -> Vec<EventSinkConfig> {
    let Some(settings) = settings else {
        return Vec::new();
    };
    let mut sinks = Vec::new();
    for file in &settings.files {
        let kind = SinkKind::File(file_sink(problems, file));
        sinks.push(sink(problems, &file.common(), kind));
    }
    for webhook in &settings.webhooks {
        if let Some(config) = webhook_sink(problems, webhook) {
            let kind = SinkKind::Webhook(config);
            sinks.push(sink(problems, &webhook.common(), kind));
        }
    }
    let names: BTreeSet<_> = sinks.iter().map(|sink| &sink.filter.name).collect();
    if names.len() < sinks.len() {
        problems.add("events", "two sinks have the same name");
    }
    if sinks.len() > MAX_SINKS {
        problems.add("events", format!("there are more than {MAX_SINKS} sinks"));
    }
    sinks
}

impl FileSettings {
    fn common(&self) -> Common<'_> {
        Common {
            name: &self.name,
            detail_types: &self.detail_types,
            repository_prefixes: &self.repository_prefixes,
            max_waiting: self.max_waiting,
            max_attempts: self.max_attempts,
            max_age: self.max_age.as_deref(),
        }
    }
}

impl WebhookSettings {
    fn common(&self) -> Common<'_> {
        Common {
            name: &self.name,
            detail_types: &self.detail_types,
            repository_prefixes: &self.repository_prefixes,
            max_waiting: self.max_waiting,
            max_attempts: self.max_attempts,
            max_age: self.max_age.as_deref(),
        }
    }
}

fn file_sink(problems: &mut Problems, file: &FileSettings) -> FileSinkConfig {
    let max_bytes = unit(problems, file.max_size.as_deref(), size, FILE_BYTES);
    FileSinkConfig {
        path: PathBuf::from(&file.path),
        max_bytes: problems.within("events", Some(max_bytes), FILE_BYTES, 4_096..=1 << 40),
        keep: problems.within("events", file.keep, FILES_KEPT, 0..=1_000),
        sync: file.sync.unwrap_or(true),
    }
}

fn webhook_sink(problems: &mut Problems, webhook: &WebhookSettings) -> Option<WebhookConfig> {
    let url = webhook.url.parse::<Url>().ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        let name = &webhook.name;
        problems.add("events", format!("the URL of {name} must be http or https"));
    }
    let seconds = webhook.timeout_seconds;
    let timeout = problems.within("events", seconds, TIMEOUT_SECONDS, 1..=60);
    Some(WebhookConfig {
        url: url?,
        secret_file: webhook.secret_file.as_ref().map(PathBuf::from),
        ca_file: webhook.ca_file.as_ref().map(PathBuf::from),
        timeout: Duration::from_secs(timeout),
    })
}

fn sink(problems: &mut Problems, common: &Common<'_>, kind: SinkKind) -> EventSinkConfig {
    let name = common.name;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        problems.add("events", "a name has 1 to 64 letters, digits, and -_.");
    }
    for given in common.detail_types {
        if !DETAIL_TYPES.contains(&given.as_str()) {
            let known = DETAIL_TYPES.join(", ");
            let why = format!("{name} has a detail type that is none of: {known}");
            problems.add("events", why);
        }
    }
    let max_age = unit(problems, common.max_age, time, MAX_AGE);
    if !(Duration::from_secs(1)..=Duration::from_hours(7 * 24)).contains(&max_age) {
        problems.add("events", "max_age is not between 1s and 7d");
    }
    EventSinkConfig {
        filter: SinkFilter {
            name: name.to_owned(),
            detail_types: common.detail_types.to_vec(),
            repository_prefixes: common.repository_prefixes.to_vec(),
        },
        delivery: DeliverySettings {
            name: name.to_owned(),
            bounds: Bounds {
                max_attempts: problems.within(
                    "events",
                    common.max_attempts,
                    MAX_ATTEMPTS,
                    1..=100_000,
                ),
                max_age,
            },
            max_waiting: problems.within("events", common.max_waiting, MAX_WAITING, 1..=10_000_000),
        },
        kind,
    }
}

fn unit<T>(
    problems: &mut Problems,
    given: Option<&str>,
    parse: fn(&str) -> Result<T, UnitError>,
    default: T,
) -> T {
    match given.map(parse) {
        None => default,
        Some(Ok(value)) => value,
        Some(Err(why)) => {
            problems.add("events", why);
            default
        }
    }
}
