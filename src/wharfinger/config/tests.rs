//! Settings laid over each other, checked, and compared with the sample file.

use std::collections::BTreeSet;

use clap::{Args as _, Command, FromArgMatches as _};
use wharfinger_api_core::RateLimitConfig;

use super::*;

const SAMPLE: &str = include_str!("../../../config/server.toml");

fn toml(text: &str) -> Settings {
    Settings::from_toml(text).unwrap_or_else(|why| panic!("{why}"))
}

fn config(text: &str) -> Config {
    Config::from_settings(&toml(text)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    Config::from_settings(&toml(text)).map_or_else(
        |problems| problems.iter().map(ToString::to_string).collect(),
        |_| Vec::new(),
    )
}

/// Tables, which stand in the config file only.
const TABLES: [&str; 2] = ["events", "replication_destinations"];

/// All keys that there are, without tables.
fn keys() -> BTreeSet<String> {
    let settings = serde_json::to_value(Settings::default()).expect("settings serialise");
    settings
        .as_object()
        .expect("an object")
        .keys()
        .filter(|key| !TABLES.contains(&key.as_str()))
        .cloned()
        .collect()
}

fn flags(arguments: &[&str]) -> Settings {
    let command = Settings::augment_args(Command::new("test"));
    let matches = command.get_matches_from(std::iter::once(&"test").chain(arguments));
    Settings::from_arg_matches(&matches).expect("flags")
}

#[test]
fn every_key_is_a_flag_and_an_environment_variable() {
    let command = Settings::augment_args(Command::new("test"));
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.get_id() != "help")
        .collect();
    for argument in &arguments {
        let key = argument.get_id().as_str();
        assert_eq!(
            argument.get_long(),
            Some(key.replace('_', "-").as_str()),
            "{key}"
        );
        let variable = format!("WHARFINGER_{}", key.to_uppercase());
        assert_eq!(
            argument.get_env(),
            Some(std::ffi::OsStr::new(&variable)),
            "{key}"
        );
        assert!(argument.get_help().is_some(), "{key}");
    }
    assert_eq!(
        arguments
            .iter()
            .map(|argument| argument.get_id().to_string())
            .collect::<BTreeSet<_>>(),
        keys()
    );
}

#[test]
fn the_sample_names_every_key_and_says_the_defaults() {
    let is_key = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let commented_in = |line: &'static str| {
        line.strip_prefix("# ")
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| is_key(key)))
    };
    // Tables stand at the end, each with keys of its own.
    let (plain, tables) = SAMPLE.split_once("\n# [").expect("a table");
    let everything: Vec<&str> = plain
        .lines()
        .map(|line| commented_in(line).unwrap_or(line))
        .collect();
    let named: BTreeSet<String> = everything
        .iter()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(key, _)| is_key(key))
        .map(|(key, _)| key.to_owned())
        .collect();
    assert_eq!(named, keys());
    assert_eq!(format!("{:?}", config(SAMPLE)), format!("{:?}", config("")));
    let tables = format!("[{}", tables.replace("\n# ", "\n"));
    config(&[&everything.join("\n"), "\n", &tables].concat());
}

