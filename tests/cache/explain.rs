//! What an explanation says, and that it touches nothing.

use std::collections::HashSet;

use http::request::Parts;
use tower_stash::{
    cache::{Bypass, Explanation, Profile, Reason, Verdict},
    policy::{Routes, header},
};

use crate::fixture::{Bed, always, counting, faulty, get, memory, request, rule, settled, sleep};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn parts(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
    request(method, path, headers).into_parts().0
}

async fn explained(bed: &Bed, headers: &[(&str, &str)]) -> Explanation {
    bed.layer.explain(&get("/a", headers).into_parts().0).await
}

async fn judged(bed: &Bed, headers: &[(&str, &str)]) -> (Verdict, Reason) {
    let explanation = explained(bed, headers).await;
    (explanation.verdict, explanation.reason)
}

#[tokio::test(start_paused = true)]
async fn it_says_what_would_come_of_a_request_as_time_goes_by() {
    let rule = rule().with_profile(Profile::compliance());
    let says = &[
        ("cache-control", "max-age=60, stale-while-revalidate=30"),
        ("etag", "\"a\""),
    ];
    let bed = Bed::new(memory(), rule, always(200, says, "body"));
    assert_eq!(judged(&bed, &[]).await, (Verdict::Fetches, Reason::Absent));
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(
        judged(&bed, &only).await,
        (Verdict::Refuses, Reason::OnlyIfCached)
    );
    bed.get().await;
    assert_eq!(judged(&bed, &[]).await, (Verdict::Hit, Reason::Fresh));
    let now = [("cache-control", "no-cache")];
    assert_eq!(
        judged(&bed, &now).await,
        (Verdict::Validates, Reason::Request)
    );
    sleep(70).await;
    assert_eq!(
        judged(&bed, &[]).await,
        (Verdict::Stale, Reason::WhileRevalidate)
    );
    sleep(30).await;
    assert_eq!(
        judged(&bed, &[]).await,
        (Verdict::Validates, Reason::Expired)
    );
    let stale = [("cache-control", "max-stale=60")];
    assert_eq!(
        judged(&bed, &stale).await,
        (Verdict::Stale, Reason::MaxStale)
    );
}

