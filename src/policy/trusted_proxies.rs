//! The address of the client, past the proxies that are trusted.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, header::FORWARDED, request::Parts};

use super::{
    KeyExtractor,
    address::ClientAddr,
    extractors::exactly_one,
    forwarded::{X_FORWARDED_FOR, address, forwarded, x_forwarded_for},
    is_within::IsWithin,
    networks::Networks,
    peer::peer,
};
use crate::{error::ConfigError, key::KeyParts};

/// The address of the client as the trusted proxies tell it.
///
/// Addresses are aggregated as by [`peer_ip`](super::peer_ip). See [`TrustedProxies`] for when it
/// is missing. In a program this client is [`ClientAddr`].
#[must_use]
pub fn client_ip(proxies: TrustedProxies) -> ClientIp {
    ClientIp { proxies }
}

/// The extractor of [`client_ip`].
#[derive(Clone, Debug)]
pub struct ClientIp {
    proxies: TrustedProxies,
}

impl ClientIp {
    /// Holds for requests whose client's address, in full, is in one of these networks, such as
    /// `"192.0.2.0/24"`, `"2001:db8::/32"` or one address.
    ///
    /// It holds for no request whose client is unknown: where that shall not avoid a deny list,
    /// the rule's subject is [`or_reject`](KeyExtractor::or_reject). An IPv4 address that IPv6 maps
    /// is that IPv4 address, so `"::/0"` holds no IPv4 address.
    ///
    /// # Errors
    ///
    /// Text that is no network, bits after a network's length, an IPv6 network of some length that
    /// holds `::ffff:0:0/96`: write the IPv4 network that is meant.
    pub fn is_within<I>(&self, networks: I) -> Result<IsWithin, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let networks = Networks::parse("client_ip(..).is_within", networks)?;
        Ok(IsWithin::client(self.proxies.clone(), networks))
    }
}

impl KeyExtractor for ClientIp {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        key.push(ClientAddr(self.proxies.client(parts)?));
        Some(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.proxies.check()
    }
}

/// Which proxies are believed when they say for whom they ask.
///
/// Each proxy appends to the forwarding header the address that it was asked from. So the header is
/// read from the right, all its lines as one, and whatever a client wrote into it stands left of
/// what is read. An entry that is needed and names no address, such as `unknown`, makes the
/// client's address missing; it does not hand the request to somebody else's name.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    trust: Trust,
    header: ForwardingHeader,
}

#[derive(Clone, Debug)]
enum Trust {
    Networks(Networks),
    Hops(usize),
}

/// Where the proxies write for whom they ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`: addresses, divided by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the `for` parameters.
    Forwarded,
    /// A header that holds one address, which the proxy next to this service sets and lets no
    /// client set: `x-real-ip`, `cf-connecting-ip`. It is read only if the peer is trusted, so it
    /// needs [`TrustedProxies::cidrs`].
    Single(HeaderName),
}

impl TrustedProxies {
    /// Believes the proxies in these networks, such as `"10.0.0.0/8"`,
    /// `"2001:db8::/32"` or one address.
    ///
    /// The walk begins with the peer and goes through the header from the right for as long as the
    /// address at hand is trusted; the first that is not is the client. If all are, the client is
    /// the leftmost, as nginx has it with `real_ip_recursive on`: a request of one of the proxies
    /// themselves, or from within the trusted networks. Without a
    /// [`PeerAddr`](super::PeerAddr) the address is missing.
    ///
    /// # Errors
    ///
    /// No network at all, text that is none, bits after a network's length, a network of all
    /// addresses, an IPv6 network that is wider than `::ffff:0:0/96` and holds it: IPv4 proxies are
    /// trusted by their IPv4 network.
    pub fn cidrs<I>(networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let networks = Networks::parse("trusted proxies", networks)?;
        if networks.iter().next().is_none() {
            return Err(ConfigError::new(
                "trusted proxies: no network is given; write those of your proxies, e.g. \
                 \"10.0.0.0/8\", or peer_ip() where there is no proxy",
            ));
        }
        if let Some(all) = networks.iter().find(|network| network.prefix_len() == 0) {
            return Err(ConfigError::new(format!(
                "trusted proxies: \"{all}\" trusts every client to say who it is; write the networks \
                 of your proxies, or TrustedProxies::hops(1) if all requests come through one"
            )));
        }
        Ok(Self::new(Trust::Networks(networks)))
    }