#[test]
fn sinks_of_events_have_defaults_and_are_checked() {
    let text = "[[events.files]]\nname = \"log\"\npath = \"e.jsonl\"\n[[events.webhooks]]\n\
        name = \"ci\"\nurl = \"https://ci.example.com/hook\"\nrepository_prefixes = [\"a/\"]";
    let sinks = config(text).event_sinks;
    let names: Vec<_> = sinks.iter().map(|sink| sink.filter.name.as_str()).collect();
    assert_eq!(names, ["log", "ci"]);
    assert_eq!(
        config(text).registry.event_sinks[1].repository_prefixes,
        ["a/"]
    );
    assert_eq!(sinks[0].delivery.bounds.max_attempts, 185);
    let SinkKind::File(file) = &sinks[0].kind else {
        panic!("the first is a file");
    };
    assert_eq!((file.max_bytes, file.keep, file.sync), (64 << 20, 4, true));
    assert!(config("").event_sinks.is_empty());
    for wrong in [
        "name = \"a b\"\npath = \"x\"",
        "name = \"a\"\npath = \"x\"\ndetail_types = [\"ECR Image\"]",
        "name = \"a\"\npath = \"x\"\nmax_size = \"1\"",
        "name = \"a\"\npath = \"x\"\nmax_age = \"8d\"",
        "name = \"a\"\npath = \"x\"\nmax_attempts = 0",
        "name = \"a\"\npath = \"x\"\n[[events.files]]\nname = \"a\"\npath = \"y\"",
        "name = \"a\"\npath = \"x\"\n[[events.webhooks]]\nname = \"b\"\nurl = \"ftp://x/\"",
    ] {
        let found = problems(&format!("[[events.files]]\n{wrong}"));
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
    }
    assert!(Settings::from_toml("[[events.files]]\nname = \"a\"\npaht = \"x\"").is_err());
}

#[test]
fn flags_stand_over_the_file() {
    let file = toml("region = \"eu-west-1\"\naccount = \"000000000001\"\ndev = true");
    let above = flags(&["--account", "000000000002", "--dev=false"]);
    let settings = above.over(file);
    assert_eq!(settings.region.as_deref(), Some("eu-west-1"));
    assert_eq!(settings.account.as_deref(), Some("000000000002"));
    assert_eq!(settings.dev, Some(false));
    assert_eq!(flags(&["--dev"]).dev, Some(true));
    assert_eq!(flags(&[]).dev, None);
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let why = |text| {
        Settings::from_toml(text)
            .err()
            .map(|why| why.to_string())
            .unwrap_or_default()
    };
    let unknown = why("region = \"a\"\nlissten = \"x\"");
    assert!(
        unknown.contains("lissten") && unknown.contains("line 2"),
        "{unknown}"
    );
    let mistyped = why("max_connections = \"many\"");
    assert!(mistyped.contains("max_connections"), "{mistyped}");
}

/// Error messages about a file never contain its values, because many people can read the log of a
/// failed start.
#[test]
fn no_error_shows_a_secret() {
    for text in [
        "s3_secret_access_key = \"TOPSECRET",
        "s3_secret_access_key = TOPSECRET",
        "s3_secret_access_key = [\"TOPSECRET\"]",
        "s3_secret_access_key = \"a\"\ns3_secret_access_key = \"TOPSECRET\"",
        "s3_secret_access_key = \"TOPSECRET\" x",
        "s3_secret_access_key \"TOPSECRET\"",
        "max_connections = \"TOPSECRET\"",
        "dev = \"TOPSECRET\"",
        "dev = 'TOPSECRET'",
    ] {
        let error = Settings::from_toml(text).err().expect(text);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("TOPSECRET"), "{text}: {shown}");
        assert!(shown.contains("line "), "{text}: {shown}");
    }
    let number = Settings::from_toml("s3_secret_access_key = 1234567").err();
    let number = number.expect("a number").to_string();
    assert!(!number.contains("1234567"), "{number}");
    assert_eq!(number, "line 1: s3_secret_access_key must be a string");
    for blobs in [
        "s3://KEY:TOPSECRET@images",
        "gs://TOPSECRET",
        "s3://images?endpoint=http://k:TOPSECRET@h&TOPSECRET=x",
    ] {
        let told = problems(&format!("blobs = \"{blobs}\""));
        assert!(!told.is_empty(), "{blobs}");
        assert!(!told.concat().contains("TOPSECRET"), "{told:?}");
    }
}

