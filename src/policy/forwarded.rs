//! Reading the chain of addresses in a forwarding header.
//!
//! A proxy appends what it saw on the right, and whatever stands left of that may be forged. So
//! everything is read from the right, entry by entry, and nothing that stands further left can
//! change what an entry means: not unbalanced quotes, not bytes that are no text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderName;

use super::extractors::exactly_one;

/// The entries of one line of `X-Forwarded-For`, from the right.
pub(super) fn x_forwarded_for(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(|byte| *byte == b',').map(address)
}

/// The addresses in the `for` parameters of one line of `Forwarded` (RFC 7239 §4), from the right;
/// none for an element without exactly one.
pub(super) fn forwarded(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    rsplit_unquoted(line, b',').map(|element| {
        let values = rsplit_unquoted(element, b';').filter_map(|pair| {
            let (name, value) = pair.trim_ascii().split_at_checked("for=".len())?;
            name.eq_ignore_ascii_case(b"for=").then_some(value)
        });
        address(&unquoted(exactly_one(values)?)?)
    })
}

/// The address in `node` (RFC 7239 §6): without port, brackets and zone, and an IPv4 address that
/// IPv6 maps as itself. None for `unknown`, for an obfuscated name, and for anything else.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let node = str::from_utf8(node.trim_ascii()).ok()?;
    let ip = if let Some(bracketed) = node.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']')?;
        let has_port = match port.strip_prefix(':') {
            Some(port) => is_port(port),
            None => port.is_empty(),
        };
        has_port.then(|| ipv6(host))??.into()
    } else if let Ok(v4) = node.parse::<Ipv4Addr>() {
        v4.into()
    } else if let Some(ip) = ipv6(node) {
        ip.into()
    } else {
        let (host, port) = node.split_once(':')?;
        is_port(port)
            .then(|| host.parse::<Ipv4Addr>().ok())??
            .into()
    };
    Some(unmapped(ip))
}

/// An IPv4 address for the IPv6 address that maps it (`::ffff:0:0/96`); others as they are.
pub(super) fn unmapped(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    let without_zone = host.split_once('%').map_or(host, |(address, _)| address);
    without_zone.parse().ok()
}

/// A number, or an obfuscated port (RFC 7239 §6.3).
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => port.len() <= 5 && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// The value of a parameter: a token as it is, a quoted-string without its quotes and escapes.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return Some(value.to_vec());
    };
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(text),
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(*byte),
        }
    }
}

/// Splits from the right at separators that stand in no quoted-string.
fn rsplit_unquoted(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(line);
    std::iter::from_fn(move || {
        let line = left?;
        let Some(at) = last_unquoted(line, separator) else {
            left = None;
            return Some(line);
        };
        let (before, after) = line.split_at_checked(at)?;
        left = Some(before);
        after.get(1..)
    })
}

fn last_unquoted(line: &[u8], separator: u8) -> Option<usize> {
    let mut in_quotes = false;
    for (at, byte) in line.iter().enumerate().rev() {
        if *byte == b'"' && !is_escaped(line, at) {
            in_quotes = !in_quotes;
        } else if *byte == separator && !in_quotes {
            return Some(at);
        }
    }
    None
}

/// Whether an odd number of backslashes stands before this byte.
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.iter().take(at).rev();
    before.take_while(|byte| **byte == b'\\').count() % 2 == 1
}

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn port_brackets_and_zone_are_stripped() {
        for (node, address_in_it) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1:4711\t", "192.0.2.1"),
            ("192.0.2.1:_hidden", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[fe80::1%eth0]:4711", "fe80::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:c000:201]:80", "192.0.2.1"),
        ] {
            assert_eq!(address(node.as_bytes()), Some(ip(address_in_it)), "{node}");
        }
    }

    #[test]
    fn what_is_no_address_is_unusable() {
        for node in [
            "",
            "unknown",
            "_hidden",
            "_x:80",
            "localhost",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:a",
            "192.0.2.01",
            "[192.0.2.1]",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "[2001:db8::1]:",
            "1.2.3.4 5.6.7.8",
            "192.0.2.1:123456",
            "192.0.2.1:_",
            "::1%\"",
            "\u{e9}",
        ] {
            let usable = address(node.as_bytes());
            assert!(usable.is_none() || node == "::1%\"", "{node}: {usable:?}");
        }
    }

    #[test]
    fn a_forwarded_line_is_read_from_the_right() {
        let line = br#"for=_gazonk, For="[2001:db8:cafe::17]:4711";proto=https ,proto=http; by=203.0.113.43 ;FOR=192.0.2.60"#;
        let entries: Vec<_> = forwarded(line).collect();
        assert_eq!(
            entries,
            [Some(ip("192.0.2.60")), Some(ip("2001:db8:cafe::17")), None]
        );
    }

    #[test]
    fn quotes_hide_separators_and_escapes_hide_quotes() {
        let one = |line: &[u8]| exactly_one(forwarded(line)).unwrap();
        assert_eq!(
            one(br#"by="a,b;for=9.9.9.9";for=192.0.2.1"#),
            Some(ip("192.0.2.1"))
        );
        assert_eq!(
            one(br#"by="\",\";for=9.9.9.9";for="192.0.2.\1""#),
            Some(ip("192.0.2.1"))
        );
        assert_eq!(one(br#"by="\\";for=192.0.2.1"#), Some(ip("192.0.2.1")));
    }

    #[test]
    fn an_element_without_exactly_one_address_is_unusable() {
        for element in [
            "",
            "proto=https",
            "for=192.0.2.1;for=192.0.2.2",
            "for",
            "for=",
            "for=unknown",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\"x",
            "for=\"192.0.2.1\\",
            "for =192.0.2.1",
        ] {
            assert_eq!(
                forwarded(element.as_bytes()).next(),
                Some(None),
                "{element}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_stands_left_never_changes_the_entry_on_the_right(
            left in proptest::collection::vec(any::<u8>(), 0..40),
            quoted in any::<bool>(),
        ) {
            let right: &[u8] = if quoted { br#"for="192.0.2.1:80";proto=http"# } else { b"for=192.0.2.1" };
            let line = [&left, b", ".as_slice(), right].concat();
            prop_assert_eq!(forwarded(&line).next(), Some(Some(ip("192.0.2.1"))));
            let line = [&left, b",192.0.2.1".as_slice()].concat();
            prop_assert_eq!(x_forwarded_for(&line).next(), Some(Some(ip("192.0.2.1"))));
            forwarded(&left).count();
            x_forwarded_for(&left).count();
        }
    }
}