#[tokio::test(start_paused = true)]
async fn it_says_why_a_request_is_not_looked_up() {
    let page = rule().with_hosts(["example.com"]);
    let routes = Routes::new().get("/a", page).grpc(
        "/shop.Orders/Find",
        rule().with_grpc(std::time::Duration::from_secs(1)),
    );
    let bed = Bed::new(memory(), routes, counting(FRESH));
    let grpc = ("content-type", "application/grpc");
    for (method, path, headers, verdict, reason) in [
        ("GET", "/b", &[][..], Verdict::Passes, Reason::NoRule),
        ("OPTIONS", "/a", &[], Verdict::Passes, Reason::Method),
        ("POST", "/a", &[], Verdict::Invalidates, Reason::Method),
        (
            "POST",
            "/shop.Orders/Find",
            &[grpc],
            Verdict::Unknown,
            Reason::Message,
        ),
        (
            "GET",
            "/a",
            &[("host", "a.example")],
            Verdict::Passes,
            Reason::Bypass(Bypass::HostNotListed),
        ),
        (
            "GET",
            "/a",
            &[("if-match", "*")],
            Verdict::Passes,
            Reason::Bypass(Bypass::Precondition),
        ),
        (
            "GET",
            "/a",
            &[("upgrade", "a")],
            Verdict::Passes,
            Reason::Bypass(Bypass::Upgrade),
        ),
        (
            "GET",
            "/a",
            &[("x-original-url", "/")],
            Verdict::Passes,
            Reason::Bypass(Bypass::RewrittenUrl),
        ),
        (
            "GET",
            "/a",
            &[("cache-control", "no-store")],
            Verdict::Passes,
            Reason::Bypass(Bypass::RequestNoStore),
        ),
        (
            "GET",
            "/a",
            &[("range", "bytes=0-1")],
            Verdict::Passes,
            Reason::Bypass(Bypass::Range),
        ),
        (
            "HEAD",
            "/a",
            &[],
            Verdict::Passes,
            Reason::Bypass(Bypass::Head),
        ),
    ] {
        let explanation = bed.layer.explain(&parts(method, path, headers)).await;
        assert_eq!(
            (explanation.verdict, explanation.reason),
            (verdict, reason),
            "{method} {path}"
        );
        if reason == Reason::Message {
            continue;
        }
        // It is what the layer does.
        let answer = bed.send(request(method, path, headers)).await;
        let bypass = match reason {
            Reason::Bypass(bypass) => Some(bypass),
            _ => None,
        };
        assert_eq!(answer.bypass(), bypass);
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_where_the_response_belongs_and_what_is_there() {
    let rule = rule().with_key_part("tenant", header("x-tenant"));
    let says = &[
        ("cache-control", "max-age=60"),
        ("vary", "accept-language"),
        ("cache-tag", "a, b"),
    ];
    let bed = Bed::new(memory(), rule, always(200, says, "body"));
    let german = [("accept-language", "de"), ("x-tenant", "secret")];
    let before = explained(&bed, &german).await;
    assert_eq!(
        (before.rule.as_deref(), before.reason),
        (Some("pages"), Reason::Absent)
    );
    assert_eq!(before.key_parts, [Box::<str>::from("tenant")]);
    assert_eq!(before.place.unwrap().varies, None);

    bed.get_with(&german).await;
    sleep(7).await;
    let after = explained(&bed, &german).await;
    let place = after.place.clone().unwrap();
    assert_eq!(place.varies.unwrap(), ["accept-language"]);
    let entry = after.entry.clone().unwrap();
    assert_eq!((entry.status.as_u16(), entry.age.as_secs()), (200, 7));
    assert_eq!(
        (entry.lifetime.as_secs(), entry.tags, entry.stored_bytes),
        (60, 2, 4)
    );
    let text = after.to_string();
    assert!(
        text.starts_with("rule pages: answered from the store (fresh)\n"),
        "{text}"
    );
    assert!(!text.contains("secret") && !text.contains("body"), "{text}");

    let other = explained(&bed, &[("accept-language", "fr"), ("x-tenant", "secret")]).await;
    assert_eq!(other.reason, Reason::NoVariant);
    assert_ne!(other.place.unwrap().key, place.key);
}

#[tokio::test(start_paused = true)]
async fn it_says_what_was_purged_and_what_cannot_be_stored() {
    let says = &[("cache-control", "max-age=60"), ("cache-tag", "a")];
    let bed = Bed::new(memory(), rule(), always(200, says, "body"));
    bed.get().await;
    bed.layer.purge().tag("a").await.unwrap();
    assert_eq!(judged(&bed, &[]).await, (Verdict::Fetches, Reason::Purged));
    bed.get().await;
    bed.send(request("POST", "/a", &[])).await;
    assert_eq!(judged(&bed, &[]).await, (Verdict::Fetches, Reason::Purged));

    let bed = Bed::new(memory(), rule(), always(200, &[], "body"));
    bed.get().await;
    assert!(explained(&bed, &[]).await.place.unwrap().is_unstorable);
}

#[tokio::test(start_paused = true)]
async fn it_calls_nobody_and_changes_nothing() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    let first = explained(&bed, &[]).await;
    let again = explained(&bed, &[]).await;
    settled().await;
    assert_eq!(
        (first.reason, again.reason),
        (Reason::Absent, Reason::Absent)
    );
    assert_eq!(bed.calls(), 0);
    assert_eq!(bed.get().await.cache_status(), "fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn it_says_that_the_backend_does_not_answer() {
    let backend = faulty();
    let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
    backend.go_down();
    let explanation = explained(&bed, &[]).await;
    assert_eq!(
        (explanation.verdict, explanation.reason),
        (Verdict::Unknown, Reason::Backend)
    );
    assert!(explanation.error.is_some());
}

#[test]
fn each_verdict_has_a_word_of_its_own() {
    let verdicts = [
        Verdict::Passes,
        Verdict::Invalidates,
        Verdict::Hit,
        Verdict::Stale,
        Verdict::Validates,
        Verdict::Fetches,
        Verdict::Refuses,
        Verdict::Unknown,
    ];
    let words: HashSet<_> = verdicts.iter().map(|verdict| verdict.as_str()).collect();
    assert_eq!(words.len(), verdicts.len());
    let sentences: HashSet<_> = verdicts.iter().map(ToString::to_string).collect();
    assert_eq!(sentences.len(), verdicts.len());
}
