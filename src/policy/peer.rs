//! The address at the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use http::{header::FORWARDED, request::Parts};

use super::{
    KeyExtractor,
    address::ClientAddr,
    forwarded::{X_FORWARDED_FOR, unmapped},
    is_within::IsWithin,
    networks::Networks,
};
use crate::{
    error::ConfigError,
    key::KeyParts,
    observe::{WarnOnce, WarnSite},
};

/// The address at the other end of the connection, which whoever accepts the connection puts into
/// each request's extensions.
///
/// With axum there is nothing to do but to serve with
/// `into_make_service_with_connect_info::<SocketAddr>()` and to switch on the feature `axum`;
/// this type goes before what axum says. With hyper:
///
/// ```
/// # use http::{Request, Response};
/// # use std::{convert::Infallible, net::SocketAddr};
/// # use tower::{Service, service_fn};
/// # use tower_stash::policy::PeerAddr;
/// # async fn connection(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// # let service = service_fn(async |_: Request<hyper::body::Incoming>| Ok::<_, Infallible>(Response::new(String::new())));
/// let (stream, peer) = listener.accept().await?;
/// let service = hyper::service::service_fn(move |mut request: Request<_>| {
///     request.extensions_mut().insert(PeerAddr(peer));
///     service.clone().call(request)
/// });
/// # let io = hyper_util::rt::TokioIo::new(stream);
/// # hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.unwrap();
/// # Ok(())
/// # }
/// ```
///
/// With tonic, around this crate's layers:
///
/// ```
/// # use tonic::transport::{Server, server::TcpConnectInfo};
/// # use tower::{ServiceBuilder, util::MapRequestLayer};
/// # use tower_stash::policy::PeerAddr;
/// let peer = MapRequestLayer::new(|mut request: http::Request<tonic::body::Body>| {
///     let info = request.extensions().get::<TcpConnectInfo>();
///     if let Some(peer) = info.and_then(TcpConnectInfo::remote_addr) {
///         request.extensions_mut().insert(PeerAddr(peer));
///     }
///     request
/// });
/// let server = Server::builder().layer(peer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The address at the other end of the connection, whatever headers say.
///
/// It comes from [`PeerAddr`] or, with the feature `axum`, from `ConnectInfo<SocketAddr>`; missing
/// where there is neither, and on a unix socket. Behind a proxy it is the proxy's: use
/// [`client_ip`](super::client_ip).
///
/// All addresses of one IPv6 /64 count as one, since a client usually has a whole one; an IPv4
/// address that IPv6 maps is that IPv4 address. In a program this peer is [`ClientAddr`].
#[must_use]
pub fn peer_ip() -> PeerIp {
    PeerIp(())
}

/// The extractor of [`peer_ip`].
#[derive(Clone, Debug)]
pub struct PeerIp(());

impl PeerIp {
    /// Holds for requests whose peer's address, in full, is in one of these networks, such as
    /// `"192.0.2.0/24"`, `"2001:db8::/32"` or one address.
    ///
    /// It holds for no request without a peer address: where that shall not avoid a deny list, the
    /// rule's subject is [`or_reject`](KeyExtractor::or_reject). An IPv4 address that IPv6 maps is
    /// that IPv4 address, so `"::/0"` holds no IPv4 address.
    ///
    /// # Errors
    ///
    /// Text that is no network, bits after a network's length, an IPv6 network of some length that
    /// holds `::ffff:0:0/96`: write the IPv4 network that is meant.
    pub fn is_within<I>(&self, networks: I) -> Result<IsWithin, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let networks = Networks::parse("peer_ip().is_within", networks)?;
        Ok(IsWithin::peer(networks))
    }
}

impl KeyExtractor for PeerIp {
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        key.push(ClientAddr(direct_peer(parts)?));
        Some(())
    }
}

/// The peer's address, where it is taken for the client's.
pub(super) fn direct_peer(parts: &Parts) -> Option<IpAddr> {
    static FORWARDED_FOR_NOBODY: WarnOnce = WarnOnce::new("policy: trusted proxies");

    let peer = peer(parts)?;
    if !FORWARDED_FOR_NOBODY.has_warned() && may_be_proxy(peer) && is_forwarded(parts) {
        FORWARDED_FOR_NOBODY.warn(
            &"X-Forwarded-For or Forwarded seen from a private address, but no proxies are trusted, \
              so all of a proxy's clients count as one; use client_ip(TrustedProxies::cidrs(..))",
        );
    }
    Some(peer)
}