    /// Believes that every request came through this many proxies, wherever they are: the client is
    /// the entry of this number from the right.
    ///
    /// This is safe only where nobody can reach the service past the proxies: whoever can, writes
    /// that entry. The peer's address is not looked at, so this also serves behind a unix socket.
    /// With fewer entries the address is missing.
    ///
    /// # Errors
    ///
    /// A number of 0.
    pub fn hops(proxies: usize) -> Result<Self, ConfigError> {
        if proxies == 0 {
            return Err(ConfigError::new(
                "trusted proxies: 0 hops is no proxy; write 1 or more, or peer_ip()",
            ));
        }
        Ok(Self::new(Trust::Hops(proxies)))
    }

    fn new(trust: Trust) -> Self {
        Self {
            trust,
            header: ForwardingHeader::default(),
        }
    }

    /// Where the proxies write it; default [`ForwardingHeader::XForwardedFor`]. No
    /// other header is looked at.
    #[must_use]
    pub fn with_header(mut self, header: ForwardingHeader) -> Self {
        self.header = header;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match (&self.trust, &self.header) {
            (Trust::Hops(_), ForwardingHeader::Single(name)) => Err(ConfigError::new(format!(
                "trusted proxies: \"{name}\" holds one address and says nothing of hops; write \
                 TrustedProxies::cidrs([..]) with the networks it may come from"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn client(&self, parts: &Parts) -> Option<IpAddr> {
        let lines = |name| {
            parts
                .headers
                .get_all(name)
                .iter()
                .map(HeaderValue::as_bytes)
        };
        match &self.header {
            ForwardingHeader::XForwardedFor => {
                let lines = lines(&X_FORWARDED_FOR).rev();
                self.walk(parts, lines.flat_map(x_forwarded_for))
            }
            ForwardingHeader::Forwarded => {
                self.walk(parts, lines(&FORWARDED).rev().flat_map(forwarded))
            }
            ForwardingHeader::Single(name) => {
                let peer = peer(parts)?;
                if !self.trusts(peer) || !parts.headers.contains_key(name) {
                    return Some(peer);
                }
                address(exactly_one(lines(name))?)
            }
        }
    }

    /// The client, given the entries of the header from the right.
    fn walk(
        &self,
        parts: &Parts,
        mut entries: impl Iterator<Item = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        if let Trust::Hops(hops) = self.trust {
            return entries.nth(hops - 1)?;
        }
        let mut client = peer(parts)?;
        while self.trusts(client) {
            match entries.next() {
                Some(entry) => client = entry?,
                None => break,
            }
        }
        Some(client)
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        match &self.trust {
            Trust::Networks(networks) => networks.contains(ip),
            Trust::Hops(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PeerAddr, testing};
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn request(peer: Option<&str>, headers: &[(&str, &[u8])]) -> Parts {
        let mut parts = testing::request(headers);
        if let Some(peer) = peer {
            let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
            parts.extensions.insert(PeerAddr(peer));
        }
        parts
    }

    fn client(proxies: &TrustedProxies, peer: &str, lines: &[&str]) -> Option<IpAddr> {
        let name = match &proxies.header {
            ForwardingHeader::XForwardedFor => "x-forwarded-for",
            ForwardingHeader::Forwarded => "forwarded",
            ForwardingHeader::Single(name) => name.as_str(),
        };
        let headers: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
        let peer = (!peer.is_empty()).then_some(peer);
        proxies.client(&request(peer, &headers))
    }

    fn cidrs() -> TrustedProxies {
        TrustedProxies::cidrs(["10.0.0.0/8", "2001:db8:ffff::/48"]).unwrap()
    }

    #[track_caller]
    fn is(client: Option<IpAddr>, expected: &str) {
        assert_eq!(client, Some(expected.parse().unwrap()));
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_writes() {
        is(
            client(&cidrs(), "192.0.2.9", &["198.51.100.1"]),
            "192.0.2.9",
        );
        is(client(&cidrs(), "192.0.2.9", &["unknown"]), "192.0.2.9");
        is(client(&cidrs(), "192.0.2.9", &[]), "192.0.2.9");
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        let chain = ["9.9.9.9, 198.51.100.1, 10.0.0.2"];
        is(client(&cidrs(), "10.0.0.1", &chain), "198.51.100.1");
        let lines = ["9.9.9.9", "198.51.100.1:80", "10.0.0.2, 2001:db8:ffff::1"];
        is(client(&cidrs(), "10.0.0.1", &lines), "198.51.100.1");
        is(client(&cidrs(), "::ffff:10.0.0.1", &lines), "198.51.100.1");
    }

    #[test]
    fn if_all_are_trusted_the_leftmost_is_the_client() {
        is(
            client(&cidrs(), "10.0.0.1", &["10.0.0.3, 10.0.0.2"]),
            "10.0.0.3",
        );
        is(client(&cidrs(), "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_unusable_entry_on_the_way_makes_the_client_missing() {
        for entry in [
            "unknown",
            "_hidden",
            "",
            " ",
            "198.51.100.1,",
            "garbage, 10.0.0.2",
        ] {
            assert_eq!(client(&cidrs(), "10.0.0.1", &[entry]), None, "{entry}");
        }
    }

    #[test]
    fn without_a_peer_the_networks_tell_nothing() {
        assert_eq!(client(&cidrs(), "", &["198.51.100.1"]), None);
    }

    #[test]
    fn hops_count_entries_from_the_right() {
        let hops = |count| TrustedProxies::hops(count).unwrap();
        let lines = ["9.9.9.9", "198.51.100.1, 10.0.0.2"];
        is(client(&hops(1), "192.0.2.9", &lines), "10.0.0.2");
        is(client(&hops(2), "", &lines), "198.51.100.1");
        assert_eq!(client(&hops(4), "10.0.0.1", &lines), None);
        assert_eq!(client(&hops(1), "10.0.0.1", &[]), None);
        let empty_entry = ["9.9.9.9, 198.51.100.1,"];
        is(client(&hops(2), "10.0.0.1", &empty_entry), "198.51.100.1");
    }

    #[test]
    fn the_forwarded_header_is_read_only_if_chosen() {
        let proxies = cidrs().with_header(ForwardingHeader::Forwarded);
        let lines = [r#"for="[2001:db8::1]:80";proto=https"#, "for=10.0.0.2"];
        is(client(&proxies, "10.0.0.1", &lines), "2001:db8::1");
        let other = request(Some("10.0.0.1"), &[("x-forwarded-for", b"9.9.9.9")]);
        assert_eq!(proxies.client(&other), "10.0.0.1".parse().ok());
    }

    #[test]
    fn a_single_header_counts_only_from_a_trusted_peer() {
        let name = HeaderName::from_static("cf-connecting-ip");
        let proxies = cidrs().with_header(ForwardingHeader::Single(name));
        is(
            client(&proxies, "10.0.0.1", &["198.51.100.1"]),
            "198.51.100.1",
        );
        is(
            client(&proxies, "192.0.2.9", &["198.51.100.1"]),
            "192.0.2.9",
        );
        is(client(&proxies, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&proxies, "10.0.0.1", &["1.1.1.1, 2.2.2.2"]), None);
        assert_eq!(client(&proxies, "10.0.0.1", &["1.1.1.1", "2.2.2.2"]), None);
    }

    #[test]
    fn nonsense_is_told_what_to_write() {
        let problem = |network: &str| TrustedProxies::cidrs([network]).unwrap_err().to_string();
        assert!(problem("10.0.0.0/33").contains("e.g. \"10.0.0.0/8\""));
        assert!(problem("proxy.local").contains("e.g. \"10.0.0.0/8\""));
        assert!(problem("0.0.0.0/0").contains("trusts every client"));
        assert!(problem("::/0").contains("trusts every client"));
        assert!(problem("::ffff:0.0.0.0/96").contains("trusts every client"));
        for wider in ["::ffff:0:0/90", "::ffff:0:0/95", "::/64", "::/1"] {
            assert!(problem(wider).contains("write the IPv4 network"), "{wider}");
        }
        assert!(problem("10.0.0.1/8").contains("write \"10.0.0.0/8\" or \"10.0.0.1\""));
        let none: [&str; 0] = [];
        let none = TrustedProxies::cidrs(none).unwrap_err().to_string();
        assert!(none.contains("peer_ip()"));
        let zero = TrustedProxies::hops(0).unwrap_err().to_string();
        assert!(zero.contains("peer_ip()"));
        let name = HeaderName::from_static("x-real-ip");
        let hops = TrustedProxies::hops(1).unwrap();
        let single = client_ip(hops.with_header(ForwardingHeader::Single(name))).or_skip();
        assert!(single.check().unwrap_err().to_string().contains("cidrs("));
    }

    #[test]
    fn one_address_and_a_mapped_network_are_networks() {
        let proxies = TrustedProxies::cidrs(["192.0.2.1", "::ffff:10.0.0.0/104"]).unwrap();
        is(client(&proxies, "192.0.2.1", &["9.9.9.9"]), "9.9.9.9");
        is(client(&proxies, "192.0.2.2", &["9.9.9.9"]), "192.0.2.2");
        is(client(&proxies, "10.9.9.9", &["9.9.9.9"]), "9.9.9.9");
    }

    fn key(proxies: &TrustedProxies, parts: &Parts) -> Option<crate::key::Key> {
        let mut key = KeyParts::new();
        client_ip(proxies.clone()).extract(parts, &mut key)?;
        Some(crate::key::Key::custom("test", &key))
    }

    proptest! {
        /// P25.
        #[test]
        fn a_forged_prefix_never_changes_the_key(
            forged in proptest::collection::vec("[ -~\u{e9}\t]{0,30}", 0..4),
            same_line in any::<bool>(),
            with_header in prop_oneof![Just(ForwardingHeader::XForwardedFor), Just(ForwardingHeader::Forwarded)],
            hops in any::<bool>(),
        ) {
            let proxies = if hops { TrustedProxies::hops(2).unwrap() } else { cidrs() };
            let proxies = proxies.with_header(with_header.clone());
            let (name, real) = match with_header {
                ForwardingHeader::Forwarded => ("forwarded", "for=\"198.51.100.1:80\", for=10.0.0.2"),
                _ => ("x-forwarded-for", "198.51.100.1:80, 10.0.0.2"),
            };
            let mut lines = forged;
            match lines.last_mut() {
                Some(last) if same_line => *last = format!("{last}, {real}"),
                _ => lines.push(real.to_owned()),
            }
            let headers: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
            let honest = key(&proxies, &request(Some("10.0.0.1"), &[(name, real.as_bytes())]));
            prop_assert!(honest.is_some());
            prop_assert_eq!(key(&proxies, &request(Some("10.0.0.1"), &headers)), honest);
        }

        #[test]
        fn hostile_bytes_do_not_panic(
            line in proptest::collection::vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..60),
        ) {
            for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded] {
                let parts = request(
                    Some("10.0.0.1"),
                    &[("x-forwarded-for", &line), ("forwarded", &line)],
                );
                let _ = cidrs().with_header(header).client(&parts);
            }
        }
    }
}
