//! Measures the registry beside nginx, distribution v3.1.1 and, where `WHARFINGER_BENCH_ZOT` names
//! a binary, zot: all in one run.
//!
//! `cargo bench --bench registry -- [ROW…] [--quick] [--remote] [--rounds N] [--seed N]`
//! (`make bench`, and `make bench-remote` over PostgreSQL and MinIO); the table goes to
//! `build/bench/table.md` or `build/bench/remote.md`. With `--against BINARY`, another build of
//! this server is measured in place of the other registries, in turn with this one.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "figures for people: sizes and counts are far below 2^52"
)]

mod rows;
mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use support::arguments::Arguments;
use support::report::{Section, verdicts};
use support::server::Server;
use support::{link, memory, nginx, peers, wharfinger};

type Row = fn(&mut Bench) -> anyhow::Result<Section>;

/// The stores that a row can be measured on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Both,
    Local,
    Remote,
}

const ROWS: [(&str, On, Row); 15] = [
    ("start", On::Local, rows::start::run),
    ("small", On::Both, rows::small::run),
    ("download", On::Both, rows::download::run),
    ("crowd", On::Both, rows::crowd::run),
    ("push", On::Both, rows::push::run),
    ("manifests", On::Both, rows::manifests::run),
    ("lists", On::Both, rows::lists::run),
    ("identities", On::Local, rows::identities::run),
    ("sessions", On::Local, rows::sessions::run),
    ("api", On::Local, rows::api::run),
    ("lifecycle", On::Local, rows::lifecycle::run),
    ("gc", On::Local, rows::gc::run),
    ("cache", On::Local, rows::cache::run),
    ("replicas", On::Remote, rows::replicas::run),
    // The last, since it deletes the repository that other rows use.
    ("deletion", On::Both, rows::deletion::run),
];

/// The servers, all running at once: those without requests use no processor.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) folder: PathBuf,
    pub(crate) nginx: Server,
    /// distribution, and zot where there is one; or only the other build of our server.
    pub(crate) peers: Vec<Server>,
    pub(crate) ours: Server,
}

/// Progress, to stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {line}");
}

fn main() -> anyhow::Result<()> {
    if link::serve_if_named()? {
        return Ok(());
    }
    let names = ROWS.map(|(name, _, _)| name);
    let arguments = Arguments::parse(&names)?;
    let folder = arguments.build.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let result = measure(arguments, &folder);
    if result.is_ok() {
        fs::remove_dir_all(&folder)?;
    } else {
        say(&format!("logs and state are left in {}", folder.display()));
    }
    result
}

fn measure(arguments: Arguments, folder: &Path) -> anyhow::Result<()> {
    let mut bench = Bench {
        nginx: nginx::start(&folder.join("nginx"))?,
        peers: match &arguments.against {
            Some(binary) => vec![wharfinger::start_other(&arguments, binary, folder)?],
            None => std::iter::once(peers::start_distribution(
                &arguments.stores,
                &folder.join("distribution"),
            )?)
            .chain(peers::start_zot(&folder.join("zot"))?)
            .collect(),
        },
        ours: wharfinger::start(&arguments, &folder.join("wharfinger"))?,
        folder: folder.to_owned(),
        arguments,
    };
    let mut sections = Vec::new();
    let elsewhere = if bench.arguments.stores.are_remote() {
        On::Local
    } else {
        On::Remote
    };
    for (name, on, row) in ROWS {
        if bench.arguments.wants(name) && on != elsewhere {
            say(&format!("row {name}"));
            memory::touch(&bench.folder, bench.arguments.quick)?;
            let section = row(&mut bench).with_context(|| format!("row {name}"))?;
            write!(std::io::stdout(), "{}", section.markdown())?;
            sections.push(section);
        }
    }
    let targets = verdicts(&sections);
    writeln!(std::io::stdout(), "{targets}")?;
    let tables: String = sections.iter().map(Section::markdown).collect();
    let file = match (bench.arguments.quick, bench.arguments.stores.are_remote()) {
        _ if bench.arguments.against.is_some() => "against.md",
        (true, _) => "quick.md",
        (false, true) => "remote.md",
        (false, false) => "table.md",
    };
    let path = bench.arguments.build.join(file);
    fs::write(
        &path,
        format!("{}\n{targets}{tables}", head(&bench.arguments)),
    )?;
    say(&format!("written to {}", path.display()));
    Ok(())
}

/// Where and how the figures were taken.
fn head(arguments: &Arguments) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_matches([' ', '\t', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Medians of {} rounds on {cores} cores ({model}, Linux {}), seed {}; the load generator \
         (one thread) shares the cores, all over \
         127.0.0.1. CPU is the server's own, workers included. Every figure of wharfinger is with \
         sign-in and policies on and full \
         durability, over an index of {} repositories and {} images; the peers authenticate \
         nobody.\n",
        arguments.rounds,
        kernel.trim(),
        arguments.seed,
        arguments.scale.repositories + 1,
        arguments.scale.big_images
            + arguments.scale.repositories * arguments.scale.images_per_repository,
    )
}
