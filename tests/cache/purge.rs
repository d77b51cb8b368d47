//! Purges: of whatever kind, and whatever goes on meanwhile.

use std::{
    iter::once,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::response::Response;
use tower_stash::{
    backend::{Broadcast, KeyValue, Op, Signal},
    cache::{
        CacheLayer, CacheRule, Coalescing, Consistency, OutcomeKind, Purge, PurgeError,
        PurgeErrorKind,
    },
    policy::Routes,
    testing::Fault,
};

use crate::{
    fixture::{
        Answer, Bed, Gate, Inside, data, faulty, fed, get, memory, request, response, rule,
        settled, sleep,
    },
    rig::{Rig, When},
};

/// What the handler answers from: it is of one version after another.
#[derive(Clone, Default)]
struct Origin {
    version: Arc<AtomicU64>,
    /// Where it waits when it has read.
    gate: Arc<Mutex<Option<Gate>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Tag,
    Url,
    Group,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Hard,
    Soft,
}

/// What goes on while something is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Fill,
    /// In the background, while what is stale is given.
    Refresh,
    /// The handler says that it still holds.
    Validation,
    /// Another response of the URL is stored.
    Variant,
    /// The first response of a URL that varies.
    FirstVariant,
    /// Under the rule that each fetches for himself.
    Uncoalesced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Handler,
    Backend(u32, When),
}

const WAYS: [Way; 4] = [Way::Tag, Way::Url, Way::Group, Way::All];
const DEPTHS: [Depth; 2] = [Depth::Hard, Depth::Soft];

