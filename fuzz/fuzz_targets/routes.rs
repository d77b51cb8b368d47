//! Hostile paths and patterns: no panic, and a route that is added takes no
//! request from under a limit.
#![no_main]

use arbitrary::Arbitrary;
use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use tower_stash::policy::{Policy as _, Routes};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    pattern: &'a str,
    path: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let Ok(uri) = input.path.parse::<Uri>() else {
        return;
    };
    let (mut request, ()) = Request::new(()).into_parts();
    request.uri = uri;

    let one = Routes::new().any(input.pattern, ());
    let is_limited = one.rule(&request).is_some();
    let more = Routes::new()
        .any("/api/{*rest}", ())
        .any("/users/{id}/posts", ())
        .post("/login", ());
    if more.clone().any(input.pattern, ()).check().is_ok() {
        let was_limited = more.rule(&request).is_some();
        let both = more.any(input.pattern, ()).rule(&request).is_some();
        assert_eq!(both, is_limited || was_limited);
    }
    if matches!(request.uri.path(), "/login" | "/api/a") {
        let known = Routes::new().any("/login", ()).any("/api/{*rest}", ());
        assert!(known.rule(&request).is_some());
    }
});
