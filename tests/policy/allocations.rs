//! What it costs to find out the rule and the subject of a request: no allocation.

use http::{Request, request::Parts};
use tower_stash::{
    key::{Key, KeyParts},
    policy::{
        Condition, KeyExtractor, PeerAddr, Policy, Resolved, Routes, Subject, TrustedProxies,
        client_ip, cookie, header, peer_ip,
    },
};

fn sent() -> Parts {
    let request = Request::get("/users/7")
        .header("x-api-key", "3f0b6cc8-5f3e-4d2c-9a57-1e8c7d9c2b11")
        .header("x-forwarded-for", "198.51.100.7, 2001:db8::7")
        .header("cookie", "theme=dark; sid=1e8c7d9c2b11")
        .extension(PeerAddr(([10, 0, 0, 1], 4711).into()));
    request.body(()).unwrap().into_parts().0
}

#[track_caller]
fn allocates_nothing<T>(mut run: impl FnMut() -> T) {
    // What is made once in a process is made here.
    run();
    let counted = allocation_counter::measure(|| {
        std::hint::black_box(run());
    });
    assert_eq!(counted.count_total, 0);
}

fn key(subject: &Subject, parts: &Parts) -> Key {
    let mut key = KeyParts::new();
    assert_eq!(subject.resolve(parts, &mut key), Resolved::Key);
    Key::custom("test", &key)
}

#[test]
fn a_rule_is_found_or_not_without_allocating() {
    let routes = Routes::new().get("/users/{id}", 1).any("/api/{*rest}", 2);
    for path in ["/users/7", "/api", "/%75sers/7/", "/about/us", "//./%2F"] {
        let parts = Request::get(path).body(()).unwrap().into_parts().0;
        allocates_nothing(|| routes.rule(&parts));
    }
}

#[test]
fn the_key_of_a_subject_is_made_without_allocating() {
    let proxies = TrustedProxies::cidrs(["10.0.0.0/8"]).unwrap();
    for subject in [
        header("x-api-key").or_reject(),
        cookie("sid").or_skip(),
        peer_ip().or_reject(),
        client_ip(proxies).or_reject(),
        (peer_ip(), cookie("sid")).or_reject(),
        header("absent").or_shared(),
    ] {
        let parts = sent();
        allocates_nothing(|| key(&subject, &parts));
        allocates_nothing(|| subject.identify(&parts));
    }
}

#[test]
fn a_condition_is_found_to_hold_without_allocating() {
    let parts = sent();
    let listed = header("x-api-key").is_one_of(["3f0b6cc8-5f3e-4d2c-9a57-1e8c7d9c2b11"]);
    let near = peer_ip().is_within(["10.0.0.0/8"]).unwrap();
    allocates_nothing(|| assert!(listed.holds(&parts) && near.holds(&parts)));
}
