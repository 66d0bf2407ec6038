//! A listener that a container reaches on the address that AWS clients request credentials, on port
//! 80 and without taking that port from the container.
//!
//! The listener stands in a network namespace of its own. A pair of virtual interfaces connects it
//! with the namespace of the container, as `ecs0` there. A thread makes all of it and ends: the
//! listener keeps its namespace alive, and the interfaces end with it. This needs the rights of the
//! administrator (`CAP_SYS_ADMIN` and `CAP_NET_ADMIN`).

mod rtnetlink;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

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

/// Makes a listener that is reached from the network namespace of a process.
///
/// # Errors
/// Those of the system: without the rights for it, [`io::ErrorKind::PermissionDenied`]; where the
/// container is connected already, [`io::ErrorKind::AlreadyExists`].
pub(crate) fn listen(pid: i32) -> io::Result<TcpListener> {
    let container = File::open(format!("/proc/{pid}/ns/net"))?;
    let inside = thread::Builder::new()
        .name("namespace".to_owned())
        .spawn(move || connect(&container))?;
    inside
        .join()
        .map_err(|_| io::Error::other("the thread in the namespace ended"))?
}

/// Moves the current thread through both namespaces. It must end afterwards.
fn connect(container: &File) -> io::Result<TcpListener> {
    #[expect(
        deprecated,
        reason = "its danger is about file descriptors; a network namespace is safe to leave"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    let route = Route::open()?;
    route.add_pair(AGENT_INTERFACE, CONTAINER_INTERFACE, container.as_raw_fd())?;
    route.set_up(AGENT_INTERFACE, AGENT_ADDRESS, PREFIX)?;
    let listener = TcpListener::bind(SocketAddrV4::new(AGENT_ADDRESS, PORT))?;
    listener.set_nonblocking(true)?;
    move_into_link_name_space(container.as_fd(), Some(LinkNameSpaceType::Network))?;
    let route = Route::open()?;
    route.set_up(CONTAINER_INTERFACE, CONTAINER_ADDRESS, PREFIX)?;
    Ok(listener)
}