impl Origin {
    /// The service's own write, after which it purges.
    fn write(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn now(&self) -> String {
        format!("version {}", self.version.load(Ordering::SeqCst))
    }

    fn shut(&self) -> Gate {
        let gate = Gate::shut();
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    async fn answer(self, request: Inside) -> Response {
        let read = self.now();
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if request.method() != "GET" {
            self.write();
            return changed(request.uri().query());
        }
        let etag = format!("\"{}\"", read.replace(' ', "-"));
        let mut headers = vec![
            ("cache-control", "max-age=60"),
            ("cache-tag", "tag"),
            ("cache-groups", "\"group\""),
            ("etag", &*etag),
        ];
        if request.uri().path() == "/vary" {
            headers.push(("vary", "accept-language"));
        }
        let known = request.headers().get("if-none-match");
        if known.is_some_and(|known| known == &*etag) {
            return response(304, &headers, "");
        }
        response(200, &headers, read.clone())
    }
}

/// What a request that changes something is answered: the header is in the query.
fn changed(query: Option<&str>) -> Response {
    let query = query.unwrap_or_default().replace('\'', "\"");
    response(200, &Vec::from_iter(query.split_once('=')), "")
}

fn instance(
    backend: impl KeyValue + Broadcast + Clone,
    rule: CacheRule,
    origin: &Origin,
    settle: impl FnOnce(CacheLayer) -> CacheLayer,
) -> Bed {
    let origin = origin.clone();
    let layer = settle(CacheLayer::new(backend, rule).unwrap());
    Bed::behind(layer, move |request| origin.clone().answer(request))
}

fn instances(backend: &(impl KeyValue + Broadcast + Clone), origin: &Origin) -> [Bed; 2] {
    [(); 2].map(|()| instance(backend.clone(), rule(), origin, |layer| layer))
}

async fn purge_as(purge: &Purge, way: Way, depth: Depth, path: &str) -> Result<(), PurgeError> {
    let purge = match depth {
        Depth::Hard => purge.clone(),
        Depth::Soft => purge.soft(),
    };
    match way {
        Way::Tag => purge.tag("tag").await,
        Way::Url => purge.url(format!("http://example.com{path}")).await,
        Way::Group => purge.group("http://example.com", "group").await,
        Way::All => purge.all().await,
    }
}

/// Nothing that was fetched before the last write is given as if it were fresh; and soon what is new
/// is stored.
async fn expect_new(
    bed: &Bed,
    path: &str,
    headers: &[(&str, &str)],
    depth: Depth,
    origin: &Origin,
) {
    let mut last = None;
    for _ in 0..3 {
        let answer = bed.send(get(path, headers)).await;
        let is_old = answer.body != origin.now();
        let is_stale = is_stale(&answer);
        assert!(!is_old || (depth == Depth::Soft && is_stale), "{answer:?}");
        last = Some(answer);
    }
    let last = last.unwrap();
    assert!(last.is_hit() && last.body == origin.now(), "{last:?}");
}

/// Whether it says of itself that it is.
fn is_stale(answer: &Answer) -> bool {
    answer.cache_status().contains("ttl=-")
}

async fn expect_old(bed: &Bed, origin: &Origin) {
    let answer = bed.get().await;
    assert!(answer.is_hit() && answer.body != origin.now(), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_purge_reaches_all_instances() {
    for way in WAYS {
        for depth in DEPTHS {
            let origin = Origin::default();
            let [one, other] = instances(&Rig::new(), &origin);
            one.get().await;
            assert!(other.get().await.is_hit());
            origin.write();
            expect_old(&one, &origin).await;
            purge_as(&one.layer.purge(), way, depth, "/a")
                .await
                .unwrap();
            settled().await;
            expect_new(&other, "/a", &[], depth, &origin).await;
            expect_new(&one, "/a", &[], depth, &origin).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_something_else_leaves_what_is_stored() {
    let origin = Origin::default();
    let [one, other] = instances(&Rig::new(), &origin);
    one.get().await;
    origin.write();
    let purge = one.layer.purge();
    purge.tag("Tag").await.unwrap();
    purge.tags(["group", "", "\"group\""]).await.unwrap();
    purge.url("https://example.com/a").await.unwrap();
    purge.url("http://example.com/a?b").await.unwrap();
    purge.group("https://example.com", "group").await.unwrap();
    purge.group("http://example.com", "tag").await.unwrap();
    settled().await;
    expect_old(&one, &origin).await;
    expect_old(&other, &origin).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_softly_is_given_for_a_minute_at_most() {
    for way in WAYS {
        let origin = Origin::default();
        let [one, other] = instances(&Rig::new(), &origin);
        for bed in [&one, &other] {
            bed.get().await;
            purge_as(&one.layer.purge(), way, Depth::Soft, "/a")
                .await
                .unwrap();
            sleep(50).await;
            assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Stale), "{way:?}");
            assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Hit), "{way:?}");
            purge_as(&one.layer.purge(), way, Depth::Soft, "/a")
                .await
                .unwrap();
            sleep(70).await;
            let answer = bed.get().await;
            assert_eq!(answer.kind(), Some(OutcomeKind::Revalidated), "{way:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_brings_nothing_back_that_was_purged() {
    for way in WAYS {
        let origin = Origin::default();
        let [one, other] = instances(&Rig::new(), &origin);
        one.get().await;
        origin.write();
        for depth in [Depth::Hard, Depth::Soft, Depth::Soft] {
            purge_as(&other.layer.purge(), way, depth, "/a")
                .await
                .unwrap();
        }
        settled().await;
        for bed in [&one, &other] {
            assert_eq!(bed.get().await.body, origin.now(), "{way:?}");
        }
    }
}

/// Purges while something goes on that is held there; by this instance or another.
async fn purge_during(run: Run, hold: Hold, way: Way, depth: Depth, is_own: bool) {
    let origin = Origin::default();
    let rig = Rig::new();
    let rule = match run {
        Run::Refresh => rule().with_stale_while_revalidate(Duration::from_secs(100)),
        _ => rule(),
    };
    let [one, other] = [(); 2].map(|()| {
        instance(rig.clone(), rule.clone(), &origin, |layer| match run {
            Run::Uncoalesced => layer.with_coalescing(Coalescing::Off),
            _ => layer,
        })
    });
    // Both know of purges what there is to know, and listen.
    for bed in [&one, &other] {
        bed.send(get("/other", &[])).await;
    }
    let (path, english, german) = match run {
        Run::Variant | Run::FirstVariant => (
            "/vary",
            ("accept-language", "en"),
            ("accept-language", "de"),
        ),
        _ => ("/a", ("x-no", "1"), ("x-no", "1")),
    };
    match run {
        Run::Refresh | Run::Validation => {
            one.send(get(path, &[])).await;
            sleep(61).await;
        }
        Run::Variant => {
            one.send(get(path, &[german])).await;
        }
        Run::Fill | Run::FirstVariant | Run::Uncoalesced => {}
    }
    let gate = match hold {
        Hold::Handler => origin.shut(),
        Hold::Backend(calls, when) => rig.hold(calls, when),
    };
    let sent = one.sending(get(path, &[english])).await;
    rig.hold_no_more();
    origin.write();
    let purger = if is_own { &one } else { &other };
    purge_as(&purger.layer.purge(), way, depth, path)
        .await
        .unwrap();
    settled().await;
    let late = one.sending(get(path, &[english])).await;
    gate.stay_open();
    sent.await.unwrap();
    let late = late.await.unwrap();
    let is_allowed = late.body == origin.now() || (depth == Depth::Soft && is_stale(&late));
    assert!(is_allowed, "{late:?}");
    settled().await;
    for bed in [&one, &other] {
        expect_new(bed, path, &[english], depth, &origin).await;
        expect_new(bed, path, &[german], depth, &origin).await;
    }
}

async fn purge_during_each_step(run: Run) {
    let calls = (0..8).flat_map(|calls| [When::Before, When::After].map(|when| (calls, when)));
    let holds = calls.map(|(calls, when)| Hold::Backend(calls, when));
    for hold in once(Hold::Handler).chain(holds) {
        for way in WAYS {
            for depth in DEPTHS {
                for is_own in [true, false] {
                    println!("{run:?} {hold:?} {way:?} {depth:?} own: {is_own}");
                    purge_during(run, hold, way, depth, is_own).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_during_any_step_of_a_fill_is_not_used_after() {
    purge_during_each_step(Run::Fill).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_during_any_step_of_a_refresh_is_not_used_after() {
    purge_during_each_step(Run::Refresh).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_during_any_step_of_a_validation_is_not_used_after() {
    purge_during_each_step(Run::Validation).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_during_any_step_of_a_variant_s_fill_is_not_used_after() {
    purge_during_each_step(Run::Variant).await;
    purge_during_each_step(Run::FirstVariant).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_during_any_step_of_a_fill_of_one_s_own_is_not_used_after() {
    purge_during_each_step(Run::Uncoalesced).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_while_its_body_comes_is_not_used_after() {
    for way in WAYS {
        for depth in DEPTHS {
            let (feed, body) = fed();
            let body = Arc::new(Mutex::new(Some(body)));
            let bed = Bed::new(Rig::new(), rule(), move |_| {
                let headers = [
                    ("cache-control", "max-age=60"),
                    ("cache-tag", "tag"),
                    ("cache-groups", "\"group\""),
                ];
                let body = body.lock().unwrap().take();
                std::future::ready(match body {
                    Some(body) => response(200, &headers, body),
                    None => response(200, &headers, "new"),
                })
            });
            let sent = bed.sending(get("/a", &[])).await;
            feed.send(data("o")).unwrap();
            settled().await;
            purge_as(&bed.layer.purge(), way, depth, "/a")
                .await
                .unwrap();
            feed.send(data("ld")).unwrap();
            drop(feed);
            assert_eq!(sent.await.unwrap().body, "old");
            settled().await;
            let answer = bed.get().await;
            let is_stale = depth == Depth::Soft && answer.kind() == Some(OutcomeKind::Stale);
            assert!(
                answer.body == "new" || is_stale,
                "{way:?} {depth:?} {answer:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn followers_of_a_fetch_that_was_purged_are_answered_by_one_other() {
    for way in WAYS {
        let origin = Origin::default();
        let [one, _] = instances(&Rig::new(), &origin);
        let gate = origin.shut();
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(one.sending(get("/a", &[])).await);
        }
        origin.write();
        purge_as(&one.layer.purge(), way, Depth::Hard, "/a")
            .await
            .unwrap();
        gate.stay_open();
        let first = waiting.remove(0).await.unwrap();
        assert_eq!(first.body, "version 0");
        for answer in waiting {
            assert_eq!(answer.await.unwrap().body, "version 1", "{way:?}");
        }
        assert_eq!(one.calls(), 2, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_purge_of_a_url_does_not_wait_for_what_was_begun_before() {
    let origin = Origin::default();
    let [one, other] = instances(&Rig::new(), &origin);
    other.send(get("/other", &[])).await;
    for (bed, path) in [(&one, "/a"), (&other, "/b")] {
        let gate = origin.shut();
        let first = one.sending(get(path, &[])).await;
        origin.write();
        purge_as(&bed.layer.purge(), Way::Url, Depth::Hard, path)
            .await
            .unwrap();
        settled().await;
        assert_eq!(one.send(get(path, &[])).await.body, origin.now());
        gate.open();
        assert_ne!(first.await.unwrap().body, origin.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_a_url_is_of_all_its_variants() {
    for depth in DEPTHS {
        let origin = Origin::default();
        let [one, other] = instances(&Rig::new(), &origin);
        let languages = ["en", "de", "fr"].map(|language| [("accept-language", language)]);
        for language in &languages {
            one.send(get("/vary", language)).await;
            assert!(other.send(get("/vary", language)).await.is_hit());
        }
        origin.write();
        purge_as(&one.layer.purge(), Way::Url, depth, "/vary")
            .await
            .unwrap();
        settled().await;
        for language in &languages {
            expect_new(&one, "/vary", language, depth, &origin).await;
            expect_new(&other, "/vary", language, depth, &origin).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_variant_that_is_purged_softly_is_given_while_it_is_fetched() {
    let origin = Origin::default();
    let [one, other] = instances(&Rig::new(), &origin);
    let english = [("accept-language", "en")];
    one.send(get("/vary", &english)).await;
    other.send(get("/vary", &english)).await;
    origin.write();
    purge_as(&one.layer.purge(), Way::Url, Depth::Soft, "/vary")
        .await
        .unwrap();
    settled().await;
    for bed in [&one, &other] {
        let answer = bed.send(get("/vary", &english)).await;
        let is_new = answer.body == origin.now();
        assert_eq!(
            answer.kind() == Some(OutcomeKind::Stale),
            !is_new,
            "{answer:?}"
        );
    }
    assert_eq!(one.calls() + other.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_an_unsafe_request_changes_is_purged_everywhere() {
    for (path, said) in [
        ("/a", ""),
        ("/b", "location=/a"),
        ("/b", "location=http://example.com/a"),
        ("/b", "content-location=/a"),
        ("/b", "cache-group-invalidation='group'"),
    ] {
        for method in ["POST", "DELETE", "STRANGE"] {
            let origin = Origin::default();
            let [one, other] = instances(&Rig::new(), &origin);
            one.get().await;
            other.get().await;
            let answer = one
                .send(request(method, &format!("{path}?{said}"), &[]))
                .await;
            assert_eq!(answer.kind(), Some(OutcomeKind::Invalidated));
            if path == "/a" {
                // The query makes another URL of it.
                expect_old(&one, &origin).await;
                one.send(request(method, "/a", &[])).await;
            }
            expect_new(&one, "/a", &[], Depth::Hard, &origin).await;
            expect_new(&other, "/a", &[], Depth::Hard, &origin).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_whose_message_is_lost_is_known_after_two_seconds() {
    for way in WAYS {
        for depth in DEPTHS {
            for path in ["/a", "/vary"] {
                let origin = Origin::default();
                let rig = Rig::new();
                rig.fall_silent();
                let [one, other] = instances(&rig, &origin);
                one.send(get(path, &[])).await;
                other.send(get(path, &[])).await;
                origin.write();
                purge_as(&one.layer.purge(), way, depth, path)
                    .await
                    .unwrap();
                sleep(2).await;
                expect_new(&other, path, &[], depth, &origin).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn under_strict_a_purge_whose_message_is_lost_is_known_at_once() {
    for way in WAYS {
        for depth in DEPTHS {
            for path in ["/a", "/vary"] {
                let origin = Origin::default();
                let rig = Rig::new();
                rig.fall_silent();
                let [one, other] = [(); 2].map(|()| {
                    instance(rig.clone(), rule(), &origin, |layer| {
                        layer.with_consistency(Consistency::Strict)
                    })
                });
                one.send(get(path, &[])).await;
                assert!(other.send(get(path, &[])).await.is_hit());
                origin.write();
                purge_as(&one.layer.purge(), way, depth, path)
                    .await
                    .unwrap();
                expect_new(&other, path, &[], depth, &origin).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn under_strict_a_follower_is_given_nothing_that_another_instance_purged() {
    for way in WAYS {
        let origin = Origin::default();
        let rig = Rig::new();
        rig.fall_silent();
        let [one, other] = [(); 2].map(|()| {
            instance(rig.clone(), rule(), &origin, |layer| {
                layer.with_consistency(Consistency::Strict)
            })
        });
        let gate = origin.shut();
        let first = one.sending(get("/a", &[])).await;
        origin.write();
        purge_as(&other.layer.purge(), way, Depth::Hard, "/a")
            .await
            .unwrap();
        let follower = one.sending(get("/a", &[])).await;
        gate.stay_open();
        assert_eq!(first.await.unwrap().body, "version 0");
        assert_eq!(follower.await.unwrap().body, "version 1", "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_among_more_than_the_journal_keeps_is_not_missed() {
    for depth in DEPTHS {
        let origin = Origin::default();
        let rig = Rig::new();
        rig.fall_silent();
        let [one, other] = instances(&rig, &origin);
        one.get().await;
        other.get().await;
        origin.write();
        purge_as(&one.layer.purge(), Way::Tag, depth, "/a")
            .await
            .unwrap();
        for number in 0..100 {
            one.layer
                .purge()
                .tag(format!("other {number}"))
                .await
                .unwrap();
        }
        let many: Vec<_> = (0..200).map(|number| format!("many {number}")).collect();
        one.layer.purge().tags(&many).await.unwrap();
        sleep(2).await;
        expect_new(&other, "/a", &[], depth, &origin).await;
        let origin_of_new = instance(rig.clone(), rule(), &origin, |layer| layer);
        assert!(origin_of_new.get().await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_evicted_takes_no_purge_with_it() {
    for (is_silent, depth) in [true, false].into_iter().zip(DEPTHS) {
        let origin = Origin::default();
        let rig = Rig::new();
        if is_silent {
            rig.fall_silent();
        }
        let [one, other] = instances(&rig, &origin);
        one.get().await;
        other.get().await;
        origin.write();
        purge_as(&one.layer.purge(), Way::Tag, depth, "/a")
            .await
            .unwrap();
        assert_eq!(rig.evict("j1").await, 1);
        sleep(2).await;
        expect_new(&other, "/a", &[], depth, &origin).await;
        let third = instance(rig.clone(), rule(), &origin, |layer| layer);
        expect_new(&third, "/a", &[], depth, &origin).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stamp_that_is_evicted_is_in_the_journal_and_in_who_knew_it() {
    let origin = Origin::default();
    let rig = Rig::new();
    let [one, other] = instances(&rig, &origin);
    one.get().await;
    other.get().await;
    origin.write();
    one.layer.purge().tag("tag").await.unwrap();
    settled().await;
    assert!(rig.evict("t1").await > 0);
    expect_new(&other, "/a", &[], Depth::Hard, &origin).await;
    expect_new(&one, "/a", &[], Depth::Hard, &origin).await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_the_backend_does_not_take_is_an_error() {
    for way in WAYS {
        for depth in DEPTHS {
            let origin = Origin::default();
            let backend = faulty();
            let [one, _] = instances(&backend, &origin);
            one.get().await;
            backend.go_down();
            let error = purge_as(&one.layer.purge(), way, depth, "/a")
                .await
                .unwrap_err();
            assert_eq!(error.kind(), PurgeErrorKind::Unavailable);
            assert!(std::error::Error::source(&error).is_some());
            backend.come_up();
            purge_as(&one.layer.purge(), way, depth, "/a")
                .await
                .unwrap();
            origin.write();
            purge_as(&one.layer.purge(), way, depth, "/a")
                .await
                .unwrap();
            sleep(2).await;
            expect_new(&one, "/a", &[], depth, &origin).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_which_nobody_knows_is_looked_for_at_each_use() {
    for calls in 0..3 {
        let origin = Origin::default();
        let rig = Rig::new();
        let [one, _] = instances(&rig, &origin);
        one.get().await;
        origin.write();
        // Its stamp is written, and the purge given up wherever it was.
        let gate = rig.hold(calls, When::After);
        let purge = one.layer.purge();
        let purging = tokio::spawn(async move { purge.tag("tag").await });
        settled().await;
        purging.abort();
        rig.hold_no_more();
        gate.stay_open();
        settled().await;
        let stamps = rig.lives("t1").await.len();
        let answer = one.get().await;
        assert_eq!(
            answer.body == origin.now(),
            stamps == 1,
            "{calls} {answer:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_succeeds_ends_the_doubt_of_one_that_failed() {
    let origin = Origin::default();
    let backend = faulty();
    let [one, _] = instances(&backend, &origin);
    one.get().await;
    let reads = |backend: &tower_stash::testing::FaultBackend<_>| backend.calls(Op::Get);
    backend.go_down();
    one.layer.purge().tag("tag").await.unwrap_err();
    backend.come_up();
    sleep(1).await;
    one.get().await;
    let before = reads(&backend);
    one.get().await;
    assert_eq!(
        reads(&backend),
        before + 2,
        "the response, and the stamp in doubt"
    );
    one.layer.purge().soft().tag("tag").await.unwrap();
    one.get().await;
    one.layer.purge().tag("tag").await.unwrap();
    one.get().await;
    let before = reads(&backend);
    assert!(one.get().await.is_hit());
    assert_eq!(reads(&backend), before + 1);
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_in_an_outage_holds_here_and_later_everywhere() {
    for said in ["", "cache-group-invalidation='group'"] {
        let origin = Origin::default();
        let backend = faulty();
        let [one, other] = instances(&backend, &origin);
        one.get().await;
        other.get().await;
        backend.go_down();
        let path = if said.is_empty() {
            "/a".to_owned()
        } else {
            format!("/b?{said}")
        };
        let answer = one.send(request("POST", &path, &[])).await;
        assert_eq!(answer.status(), 200);
        backend.come_up();
        // Before anything was tried again.
        assert_eq!(one.get().await.body, origin.now(), "{said}");
        sleep(3).await;
        expect_new(&one, "/a", &[], Depth::Hard, &origin).await;
        expect_new(&other, "/a", &[], Depth::Hard, &origin).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_holds_also_if_its_client_goes_away() {
    let origin = Origin::default();
    let rig = Rig::new();
    let [one, other] = instances(&rig, &origin);
    one.get().await;
    other.get().await;
    let gate = rig.hold(0, When::Before);
    let sent = one.sending(request("POST", "/a", &[])).await;
    sent.abort();
    gate.stay_open();
    settled().await;
    expect_new(&other, "/a", &[], Depth::Hard, &origin).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_does_not_hold_up_an_unsafe_request_for_ever() {
    let origin = Origin::default();
    let backend = faulty();
    let [one, _] = instances(&backend, &origin);
    one.get().await;
    backend.script([Fault::Hang]);
    let began = tokio::time::Instant::now();
    let answer = one.send(request("POST", "/a", &[])).await;
    assert_eq!(answer.kind(), Some(OutcomeKind::Invalidated));
    assert!(began.elapsed() <= Duration::from_secs(1));
    assert_eq!(one.get().await.body, origin.now());
}

#[tokio::test(start_paused = true)]
async fn purges_that_a_failover_has_lost_are_done_again() {
    for way in WAYS {
        for depth in DEPTHS {
            let origin = Origin::default();
            let rig = Rig::new();
            let [one, other] = instances(&rig, &origin);
            one.get().await;
            other.get().await;
            origin.write();
            purge_as(&one.layer.purge(), way, depth, "/a")
                .await
                .unwrap();
            settled().await;
            // Another instance, which knows nothing, and finds none of it.
            rig.evict("t1").await;
            rig.evict("j1").await;
            if way == Way::Url {
                rig.evict("p1").await;
            }
            sleep(1).await;
            rig.signal(&Signal::Reconnected);
            settled().await;
            let third = instance(rig.clone(), rule(), &origin, |layer| layer);
            expect_new(&third, "/a", &[], depth, &origin).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_have_missed_messages_asks_at_once() {
    for signal in [Signal::Lagged(1), Signal::Reconnected] {
        let origin = Origin::default();
        let rig = Rig::new();
        rig.fall_silent();
        let [one, other] = instances(&rig, &origin);
        one.get().await;
        other.get().await;
        origin.write();
        one.layer.purge().tag("tag").await.unwrap();
        expect_old(&other, &origin).await;
        rig.signal(&signal);
        settled().await;
        expect_new(&other, "/a", &[], Depth::Hard, &origin).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_listens_once_and_again_when_it_is_cut_off_and_no_longer_than_it_lives() {
    let origin = Origin::default();
    let rig = Rig::new();
    let [one, other] = instances(&rig, &origin);
    for _ in 0..3 {
        one.get().await;
        other.get().await;
    }
    assert_eq!(rig.listeners(), 2);
    rig.hang_up();
    sleep(1).await;
    assert_eq!(rig.listeners(), 2);
    rig.signal(&Signal::Message("nonsense".into()));
    rig.signal(&Signal::Message(vec![b'j'; 40].into()));
    settled().await;
    origin.write();
    other.layer.purge().tag("tag").await.unwrap();
    settled().await;
    expect_new(&one, "/a", &[], Depth::Hard, &origin).await;
    drop((one, other));
    settled().await;
    assert_eq!(rig.listeners(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_purge_takes_three_calls_and_that_of_a_url_two() {
    let origin = Origin::default();
    let backend = faulty();
    let [one, _] = instances(&backend, &origin);
    one.get().await;
    let purge = one.layer.purge();
    let mut before = backend.total_calls();
    let mut calls = || {
        let now = backend.total_calls();
        std::mem::replace(&mut before, now).abs_diff(now)
    };
    purge.tag("tag").await.unwrap();
    assert_eq!(calls(), 3);
    purge.tag("tag").await.unwrap();
    assert_eq!(calls(), 3);
    purge.tags(["a", "b", "c"]).await.unwrap();
    assert_eq!(calls(), 5);
    purge.url("http://example.com/a").await.unwrap();
    assert_eq!(calls(), 2);
    purge.tag("").await.unwrap();
    assert_eq!(calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_purges_at_once_of_one_tag_by_many_instances_all_succeed() {
    let origin = Origin::default();
    let rig = Rig::new();
    let beds: Vec<_> = (0..20)
        .map(|_| instance(rig.clone(), rule(), &origin, |layer| layer))
        .collect();
    let purges = beds.iter().flat_map(|bed| {
        (0..10).map(move |_| {
            let purge = bed.layer.purge();
            tokio::spawn(async move { purge.tag("tag").await })
        })
    });
    for purge in purges.collect::<Vec<_>>() {
        purge.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn stamps_are_kept_for_longer_than_any_instance_stores() {
    let origin = Origin::default();
    let rig = Rig::new();
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let short = instance(rig.clone(), rule(), &origin, |layer| {
        layer.with_max_life(hours(1))
    });
    let long = instance(rig.clone(), rule(), &origin, |layer| {
        layer.with_max_life(hours(100))
    });
    short.get().await;
    short.layer.purge().tag("early").await.unwrap();
    assert!(rig.lives("t1").await.iter().all(|life| *life <= hours(3)));
    long.get().await;
    short.layer.purge().tag("tag").await.unwrap();
    let mut lives = rig.lives("t1").await;
    lives.sort();
    assert!(*lives.last().unwrap() > hours(101), "{lives:?}");
    assert!(rig.lives("j1").await[0] > hours(101));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_read_does_not_end() {
    let origin = Origin::default();
    let rig = Rig::new();
    let [one, _] = instances(&rig, &origin);
    let day = 24 * 3_600;
    for _ in 0..4 {
        one.get().await;
        sleep(day * 3 / 4).await;
    }
    assert_eq!(rig.lives("j1").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_absolute_urls_that_a_rule_is_for_can_be_purged() {
    let listed = rule().with_hosts(["example.com"]);
    let policy = Routes::new().get("/a", listed);
    let layer = CacheLayer::new(memory(), policy).unwrap();
    let purge = layer.purge();
    purge.url("http://example.com/a?query").await.unwrap();
    purge.url("HTTP://EXAMPLE.COM:80/a").await.unwrap();
    for url in [
        "/a",
        "example.com/a",
        "ftp://example.com/a",
        "",
        "http://",
        "no url",
    ] {
        let error = purge.url(url).await.unwrap_err();
        assert_eq!(error.kind(), PurgeErrorKind::NotAbsolute, "{url}");
        let error = purge.group(url, "group").await.unwrap_err();
        assert_eq!(error.kind(), PurgeErrorKind::NotAbsolute, "{url}");
    }
    for url in ["http://example.com/b", "http://example.org/a"] {
        let error = purge.url(url).await.unwrap_err();
        assert_eq!(error.kind(), PurgeErrorKind::NoRule, "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_purged_request_is_still_whole() {
    let origin = Origin::default();
    let [one, _] = instances(&Rig::new(), &origin);
    let gate = origin.shut();
    let sent = one.sending(get("/a", &[])).await;
    one.layer.purge().all().await.unwrap();
    gate.open();
    let answer: Answer = sent.await.unwrap();
    assert_eq!((answer.status(), &*answer.body), (200, "version 0"));
    assert!(!answer.is_broken);
}
