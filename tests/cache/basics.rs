//! What is answered from the store, and what clients are told of it.

use http::StatusCode;
use tower_stash::{
    cache::{Bypass, CacheRule, NotStored, OutcomeKind, Profile, Query},
    policy::{Routes, header},
};

use crate::fixture::{
    Bed, always, counting, data, faulty, fed, get, memory, request, response, rule, scripted,
    settled, sleep,
};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[tokio::test(start_paused = true)]
async fn a_second_request_is_answered_from_the_store() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    let first = bed.get().await;
    assert_eq!((first.status(), &*first.body), (200, "call 1"));
    assert_eq!(first.kind(), Some(OutcomeKind::Miss));
    assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
    assert_eq!((first.age(), first.not_stored()), (None, None));
    sleep(7).await;
    let second = bed.get().await;
    assert_eq!((second.status(), &*second.body), (200, "call 1"));
    assert_eq!(second.kind(), Some(OutcomeKind::Hit));
    assert_eq!(second.header("cache-control"), Some("max-age=60"));
    assert_eq!(
        (second.age(), second.cache_status()),
        (Some(7), "hit; ttl=52")
    );
    assert_eq!(bed.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_instance_fetched_another_gives() {
    for backend in [faulty(), faulty()] {
        let [one, other] = Bed::two(&backend, rule(), counting(FRESH));
        one.get().await;
        let answer = other.get().await;
        assert_eq!(
            (answer.kind(), &*answer.body),
            (Some(OutcomeKind::Hit), "call 1")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_fetched_anew() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    bed.get().await;
    sleep(61).await;
    let answer = bed.get().await;
    assert_eq!(
        (answer.kind(), &*answer.body),
        (Some(OutcomeKind::Miss), "call 2")
    );
    assert!(bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_304_of_the_handler_refreshes_what_is_stored() {
    let bed = Bed::new(
        memory(),
        rule(),
        scripted(&[
            (
                200,
                &[
                    ("cache-control", "max-age=60"),
                    ("etag", "\"1\""),
                    ("x-of", "200"),
                ],
                "body",
            ),
            (
                304,
                &[
                    ("cache-control", "max-age=90"),
                    ("etag", "\"1\""),
                    ("x-of", "304"),
                ],
                "",
            ),
        ]),
    );
    bed.get().await;
    sleep(61).await;
    let answer = bed.get().await;
    assert_eq!(bed.last_seen()["if-none-match"], "\"1\"");
    assert_eq!((answer.status(), &*answer.body), (200, "body"));
    assert_eq!(answer.kind(), Some(OutcomeKind::Revalidated));
    assert_eq!(answer.cache_status(), "fwd=stale; fwd-status=304; stored");
    assert_eq!(answer.header("x-of"), Some("304"));
    assert_eq!(answer.age(), Some(0));
    sleep(89).await;
    let answer = bed.get().await;
    assert_eq!(
        (answer.kind(), &*answer.body),
        (Some(OutcomeKind::Hit), "body")
    );
    assert_eq!(answer.header("x-of"), Some("304"));
    assert_eq!(bed.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_304_of_another_response_is_not_taken_for_an_answer() {
    let bed = Bed::new(
        memory(),
        rule(),
        scripted(&[
            (
                200,
                &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
                "old",
            ),
            (304, &[("etag", "\"2\"")], ""),
            (
                200,
                &[("cache-control", "max-age=60"), ("etag", "\"2\"")],
                "new",
            ),
        ]),
    );
    bed.get().await;
    sleep(61).await;
    let answer = bed.get().await;
    assert_eq!((answer.status(), &*answer.body), (200, "new"));
    assert!(!bed.last_seen().contains_key("if-none-match"));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_stale_is_given_while_a_new_one_is_fetched() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[("cache-control", "max-age=10, stale-while-revalidate=30")]),
    );
    bed.get().await;
    sleep(15).await;
    let stale = bed.get().await;
    assert_eq!(
        (stale.kind(), &*stale.body),
        (Some(OutcomeKind::Stale), "call 1")
    );
    assert_eq!(
        (stale.age(), stale.cache_status()),
        (Some(15), "hit; ttl=-5")
    );
    settled().await;
    let fresh = bed.get().await;
    assert_eq!(
        (fresh.kind(), &*fresh.body),
        (Some(OutcomeKind::Hit), "call 2")
    );
    assert_eq!(bed.calls(), 2);
    sleep(41).await;
    assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss));
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_in_the_background_is_fetched_once_by_all_instances() {
    let backend = faulty();
    let handler = counting(&[("cache-control", "max-age=10, stale-while-revalidate=30")]);
    let beds = Bed::two(&backend, rule(), handler);
    beds[0].get().await;
    sleep(15).await;
    let mut sent = Vec::new();
    for _ in 0..50 {
        for bed in &beds {
            sent.push(bed.sending(get("/a", &[])).await);
        }
    }
    for answer in sent {
        assert!(answer.await.unwrap().is_hit());
    }
    assert_eq!(beds[0].calls() + beds[1].calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_for_all_of_it_whatever_its_client_asked() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[
            ("cache-control", "max-age=10, stale-while-revalidate=30"),
            ("etag", "\"1\""),
        ]),
    );
    bed.get().await;
    sleep(15).await;
    let part = bed
        .get_with(&[("range", "bytes=0-3"), ("if-modified-since", DATE)])
        .await;
    assert_eq!((part.status(), &*part.body), (206, "call"));
    let seen = bed.last_seen();
    assert!(!seen.contains_key("range") && !seen.contains_key("if-modified-since"));
    assert_eq!(seen["if-none-match"], "\"1\"");
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_what_is_stored() {
    let bed = Bed::new(
        memory(),
        rule(),
        scripted(&[
            (
                200,
                &[("cache-control", "max-age=10, stale-while-revalidate=30")],
                "old",
            ),
            (500, &[], "oh"),
        ]),
    );
    bed.get().await;
    sleep(15).await;
    for _ in 0..3 {
        let answer = bed.get().await;
        assert_eq!(
            (answer.kind(), &*answer.body),
            (Some(OutcomeKind::Stale), "old")
        );
    }
    assert_eq!(bed.calls(), 2, "one try a second");
    sleep(2).await;
    bed.get().await;
    assert_eq!(bed.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_stands_in_for_an_error_where_that_is_allowed() {
    for (status, stands_in) in [
        (500, true),
        (502, true),
        (503, true),
        (504, true),
        (501, false),
    ] {
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let bed = Bed::new(memory(), rule(), move |_| {
            let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let answer = if is_first {
                response(
                    200,
                    &[("cache-control", "max-age=10, stale-if-error=30")],
                    "good",
                )
            } else {
                response(status, &[], "bad")
            };
            async move { answer }
        });
        bed.get().await;
        sleep(15).await;
        let answer = bed.get().await;
        if stands_in {
            assert_eq!((answer.status(), &*answer.body), (200, "good"));
            assert_eq!(answer.kind(), Some(OutcomeKind::StaleIfError));
            let told = format!("fwd=stale; fwd-status={status}; detail=handler_failed");
            assert_eq!(answer.cache_status(), told);
        } else {
            assert_eq!((answer.status(), &*answer.body), (501, "bad"));
        }
        sleep(30).await;
        assert_eq!(bed.get().await.status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_as_get_is_without_its_body() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    bed.get().await;
    let head = bed.send(request("HEAD", "/a", &[])).await;
    assert_eq!((head.kind(), &*head.body), (Some(OutcomeKind::Hit), ""));
    assert_eq!(head.header("content-length"), Some("6"));
    assert_eq!(head.header("cache-control"), Some("max-age=60"));
    assert_eq!(bed.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_head_is_answered_is_not_stored() {
    let bed = Bed::new(memory(), rule(), |request| async move {
        let body = if request.method() == "HEAD" {
            ""
        } else {
            "body"
        };
        response(200, FRESH, body)
    });
    let head = bed.send(request("HEAD", "/a", &[])).await;
    assert_eq!(head.kind(), Some(OutcomeKind::Miss));
    assert_eq!(head.bypass(), Some(Bypass::Head));
    let answer = bed.get().await;
    assert_eq!(
        (answer.kind(), &*answer.body),
        (Some(OutcomeKind::Miss), "body")
    );
}

#[tokio::test(start_paused = true)]
async fn a_204_has_no_length_not_even_for_head() {
    let bed = Bed::new(memory(), rule(), always(204, FRESH, ""));
    bed.get().await;
    let head = bed.send(request("HEAD", "/a", &[])).await;
    assert_eq!((head.status(), head.is_hit()), (204, true));
    assert_eq!(head.header("content-length"), None);
}

#[tokio::test(start_paused = true)]
async fn parts_are_cut_from_what_is_stored() {
    let bed = Bed::new(
        memory(),
        rule(),
        always(
            200,
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"1\""),
                ("last-modified", DATE),
            ],
            "0123456789",
        ),
    );
    bed.get().await;
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=10-", 416, Some("bytes */10"), ""),
        ("bytes=0-1, 4-5", 200, None, "0123456789"),
        ("lines=0-1", 200, None, "0123456789"),
        ("bytes=4-2", 200, None, "0123456789"),
    ] {
        let answer = bed.get_with(&[("range", range)]).await;
        assert_eq!((answer.status(), &*answer.body), (status, body), "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert!(answer.is_hit());
    }
    for (if_range, status) in [("\"1\"", 206), ("\"2\"", 200), ("W/\"1\"", 200)] {
        let asked = [("range", "bytes=0-1"), ("if-range", if_range)];
        assert_eq!(bed.get_with(&asked).await.status(), status, "{if_range}");
    }
    assert_eq!(bed.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_part_passes_where_nothing_is_stored() {
    let bed = Bed::new(memory(), rule(), |request| async move {
        match request.headers().get("range") {
            Some(_) => response(206, &[("content-range", "bytes 0-1/4")], "bo"),
            None => response(200, FRESH, "body"),
        }
    });
    let part = bed.get_with(&[("range", "bytes=0-1")]).await;
    assert_eq!((part.status(), &*part.body), (206, "bo"));
    let answer = bed.get().await;
    assert_eq!(
        (answer.kind(), &*answer.body),
        (Some(OutcomeKind::Miss), "body")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_part_of_what_is_stale_validates_all_of_it() {
    let bed = Bed::new(
        memory(),
        rule(),
        scripted(&[
            (
                200,
                &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
                "body",
            ),
            (
                304,
                &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
                "",
            ),
        ]),
    );
    bed.get().await;
    sleep(61).await;
    let part = bed.get_with(&[("range", "bytes=0-1")]).await;
    assert_eq!((part.status(), &*part.body), (206, "bo"));
    assert!(!bed.last_seen().contains_key("range"));
    assert!(bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn conditions_are_answered_from_a_miss_which_is_stored_whole() {
    let bed = Bed::new(
        memory(),
        rule(),
        always(
            200,
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"1\""),
                ("content-type", "text/plain"),
                ("vary", "accept"),
            ],
            "body",
        ),
    );
    for kind in [OutcomeKind::Miss, OutcomeKind::Hit] {
        let answer = bed.get_with(&[("if-none-match", "W/\"1\"")]).await;
        assert_eq!((answer.status(), &*answer.body), (304, ""));
        assert_eq!(answer.kind(), Some(kind));
        assert_eq!(answer.header("etag"), Some("\"1\""));
        assert_eq!(answer.header("vary"), Some("accept"));
        assert_eq!(answer.header("content-type"), None);
        assert!(!bed.last_seen().contains_key("if-none-match"));
    }
    let whole = bed.get_with(&[("if-none-match", "\"2\"")]).await;
    assert_eq!((whole.status(), &*whole.body), (200, "body"));
    assert!(whole.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_forbids_a_change_is_the_handler_s() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    for asked in [("if-match", "\"1\""), ("if-unmodified-since", DATE)] {
        let answer = bed.get_with(&[asked]).await;
        assert_eq!(answer.kind(), Some(OutcomeKind::Bypass));
        assert!(bed.last_seen().contains_key(asked.0));
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_a_hit_or_504() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    let only = [("cache-control", "only-if-cached")];
    let answer = bed.get_with(&only).await;
    assert_eq!(
        (answer.status(), answer.kind()),
        (504, Some(OutcomeKind::OnlyIfCached))
    );
    assert_eq!(answer.header("cache-status"), None);
    bed.get().await;
    assert!(bed.get_with(&only).await.is_hit());
    assert_eq!(bed.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_store_in_a_request_passes_and_leaves_no_trace() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    let no_store = [("cache-control", "no-store")];
    let answer = bed.get_with(&no_store).await;
    assert_eq!(answer.kind(), Some(OutcomeKind::Bypass));
    assert_eq!(answer.bypass(), Some(Bypass::RequestNoStore));
    assert_eq!(bed.get().await.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(bed.get_with(&no_store).await.body, "call 3");
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn age_goes_on_from_that_of_the_response() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[("cache-control", "max-age=60"), ("age", "20")]),
    );
    let first = bed.get().await;
    assert_eq!(first.age(), Some(20));
    sleep(5).await;
    let second = bed.get().await;
    assert_eq!(
        (second.age(), second.cache_status()),
        (Some(25), "hit; ttl=34")
    );
    sleep(36).await;
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_body_takes_counts() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let body = std::sync::Arc::new(body);
    let bed = Bed::new(memory(), rule(), move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { response(200, FRESH, body) }
    });
    let sent = bed.sending(get("/a", &[])).await;
    feed.send(data("late")).unwrap();
    sleep(30).await;
    drop(feed);
    sent.await.unwrap();
    let answer = bed.get().await;
    assert_eq!((answer.age(), &*answer.body), (Some(30), "late"));
}

#[tokio::test(start_paused = true)]
async fn a_response_without_date_gets_that_of_its_coming_and_keeps_it() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    bed.get().await;
    sleep(5).await;
    let one = bed.get().await;
    sleep(5).await;
    let other = bed.get().await;
    let date = one.header("date").unwrap();
    assert!(date.ends_with("GMT"), "{date}");
    assert_eq!(other.header("date"), Some(date));
}

#[tokio::test(start_paused = true)]
async fn cache_status_is_appended_to_that_of_caches_nearer_to_the_handler() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[
            ("cache-control", "max-age=60"),
            ("cache-status", "near; hit"),
        ]),
    );
    for ours in [
        "tower-stash; fwd=uri-miss; stored",
        "tower-stash; hit; ttl=58",
    ] {
        let answer = bed.get().await;
        sleep(1).await;
        let lines = answer.head.headers.get_all("cache-status");
        let lines: Vec<_> = lines.iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, ["near; hit", ours]);
    }
}

#[tokio::test(start_paused = true)]
async fn x_cache_is_said_where_the_rule_says_so() {
    let bed = Bed::new(memory(), rule().with_x_cache(), counting(FRESH));
    assert_eq!(bed.get().await.header("x-cache"), Some("MISS"));
    assert_eq!(bed.get().await.header("x-cache"), Some("HIT"));
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    assert_eq!(bed.get().await.header("x-cache"), None);
}

#[tokio::test(start_paused = true)]
async fn tags_are_cut_from_what_clients_get() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[
            ("cache-control", "max-age=60"),
            ("cache-tag", "a, b"),
            ("surrogate-key", "c d"),
        ]),
    );
    for _ in 0..2 {
        let answer = bed.get().await;
        assert_eq!(answer.header("cache-tag"), None);
        assert_eq!(answer.header("surrogate-key"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn queries_are_told_apart_as_the_rule_says() {
    let same = |rule: CacheRule, one: &'static str, other: &'static str| async move {
        let bed = Bed::new(memory(), rule, counting(FRESH));
        bed.send(get(one, &[])).await;
        bed.send(get(other, &[])).await.is_hit()
    };
    assert!(!same(rule(), "/a?x=1", "/a?x=2").await);
    assert!(!same(rule(), "/a?x=1&y=2", "/a?y=2&x=1").await);
    assert!(!same(rule(), "/a", "/a?").await);
    let sorted = rule().with_query(Query::all().sorted());
    assert!(same(sorted, "/a?x=1&y=2", "/a?y=2&x=1").await);
    let ignoring = || rule().with_query(Query::ignore(["utm_*"]));
    assert!(same(ignoring(), "/a?x=1&utm_source=2", "/a?utm_medium=3&x=1").await);
    assert!(!same(ignoring(), "/a?x=1", "/a?x=2").await);
    let only = || rule().with_query(Query::only(["x"]));
    assert!(same(only(), "/a?x=1&y=1", "/a?y=2&x=1").await);
    assert!(!same(only(), "/a?x=1", "/a?x=2").await);
}

#[tokio::test(start_paused = true)]
async fn hosts_are_told_apart_and_others_than_the_rule_s_pass() {
    let bed = Bed::new(
        memory(),
        rule().with_hosts(["example.com", "other.example"]),
        counting(FRESH),
    );
    bed.get().await;
    for (host, kind) in [
        ("EXAMPLE.com:80", OutcomeKind::Hit),
        ("other.example", OutcomeKind::Miss),
        ("evil.example", OutcomeKind::Bypass),
        ("evil.example", OutcomeKind::Bypass),
    ] {
        let answer = bed.get_with(&[("host", host)]).await;
        assert_eq!(answer.kind(), Some(kind), "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_part_keeps_a_response_for_each_of_its_values() {
    let rule = rule().with_key_part("tenant", header("x-tenant"));
    let bed = Bed::new(memory(), rule, counting(FRESH));
    let tenant = |name| [("x-tenant", name)];
    assert_eq!(bed.get_with(&tenant("a")).await.body, "call 1");
    assert_eq!(bed.get_with(&tenant("b")).await.body, "call 2");
    assert_eq!(bed.get().await.body, "call 3");
    for (answer, body) in [
        (bed.get_with(&tenant("a")).await, "call 1"),
        (bed.get_with(&tenant("b")).await, "call 2"),
        (bed.get().await, "call 3"),
    ] {
        assert_eq!(
            (answer.kind(), &*answer.body),
            (Some(OutcomeKind::Hit), body)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn vary_keeps_a_response_for_each_value_of_its_headers() {
    let backend = faulty();
    let handler = counting(&[
        ("cache-control", "max-age=60"),
        ("vary", "accept, x-flavour"),
    ]);
    let beds = Bed::two(&backend, rule(), handler);
    let asked = [
        [("accept", "text/html")],
        [("accept", "text/plain")],
        [("x-flavour", "vanilla")],
    ];
    for (asked, body) in asked.iter().zip(["call 1", "call 2", "call 3"]) {
        assert_eq!(beds[0].get_with(asked).await.body, body);
    }
    for bed in &beds {
        for (asked, body) in asked.iter().zip(["call 1", "call 2", "call 3"]) {
            let answer = bed.get_with(asked).await;
            assert_eq!(
                (answer.kind(), &*answer.body),
                (Some(OutcomeKind::Hit), body)
            );
        }
    }
    let told = beds[0].get_with(&[("accept", "image/png")]).await;
    assert_eq!(told.cache_status(), "fwd=vary-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_condition_says_for_which_requests_there_is_a_cache() {
    let rule = rule().with_condition(|request: &http::request::Parts| {
        !request.headers.contains_key("x-preview")
    });
    let bed = Bed::new(memory(), rule, counting(FRESH));
    bed.get().await;
    let answer = bed.get_with(&[("x-preview", "1")]).await;
    assert_eq!(
        (answer.kind(), &*answer.body),
        (Some(OutcomeKind::Bypass), "call 2")
    );
    assert_eq!(answer.bypass(), Some(Bypass::Condition));
    assert_eq!(bed.get().await.body, "call 1");
}

#[tokio::test(start_paused = true)]
async fn requests_that_no_rule_covers_are_as_if_there_were_no_layer() {
    let bed = Bed::new(memory(), Routes::new().get("/b", rule()), counting(FRESH));
    for body in ["call 1", "call 2"] {
        let answer = bed.get().await;
        assert_eq!((answer.kind(), &*answer.body), (None, body));
        assert_eq!(answer.header("cache-status"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn unsafe_requests_make_what_is_stored_of_their_url_invalid() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "FROB"] {
        let backend = faulty();
        let beds = Bed::two(&backend, rule(), counting(FRESH));
        beds[0].get().await;
        assert!(beds[1].get().await.is_hit());
        let answer = beds[1].send(request(method, "/a", &[])).await;
        assert_eq!(answer.kind(), Some(OutcomeKind::Invalidated), "{method}");
        for bed in &beds {
            assert_ne!(bed.get().await.body, "call 1", "{method}");
        }
    }
    for method in ["OPTIONS", "TRACE"] {
        let bed = Bed::new(memory(), rule(), counting(FRESH));
        bed.get().await;
        bed.send(request(method, "/a", &[])).await;
        assert!(bed.get().await.is_hit(), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_that_fails_leaves_what_is_stored() {
    let bed = Bed::new(memory(), rule(), |request| async move {
        match request.method().as_str() {
            "GET" => response(200, FRESH, "body"),
            _ => response(409, &[], "no"),
        }
    });
    bed.get().await;
    assert_eq!(bed.send(request("PUT", "/a", &[])).await.status(), 409);
    assert!(bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_purges_what_its_answer_points_at_of_the_same_origin() {
    let bed = Bed::new(memory(), rule(), |request| async move {
        match request.method().as_str() {
            "GET" => response(200, FRESH, "body"),
            _ => response(
                201,
                &[
                    ("location", "/b"),
                    ("content-location", "http://other.example/c"),
                ],
                "",
            ),
        }
    });
    let elsewhere = || get("/c", &[("host", "other.example")]);
    for request in [get("/b", &[]), elsewhere()] {
        bed.send(request).await;
    }
    bed.send(request("POST", "/a", &[])).await;
    assert_eq!(
        bed.send(get("/b", &[])).await.kind(),
        Some(OutcomeKind::Miss)
    );
    assert!(bed.send(elsewhere()).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_compliant_rule_heeds_what_clients_say_of_freshness() {
    let bed = |profile| Bed::new(memory(), rule().with_profile(profile), counting(FRESH));
    let [safe, compliant] = [bed(Profile::safe()), bed(Profile::compliance())];
    for bed in [&safe, &compliant] {
        bed.get().await;
        sleep(10).await;
    }
    for asked in ["no-cache", "max-age=5", "min-fresh=55"] {
        let asked = [("cache-control", asked)];
        assert!(safe.get_with(&asked).await.is_hit());
        assert_eq!(
            compliant.get_with(&asked).await.kind(),
            Some(OutcomeKind::Miss)
        );
        sleep(10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_are_stored_as_the_rule_says() {
    let bed = Bed::new(memory(), rule(), always(302, FRESH, ""));
    bed.get().await;
    assert!(bed.get().await.is_hit());
    let ok_only = rule().with_statuses([StatusCode::OK]);
    let bed = Bed::new(memory(), ok_only, always(302, FRESH, ""));
    let answer = bed.get().await;
    assert_eq!(answer.not_stored(), Some(NotStored::Status));
    assert!(!bed.get().await.is_hit());
}

const DATE: &str = "Mon, 01 Dec 2025 00:00:00 GMT";
