//! Whether an address is in one of some networks.

use http::request::Parts;

use super::{Condition, TrustedProxies, networks::Networks, peer::peer};
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
            Address::Peer => peer(parts),
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
