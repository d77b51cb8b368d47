//! Cases of [`Slots`].

use std::time::Duration;

use super::{Case, Fixture, LONG, MILLISECOND, Scene, at_once, cases};
use crate::{
    backend::{Hold, SlotId, SlotLimit, Slots},
    clock::Timestamp,
    key::Key,
};

/// What [`Slots`] owes.
#[must_use]
pub fn slots<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: Slots,
{
    cases![
        as_many_slots_are_held_as_the_limit_and_no_more,
        a_released_slot_is_free,
        releasing_a_slot_that_is_not_held_frees_none,
        holding_a_held_slot_again_holds_it_once,
        a_held_slot_can_be_held_again_though_all_are,
        subjects_names_and_leases_have_slots_of_their_own,
        a_lowered_limit_takes_no_slot_away,
        a_raised_limit_acts_at_once,
        a_slot_is_free_when_its_lease_runs_out,
        holding_again_begins_a_new_lease,
        renewing_begins_a_new_lease,
        renewing_says_of_each_slot_whether_it_is_held,
        renewing_no_slot_says_nothing,
        a_slot_that_ran_out_is_not_renewed,
        slot_numbers_are_told_apart_by_every_bit,
        a_thousand_slots_are_renewed_in_one_call,
        concurrent_calls_hold_exactly_the_limit,
        never_more_than_the_limit_is_held_while_slots_come_and_go,
    ]
}

async fn as_many_slots_are_held_as_the_limit_and_no_more<F: Fixture<Backend: Slots>>(
    scene: Scene<F>,
) {
    let (subject, limit) = (scene.key("subject"), limit(3));
    for n in 1..=3 {
        let hold = scene.hold(&subject, &limit, n).await;
        assert_eq!(hold, Hold::Held { in_use: n }, "slot {n} of 3");
    }
    for n in 4..=5 {
        let hold = scene.hold(&subject, &limit, n).await;
        assert_eq!(hold, Hold::Full { in_use: 3 }, "slot {n} of 3");
    }
}

async fn a_released_slot_is_free<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(2));
    scene.hold_all(&subject, &limit, [1, 2]).await;
    scene.release(&subject, &limit, 1).await;
    let hold = scene.hold(&subject, &limit, 3).await;
    assert_eq!(hold, Hold::Held { in_use: 2 });
    for n in [2, 3] {
        scene.release(&subject, &limit, n).await;
    }
    let hold = scene.hold(&subject, &limit, 4).await;
    assert_eq!(hold, Hold::Held { in_use: 1 }, "all others were released");
}

async fn releasing_a_slot_that_is_not_held_frees_none<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(1));
    scene.release(&subject, &limit, 1).await;
    scene.hold_all(&subject, &limit, [1]).await;
    scene.release(&subject, &limit, 2).await;
    let hold = scene.hold(&subject, &limit, 3).await;
    assert_eq!(hold, Hold::Full { in_use: 1 });
}

async fn holding_a_held_slot_again_holds_it_once<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(2));
    for _ in 0..3 {
        let hold = scene.hold(&subject, &limit, 1).await;
        assert_eq!(hold, Hold::Held { in_use: 1 });
    }
    scene.release(&subject, &limit, 1).await;
    let hold = scene.hold(&subject, &limit, 2).await;
    assert_eq!(hold, Hold::Held { in_use: 1 }, "one release is enough");
}

async fn a_held_slot_can_be_held_again_though_all_are<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(2));
    scene.hold_all(&subject, &limit, [1, 2]).await;
    let hold = scene.hold(&subject, &limit, 1).await;
    assert_eq!(hold, Hold::Held { in_use: 2 });
}

async fn subjects_names_and_leases_have_slots_of_their_own<F: Fixture<Backend: Slots>>(
    scene: Scene<F>,
) {
    let (one, other) = (scene.key("one"), scene.key("other"));
    let pools = [
        (&one, named("a", 1, LONG)),
        (&other, named("a", 1, LONG)),
        (&one, named("b", 1, LONG)),
        (&one, named("a", 1, 2 * LONG)),
    ];
    for (subject, limit) in &pools {
        let hold = scene.hold(subject, limit, 1).await;
        assert_eq!(hold, Hold::Held { in_use: 1 }, "{subject:?} {limit:?}");
    }
    let [(subject, limit), others @ ..] = &pools;
    scene.release(subject, limit, 1).await;
    for (subject, limit) in others {
        let hold = scene.hold(subject, limit, 2).await;
        assert_eq!(hold, Hold::Full { in_use: 1 }, "{subject:?} {limit:?}");
    }
}

