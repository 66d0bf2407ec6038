//! The command line:
//! `cargo bench --bench registry -- [ROW…] [--quick] [--remote] [--rounds N] [--seed N]
//! [--against BINARY]`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use super::load::Load;
use super::stores::{Remote, Stores};

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// What is measured, and how large it is.
pub(crate) struct Arguments {
    /// Names of the selected rows; all when empty.
    rows: Vec<String>,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    /// Counted time of one measurement, and the time before it.
    pub(crate) window: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) scale: Scale,
    /// One repository with very many images, for rows about one repository.
    pub(crate) one_repository: Scale,
    /// Stored blobs of which half are dead.
    pub(crate) collected_blobs: u64,
    /// Size of the layer that is pulled through the cache.
    pub(crate) cached_size: usize,
    /// Sizes of the blobs that are pulled, with the number of connections that pull each.
    pub(crate) downloads: Vec<(usize, usize)>,
    pub(crate) crowd: usize,
    /// Size of one pushed blob; four are pushed.
    pub(crate) push_size: usize,
    pub(crate) stores: Stores,
    /// Another build of our server, to be compared with.
    pub(crate) against: Option<PathBuf>,
    /// Where caches, run folders and the table go.
    pub(crate) build: PathBuf,
}

/// How large the seeded registry is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Repositories beside the one with all the tags.
    pub(crate) repositories: u64,
    pub(crate) images_per_repository: u64,
    /// Images of the repository with all the tags.
    pub(crate) big_images: u64,
    /// Tags of that repository.
    pub(crate) big_tags: u64,
}

impl Scale {
    fn one_repository(images: u64) -> Self {
        Self {
            repositories: 0,
            images_per_repository: 0,
            big_images: images,
            big_tags: images,
        }
    }
}

impl Arguments {
    /// Reads the process's arguments; `known` are the rows there are.
    pub(crate) fn parse(known: &[&str]) -> anyhow::Result<Self> {
        let mut arguments = Self::full();
        let mut words = std::env::args().skip(1);
        let mut rounds = None;
        let mut remote = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo adds this by itself.
                "--bench" => {}
                "--quick" => arguments.make_quick(),
                "--remote" => remote = true,
                "--rounds" => {
                    rounds = Some(
                        words
                            .next()
                            .and_then(|n| n.parse().ok())
                            .context("--rounds takes a number")?,
                    );
                }
                "--seed" => {
                    arguments.seed = words
                        .next()
                        .and_then(|n| n.parse().ok())
                        .context("--seed takes a number")?;
                }
                "--against" => {
                    let binary = words.next().context("--against takes a path")?;
                    arguments.compare_with(binary.into());
                }
                row if known.contains(&row) => arguments.rows.push(word),
                other => bail!(
                    "unknown argument {other}; rows are {}, options --quick, --remote, --rounds N, \
                     --seed N, --against BINARY",
                    known.join(", ")
                ),
            }
        }
        if remote {
            arguments.make_remote(Remote::from_environment()?);
        }
        arguments.rounds = rounds.unwrap_or(arguments.rounds).max(1);
        Ok(arguments)
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }

    /// A timed load of this many connections.
    pub(crate) fn load(&self, connections: usize) -> Load {
        Load {
            connections,
            warm_up: self.warm_up,
            window: Some(self.window),
        }
    }

    fn full() -> Self {
        Self {
            rows: Vec::new(),
            quick: false,
            rounds: 3,
            seed: 1,
            window: Duration::from_secs(3),
            warm_up: Duration::from_millis(500),
            // 1,000,000 images in 100,000 repositories; half of them in one, each with two tags.
            scale: Scale {
                repositories: 99_999,
                images_per_repository: 5,
                big_images: 500_005,
                big_tags: 1_000_000,
            },
            one_repository: Scale::one_repository(1_000_000),
            collected_blobs: 1_000_000,
            cached_size: 256 * MIB,
            downloads: vec![(MIB, 8), (64 * MIB, 8), (1024 * MIB, 1), (1024 * MIB, 8)],
            crowd: 500,
            push_size: 256 * MIB,
            stores: Stores::Local,
            against: None,
            build: super::root().join("build/bench"),
        }
    }

    /// A tenth of the images and smaller blobs: each is written over the network to two servers
    /// that share the cores with the registries.
    fn make_remote(&mut self, remote: Remote) {
        self.stores = Stores::Remote(remote);
        if self.quick {
            return;
        }
        self.scale = Scale {
            repositories: 9_999,
            images_per_repository: 5,
            big_images: 50_005,
            big_tags: 100_000,
        };
        self.downloads = vec![(MIB, 8), (64 * MIB, 8), (256 * MIB, 1)];
        self.push_size = 64 * MIB;
    }

    /// Many short measurements in turn: the machine's own changes then meet both builds.
    fn compare_with(&mut self, binary: PathBuf) {
        self.against = Some(binary);
        self.rounds = 9;
        self.window = Duration::from_secs(1);
        self.warm_up = Duration::from_millis(200);
    }

    /// Everything small: says whether the programs work, and nothing about speed.
    fn make_quick(&mut self) {
        self.quick = true;
        self.rounds = 1;
        self.window = Duration::from_millis(300);
        self.warm_up = Duration::from_millis(50);
        self.scale = Scale {
            repositories: 199,
            images_per_repository: 5,
            big_images: 1_005,
            big_tags: 2_000,
        };
        self.one_repository = Scale::one_repository(2_000);
        self.collected_blobs = 2_000;
        self.cached_size = 4 * MIB;
        self.downloads = vec![(256 * KIB, 8), (4 * MIB, 8), (16 * MIB, 1)];
        self.crowd = 100;
        self.push_size = 8 * MIB;
    }
}
