//! Whatever a client writes into a forwarding header, it counts under the
//! address that the proxy saw.
#![no_main]

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, Request, header::FORWARDED, request::Parts};
use libfuzzer_sys::fuzz_target;
use tower_stash::{
    key::KeyParts,
    policy::{
        ForwardingHeader, KeyExtractor as _, PeerAddr, Resolved, Subject, TrustedProxies, client_ip,
    },
};

fuzz_target!(|forged: &[u8]| {
    let x_forwarded_for = HeaderName::from_static("x-forwarded-for");
    let headers = [
        (ForwardingHeader::XForwardedFor, x_forwarded_for, SEEN),
        (ForwardingHeader::Forwarded, FORWARDED, SEEN_AS_FORWARDED),
    ];
    for (header, name, seen) in headers {
        for proxies in [
            TrustedProxies::cidrs(["10.0.0.0/8"]),
            TrustedProxies::hops(1),
        ] {
            let proxies = proxies.expect("proxies").with_header(header.clone());
            let subject = client_ip(proxies).or_reject();
            let honest = key(&subject, &request(&name, [seen]));
            assert!(honest.is_some());
            // As it came, unseen by any proxy: no panic, whatever it is.
            key(&subject, &request(&name, [forged]));
            // The proxy writes a line of its own.
            assert_eq!(key(&subject, &request(&name, [forged, seen])), honest);
            // Or it appends to the last line, if there is one.
            if HeaderValue::from_bytes(forged).is_err() {
                continue;
            }
            let appended = [forged, b", ", seen].concat();
            let found = key(&subject, &request(&name, [&*appended]));
            // A quote that is left open may hide the entry; it never makes it somebody else's.
            let may_hide = header == ForwardingHeader::Forwarded && forged.contains(&b'"');
            assert!(found == honest || may_hide && found.is_none());
        }
    }
});

/// A request through the proxy, with those of these lines that can be sent.
fn request<'a>(name: &HeaderName, lines: impl IntoIterator<Item = &'a [u8]>) -> Parts {
    let (mut request, ()) = Request::new(()).into_parts();
    for line in lines {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            request.headers.append(name, line);
        }
    }
    let proxy = SocketAddr::from(([10, 0, 0, 1], 4711));
    request.extensions.insert(PeerAddr(proxy));
    request
}

fn key(subject: &Subject, request: &Parts) -> Option<KeyParts> {
    let mut key = KeyParts::new();
    let resolved = subject.resolve(request, &mut key);
    (resolved == Resolved::Key).then_some(key)
}

const SEEN: &[u8] = b"203.0.113.7";
const SEEN_AS_FORWARDED: &[u8] = b"for=203.0.113.7";