fn may_be_proxy(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

fn is_forwarded(parts: &Parts) -> bool {
    parts.headers.contains_key(&X_FORWARDED_FOR) || parts.headers.contains_key(FORWARDED)
}

/// The peer's address, unmapped.
///
/// No client can make it missing: the server was put together so. That is worth a warning.
pub(super) fn peer(parts: &Parts) -> Option<IpAddr> {
    static NO_PEER: WarnSite = WarnSite::new("policy: peer address");

    let own = parts.extensions.get::<PeerAddr>().map(|peer| peer.0);
    let peer = own.or_else(|| connect_info(parts));
    if peer.is_none() {
        NO_PEER.warn(
            &"a request has no peer address; serve with \
              into_make_service_with_connect_info::<SocketAddr>() and the feature `axum`, \
              or insert PeerAddr outside this layer",
        );
    }
    peer.map(|peer| unmapped(peer.ip()))
}

#[cfg(feature = "axum")]
fn connect_info(parts: &Parts) -> Option<SocketAddr> {
    use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};

    let extensions = &parts.extensions;
    let real = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    real.or_else(|| {
        let mock = extensions.get::<MockConnectInfo<SocketAddr>>();
        mock.map(|info| info.0)
    })
}

#[cfg(not(feature = "axum"))]
fn connect_info(_: &Parts) -> Option<SocketAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key, missing, request};
    use super::*;
    use crate::observe::tests::logged;
    use proptest::prelude::*;

    fn peer_key(peer: IpAddr) -> crate::key::Key {
        let mut parts = request(&[]);
        parts
            .extensions
            .insert(PeerAddr(SocketAddr::new(peer, 4711)));
        key(&peer_ip().or_skip(), &parts)
    }

    #[test]
    fn a_peer_that_nobody_told_is_missing() {
        assert!(missing(peer_ip(), &request(&[])));
    }

    #[test]
    fn a_forwarding_header_from_a_private_peer_is_warned_of_once() {
        let find = |peer: [u8; 4], headers: &[(&str, &[u8])]| {
            let mut parts = request(headers);
            let peer = PeerAddr(SocketAddr::from((peer, 4711)));
            parts.extensions.insert(peer);
            key(&peer_ip().or_skip(), &parts)
        };
        let log = logged(async {
            find([192, 0, 2, 1], &[("x-forwarded-for", b"198.51.100.7")]);
            find([10, 0, 0, 1], &[("x-real-ip", b"198.51.100.7")]);
        });
        assert_eq!(log, [""; 0]);
        let log = logged(async {
            find([127, 0, 0, 1], &[("forwarded", b"for=198.51.100.7")]);
            find([10, 0, 0, 1], &[("x-forwarded-for", b"198.51.100.7")]);
            tokio::time::advance(std::time::Duration::from_secs(60)).await;
            find([10, 0, 0, 1], &[("x-forwarded-for", b"198.51.100.7")]);
        });
        let [told] = log.as_slice() else {
            panic!("{log:?}")
        };
        assert!(told.contains("client_ip(TrustedProxies::cidrs(..))"));
        assert!(!told.contains("198.51.100.7"));
    }

    proptest! {
        /// P25.
        #[test]
        fn a_mapped_ipv4_address_has_the_key_of_the_address(v4 in any::<std::net::Ipv4Addr>()) {
            prop_assert_eq!(peer_key(v4.into()), peer_key(v4.to_ipv6_mapped().into()));
        }

        #[test]
        fn two_ipv4_addresses_have_two_keys(a in any::<[u8; 4]>(), b in any::<[u8; 4]>()) {
            prop_assert_eq!(peer_key(a.into()) == peer_key(b.into()), a == b);
        }

        /// P25.
        #[test]
        fn one_slash_64_has_one_key_and_two_have_two(
            site in 0x2000_u64 << 48..0x4000_u64 << 48, other in 0x2000_u64 << 48..0x4000_u64 << 48,
            a in any::<u64>(), b in any::<u64>(),
        ) {
            let ip = |site: u64, host: u64| {
                IpAddr::from(std::net::Ipv6Addr::from_bits(u128::from(site) << 64 | u128::from(host)))
            };
            prop_assert_eq!(peer_key(ip(site, a)), peer_key(ip(site, b)));
            prop_assert_eq!(peer_key(ip(site, a)) == peer_key(ip(other, a)), site == other);
        }
    }
}
