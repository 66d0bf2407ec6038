//! Connections: the listener, TLS, HTTP/1.1 and HTTP/2, sendfile, and the limits on all of them.
//! Knows no domain.

mod conformance;
mod connection;
mod head_capture;
mod http2_stream;
mod limits;
mod listen;
mod peers;
mod request_body;
mod response_body;
mod sendfile;
mod serve;
mod socket;
mod stall;
mod stream;
mod tls;
mod traffic;
mod upgrade;
mod watchdog;

pub use connection::Connection;
pub use limits::ConnectionLimits;
pub use listen::{Drained, Listener};
pub use request_body::{RequestBody, RequestBodyError};
pub use sendfile::{SendfileBody, SendfileQueue};
pub use serve::Handler;
pub use tls::{Certificates, RELOAD_INTERVAL, TlsError, TlsFiles};
pub use traffic::Traffic;
pub use upgrade::{ConnectionUpgrade, UpgradedStream};

#[cfg(test)]
mod tests;
