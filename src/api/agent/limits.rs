//! How many connections agents may hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of all agents together: two for each of 10,000 instances. One takes some 20 KiB.
const MAX_SESSIONS: usize = 20_000;

/// Connections from one address: a proxy, or a host with many instances.
const MAX_SESSIONS_PER_ADDRESS: usize = 12_000;

/// Counts the connections of agents. Only those whose sender was proven hold one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionLimits(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted connection; ends with its drop.
#[derive(Debug)]
pub(crate) struct AdmittedSession {
    limits: SessionLimits,
    address: IpAddr,
}

impl SessionLimits {
    /// Counts a connection; `None` where there are too many already.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<AdmittedSession> {
        let mut counts = self.lock();
        let of_address = counts.by_address.get(&address).copied().unwrap_or_default();
        if counts.all >= MAX_SESSIONS || of_address >= MAX_SESSIONS_PER_ADDRESS {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, of_address + 1);
        drop(counts);
        Some(AdmittedSession {
            limits: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AdmittedSession {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        counts.all -= 1;
        if let Entry::Occupied(mut count) = counts.by_address.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_has_a_part_of_all_and_gives_it_back() {
        let limits = SessionLimits::default();
        let one = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        let mut held: Vec<_> = (0..MAX_SESSIONS_PER_ADDRESS)
            .map(|_| limits.admit(one).expect("below the limit"))
            .collect();
        assert!(limits.admit(one).is_none());
        let rest = MAX_SESSIONS - MAX_SESSIONS_PER_ADDRESS;
        held.extend((0..rest).map(|_| limits.admit(other).expect("below the limit")));
        assert!(limits.admit(other).is_none());
        drop(held);
        assert!(limits.lock().by_address.is_empty());
        assert!(limits.admit(one).is_some());
    }
}
