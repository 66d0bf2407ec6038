//! The other registries: distribution v3.1.1, and zot where a binary is given. Neither requires
//! anybody
//! to sign in here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::process::Process;
use super::server::{Server, free_address};
use super::stores::Stores;

/// Starts distribution (`WHARFINGER_BENCH_DISTRIBUTION`, else `registry` on the PATH) with its
/// configuration, and its state where the stores are local, under `folder`.
pub(crate) fn start_distribution(stores: &Stores, folder: &Path) -> anyhow::Result<Server> {
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let configuration = format!(
        "version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage:
{}
  delete: {{enabled: true}}
  cache: {{blobdescriptor: inmemory}}
http: {{addr: \"{address}\", secret: bench}}\n",
        stores.distribution_storage(&folder.join("state"))
    );
    let path = folder.join("config.yml");
    fs::write(&path, configuration)?;
    let program =
        std::env::var("WHARFINGER_BENCH_DISTRIBUTION").unwrap_or_else(|_| "registry".into());
    let (log, output) = (folder.join("log"), folder.join("output"));
    let launch = move || {
        let mut command = Command::new(&program);
        // Without this it tries to send traces to localhost:4318, and logs each failure.
        command
            .arg("serve")
            .arg(&path)
            .env("OTEL_TRACES_EXPORTER", "none");
        Process::spawn(&mut command, &log, &output)
            .context("distribution v3.1.1: see WHARFINGER_BENCH_DISTRIBUTION")
    };
    Server::start(
        "distribution",
        match stores {
            Stores::Local => "none; fsync of file",
            Stores::Remote(_) => "none; S3",
        },
        address,
        "/v2/",
        Box::new(launch),
    )
}

/// Starts zot where `WHARFINGER_BENCH_ZOT` names its binary.
pub(crate) fn start_zot(folder: &Path) -> anyhow::Result<Option<Server>> {
    let Some(program) = std::env::var_os("WHARFINGER_BENCH_ZOT").map(PathBuf::from) else {
        return Ok(None);
    };
    fs::create_dir_all(folder)?;
    let address = free_address()?;
    let configuration = serde_json::json!({
        "storage": {"rootDirectory": folder.join("state"), "commit": true, "dedupe": true,
            "gc": false},
        "http": {"address": "127.0.0.1", "port": address.port().to_string()},
        "log": {"level": "error"},
    });
    let path = folder.join("config.json");
    fs::write(&path, configuration.to_string())?;
    let (log, output) = (folder.join("log"), folder.join("output"));
    let launch = move || {
        Process::spawn(
            Command::new(&program).arg("serve").arg(&path),
            &log,
            &output,
        )
    };
    Server::start(
        "zot",
        "none; commit=true",
        address,
        "/v2/",
        Box::new(launch),
    )
    .map(Some)
}
