//! Black-box tests: a server on a port of its own, spoken to over HTTP as clients do.

mod aws;
mod door;
mod process;
mod support;
mod v2;
