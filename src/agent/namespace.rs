//! A listener that a container reaches on the address that AWS clients request credentials, on port
//! 80 and without taking that port from the container.
//!
//! The listener stands in a network namespace of its own. A pair of virtual interfaces connects it
//! with the namespace of the container, as `ecs0` there. A thread makes all of it and ends: the
//! listener keeps its namespace alive, and the interfaces end with it, some time later. This needs
//! the rights of the administrator (`CAP_SYS_ADMIN` and `CAP_NET_ADMIN`).

mod rtnetlink;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tokio::sync::oneshot;

use crate::namespace::rtnetlink::Route;

/// The address of the credentials endpoint (ECS developer guide, "Amazon ECS task IAM role"), and
/// that of the container on the way to it.
const AGENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const CONTAINER_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 1);
/// Both are in a network of four addresses.
const PREFIX: u8 = 30;
const PORT: u16 = 80;

/// The interfaces of the container and of the agent.
const CONTAINER_INTERFACE: &str = "ecs0";
const AGENT_INTERFACE: &str = "ecs1";

/// Makes a listener that is reached from the network namespace of a process. It replaces one that
/// was made before.
///
/// # Errors
/// Those of the system: without the rights for it, [`io::ErrorKind::PermissionDenied`].
pub(crate) async fn listen(pid: i32) -> io::Result<TcpListener> {
    let (made, listener) = oneshot::channel();
    thread::Builder::new()
        .name("namespace".to_owned())
        // The receiver may have been dropped: then nothing needs the listener.
        .spawn(move || drop(made.send(connect(pid))))?;
    listener
        .await
        .map_err(|_| io::Error::other("the thread in the namespace ended"))?
}

/// Moves the current thread through both namespaces. It must end afterwards.
fn connect(pid: i32) -> io::Result<TcpListener> {
    let container = File::open(format!("/proc/{pid}/ns/net"))?;
    #[expect(
        deprecated,
        reason = "its danger is about file descriptors; a network namespace is safe to leave"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    let route = Route::open()?;
    let add_pair = || route.add_pair(AGENT_INTERFACE, CONTAINER_INTERFACE, container.as_raw_fd());
    match add_pair() {
        // Of an agent that ended a moment ago, or of an attempt that failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let own = File::open("/proc/thread-self/ns/net")?;
            enter(&container)?;
            Route::open()?.remove(CONTAINER_INTERFACE)?;
            enter(&own)?;
            add_pair()?;
        }
        other => other?,
    }
    route.set_up(AGENT_INTERFACE, AGENT_ADDRESS, PREFIX)?;
    let listener = TcpListener::bind(SocketAddrV4::new(AGENT_ADDRESS, PORT))?;
    listener.set_nonblocking(true)?;
    enter(&container)?;
    Route::open()?.set_up(CONTAINER_INTERFACE, CONTAINER_ADDRESS, PREFIX)?;
    Ok(listener)
}

fn enter(namespace: &File) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::process::{Child, Command};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A process in a network namespace of its own, as a container is.
    struct Inside(Child);

    impl Drop for Inside {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    impl Inside {
        /// `None` without the rights for it.
        async fn new() -> Option<Self> {
            let words = ["--net", "sleep", "100"];
            let mut inside = Self(Command::new("unshare").args(words).spawn().ok()?);
            let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
            let moved = async {
                while inside.0.try_wait().expect("it is a child").is_none() {
                    if inside.namespace() != own {
                        return true;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                false
            };
            let moved = timeout(PATIENCE, moved).await.expect("it moves or ends");
            moved.then_some(inside)
        }

        fn pid(&self) -> i32 {
            i32::try_from(self.0.id()).expect("a pid")
        }

        fn namespace(&self) -> std::path::PathBuf {
            std::fs::read_link(format!("/proc/{}/ns/net", self.pid())).unwrap_or_default()
        }
    }

    #[tokio::test]
    async fn a_listener_takes_the_place_of_what_an_earlier_agent_left() {
        let Some(inside) = Inside::new().await else {
            return;
        };
        let left = listen(inside.pid()).await.expect("the first");
        let listener = listen(inside.pid()).await.expect("another in its place");
        let namespace = File::open(format!("/proc/{}/ns/net", inside.pid())).expect("it runs");
        let client = thread::spawn(move || {
            enter(&namespace).expect("root may");
            let agent = SocketAddrV4::new(AGENT_ADDRESS, PORT);
            TcpStream::connect_timeout(&agent.into(), PATIENCE).expect("it listens")
        });
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let accepted = timeout(PATIENCE, listener.accept()).await.expect("in time");
        accepted.expect("a connection");
        client.join().expect("connected");
        drop(left);
    }
}
