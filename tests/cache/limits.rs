//! What clients, handlers and the store may do without harm.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tower_stash::{
    backend::{Entry, GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions, Result},
    cache::{CacheLayer, NotStored, OutcomeKind},
    key::Key,
};

use crate::fixture::{Bed, Inside, counting, get, memory, response, rule, sleep};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[tokio::test(start_paused = true)]
async fn a_client_cannot_fill_the_store_with_variants_of_one_url() {
    let backend: MemoryBackend = memory();
    let bed = Bed::new(
        backend.clone(),
        rule(),
        counting(&[("cache-control", "max-age=600"), ("vary", "x-kind")]),
    );
    let mut unstored = 0;
    for number in 0..10_000 {
        let answer = bed.get_with(&[("x-kind", &number.to_string())]).await;
        assert_eq!(answer.kind(), Some(OutcomeKind::Miss));
        if let Some(reason) = answer.not_stored() {
            assert_eq!(reason, NotStored::TooManyVariants);
            unstored += 1;
        }
    }
    assert!(unstored > 9_900, "{unstored}");
    assert!(
        backend.stored_entries() < 150,
        "{}",
        backend.stored_entries()
    );
    // Those that were first are still there, and another URL has its own.
    assert!(bed.get_with(&[("x-kind", "3")]).await.is_hit());
    let other = || get("/b", &[("x-kind", "3")]);
    bed.send(other()).await;
    assert!(bed.send(other()).await.is_hit());
    // What is over makes room.
    sleep(601).await;
    for is_hit in [false, true] {
        let answer = bed.get_with(&[("x-kind", "9999")]).await;
        assert_eq!(answer.is_hit(), is_hit);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_32_kib_are_stored_and_longer_ones_are_not() {
    for (length, is_stored) in [(30_000, true), (40_000, false)] {
        let bed = Bed::new(memory(), rule(), move |_| async move {
            let long = "x".repeat(length);
            response(
                200,
                &[("cache-control", "max-age=60"), ("x-long", &long)],
                "body",
            )
        });
        let answer = bed.get().await;
        assert_eq!(
            answer.not_stored(),
            (!is_stored).then_some(NotStored::TooLarge)
        );
        sleep(2).await;
        assert_eq!(bed.get().await.is_hit(), is_stored, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn absurd_ages_and_dates_make_nothing_fresh_for_ever() {
    for (headers, is_stored) in [
        (
            &[
                ("cache-control", "max-age=60"),
                ("age", "99999999999999999999"),
            ][..],
            false,
        ),
        (&[("cache-control", "max-age=60"), ("age", "-1")], true),
        (&[("cache-control", "max-age=60"), ("age", "soon")], true),
        (&[("cache-control", "max-age=60"), ("date", "never")], true),
        (
            &[
                ("cache-control", "max-age=60"),
                ("date", "Mon, 01 Jan 1990 00:00:00 GMT"),
            ],
            false,
        ),
        (
            &[
                ("cache-control", "max-age=60"),
                ("date", "Fri, 31 Dec 9999 23:59:59 GMT"),
            ],
            true,
        ),
        (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], true),
        (&[("expires", "0")], false),
        (&[("expires", "-1")], false),
        (&[("expires", "Mon, 01 Jan 1990 00:00:00 GMT")], false),
        (
            &[("cache-control", "max-age=99999999999999999999999")],
            true,
        ),
        (&[("cache-control", "max-age=-1")], false),
        (&[("cache-control", "max-age=1.5")], false),
        (&[("cache-control", "max-age='60'")], false),
        (&[("cache-control", "max-age=")], false),
        (&[("cache-control", "max-age")], false),
        (&[("cache-control", "max-age=60, max-age=1")], true),
        (&[("cache-control", "\u{fffd}")], false),
    ] {
        let bed = Bed::new(memory(), rule(), move |_| async move {
            response(200, headers, "body")
        });
        bed.get().await;
        assert_eq!(bed.get().await.is_hit(), is_stored, "{headers:?}");
        // Nothing lives longer than the layer's limit, a day.
        sleep(25 * 3_600).await;
        assert!(!bed.get().await.is_hit(), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stored_longer_than_the_layer_says() {
    let layer = CacheLayer::new(memory(), rule()).unwrap();
    let layer = layer.with_max_life(Duration::from_secs(600));
    let bed = Bed::behind(layer, counting(&[("cache-control", "max-age=99999999")]));
    bed.get().await;
    sleep(599).await;
    assert!(bed.get().await.is_hit());
    sleep(2).await;
    assert_eq!(bed.get().await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn strange_requests_are_answered() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    let long = "x".repeat(60_000);
    for request in [
        Request::get("/a").body("".into()).unwrap(),
        Request::get("http://example.com").body("".into()).unwrap(),
        Request::get("ftp://example.com/a").body("".into()).unwrap(),
        Request::options("*").body("".into()).unwrap(),
        Request::get("*").body("".into()).unwrap(),
        Request::connect("example.com:443").body("".into()).unwrap(),
        get("/a", &[("host", "")]),
        get("/a", &[("host", "a b")]),
        get("/a", &[("host", "a"), ("host", "b")]),
        get("/a", &[("host", "[::1]:80")]),
        get("/a", &[("x-long", &long)]),
        get(
            "/a",
            &[("range", &format!("bytes={}", "0-0,".repeat(10_000)))],
        ),
        get("/a", &[("if-none-match", &"\"a\",".repeat(10_000))]),
        get("/a", &[("cache-control", &"max-age=1,".repeat(5_000))]),
        get(&format!("/{long}?{}", &long[..5_000]), &[]),
    ] {
        let told = format!("{:.80?}", request.uri());
        assert_eq!(bed.send(request).await.status(), 200, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_in_the_store_is_no_response_and_is_replaced() {
    let whole = |value: &Bytes| value.len();
    let spoilings: [(&str, fn(&Bytes) -> Bytes); 6] = [
        ("empty", |_| Bytes::new()),
        ("foreign", |_| Bytes::from_static(b"{\"json\":true}")),
        ("without its end", |value| {
            value.slice(..value.len().saturating_sub(1).min(30))
        }),
        ("without its beginning", |value| value.slice(1..)),
        ("of another version", |value| {
            let mut value = value.to_vec();
            value[0] ^= 0x80;
            value.into()
        }),
        ("with bits turned", |value| {
            value.iter().map(|byte| !byte).collect()
        }),
    ];
    for (what, spoil) in spoilings {
        for headers in [
            &[("cache-control", "max-age=600")][..],
            &[("cache-control", "max-age=600"), ("vary", "accept")],
        ] {
            let backend = Watched::new(memory());
            let bed = Bed::new(backend.clone(), rule(), counting(headers));
            bed.get().await;
            assert!(bed.get().await.is_hit());
            let keys = backend.keys();
            assert!(keys.len() >= 3, "{keys:?}");
            for key in keys {
                if let Some(found) = backend.get(&key, GetOptions::new()).await.unwrap() {
                    assert!(whole(&found.value) > 0);
                    let spoiled = spoil(&found.value);
                    let options = PutOptions::new(Duration::from_secs(3_600));
                    _ = backend.inner.put(&key, spoiled, options).await.unwrap();
                }
            }
            sleep(10).await;
            let answer = bed.get().await;
            assert_eq!(answer.status(), 200, "{what}");
            assert_ne!(answer.body, "", "{what}");
            sleep(10).await;
            bed.get().await;
            assert!(bed.get().await.is_hit(), "{what} {headers:?}");
        }
    }
}

/// A backend that notes which keys were put.
#[derive(Clone)]
struct Watched {
    inner: MemoryBackend,
    keys: std::sync::Arc<std::sync::Mutex<Vec<Key>>>,
}

impl Watched {
    fn new(inner: MemoryBackend) -> Self {
        Self {
            inner,
            keys: std::sync::Arc::default(),
        }
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = self.keys.lock().unwrap().clone();
        keys.sort_by_key(|key| format!("{key:?}"));
        keys.dedup();
        keys
    }
}

impl KeyValue for Watched {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        self.inner.get(key, options).await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        self.keys.lock().unwrap().push(key.clone());
        self.inner.put(key, value, options).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        self.inner.delete(key, precondition).await
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        self.inner.touch(key, ttl, precondition).await
    }

    fn clock_skew(&self) -> Duration {
        self.inner.clock_skew()
    }

    fn is_remote(&self) -> bool {
        KeyValue::is_remote(&self.inner)
    }
}

impl tower_stash::backend::Broadcast for Watched {
    async fn publish(&self, channel: &Key, message: Bytes) -> Result<()> {
        self.inner.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &Key) -> Result<tower_stash::backend::Subscription> {
        self.inner.subscribe(channel).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_chooses_by_other_parts_does_not_take_what_is_there() {
    let backend = memory();
    let plain = Bed::new(backend.clone(), rule(), counting(FRESH));
    plain.get().await;
    let by_tenant = rule().with_key_part("tenant", tower_stash::policy::header("x-tenant"));
    let changed = Bed::new(backend, by_tenant, |request: Inside| async move {
        let tenant = request.headers()["x-tenant"].to_str().unwrap();
        response(200, FRESH, tenant.to_owned())
    });
    for tenant in ["a", "b"] {
        let answer = changed.get_with(&[("x-tenant", tenant)]).await;
        assert_eq!((answer.is_hit(), &*answer.body), (false, tenant));
    }
}
