//! Connections: listener, TLS, HTTP/1.1 and HTTP/2, and the bounds on all of them. Knows no domain.

mod connection;
mod framing;
mod limits;
mod listen;
mod sendfile;
mod stream;
mod tls;

pub use connection::{Connection, Tracked};
pub use framing::Framing;
pub use limits::Limits;
pub use listen::{Drained, Handler, Listener, Traffic};
pub use sendfile::{SendfileBody, SendfileIo, SendfileQueue};
pub use tls::{Certificates, RELOAD_INTERVAL, TlsError, TlsFiles};

#[cfg(test)]
mod tests;