async fn a_lowered_limit_takes_no_slot_away<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, lowered) = (scene.key("subject"), limit(1));
    scene.hold_all(&subject, &limit(3), [1, 2, 3]).await;
    let hold = scene.hold(&subject, &lowered, 4).await;
    assert_eq!(hold, Hold::Full { in_use: 3 });
    assert_eq!(
        scene.renew(&subject, &lowered, &[1, 2, 3]).await,
        [true, true, true]
    );
    scene.release(&subject, &lowered, 1).await;
    scene.release(&subject, &lowered, 2).await;
    let hold = scene.hold(&subject, &lowered, 4).await;
    assert_eq!(hold, Hold::Full { in_use: 1 });
}

async fn a_raised_limit_acts_at_once<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let subject = scene.key("subject");
    scene.hold_all(&subject, &limit(1), [1]).await;
    let hold = scene.hold(&subject, &limit(2), 2).await;
    assert_eq!(hold, Hold::Held { in_use: 2 });
}

async fn a_slot_is_free_when_its_lease_runs_out<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let lease = 50 * MILLISECOND;
    let (subject, limit) = (scene.key("subject"), named("a", 1, lease));
    let before = scene.now().await;
    scene.hold_all(&subject, &limit, [1]).await;
    let holding = scene.now().await;
    for step in [40 * MILLISECOND, 9 * MILLISECOND, MILLISECOND, MILLISECOND] {
        scene.pass(step).await;
        let asked = scene.now().await;
        let hold = scene.hold(&subject, &limit, 2).await;
        let answered = scene.now().await;
        if hold.is_held() {
            assert!(answered >= before + lease, "a slot was free too early");
            return;
        }
        assert!(asked <= holding + lease, "a slot outlived its lease");
    }
    scene.pass(MILLISECOND).await;
    let hold = scene.hold(&subject, &limit, 2).await;
    assert!(hold.is_held(), "the lease is over");
}

async fn holding_again_begins_a_new_lease<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit, _) = scene.held_for_half_its_lease().await;
    let called = scene.now().await;
    scene.hold_all(&subject, &limit, [1]).await;
    scene.ends_a_lease_after(called, &subject, &limit).await;
}

async fn renewing_begins_a_new_lease<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit, ends) = scene.held_for_half_its_lease().await;
    let called = scene.now().await;
    let renewed = scene.renew(&subject, &limit, &[1]).await;
    // A machine that stood still meanwhile proves nothing.
    if scene.now().await >= ends {
        return;
    }
    assert_eq!(renewed, [true]);
    scene.ends_a_lease_after(called, &subject, &limit).await;
}

async fn renewing_says_of_each_slot_whether_it_is_held<F: Fixture<Backend: Slots>>(
    scene: Scene<F>,
) {
    let (subject, limit) = (scene.key("subject"), limit(5));
    assert_eq!(scene.renew(&subject, &limit, &[1, 2]).await, [false, false]);
    scene.hold_all(&subject, &limit, [1, 2, 3]).await;
    scene.release(&subject, &limit, 2).await;
    assert_eq!(
        scene.renew(&subject, &limit, &[4, 3, 2, 1]).await,
        [false, true, false, true]
    );
    let hold = scene.hold(&subject, &limit, 5).await;
    assert_eq!(hold, Hold::Held { in_use: 3 }, "renewing holds no new slot");
}

async fn renewing_no_slot_says_nothing<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(1));
    assert_eq!(scene.renew(&subject, &limit, &[]).await, [false; 0]);
    scene.hold_all(&subject, &limit, [1]).await;
    assert_eq!(scene.renew(&subject, &limit, &[]).await, [false; 0]);
}

async fn a_slot_that_ran_out_is_not_renewed<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let lease = 20 * MILLISECOND;
    let (subject, limit) = (scene.key("subject"), named("a", 2, lease));
    scene.hold_all(&subject, &limit, [1]).await;
    scene.pass(lease + MILLISECOND).await;
    assert_eq!(scene.renew(&subject, &limit, &[1]).await, [false]);
    let hold = scene.hold(&subject, &limit, 2).await;
    assert_eq!(hold, Hold::Held { in_use: 1 });
}

async fn slot_numbers_are_told_apart_by_every_bit<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(1_000));
    let numbers = (0..128).map(|bit| 1_u128 << bit).chain([0, u128::MAX]);
    for (in_use, number) in (1..).zip(numbers) {
        let slot = SlotId::from_u128(number);
        let hold = scene.backend().hold(&subject, &limit, slot).await;
        assert_eq!(hold.expect("hold answers"), Hold::Held { in_use });
    }
}

