//! What operators see.

use tower_stash::cache::OutcomeKind;

use crate::{
    fixture::{Bed, counting, faulty, get, memory, request, response, rule, scripted, sleep},
    observed::{counts, logged, outcomes},
};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[test]
fn each_request_that_a_rule_covers_is_counted_by_its_outcome() {
    let counted = outcomes(async {
        let bed = Bed::new(memory(), rule(), counting(FRESH));
        bed.get().await;
        bed.get().await;
        bed.get().await;
        bed.get_with(&[("if-match", "\"1\"")]).await;
        bed.send(get("/b", &[("cache-control", "only-if-cached")]))
            .await;
        bed.send(request("OPTIONS", "/a", &[])).await;
        bed.send(request("PUT", "/a", &[])).await;
    });
    assert_eq!(
        counted,
        counts([
            ("pages bypass", 1),
            ("pages hit", 2),
            ("pages invalidated", 1),
            ("pages miss", 1),
            ("pages only_if_cached", 1),
        ])
    );
}

#[test]
fn what_is_stale_is_counted_by_what_became_of_it() {
    let counted = outcomes(async {
        let bed = Bed::new(
            memory(),
            rule(),
            scripted(&[
                (
                    200,
                    &[
                        ("cache-control", "max-age=5, stale-if-error=60"),
                        ("etag", "\"1\""),
                    ],
                    "body",
                ),
                (500, &[], "oh"),
                (
                    304,
                    &[
                        ("cache-control", "max-age=5, stale-while-revalidate=60"),
                        ("etag", "\"1\""),
                    ],
                    "",
                ),
                (500, &[], "oh"),
            ]),
        );
        for _ in 0..4 {
            bed.get().await;
            sleep(10).await;
        }
    });
    assert_eq!(
        counted,
        counts([
            ("pages miss", 1),
            ("pages revalidated", 1),
            ("pages stale", 1),
            ("pages stale_if_error", 1),
        ])
    );
}

#[test]
fn who_waits_and_who_goes_without_the_backend_are_counted_so() {
    let counted = outcomes(async {
        let bed = Bed::new(faulty(), rule(), |_| async {
            sleep(1).await;
            response(200, FRESH, "body")
        });
        let sent = [
            bed.sending(get("/a", &[])).await,
            bed.sending(get("/a", &[])).await,
        ];
        for answer in sent {
            answer.await.unwrap();
        }
        let backend = faulty();
        let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
        backend.go_down();
        bed.get().await;
    });
    let expected = [
        ("pages collapsed", 1),
        ("pages miss", 1),
        ("pages unavailable", 1),
    ];
    assert_eq!(counted, counts(expected));
}

#[test]
fn the_words_of_metrics_are_those_of_the_outcome() {
    for kind in [
        OutcomeKind::Hit,
        OutcomeKind::StaleIfError,
        OutcomeKind::OnlyIfCached,
    ] {
        assert_eq!(kind.to_string(), kind.as_str());
    }
    assert_eq!(OutcomeKind::StaleIfError.as_str(), "stale_if_error");
}

#[test]
fn each_decision_is_an_event_without_url_or_headers() {
    let log = logged(async {
        let bed = Bed::new(memory(), rule(), counting(FRESH));
        for _ in 0..2 {
            bed.send(get(
                "/secret-path?secret=query",
                &[("x-token", "secret header")],
            ))
            .await;
        }
    });
    for outcome in ["miss", "hit"] {
        let event = format!("DEBUG tower_stash::cache: rule=pages outcome=\"{outcome}\"");
        assert_eq!(log.matches(&event).count(), 1, "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_backend_that_does_not_answer_is_warned_of_once() {
    let log = logged(async {
        let backend = faulty();
        let bed = Bed::new(backend.clone(), rule(), counting(FRESH));
        backend.go_down();
        for _ in 0..5 {
            bed.get().await;
        }
    });
    assert_eq!(log.matches("place=\"cache: look\"").count(), 1, "{log}");
}
