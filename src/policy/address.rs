//! The part of a key that stands for a client's address.

use std::net::{IpAddr, Ipv6Addr};

use super::forwarded::unmapped;
use crate::key::{KeyPart, KeyParts};

/// A client's address as [`peer_ip`](super::peer_ip) and [`client_ip`](super::client_ip) count it:
/// all addresses of one IPv6 /64 are one part of a key, and an IPv4 address that IPv6 maps is that
/// IPv4 address.
///
/// ```
/// use tower_stash::policy::{ClientAddr, SubjectId};
///
/// let id = |text: &str| Ok::<_, std::net::AddrParseError>(SubjectId::from(ClientAddr(text.parse()?)));
/// assert_eq!(id("2001:db8::1")?, id("2001:db8::7:7")?);
/// assert_eq!(id("192.0.2.1")?, id("::ffff:192.0.2.1")?);
/// assert_ne!(id("192.0.2.1")?, id("192.0.2.2")?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub IpAddr);

impl KeyPart for ClientAddr {
    fn append_to(&self, parts: &mut KeyParts) {
        let site = match unmapped(self.0) {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & SITE_MASK).into(),
        };
        site.append_to(parts);
    }
}

/// The first 64 bits of an IPv6 address.
const SITE_MASK: u128 = !0 << 64;