async fn a_thousand_slots_are_renewed_in_one_call<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(500));
    scene.hold_all(&subject, &limit, 1..=500).await;
    let slots: Vec<_> = (1..=1_000).collect();
    let held = scene.renew(&subject, &limit, &slots).await;
    let expected: Vec<_> = slots.iter().map(|slot| *slot <= 500).collect();
    assert_eq!(held, expected);
}

async fn concurrent_calls_hold_exactly_the_limit<F: Fixture<Backend: Slots>>(scene: Scene<F>) {
    let (subject, limit) = (scene.key("subject"), limit(20));
    let holds = at_once(64, |n| {
        let (scene, subject) = (scene.clone(), subject.clone());
        async move { scene.hold(&subject, &limit, n).await.is_held() }
    })
    .await;
    let held = holds.into_iter().filter(|is_held| *is_held).count();
    assert_eq!(held, 20, "of 64 calls at once");
}

async fn never_more_than_the_limit_is_held_while_slots_come_and_go<F: Fixture<Backend: Slots>>(
    scene: Scene<F>,
) {
    let (subject, limit) = (scene.key("subject"), limit(4));
    let most = at_once(16, |n| {
        let (scene, subject) = (scene.clone(), subject.clone());
        async move {
            let mut most = 0;
            for _ in 0..25 {
                match scene.hold(&subject, &limit, n).await {
                    Hold::Held { in_use } => {
                        most = most.max(in_use);
                        tokio::task::yield_now().await;
                        assert_eq!(scene.renew(&subject, &limit, &[n]).await, [true]);
                        scene.release(&subject, &limit, n).await;
                    }
                    Hold::Full { in_use } => most = most.max(in_use),
                }
            }
            most
        }
    })
    .await;
    assert!(most.iter().all(|most| *most <= 4), "{most:?} of 4");
    let hold = scene.hold(&subject, &limit, 99).await;
    assert_eq!(hold, Hold::Held { in_use: 1 }, "all were released");
}

impl<F: Fixture<Backend: Slots>> Scene<F> {
    async fn hold(&self, subject: &Key, limit: &SlotLimit, n: u64) -> Hold {
        let hold = self.backend().hold(subject, limit, slot(n)).await;
        hold.expect("hold answers")
    }

    async fn hold_all(
        &self,
        subject: &Key,
        limit: &SlotLimit,
        numbers: impl IntoIterator<Item = u64>,
    ) {
        for n in numbers {
            let hold = self.hold(subject, limit, n).await;
            assert!(hold.is_held(), "slot {n}: {hold:?}");
        }
    }

    async fn renew(&self, subject: &Key, limit: &SlotLimit, numbers: &[u64]) -> Vec<bool> {
        let slots: Vec<_> = numbers.iter().copied().map(slot).collect();
        let renewed = self.backend().renew(subject, limit, &slots).await;
        renewed.expect("renew answers")
    }

    async fn release(&self, subject: &Key, limit: &SlotLimit, n: u64) {
        let released = self.backend().release(subject, limit, slot(n)).await;
        released.expect("release answers");
    }

    /// A limit of one, whose slot has been held for more than half of its
    /// lease, and when that ends.
    async fn held_for_half_its_lease(&self) -> (Key, SlotLimit, Timestamp) {
        let (subject, limit) = (self.key("subject"), named("a", 1, 100 * MILLISECOND));
        let ends = self.now().await + limit.lease();
        self.hold_all(&subject, &limit, [1]).await;
        self.pass(60 * MILLISECOND).await;
        (subject, limit, ends)
    }

    /// The slot is held for a lease from then, beyond the end of its first one, and no longer.
    async fn ends_a_lease_after(&self, called: Timestamp, subject: &Key, limit: &SlotLimit) {
        self.pass(60 * MILLISECOND).await;
        let hold = self.hold(subject, limit, 2).await;
        // A machine that stood still meanwhile proves nothing.
        if self.now().await < called + limit.lease() {
            assert_eq!(hold, Hold::Full { in_use: 1 }, "the lease is a new one");
        }
        self.pass(limit.lease()).await;
        let hold = self.hold(subject, limit, 2).await;
        assert_eq!(hold, Hold::Held { in_use: 1 });
    }
}

fn slot(n: u64) -> SlotId {
    SlotId::from_u128(n.into())
}

fn limit(limit: u64) -> SlotLimit {
    named("a", limit, LONG)
}

fn named(name: &str, limit: u64, lease: Duration) -> SlotLimit {
    SlotLimit::new(name, limit, lease).expect("the limit is a valid one")
}
