//! Sets of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::error::ConfigError;

/// Networks, which hold addresses that have been unmapped.
#[derive(Clone, Debug)]
pub(super) struct Networks(Box<[IpNet]>);

impl Networks {
    /// Reads networks such as `"10.0.0.0/8"`, or single addresses; `what` they are for begins an
    /// error's message.
    pub(super) fn parse<I>(what: &str, networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let parse = |text: &str| {
            parse(text).map_err(|advice| ConfigError::new(format!("{what}: \"{text}\" {advice}")))
        };
        let networks = networks.into_iter();
        networks.map(|text| parse(text.as_ref())).collect()
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// The network, or what to write instead.
fn parse(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip),
        Err(_) => text.parse().map_err(|_| {
            "is no network; write an address and a length, e.g. \"10.0.0.0/8\"".to_owned()
        })?,
    };
    let network = unmapped(network);
    if network.prefix_len() > 0 && network.contains(&IpAddr::V6(MAPPED)) {
        return Err(
            "holds all addresses by which IPv6 maps IPv4 ones, and none of them counts, since \
                    they are compared as IPv4; write the IPv4 network you mean, and a longer prefix \
                    for the IPv6 one"
                .into(),
        );
    }
    if network.addr() != network.network() {
        return Err(format!(
            "has bits after its length; write \"{}\" or \"{}\"",
            network.trunc(),
            network.addr()
        ));
    }
    Ok(network)
}

/// An IPv4 network for the IPv6 network that maps it, since addresses are compared unmapped.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(mapping) = network else {
        return network;
    };
    let length = mapping.prefix_len().checked_sub(MAPPED_PREFIX_LEN);
    mapping
        .addr()
        .to_ipv4_mapped()
        .zip(length)
        .and_then(|(addr, length)| Ipv4Net::new(addr, length).ok())
        .map_or(network, IpNet::V4)
}

/// The first of the IPv6 addresses that map IPv4 ones.
const MAPPED: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();

/// How many bits they have in common.
const MAPPED_PREFIX_LEN: u8 = 96;
