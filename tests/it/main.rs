//! Black-box tests: a server on a port of its own, spoken to over HTTP as clients do.

mod support;
mod v2;
