//! Connections: listener, TLS, HTTP/1.1 and HTTP/2, and the bounds on all of them. Knows no domain.

mod sendfile;

pub use sendfile::{SendfileBody, SendfileIo, SendfileQueue};
