//! Values of the program's.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tower_stash::{
    backend::{BackendErrorKind, Broadcast, KeyValue, MemoryBackend, Op, Timeout},
    cache::{CacheLayer, CacheRule, Coalescing, Keep, PurgeErrorKind, Values},
    testing::{Fault, FaultBackend},
};

use crate::fixture::{Gate, faulty, memory, settled, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// An instance of a program that has no service.
fn instance(backend: impl KeyValue + Broadcast + Clone) -> CacheLayer {
    CacheLayer::new(backend, CacheRule::new("pages").unwrap()).unwrap()
}

fn texts(layer: &CacheLayer) -> Values<String> {
    layer.values("text", 1).unwrap()
}

/// Fetches `text 1`, `text 2` and so on.
#[derive(Clone, Default)]
struct Source {
    calls: Arc<AtomicUsize>,
}

impl Source {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn fetch(self) -> Result<String, Infallible> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(format!("text {call}"))
    }

    async fn fetch_through(self, gate: Gate) -> Result<String, Infallible> {
        let text = self.clone().fetch().await;
        gate.pass().await;
        text
    }

    /// The value of 7 among these.
    async fn cached(&self, values: &Values<String>, keep: impl Into<Keep>) -> String {
        let source = self.clone();
        let got = values.get_or_insert_with(7, keep, move || source.fetch());
        let got = got.await.unwrap();
        settled().await;
        got
    }

    /// The same in a task, fetched once the gate is open.
    async fn caching(&self, values: &Values<String>, gate: &Gate) -> JoinHandle<String> {
        let (source, values, gate) = (self.clone(), values.clone(), gate.clone());
        let caching = tokio::spawn(async move {
            let fetch = move || source.fetch_through(gate);
            values.get_or_insert_with(7, MINUTE, fetch).await.unwrap()
        });
        settled().await;
        caching
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_fetched_once_and_then_read_on_all_instances() {
    let backend = memory();
    let [one, other] = [(); 2].map(|()| texts(&instance(backend.clone())));
    let source = Source::default();
    assert_eq!(source.cached(&one, MINUTE).await, "text 1");
    assert_eq!(source.cached(&one, MINUTE).await, "text 1");
    assert_eq!(source.cached(&other, MINUTE).await, "text 1");
    assert_eq!(other.get(7).await.as_deref(), Some("text 1"));
    assert_eq!(other.get(8).await, None);
    assert_eq!(source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_fresh_any_more_is_fetched_again() {
    let values = texts(&instance(memory()));
    let source = Source::default();
    source.cached(&values, MINUTE).await;
    sleep(60).await;
    assert_eq!(values.get(7).await, None);
    assert_eq!(source.cached(&values, MINUTE).await, "text 2");
    assert_eq!(source.cached(&values, MINUTE).await, "text 2");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_callers_on_two_instances_fetch_once() {
    let backend = memory();
    let instances = [(); 2].map(|()| texts(&instance(backend.clone())));
    let source = Source::default();
    let callers: Vec<_> = (0..200)
        .map(|caller| {
            let (values, source) = (instances[caller % 2].clone(), source.clone());
            tokio::spawn(async move {
                let fetch = move || async move {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    source.fetch().await
                };
                values.get_or_insert_with(7, MINUTE, fetch).await.unwrap()
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "text 1");
    }
    assert_eq!(source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_coalescing_everybody_fetches() {
    let layer = instance(memory()).with_coalescing(Coalescing::Off);
    let (values, gate, source) = (texts(&layer), Gate::shut(), Source::default());
    let callers = [
        source.caching(&values, &gate).await,
        source.caching(&values, &gate).await,
    ];
    assert_eq!(source.calls(), 2);
    gate.stay_open();
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_the_callers_and_is_not_stored() {
    let values = texts(&instance(memory()));
    let failed = values.get_or_insert_with(7, MINUTE, || async { Err::<String, _>("no database") });
    assert_eq!(failed.await, Err("no database"));
    settled().await;
    assert_eq!(values.get(7).await, None);
    let source = Source::default();
    assert_eq!(source.cached(&values, MINUTE).await, "text 1");
    // For a second nobody waits for what failed, nor stores it; then all is as it was.
    sleep(1).await;
    source.cached(&values, MINUTE).await;
    assert_eq!(source.cached(&values, MINUTE).await, "text 2");
}

#[tokio::test(start_paused = true)]
async fn after_an_error_those_who_waited_fetch_side_by_side() {
    let values = texts(&instance(memory()));
    let gate = Gate::shut();
    let leader = {
        let (values, gate) = (values.clone(), gate.clone());
        tokio::spawn(async move {
            let fetch = || async move {
                gate.pass().await;
                Err::<String, _>(())
            };
            values.get_or_insert_with(7, MINUTE, fetch).await
        })
    };
    settled().await;
    let (source, slow) = (Source::default(), Gate::shut());
    let followers = [
        source.caching(&values, &slow).await,
        source.caching(&values, &slow).await,
    ];
    assert_eq!(source.calls(), 0);
    gate.open();
    settled().await;
    assert_eq!(source.calls(), 2);
    slow.stay_open();
    assert_eq!(leader.await.unwrap(), Err(()));
    for follower in followers {
        follower.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_nothing_is_remembered() {
    let values = instance(memory())
        .values::<Option<u64>>("number", 1)
        .unwrap();
    for _ in 0..2 {
        let got = values.get_or_insert_with(7, MINUTE, || async { Ok::<_, ()>(None) });
        assert_eq!(got.await, Ok(None));
        settled().await;
    }
    assert_eq!(values.get(7).await, Some(None));
}

#[tokio::test(start_paused = true)]
async fn names_versions_and_identifiers_tell_values_apart() {
    let layer = instance(memory());
    texts(&layer).set(7, &"a".to_owned(), MINUTE).await.unwrap();
    let other_name = layer.values::<String>("title", 1).unwrap();
    let other_version = layer.values::<String>("text", 2).unwrap();
    assert_eq!(other_name.get(7).await, None);
    assert_eq!(other_version.get(7).await, None);
    assert_eq!(texts(&layer).get("7").await, None);
    assert_eq!(texts(&layer).get(7_u16).await.as_deref(), Some("a"));
    assert!(layer.values::<String>("not a name", 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_such_value_is_not_there_and_is_replaced() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Text {
        text: String,
    }
    let layer = instance(memory());
    texts(&layer).set(7, &"a".to_owned(), MINUTE).await.unwrap();
    let values = layer.values::<Text>("text", 1).unwrap();
    assert_eq!(values.get(7).await, None);
    let fetch = || async { Ok::<_, ()>(Text { text: "b".into() }) };
    values.get_or_insert_with(7, MINUTE, fetch).await.unwrap();
    settled().await;
    assert_eq!(values.get(7).await.unwrap().text, "b");
}

#[tokio::test(start_paused = true)]
async fn what_is_set_is_there_at_once_and_not_overwritten_by_what_was_read_before() {
    let backend = memory();
    let [one, other] = [(); 2].map(|()| texts(&instance(backend.clone())));
    for (fetching, setting) in [(&one, &one), (&one, &other)] {
        one.remove(7).await.unwrap();
        let (gate, source) = (Gate::shut(), Source::default());
        let caller = source.caching(fetching, &gate).await;
        let new = "new".to_owned();
        setting.set(7, &new, MINUTE).await.unwrap();
        assert_eq!(setting.get(7).await.as_ref(), Some(&new));
        gate.open();
        assert_eq!(caller.await.unwrap(), "text 1");
        settled().await;
        assert_eq!(one.get(7).await.as_ref(), Some(&new));
        assert_eq!(other.get(7).await.as_ref(), Some(&new));
        assert_eq!(source.cached(&one, MINUTE).await, "new");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_set_replaces_what_is_there() {
    let values = texts(&instance(memory()));
    for text in ["a", "b", "c"] {
        let text = text.to_owned();
        values.set(7, &text, MINUTE).await.unwrap();
        assert_eq!(values.get(7).await, Some(text));
    }
}

#[tokio::test(start_paused = true)]
async fn who_began_to_set_last_wins_however_slow_the_first_one_is() {
    let backend = memory();
    let slow = faulty_over(&backend);
    let [one, other] = [texts(&instance(slow.clone())), texts(&instance(backend))];
    // It learns what was purged.
    one.get(7).await;
    let late = Fault::Delay(Duration::from_millis(50));
    slow.script([Fault::None, Fault::None, late]);
    let setting = {
        let one = one.clone();
        tokio::spawn(async move { one.set(7, &"first".to_owned(), MINUTE).await })
    };
    settled().await;
    other.set(7, &"last".to_owned(), MINUTE).await.unwrap();
    setting.await.unwrap().unwrap();
    assert_ne!(other.get(7).await.as_deref(), Some("first"));
    assert_ne!(one.get(7).await.as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_is_not_brought_back_by_what_was_read_before() {
    let backend = memory();
    let [one, other] = [(); 2].map(|()| texts(&instance(backend.clone())));
    for (fetching, removing) in [(&one, &one), (&one, &other)] {
        let (gate, source) = (Gate::shut(), Source::default());
        let caller = source.caching(fetching, &gate).await;
        removing.remove(7).await.unwrap();
        gate.open();
        caller.await.unwrap();
        settled().await;
        assert_eq!(one.get(7).await, None);
        assert_eq!(other.get(7).await, None);
        assert_eq!(source.cached(&one, MINUTE).await, "text 2");
        one.remove(7).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_a_tag_reaches_values_and_what_is_being_fetched() {
    let backend = memory();
    let [one, other] = [(); 2].map(|()| instance(backend.clone()));
    let tagged = || Keep::new(MINUTE).with_tags(["users"]);
    let source = Source::default();
    source.cached(&texts(&one), tagged()).await;
    other.purge().tag("users").await.unwrap();
    settled().await;
    assert_eq!(texts(&one).get(7).await, None);
    let new = "new".to_owned();
    texts(&one).set(7, &new, tagged()).await.unwrap();
    assert_eq!(texts(&one).get(7).await, Some(new));
    one.purge().all().await.unwrap();
    settled().await;
    assert_eq!(texts(&other).get(7).await, None);

    let gate = Gate::shut();
    let (values, passing) = (texts(&one), gate.clone());
    let caller = tokio::spawn(async move {
        let fetch = move || source.fetch_through(passing);
        values.get_or_insert_with(7, tagged(), fetch).await.unwrap()
    });
    settled().await;
    other.purge().tag("users").await.unwrap();
    settled().await;
    gate.open();
    assert_eq!(caller.await.unwrap(), "text 2");
    settled().await;
    assert_eq!(texts(&one).get(7).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_given_while_one_caller_fetches_a_new_one() {
    let values = texts(&instance(memory()));
    let keep = || Keep::new(MINUTE).with_stale_while_revalidate(MINUTE);
    let source = Source::default();
    source.cached(&values, keep()).await;
    sleep(61).await;
    assert_eq!(values.get(7).await.as_deref(), Some("text 1"));
    assert_eq!(source.cached(&values, keep()).await, "text 1");
    assert_eq!(source.cached(&values, keep()).await, "text 2");
    assert_eq!(source.calls(), 2);
    sleep(121).await;
    assert_eq!(source.cached(&values, keep()).await, "text 3");
}

#[tokio::test(start_paused = true)]
async fn a_softly_purged_value_is_given_once_more() {
    let layer = instance(memory());
    let keep = || Keep::new(MINUTE).with_tags(["users"]);
    let source = Source::default();
    source.cached(&texts(&layer), keep()).await;
    layer.purge().soft().tag("users").await.unwrap();
    assert_eq!(source.cached(&texts(&layer), keep()).await, "text 1");
    assert_eq!(source.cached(&texts(&layer), keep()).await, "text 2");
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_stands_in_for_an_error_if_it_may() {
    let values = texts(&instance(memory()));
    let source = Source::default();
    let keep = Keep::new(MINUTE).with_stale_if_error(MINUTE);
    source.cached(&values, keep.clone()).await;
    let failing = || values.get_or_insert_with(7, MINUTE, || async { Err::<String, _>(()) });
    sleep(61).await;
    assert_eq!(failing().await.as_deref(), Ok("text 1"));
    assert_eq!(values.get(7).await, None);
    sleep(60).await;
    assert_eq!(failing().await, Err(()));
}

#[tokio::test(start_paused = true)]
async fn a_value_is_fetched_early_now_and_then() {
    let values = texts(&instance(memory()));
    let keep = || Keep::new(MINUTE).with_early_refresh();
    let source = Source::default();
    let slow = source.clone();
    let fetch = move || async move {
        sleep(1_000).await;
        slow.fetch().await
    };
    values.get_or_insert_with(7, keep(), fetch).await.unwrap();
    settled().await;
    // It took so long that its end is always near.
    for _ in 0..1_000 {
        source.cached(&values, keep()).await;
        if source.calls() > 1 {
            return;
        }
    }
    panic!("never fetched early");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_leaves_it_to_another() {
    let values = texts(&instance(memory()));
    let gate = Gate::shut();
    let panicking = {
        let (values, gate) = (values.clone(), gate.clone());
        tokio::spawn(async move {
            let fetch = || async move {
                gate.pass().await;
                panic!("of a handler");
            };
            values.get_or_insert_with::<_, ()>(7, MINUTE, fetch).await
        })
    };
    settled().await;
    let (source, open) = (Source::default(), Gate::shut());
    open.stay_open();
    let waiting = source.caching(&values, &open).await;
    assert_eq!(source.calls(), 0);
    gate.open();
    assert!(panicking.await.is_err());
    assert_eq!(waiting.await.unwrap(), "text 1");
    settled().await;
    assert_eq!(values.get(7).await.as_deref(), Some("text 1"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_does_not_take_the_fetch_from_those_who_wait() {
    let values = texts(&instance(memory()));
    let (source, gate) = (Source::default(), Gate::shut());
    let leader = source.caching(&values, &gate).await;
    let follower = source.caching(&values, &gate).await;
    leader.abort();
    settled().await;
    gate.stay_open();
    assert_eq!(follower.await.unwrap(), "text 1");
    assert_eq!(source.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_alone_leaves_nothing_to_wait_for() {
    let values = texts(&instance(memory()));
    let (source, gate) = (Source::default(), Gate::shut());
    source.caching(&values, &gate).await.abort();
    settled().await;
    gate.open();
    let before = tokio::time::Instant::now();
    assert_eq!(source.cached(&values, MINUTE).await, "text 2");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(values.get(7).await.as_deref(), Some("text 2"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_fetches_and_no_errors() {
    let backend = faulty();
    let values = texts(&instance(backend.clone()));
    let source = Source::default();
    source.cached(&values, MINUTE).await;
    backend.go_down();
    sleep(2).await;
    assert_eq!(source.cached(&values, MINUTE).await, "text 2");
    assert_eq!(values.get(7).await, None);
    backend.come_up();
    sleep(2).await;
    assert_eq!(source.cached(&values, MINUTE).await, "text 1");
}

#[tokio::test(start_paused = true)]
async fn each_call_may_fail_or_hang_and_the_caller_gets_his_value() {
    let faults = [
        Fault::Fail(BackendErrorKind::Unavailable),
        Fault::LostReply,
        Fault::Hang,
        Fault::HangAfter,
    ];
    for fault in faults {
        for call in 0..6 {
            let backend = faulty();
            // As real ones have, it has a time-out of its own.
            let bounded = Timeout::new(backend.clone(), Duration::from_secs(1));
            let values = texts(&instance(bounded));
            backend.script([Fault::None].repeat(call));
            backend.script([fault]);
            let source = Source::default();
            let before = tokio::time::Instant::now();
            assert_eq!(source.cached(&values, MINUTE).await, "text 1");
            assert!(
                before.elapsed() <= Duration::from_millis(200),
                "{fault:?} {call}"
            );
            sleep(10).await;
            source.cached(&values, MINUTE).await;
            let calls = source.calls();
            source.cached(&values, MINUTE).await;
            assert_eq!(source.calls(), calls, "{fault:?} {call}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_set_or_remove_is_told_and_does_not_use_what_was_there() {
    let backend = faulty();
    let values = texts(&instance(backend.clone()));
    for sets in [false, true] {
        let old = "old".to_owned();
        values.set(7, &old, MINUTE).await.unwrap();
        assert_eq!(values.get(7).await, Some(old));
        backend.go_down();
        let failed = if sets {
            values.set(7, &"new".to_owned(), MINUTE).await
        } else {
            values.remove(7).await
        };
        assert_eq!(failed.unwrap_err().kind(), PurgeErrorKind::Unavailable);
        backend.come_up();
        sleep(2).await;
        assert_eq!(values.get(7).await, None);
        sleep(300).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_given_all_the_same() {
    let values = texts(&instance(memory()));
    let source = Source::default();
    let tags = (0..65).map(|tag| tag.to_string());
    for keep in [
        Keep::new(Duration::ZERO),
        Keep::new(MINUTE).with_tags(tags),
        Keep::new(MINUTE).with_tags(["x".repeat(129)]),
    ] {
        source.cached(&values, keep).await;
        assert_eq!(values.get(7).await, None);
    }
    assert_eq!(source.calls(), 3);

    let large = || async { Ok::<_, ()>("x".repeat(1024 * 1024)) };
    values.get_or_insert_with(8, MINUTE, large).await.unwrap();
    settled().await;
    assert_eq!(values.get(8).await, None);

    let maps = instance(memory())
        .values::<HashMap<Vec<u8>, u8>>("map", 1)
        .unwrap();
    let no_json = || async { Ok::<_, ()>(HashMap::from([(vec![1], 2)])) };
    assert_eq!(
        maps.get_or_insert_with(7, MINUTE, no_json)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn setting_what_cannot_be_stored_removes_what_was_there() {
    let values = texts(&instance(memory()));
    let tags = || (0..65).map(|tag| tag.to_string());
    let large = "x".repeat(1024 * 1024);
    for (text, keep) in [
        (large, Keep::new(MINUTE)),
        ("new".to_owned(), Keep::new(Duration::ZERO)),
        ("new".to_owned(), Keep::new(MINUTE).with_tags(tags())),
    ] {
        values.set(7, &"old".to_owned(), MINUTE).await.unwrap();
        values.set(7, &text, keep).await.unwrap();
        assert_eq!(values.get(7).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_near_value_makes_no_call_and_what_is_set_is_near_at_once() {
    let backend = faulty();
    let layer = instance(backend.clone()).with_near_cache(1 << 20);
    let values = texts(&layer);
    let source = Source::default();
    source.cached(&values, MINUTE).await;
    let before = backend.total_calls();
    assert_eq!(source.cached(&values, MINUTE).await, "text 1");
    assert_eq!(backend.total_calls(), before);
    let new = "new".to_owned();
    values.set(7, &new, MINUTE).await.unwrap();
    assert_eq!(values.get(7).await.as_ref(), Some(&new));
    values.remove(7).await.unwrap();
    assert_eq!(values.get(7).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_read_under_way_brings_no_copy_of_what_was_replaced_meanwhile() {
    let backend = faulty();
    let layer = instance(backend.clone()).with_near_cache(1 << 20);
    let values = texts(&layer);
    let other = texts(&instance(backend.clone()));
    other.set(7, &"old".to_owned(), MINUTE).await.unwrap();
    // It learns what was purged, so that the next call is the read.
    values.get(8).await;
    settled().await;
    let reading = {
        let values = values.clone();
        backend.script([Fault::LateReply(Duration::from_millis(50))]);
        tokio::spawn(async move { values.get(7).await })
    };
    settled().await;
    let new = "new".to_owned();
    values.set(7, &new, MINUTE).await.unwrap();
    assert_eq!(reading.await.unwrap().as_deref(), Some("old"));
    assert_eq!(values.get(7).await, Some(new));
}

#[tokio::test(start_paused = true)]
async fn a_value_costs_one_call_to_read_three_to_fetch_and_three_to_set() {
    let backend = faulty();
    let values = texts(&instance(backend.clone()));
    let source = Source::default();
    // A process that begins asks what was purged.
    values.get(8).await;
    settled().await;
    let calls = || backend.total_calls();
    let before = calls();
    source.cached(&values, MINUTE).await;
    assert_eq!(calls(), before + 3);
    source.cached(&values, MINUTE).await;
    assert_eq!(calls(), before + 4);
    values.set(7, &"new".to_owned(), MINUTE).await.unwrap();
    assert_eq!(calls(), before + 7);
    assert_eq!(backend.calls(Op::Delete), 0);
}

fn faulty_over(backend: &MemoryBackend) -> FaultBackend<MemoryBackend> {
    FaultBackend::new(backend.clone()).seen_as_remote()
}
