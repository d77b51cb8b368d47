//! How long responses are fresh, and which are stored at all.

use std::time::Duration;

use http::StatusCode;
use tower_stash::{
    cache::{NotStored, OutcomeKind, Profile},
    marks::NoStore,
};

use crate::fixture::{Bed, always, counting, memory, response, rule, sleep};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_response_that_says_nothing_is_fresh_as_long_as_the_rule_says() {
    let bed = Bed::new(memory(), rule().with_ttl(secs(30)), counting(&[]));
    bed.get().await;
    sleep(29).await;
    assert!(bed.get().await.is_hit());
    sleep(2).await;
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn the_rule_s_ttl_is_not_for_what_says_its_own() {
    let bed = Bed::new(
        memory(),
        rule().with_ttl(secs(30)),
        counting(&[("cache-control", "max-age=5")]),
    );
    bed.get().await;
    sleep(6).await;
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_know_better_but_not_store_what_is_private() {
    let over = || rule().with_override_ttl(secs(30));
    let bed = Bed::new(
        memory(),
        over(),
        counting(&[("cache-control", "max-age=5")]),
    );
    bed.get().await;
    sleep(29).await;
    assert!(bed.get().await.is_hit());
    for (said, reason) in [
        ("private, max-age=5", NotStored::Private),
        ("no-store", NotStored::NoStore),
    ] {
        let bed = Bed::new(memory(), over(), move |_| async move {
            response(200, &[("cache-control", said)], "mine")
        });
        for _ in 0..2 {
            assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss), "{said}");
        }
        sleep(2).await;
        assert_eq!(bed.get().await.not_stored(), Some(reason), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_fresh_as_long_as_the_rule_says_of_their_status() {
    let negative = || rule().with_negative_ttl(StatusCode::NOT_FOUND, secs(10));
    let bed = Bed::new(memory(), negative(), always(404, &[], "none"));
    bed.get().await;
    sleep(9).await;
    let answer = bed.get().await;
    assert_eq!(
        (answer.status(), answer.kind()),
        (404, Some(OutcomeKind::Hit))
    );
    sleep(2).await;
    assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss));
    let bed = Bed::new(memory(), negative(), always(410, &[], "gone"));
    assert_eq!(bed.get().await.not_stored(), Some(NotStored::NoFreshness));
    let bed = Bed::new(memory(), rule().with_ttl(secs(10)), always(500, &[], "oh"));
    bed.get().await;
    assert!(!bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn without_a_word_of_freshness_nothing_is_stored() {
    let bed = Bed::new(memory(), rule(), counting(&[("last-modified", OLD)]));
    for _ in 0..2 {
        assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss));
    }
    let guessing = rule().with_profile(Profile::compliance());
    let bed = Bed::new(memory(), guessing, counting(&[("last-modified", OLD)]));
    bed.get().await;
    assert!(bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_stored_is_fetched_each_time_and_says_why() {
    for (status, headers, reason) in [
        (
            200,
            &[("cache-control", "no-store")][..],
            NotStored::NoStore,
        ),
        (
            200,
            &[("cache-control", "max-age=60, private")],
            NotStored::Private,
        ),
        (
            200,
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
            NotStored::SetCookie,
        ),
        (
            200,
            &[("cache-control", "max-age=60"), ("vary", "*")],
            NotStored::VaryStar,
        ),
        (
            200,
            &[("cache-control", "max-age=60"), ("vary", "Cookie")],
            NotStored::VaryCredentials,
        ),
        (206, &[("cache-control", "max-age=60")], NotStored::Partial),
        (429, &[("cache-control", "max-age=60")], NotStored::Status),
        (
            200,
            &[
                ("cache-control", "max-age=60"),
                ("content-type", "text/event-stream"),
            ],
            NotStored::EventStream,
        ),
        (
            200,
            &[("cache-control", "max-age=60"), ("trailer", "x-sum")],
            NotStored::Trailers,
        ),
        (
            200,
            &[
                ("cache-control", "max-age=60"),
                ("content-length", "1048577"),
            ],
            NotStored::TooLarge,
        ),
    ] {
        let bed = Bed::new(memory(), rule(), always(status, headers, "own"));
        for _ in 0..3 {
            let answer = bed.get().await;
            assert_eq!(
                (answer.kind(), &*answer.body),
                (Some(OutcomeKind::Miss), "own")
            );
            assert_eq!(answer.not_stored(), Some(reason), "{reason}");
            let told = format!("detail={reason}");
            assert!(answer.cache_status().ends_with(&told), "{reason}");
            sleep(2).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_with_the_mark_is_not_stored() {
    let bed = Bed::new(memory(), rule(), |_| async {
        let mut response = response(200, &[("cache-control", "max-age=60")], "own");
        response.extensions_mut().insert(NoStore::new());
        response
    });
    assert_eq!(bed.get().await.not_stored(), Some(NotStored::Marked));
    assert!(!bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn early_refresh_fetches_before_the_end_and_gives_what_is_fresh() {
    let rule = rule().with_early_refresh();
    let handler = counting(&[("cache-control", "max-age=10")]);
    let bed = Bed::new(memory(), rule, move |request| {
        let answer = handler(request);
        async move {
            sleep(4).await;
            answer.await
        }
    });
    bed.get().await;
    // Shortly before the end nearly every request does it: one in forty would not.
    tokio::time::sleep(Duration::from_millis(9_900 - 4_000)).await;
    for _ in 0..20 {
        assert!(bed.get().await.is_hit());
    }
    assert_eq!(bed.calls(), 2);
}

const OLD: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
