//! Measures the registry beside nginx, distribution v3.1.1 and, where `WHARFINGER_BENCH_ZOT` names
//! a binary, zot: all in one run.
//!
//! `cargo bench --bench registry -- [ROW…] [--quick] [--rounds N] [--seed N]` (`make bench`); the
//! table goes to `build/bench/table.md`.

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
use support::{nginx, peers, wharfinger};

type Row = fn(&mut Bench) -> anyhow::Result<Section>;

const ROWS: [(&str, Row); 7] = [
    ("start", rows::start::run),
    ("small", rows::small::run),
    ("download", rows::download::run),
    ("crowd", rows::crowd::run),
    ("push", rows::push::run),
    ("manifests", rows::manifests::run),
    ("lists", rows::lists::run),
];

/// The servers, all running at once: those that are not asked use no processor.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) folder: PathBuf,
    pub(crate) nginx: Server,
    /// distribution, and zot where there is one.
    pub(crate) peers: Vec<Server>,
    pub(crate) ours: Server,
}

/// Progress, to stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {line}");
}

fn main() -> anyhow::Result<()> {
    let names = ROWS.map(|(name, _)| name);
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
        peers: std::iter::once(peers::start_distribution(&folder.join("distribution"))?)
            .chain(peers::start_zot(&folder.join("zot"))?)
            .collect(),
        ours: wharfinger::start(&arguments, &folder.join("wharfinger"))?,
        folder: folder.to_owned(),
        arguments,
    };
    let mut sections = Vec::new();
    for (name, row) in ROWS {
        if bench.arguments.wants(name) {
            say(&format!("row {name}"));
            let section = row(&mut bench).with_context(|| format!("row {name}"))?;
            write!(std::io::stdout(), "{}", section.markdown())?;
            sections.push(section);
        }
    }
    let targets = verdicts(&sections);
    writeln!(std::io::stdout(), "{targets}")?;
    let tables: String = sections.iter().map(Section::markdown).collect();
    let path = bench.arguments.build.join(if bench.arguments.quick {
        "quick.md"
    } else {
        "table.md"
    });
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
        "Medians of {} rounds on {cores} cores ({model}, Linux {}), seed {}; the load generator (one thread) shares the cores, all over \
         127.0.0.1. CPU is the server's own, workers included. Every figure of wharfinger is with sign-in and policies on and full \
         durability, over an index of {} repositories and {} images; the peers ask nobody to sign in.\n",
        arguments.rounds,
        kernel.trim(),
        arguments.seed,
        arguments.scale.repositories + 1,
        arguments.scale.big_images
            + arguments.scale.repositories * arguments.scale.images_per_repository,
    )
}
