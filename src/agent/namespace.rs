//! A listener inside the network namespace of a container, on the address that AWS clients ask for
//! credentials.
//!
//! The listener is made by a thread that enters the namespace, gives the loopback interface the
//! address, listens, and ends; the listener stays in the namespace. This needs the rights of the
//! administrator (`CAP_SYS_ADMIN`).

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address of the credentials endpoint (ECS developer guide, "Amazon ECS task IAM role").
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const PORT: u16 = 80;

// Values of the kernel's rtnetlink interface (rtnetlink(7), netlink(7)).
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
/// A request with acknowledgement that makes something new: `NLM_F_REQUEST | NLM_F_ACK |
/// NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x1 | 0x4 | 0x400 | 0x200;
const AF_INET: u8 = 2;
const SCOPE_HOST: u8 = 254;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The loopback interface is the first of each namespace.
const LOOPBACK: u32 = 1;
const EEXIST: i32 = 17;

/// Listens in the network namespace of a process.
///
/// # Errors
/// Those of the system: without the rights for it, [`io::ErrorKind::PermissionDenied`].
pub(crate) fn listen(pid: i32) -> io::Result<TcpListener> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let inside = thread::Builder::new()
        .name("namespace".to_owned())
        .spawn(move || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network)?;
            add_address()?;
            let listener = TcpListener::bind(SocketAddrV4::new(ADDRESS, PORT))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
    inside
        .join()
        .map_err(|_| io::Error::other("the thread in the namespace ended"))?
}

/// Gives the loopback interface of the current namespace the address. One that has it already is
/// fine.
fn add_address() -> io::Result<()> {
    let socket: OwnedFd = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE.
        None,
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &new_address(), SendFlags::empty(), &kernel)?;
    let mut answer = [0_u8; 512];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match error_of(&answer[..length]) {
        0 | EEXIST => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The request: a header, the interface, and the address twice.
fn new_address() -> Vec<u8> {
    let mut message = Vec::with_capacity(40);
    message.extend(40_u32.to_ne_bytes());
    message.extend(RTM_NEWADDR.to_ne_bytes());
    message.extend(NEW.to_ne_bytes());
    // Sequence number and port.
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // Family, length of the prefix, flags, scope, interface.
    message.extend([AF_INET, 32, 0, SCOPE_HOST]);
    message.extend(LOOPBACK.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        message.extend(8_u16.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(ADDRESS.octets());
    }
    message
}

/// The error number of an acknowledgement; 0 for success.
fn error_of(answer: &[u8]) -> i32 {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(code)) => -code,
        _ => EEXIST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_says_its_own_length() {
        let message = new_address();
        assert_eq!(message.len(), 40);
        assert_eq!(message[..4], 40_u32.to_ne_bytes());
        assert_eq!(&message[28..32], &[169, 254, 170, 2]);
    }

    #[test]
    fn acknowledgements_have_an_error_number() {
        let mut answer = vec![0_u8; 36];
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(error_of(&answer), 0);
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(error_of(&answer), 1);
    }
}
