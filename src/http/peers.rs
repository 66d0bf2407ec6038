//! How many connections each peer address has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bits of an IPv6 address that name one customer's network.
const IPV6_NETWORK_BITS: u32 = 64;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The connections that its address had when this one was accepted.
    pub(crate) earlier_connections: usize,
}

/// Counts connections by address. Entries without connections are removed, so there are never more
/// than connections.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    limit: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One counted connection; ends with its drop.
#[derive(Debug)]
pub(crate) struct Admitted {
    peers: Peers,
    network: IpAddr,
    /// The connections that the address had already.
    pub(crate) earlier: usize,
}

impl Peers {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Arc::default(),
        }
    }

    /// Counts a connection, unless its address has as many as it may.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let network = network(address);
        let mut counts = self.lock();
        let count = counts.entry(network).or_default();
        if *count >= self.limit.max(1) {
            return None;
        }
        let earlier = *count;
        *count += 1;
        drop(counts);
        Some(Admitted {
            peers: self.clone(),
            network,
            earlier,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.peers.lock().entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (128 - IPV6_NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_limit_and_the_others_are_not_affected() {
        let peers = Peers::new(2);
        let address = |text: &str| text.parse().expect("an address");
        let first = peers.admit(address("10.0.0.1")).expect("below the limit");
        let second = peers.admit(address("::ffff:10.0.0.1")).expect("the same");
        assert_eq!((first.earlier, second.earlier), (0, 1));
        assert!(peers.admit(address("10.0.0.1")).is_none());
        let other = peers.admit(address("10.0.0.2")).expect("another address");
        assert_eq!(other.earlier, 0);
        drop(first);
        let third = peers.admit(address("10.0.0.1")).expect("below the limit");
        assert_eq!(third.earlier, 1);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_nothing_is_kept_after_the_end() {
        let peers = Peers::new(1);
        let address = |text: &str| text.parse().expect("an address");
        let held = peers.admit(address("2001:db8::1")).expect("the first");
        assert!(peers.admit(address("2001:db8::ffff:2")).is_none());
        assert!(peers.admit(address("2001:db8:0:1::1")).is_some());
        drop(held);
        assert!(peers.lock().is_empty());
    }
}