#[test]
fn an_archive_is_where_every_server_of_the_blobs_reaches_it() {
    let bucket = "blobs = \"s3://images\"\n";
    for (settings, expected) in [
        ("archive = \"/mnt/slow\"".to_owned(), 0),
        (format!("{bucket}archive = \"s3://slow\""), 0),
        ("archive = \"s3://slow\"".to_owned(), 0),
        (format!("{bucket}archive = \"/mnt/slow\""), 1),
        ("archive = \"gs://slow\"".to_owned(), 1),
    ] {
        let told = problems(&settings);
        assert_eq!(told.len(), expected, "{settings}: {told:?}");
        assert!(
            told.iter().all(|problem| problem.starts_with("archive: ")),
            "{told:?}"
        );
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let told = problems(
        "dev = true\nlisten = \"0.0.0.0:1\"\nblobs = \"gs://x\"\nregion = \"\"\n\
         account = \"1\"\ntls_key = \"k\"\nmax_connections = 0\nlog_level = \"a=b=c\"\n\
         log_format = \"xml\"\npublic_url = \"http://h/path\"\nauth_challenge = \"digest\"\n\
         otel_endpoint = \"grpc\"\ns3_access_key_id = \"A\"\ndomain = \"a..b\"\n\
         repository_uri = \"{name}\"\ndatabase = \"mysql://x\"",
    );
    let expected = [
        "listen",
        "tls_certificate",
        "public_url",
        "repository_uri",
        "domain",
        "account",
        "region",
        "max_connections",
        "log_level",
        "log_format",
        "auth_challenge",
        "otel_endpoint",
        "s3_secret_access_key",
        "blobs",
        "database",
    ];
    for key in expected {
        assert!(
            told.iter()
                .any(|problem| problem.starts_with(&format!("{key}: "))),
            "{key} is not among {told:#?}"
        );
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn names_follow_from_the_address() {
    let url = |text: &str| config(text).names.public_url;
    assert_eq!(url(""), "http://localhost:4566");
    assert_eq!(
        url("listen = \"[::]:80\"\ntls_certificate = \"c\"\ntls_key = \"k\""),
        "https://localhost:80"
    );
    assert_eq!(url("listen = \"10.0.0.7:5000\""), "http://10.0.0.7:5000");
    assert_eq!(
        url("public_url = \"https://registry.example.com/\""),
        "https://registry.example.com"
    );
    let uri = |text: &str| config(text).names.repository_uri.to_string();
    assert_eq!(uri(""), "localhost:4566");
    assert_eq!(
        uri("public_url = \"https://registry.example.com\""),
        "registry.example.com"
    );
    assert_eq!(
        uri("repository_uri = \"{account}.x\"\npublic_url = \"https://y\""),
        "{account}.x"
    );
    let mut names = config("listen = \"127.0.0.1:0\"").names;
    names.follow_port(4000);
    assert_eq!(
        (
            names.public_url.as_str(),
            names.repository_uri.to_string().as_str()
        ),
        ("http://localhost:4000", "localhost:4000")
    );
    let mut fixed = config("public_url = \"https://y\"").names;
    fixed.follow_port(4000);
    assert_eq!(fixed.public_url, "https://y");
}

#[test]
fn dev_changes_the_defaults_that_it_promises_to() {
    let dev = config("dev = true");
    assert!(
        dev.listen.ip().is_loopback()
            && dev.distribution.create_on_push
            && dev.data_dir.ends_with("data/dev")
    );
    let plain = config("");
    assert!(plain.listen.ip().is_unspecified() && !plain.distribution.create_on_push && !plain.dev);
    assert_eq!(plain.http.rate_limit, None);
    assert_eq!(
        config("rate_per_second = 10").http.rate_limit,
        Some(RateLimitConfig {
            per_second: 10,
            burst: 20
        })
    );
}

#[test]
fn one_address_gets_half_of_the_connections_unless_configured() {
    let limits = |text| config(text).limits.connections_per_address;
    assert_eq!(limits(""), 2_048);
    assert_eq!(limits("max_connections = 20"), 10);
    assert_eq!(limits("max_connections = 1"), 1);
    let both = "max_connections = 20\nmax_connections_per_address = 20";
    assert_eq!(limits(both), 20);
}
