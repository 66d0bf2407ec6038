//! The listener for tasks that share the network of the host: they find it on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use crate::metadata::{ServedTasks, Serving};

/// The endpoints on the loopback address of the host.
pub(crate) struct HostEndpoints {
    pub(crate) served: ServedTasks,
    /// `http://127.0.0.1:<port>`.
    pub(crate) base: String,
    pub(crate) port: u16,
    _serving: Serving,
}

impl HostEndpoints {
    /// Listens on the port that an earlier run had, because running tasks know it; on another one
    /// where it is taken, or 0.
    ///
    /// # Errors
    /// Where there is no free port.
    pub(crate) fn listen(port: u16) -> io::Result<Self> {
        let bind = |port| TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let listener = bind(port).or_else(|error| {
            tracing::warn!(
                port,
                %error,
                "running tasks in the host's network lose their credentials endpoint"
            );
            bind(0)
        })?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let served = ServedTasks::default();
        Ok(Self {
            base: format!("http://127.0.0.1:{port}"),
            port,
            _serving: served.clone().serve(listener),
            served,
        })
    }
}
