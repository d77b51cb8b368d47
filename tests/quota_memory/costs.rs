//! What is given back, and what strikes do.

use std::time::Duration;

use proptest::prelude::*;
use tower_stash::backend::{Acquire, Ban, DAY, Decision, MINUTE, Quota, Retry, Strikes};

use crate::{
    memory::{Memory, request},
    quota_oracle::{quotas, steps},
    stress::stressed,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(stressed(300)))]

    /// P16
    #[test]
    fn a_refund_at_once_is_as_if_nothing_had_been_taken(
        quotas in prop::collection::vec(quotas(), 1..=3),
        steps in steps(40),
        cost in 1..6_u64,
    ) {
        let memory = Memory::new();
        let request = request(&quotas);
        memory.run(&request, &steps);
        let before = memory.look(&request);
        let costing = request.clone().with_cost(cost);
        let decision = memory.acquire(&costing);
        memory.refund(&decision.receipt(&costing));
        let after = memory.look(&request);
        for (before, after) in before.limits.iter().zip(&after.limits) {
            prop_assert_eq!(before.remaining, after.remaining);
            prop_assert!(after.reset <= before.reset || before.reset.is_none());
        }
    }

    /// P16
    #[test]
    fn a_late_refund_gives_no_more_than_was_taken_and_in_the_end_nothing(
        quota in quotas(),
        taken in 1..6_u64,
        before in steps(20),
        later in steps(20),
    ) {
        let memory = Memory::new();
        let request = request(&[quota]);
        memory.run(&request, &before);
        let costing = request.clone().with_cost(taken);
        let receipt = memory.acquire(&costing).receipt(&costing);
        memory.run(&request, &later);
        let seen = memory.look(&request);
        memory.refund(&receipt);
        let after = memory.look(&request);
        let (least, most) = (left(&seen), left(&seen) + receipt.taken);
        prop_assert!((least..=most).contains(&left(&after)), "{} of {}..{}", left(&after), least, most);

        memory.clock.advance(40 * quota.window());
        memory.acquire(&request);
        let seen = memory.look(&request);
        memory.refund(&receipt);
        prop_assert_eq!(seen, memory.look(&request), "it counted no more");
    }

    /// Strikes against a list of denials, and bans that end.
    #[test]
    fn a_ban_comes_with_the_last_strike_and_ends_when_told(
        after in 1..5_u32,
        gaps in prop::collection::vec(prop_oneof![0..20_000_u64, 0..200_000_u64], 1..60),
    ) {
        let (within, lasting) = (MINUTE, 2 * MINUTE);
        let strikes = Strikes::new("strikes", Ban::after(after).within(within).lasting(lasting));
        let memory = Memory::new();
        // Something lives on beside the strikes.
        let one = request(&[Quota::fixed(1, DAY)]);
        memory.acquire(&one);
        let denied = one.with_cost(2).with_strikes(strikes.expect("a valid ban"));
        let mut series: Vec<u64> = Vec::new();
        let mut banned_until = 0;
        for gap in gaps {
            memory.clock.advance(Duration::from_millis(gap));
            let decision = memory.acquire(&denied);
            let now = decision.now.as_millis();
            prop_assert!(!decision.admitted);
            if now >= banned_until {
                if series.first().is_some_and(|first| now >= first + 60_000) {
                    series.clear();
                }
                series.push(now);
                if series.len() >= after as usize {
                    series.clear();
                    banned_until = now + 120_000;
                }
            }
            let expected = banned_until.checked_sub(now).filter(|left| *left > 0);
            prop_assert_eq!(decision.banned, expected.map(Duration::from_millis));
            prop_assert_eq!(decision.retry(), Retry::Never, "2 of 1");
        }
    }
}

fn left(decision: &Decision) -> u64 {
    decision.limits[0].remaining
}

#[test]
fn a_receipt_names_the_sizes_that_were_applied() {
    let memory = Memory::new();
    let request = request(&[Quota::token_bucket(4, MINUTE)]);
    let large: Acquire = Acquire::new(request.subject.clone(), [request.limits[0].resized(8)]);
    let receipt = memory.acquire(&large).receipt(&request);
    assert_eq!(receipt.limits[0].quota().limit(), 8);
}
