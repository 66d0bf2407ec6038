//! What the benchmark programs share: a load generator, the servers it is pointed at, their content
//! and the report.

pub(crate) mod arguments;
pub(crate) mod connection;
pub(crate) mod content;
pub(crate) mod garbage;
pub(crate) mod latencies;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod nginx;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod scripts;
pub(crate) mod seed;
pub(crate) mod server;
pub(crate) mod sign;
pub(crate) mod stores;
pub(crate) mod wharfinger;

/// The folder of the workspace.
pub(crate) fn root() -> std::path::PathBuf {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}
