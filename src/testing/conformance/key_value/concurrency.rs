//! Calls at the same time.

use crate::{
    backend::{KeyValue, Precondition, Put},
    key::Key,
    testing::conformance::{Case, Fixture, LONG, Scene, at_once, cases},
};

pub(super) fn cases<F: Fixture<Backend: KeyValue>>() -> Vec<Case<F>> {
    cases![
        of_many_claims_at_once_exactly_one_wins,
        concurrent_increments_lose_nothing,
    ]
}

async fn of_many_claims_at_once_exactly_one_wins<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let puts = at_once(64, |task| {
        let scene = scene.clone();
        async move {
            let (key, claim) = (scene.key("claim"), task.to_string());
            let put = scene.put(&key, claim.clone(), Precondition::Absent).await;
            (claim, put)
        }
    })
    .await;
    let mut winners = puts.iter().filter_map(|(claim, put)| match put {
        Put::Stored(version) => Some((claim, *version)),
        Put::Conflict { .. } => None,
    });
    let (winner, version) = winners.next().expect("one claim wins");
    assert_eq!(winners.next(), None, "only one claim wins");
    for (_, put) in &puts {
        if let Put::Conflict { current, .. } = put {
            let current = current.as_ref().expect("the winner's record is there");
            assert_eq!(current.value, *winner, "losers are told the winner");
            assert_eq!(current.version, version, "losers are told the winner");
        }
    }
}

async fn concurrent_increments_lose_nothing<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let (tasks, increments) = (8, 8);
    scene.store(&scene.key("count"), "0", LONG).await;
    at_once(tasks, |_| {
        let scene = scene.clone();
        async move {
            for _ in 0..increments {
                scene.increment(&scene.key("count")).await;
            }
        }
    })
    .await;
    let count = scene.read(&scene.key("count")).await;
    let count = count.map(|entry| number(&entry.value));
    assert_eq!(count, Some(tasks * increments), "no increment is lost");
}

impl<F: Fixture<Backend: KeyValue>> Scene<F> {
    /// Adds one to the number under a key, by comparing and swapping.
    async fn increment(&self, key: &Key) {
        let mut current = self.read(key).await;
        loop {
            let entry = current.expect("the number is there");
            let next = (number(&entry.value) + 1).to_string();
            match self
                .put(key, next, Precondition::Matches(entry.version))
                .await
            {
                Put::Stored(_) => return,
                Put::Conflict { current: there, .. } => current = there,
            }
        }
    }
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("a number was put");
    text.parse().expect("a number was put")
}
