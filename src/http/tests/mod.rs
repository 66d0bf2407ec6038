//! The listener over loopback. Clients are raw sockets, so that what is tested is the bytes.

mod http1;
mod http2;
mod lifecycle;
mod slow_peers;
mod support;
mod tls;
mod upgrade;
