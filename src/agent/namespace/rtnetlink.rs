//! The few requests to the kernel that connect two network namespaces.
//!
//! Source: rtnetlink(7), netlink(7), veth(4).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_ACK`, and with `NLM_F_CREATE | NLM_F_EXCL` for what is new.
const CHANGE: u16 = 0x1 | 0x4;
const NEW: u16 = CHANGE | 0x400 | 0x200;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
/// The address is known inside of the link alone.
const SCOPE_LINK: u8 = 253;

/// A socket to the kernel's routing tables, in the namespace in which it was opened.
pub(super) struct Route(OwnedFd);

impl Route {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE.
            None,
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Makes a pair of connected interfaces: one here, and its peer in another namespace.
    pub(super) fn add_pair(&self, name: &str, peer: &str, namespace: RawFd) -> io::Result<()> {
        self.request(RTM_NEWLINK, NEW, &pair(name, peer, namespace))
    }

    /// Removes an interface, and its peer with it. A missing one is fine.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let removed = name_to_index(&self.0, name)
            .map_err(io::Error::from)
            .and_then(|index| self.request(RTM_DELLINK, CHANGE, &interface(index, 0)));
        match removed {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            other => other,
        }
    }

    /// Gives an interface its address, and switches it on.
    pub(super) fn set_up(&self, name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let index = name_to_index(&self.0, name)?;
        let mut body = vec![AF_INET, prefix, 0, SCOPE_LINK];
        body.extend(index.to_ne_bytes());
        for kind in [IFA_LOCAL, IFA_ADDRESS] {
            attribute(&mut body, kind, &address.octets());
        }
        self.request(RTM_NEWADDR, NEW, &body)?;
        self.request(RTM_NEWLINK, CHANGE, &interface(index, IFF_UP))
    }

    /// Sends a request and waits for its acknowledgement.
    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        let message = message(kind, flags, body);
        sendto(&self.0, &message, SendFlags::empty(), &kernel)?;
        let mut reply = [0_u8; 4096];
        let (length, _) = recv(&self.0, &mut reply, RecvFlags::empty())?;
        match error_of(&reply[..length]) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Err(io::Error::other("the kernel gave an unknown reply")),
        }
    }
}

/// A message: length, kind, flags, sequence number, port, and the body.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

/// The head of a request about an interface: family, type, index, and the flags to set.
fn interface(index: u32, flags: u32) -> Vec<u8> {
    let mut head = vec![0, 0];
    head.extend(0_u16.to_ne_bytes());
    head.extend(index.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head
}

fn pair(name: &str, peer: &str, namespace: RawFd) -> Vec<u8> {
    let text = |text: &str| [text.as_bytes(), &[0]].concat();
    let mut other = interface(0, 0);
    attribute(&mut other, IFLA_IFNAME, &text(peer));
    attribute(&mut other, IFLA_NET_NS_FD, &namespace.to_ne_bytes());
    let mut data = Vec::new();
    attribute(&mut data, VETH_INFO_PEER, &other);
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, b"veth");
    attribute(&mut info, IFLA_INFO_DATA, &data);
    let mut body = interface(0, 0);
    attribute(&mut body, IFLA_IFNAME, &text(name));
    attribute(&mut body, IFLA_LINKINFO, &info);
    body
}

/// Appends an attribute: length, kind, value, and zeros up to the next multiple of four.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The error number of an acknowledgement; 0 for success.
fn error_of(reply: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(reply.get(16..20)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(-code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_length() {
        let mut body = Vec::new();
        attribute(&mut body, IFLA_IFNAME, b"ecs0\0");
        assert_eq!(body.len(), 12);
        assert_eq!(body[..2], 9_u16.to_ne_bytes());
        assert_eq!(&body[9..], &[0, 0, 0]);
    }

    #[test]
    fn messages_say_their_length() {
        let body = pair(AGENT, CONTAINER, 7);
        let message = message(RTM_NEWLINK, NEW, &body);
        let length = u32::try_from(message.len()).expect("short");
        assert_eq!(message[..4], length.to_ne_bytes());
        assert_eq!(message.len() % 4, 0);
    }

    const AGENT: &str = "ecs1";
    const CONTAINER: &str = "ecs0";

    #[test]
    fn acknowledgements_have_an_error_number() {
        let mut reply = vec![0_u8; 36];
        assert_eq!(error_of(&reply), None);
        reply[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(error_of(&reply), Some(0));
        reply[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(error_of(&reply), Some(1));
    }
}
