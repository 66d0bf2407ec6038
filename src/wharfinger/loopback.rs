//! Loopback addresses of container instances that share this host.

use std::net::Ipv4Addr;

/// Addresses of one network that are used: not those of the network and of broadcasts.
const PER_NETWORK: u16 = 250;

/// The address of an instance: 127.0.0.1 for number 0, and 127.0.1.1, 127.0.1.2, … for the others.
pub(crate) fn address(number: u16) -> Ipv4Addr {
    let Some(number) = number.checked_sub(1) else {
        return Ipv4Addr::LOCALHOST;
    };
    let network = 1 + number / PER_NETWORK;
    let [network, host] = [network, 1 + number % PER_NETWORK].map(|part| part.to_le_bytes()[0]);
    Ipv4Addr::new(127, 0, network, host)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_instance_has_an_address_of_its_own() {
        assert_eq!(address(0).to_string(), "127.0.0.1");
        assert_eq!(address(1).to_string(), "127.0.1.1");
        assert_eq!(address(251).to_string(), "127.0.2.1");
        let all: BTreeSet<_> = (0..5_000).map(address).collect();
        assert_eq!(all.len(), 5_000);
    }
}
