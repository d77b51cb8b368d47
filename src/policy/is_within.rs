//! Whether an address is in one of some networks.

use http::request::Parts;

use super::{Condition, TrustedProxies, networks::Networks, peer::direct_peer};
use crate::error::ConfigError;

/// Holds if an address is in one of some networks; made by
/// [`PeerIp::is_within`](super::PeerIp::is_within) and
/// [`ClientIp::is_within`](super::ClientIp::is_within).
#[derive(Clone, Debug)]
pub struct IsWithin {
    address: Address,
    networks: Networks,
}

#[derive(Clone, Debug)]
enum Address {
    Peer,
    Client(TrustedProxies),
}

impl IsWithin {
    pub(super) fn peer(networks: Networks) -> Self {
        Self {
            address: Address::Peer,
            networks,
        }
    }

    pub(super) fn client(proxies: TrustedProxies, networks: Networks) -> Self {
        Self {
            address: Address::Client(proxies),
            networks,
        }
    }
}

impl Condition for IsWithin {
    fn holds(&self, parts: &Parts) -> bool {
        let address = match &self.address {
            Address::Peer => direct_peer(parts),
            Address::Client(proxies) => proxies.client(parts),
        };
        address.is_some_and(|ip| self.networks.contains(ip))
    }

    fn check(&self) -> Result<(), ConfigError> {
        match &self.address {
            Address::Peer => Ok(()),
            Address::Client(proxies) => proxies.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ForwardingHeader, PeerAddr, client_ip, peer_ip, testing};
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    fn from(peer: impl Into<IpAddr>) -> Parts {
        let mut parts = testing::request(&[]);
        let peer = PeerAddr(SocketAddr::new(peer.into(), 4711));
        parts.extensions.insert(peer);
        parts
    }

    fn is_within(networks: &[&str], peer: &str) -> bool {
        let peer: IpAddr = peer.parse().unwrap();
        peer_ip().is_within(networks).unwrap().holds(&from(peer))
    }

    #[test]
    fn addresses_are_compared_in_full() {
        assert!(is_within(&["2001:db8::1"], "2001:db8::1"));
        assert!(!is_within(&["2001:db8::1"], "2001:db8::2"));
        assert!(is_within(&["192.0.2.128/25", "10.0.0.1"], "10.0.0.1"));
        assert!(!is_within(&["192.0.2.128/25", "10.0.0.1"], "192.0.2.127"));
    }

    #[test]
    fn a_network_of_everything_is_of_one_version() {
        assert!(is_within(&["0.0.0.0/0"], "::ffff:192.0.2.1"));
        assert!(!is_within(&["0.0.0.0/0"], "2001:db8::1"));
        assert!(is_within(&["::/0"], "2001:db8::1"));
        assert!(!is_within(&["::/0"], "192.0.2.1"));
    }

    #[test]
    fn who_has_no_address_is_in_no_network() {
        let everywhere = ["0.0.0.0/0", "::/0"];
        let nobody = testing::request(&[]);
        assert!(!peer_ip().is_within(everywhere).unwrap().holds(&nobody));
        let none: [&str; 0] = [];
        let here: IpAddr = [192, 0, 2, 1].into();
        assert!(!peer_ip().is_within(none).unwrap().holds(&from(here)));
    }

    #[test]
    fn behind_proxies_the_client_counts_whatever_it_writes() {
        let proxies = TrustedProxies::cidrs(["10.0.0.0/8"]).unwrap();
        let banned = client_ip(proxies).is_within(["198.51.100.0/24"]).unwrap();
        let holds = |chain: &'static str| {
            let mut parts = from([10, 0, 0, 1]);
            let chain = http::HeaderValue::from_static(chain);
            parts.headers.insert("x-forwarded-for", chain);
            banned.holds(&parts)
        };
        assert!(holds("198.51.100.7"));
        assert!(holds("203.0.113.1, ::ffff:198.51.100.7"));
        assert!(!holds("198.51.100.7, 203.0.113.1"));
        assert!(!holds("unknown"));
    }

    #[test]
    fn nonsense_is_told_what_to_write() {
        let problem = |network: &str| peer_ip().is_within([network]).unwrap_err().to_string();
        assert!(problem("10.0.0.0/33").contains("e.g. \"10.0.0.0/8\""));
        assert!(problem("office").contains("e.g. \"10.0.0.0/8\""));
        assert!(problem("10.0.0.1/8").contains("write \"10.0.0.0/8\" or \"10.0.0.1\""));
        assert!(problem("::/64").contains("write the IPv4 network"));
        assert!(problem("office").starts_with("peer_ip().is_within: \"office\""));
        let hops = TrustedProxies::hops(1).unwrap();
        let single = ForwardingHeader::Single(http::HeaderName::from_static("x-real-ip"));
        let client = client_ip(hops.with_header(single));
        assert!(client.is_within(["::1"]).unwrap().check().is_err());
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_where_the_address_is(
            v4 in any::<Ipv4Addr>(), network in any::<Ipv4Addr>(), length in 0..=32_u8,
        ) {
            let network = ipnet::Ipv4Net::new(network, length).unwrap().trunc();
            let mapping = format!("{}/{}", network.addr().to_ipv6_mapped(), 96 + length);
            for network in [network.to_string(), mapping] {
                let condition = peer_ip().is_within([network.as_str()]).unwrap();
                let expected = network_holds(&network, v4);
                prop_assert_eq!(condition.holds(&from(v4)), expected);
                prop_assert_eq!(condition.holds(&from(v4.to_ipv6_mapped())), expected);
            }
        }
    }

    /// By comparing bits, without the library.
    fn network_holds(network: &str, v4: Ipv4Addr) -> bool {
        let (address, length) = network.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        let (address, length) = match address.parse().unwrap() {
            IpAddr::V4(address) => (address, length),
            IpAddr::V6(address) => (address.to_ipv4_mapped().unwrap(), length - 96),
        };
        let differing = address.to_bits() ^ v4.to_bits();
        differing.leading_zeros() >= length
    }
}
