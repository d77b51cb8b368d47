//! Requests at the same time.

use std::time::Duration;

use axum::{Router, extract::Path, routing::post};
use http::StatusCode;
use tower_stash::{
    session::{Session, SessionError},
    testing::Fault,
};

use crate::fixture::{Bed, Browser, web};

#[tokio::test]
async fn parallel_requests_that_write_different_attributes_lose_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/old/0").await;
    let slow = ["a", "b", "c"].map(|name| browser.posting(&format!("/slow-set/{name}/{name}")));
    bed.gate.reached(3).await;
    browser.post("/remove/old").await;
    bed.gate.open(3);
    for slow in slow {
        let answer = slow.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.cookies().is_empty());
    }
    for name in ["a", "b", "c"] {
        assert_eq!(browser.get(&format!("/get/{name}")).await.text, name);
    }
    assert_eq!(browser.get("/get/old").await.text, "none");
}

#[tokio::test]
async fn of_two_writes_of_one_attribute_the_later_commit_stays() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/0").await;
    let slow = browser.posting("/slow-set/a/slow");
    bed.gate.reached(1).await;
    browser.post("/set/a/fast").await;
    bed.gate.open(1);
    assert_eq!(slow.await.unwrap().status, StatusCode::OK);
    assert_eq!(browser.get("/get/a").await.text, "slow");
}

#[tokio::test]
async fn what_is_removed_by_one_and_read_by_another_stays_removed() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/0").await;
    let slow = browser.posting("/slow-set/b/1");
    bed.gate.reached(1).await;
    browser.post("/remove/a").await;
    bed.gate.open(1);
    slow.await.unwrap();
    assert_eq!(browser.get("/get/a").await.text, "none");
    assert_eq!(browser.get("/get/b").await.text, "1");
}

#[tokio::test]
async fn who_clears_removes_what_others_wrote_before_and_not_what_they_write_after() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/set/a/0").await;
    let after = browser.posting("/slow-set/after/1");
    bed.gate.reached(1).await;
    browser.post("/set/before/1").await;
    browser.post("/clear").await;
    bed.gate.open(1);
    after.await.unwrap();
    for (name, value) in [("a", "none"), ("before", "none"), ("after", "1")] {
        assert_eq!(browser.get(&format!("/get/{name}")).await.text, value);
    }
}

/// Calls that take different times, so that those of several requests come in any order.
fn shaken(seed: u64) -> Bed {
    let bed = Bed::new();
    let millis = [0, 1, 2, 3, 5, 8].map(Duration::from_millis);
    let late = millis.map(Fault::LateReply);
    let slow = millis.map(Fault::Delay);
    let _ = bed
        .backend
        .clone()
        .with_seed(seed)
        .with_faults(late.into_iter().chain(slow))
        .with_fault_rate(1.0);
    bed
}

#[tokio::test(start_paused = true)]
async fn thirty_two_writers_of_different_attributes_all_succeed() {
    for seed in 0..4 {
        let bed = shaken(seed);
        let browser = bed.browser(web());
        browser.post("/set/old/0").await;
        let writers: Vec<_> = (0..32)
            .map(|n| browser.posting(&format!("/slow-set/n{n}/{n}")))
            .collect();
        bed.gate.reached(32).await;
        bed.gate.open(32);
        for writer in writers {
            assert_eq!(writer.await.unwrap().status, StatusCode::OK);
        }
        for n in 0..32 {
            assert_eq!(
                browser.get(&format!("/get/n{n}")).await.text,
                n.to_string(),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn thirty_two_parallel_increments_add_up_and_each_gets_a_number_of_its_own() {
    for seed in 0..4 {
        let bed = shaken(seed);
        let browser = bed.browser(web());
        browser.post("/set/old/0").await;
        let writers: Vec<_> = (0..32).map(|_| browser.posting("/incr/n")).collect();
        let mut sums = Vec::new();
        for writer in writers {
            sums.push(writer.await.unwrap().text.parse::<u32>().unwrap());
        }
        sums.sort_unstable();
        assert!(sums.into_iter().eq(1..=32), "seed {seed}");
        assert_eq!(browser.get("/get/n").await.text, "32");
    }
}

/// In a runtime with several threads, nothing arranged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads_nothing_is_lost() {
    async fn both(session: Session, Path(name): Path<String>) -> Result<(), SessionError> {
        session.incr("n", 1).await?;
        session.insert(&name, true).await
    }
    let bed = Bed::new();
    let app = bed.app(web(), |_| Router::new().route("/{name}", post(both)));
    let browser = Browser::new(&app);
    browser.post("/begin").await;
    let writers: Vec<_> = (0..24)
        .map(|n| browser.posting(&format!("/n{n}")))
        .collect();
    for writer in writers {
        assert_eq!(writer.await.unwrap().status, StatusCode::OK);
    }
    let reader = bed.browser(web());
    reader.set_cookie("__Host-id", &browser.token());
    for n in 0..24 {
        assert_eq!(reader.get(&format!("/get/n{n}")).await.text, "true");
    }
    assert_eq!(reader.get("/get/n").await.text, "25");
}

#[tokio::test]
async fn fifty_first_requests_are_fifty_sessions_and_the_client_keeps_one() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    let first: Vec<_> = (0..50)
        .map(|n| browser.posting(&format!("/slow-set/n/{n}")))
        .collect();
    bed.gate.reached(50).await;
    bed.gate.open(50);
    for first in first {
        assert_eq!(first.await.unwrap().cookies().len(), 1);
    }
    assert_eq!(bed.spy.living().await, 50);
    let kept = browser.get("/get/n").await.text;
    assert!(kept.parse::<u32>().unwrap() < 50);
    assert!(browser.post("/set/m/1").await.cookies().is_empty());
    assert_eq!(bed.spy.living().await, 50, "from now on it is one session");
}

#[tokio::test]
async fn fifty_first_requests_that_only_read_store_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    for _ in 0..50 {
        let answer = browser.get("/get/n").await;
        assert_eq!((&*answer.text, answer.cookies().len()), ("none", 0));
    }
    assert_eq!(bed.backend.total_calls(), 0);
}
