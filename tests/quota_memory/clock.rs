//! Clocks that step back.

use std::time::Duration;

use proptest::prelude::*;
use tower_stash::{
    backend::{Acquire, Algorithm, Limit, MINUTE, Quota, Quotas as _, Retry},
    clock::Clock as _,
};

use crate::{
    memory::{MILLISECOND, Memory, request},
    quota_oracle::{Fixture as _, agrees_with_brute_force, quotas, steps, subject},
    stress::stressed,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(stressed(400)))]

    /// P15
    #[test]
    fn a_clock_that_steps_back_locks_nobody_out(
        quota in quotas(),
        steps in steps(40),
        back in prop_oneof![1..200_000_u64, 1..4_000_000_000_u64],
    ) {
        let memory = Memory::new();
        let subject = subject(0);
        agrees_with_brute_force(&memory, &subject, &[quota], &steps)?;
        let request = Acquire::new(subject, [Limit::new("a", quota).expect("a valid quota")]);
        memory.block_on(async {
            let acquire = async || memory.backend.acquire(&request).await.expect("memory answers");
            while acquire().await.admitted {}
            memory.clock.set(memory.clock.now() - Duration::from_millis(back));

            let millisecond = Duration::from_millis(1);
            let (longest, unit) = match quota.algorithm() {
                Algorithm::Counter => (3 * quota.window(), millisecond),
                // A bucket more than the window has, and each is rounded up.
                Algorithm::Buckets { buckets } => {
                    (2 * quota.window() + quota.window() / buckets + (buckets + 1) * millisecond, millisecond)
                }
                Algorithm::TokenBucket { burst } => {
                    let filling = quota.window().as_micros().div_ceil(quota.limit().into()) * u128::from(burst);
                    let filling = Duration::from_micros(u64::try_from(filling).expect("a short time"));
                    (2 * filling, Duration::from_micros(1))
                }
                _ => (2 * quota.window(), millisecond),
            };
            let decision = acquire().await;
            if let Retry::After(wait) = decision.retry() {
                prop_assert!(wait <= longest, "told to wait {:?}", wait);
                memory.clock.advance(wait.saturating_sub(unit));
                prop_assert!(!acquire().await.admitted, "a shorter wait was enough");
                memory.clock.advance(unit);
                prop_assert!(acquire().await.admitted, "the wait was not enough");
            } else {
                prop_assert!(decision.admitted);
            }
            // Whatever was forgotten, no more than the limit is admitted at one moment.
            let mut more = 0;
            while acquire().await.admitted {
                more += u64::from(quota.weight());
            }
            prop_assert!(more <= quota.capacity());
            Ok(())
        })?;
    }
}

#[test]
fn a_hit_after_a_step_back_counts_as_long_as_the_newest_one() {
    let memory = Memory::new();
    let request = request(&[Quota::log(5, MINUTE)]);
    memory.acquire(&request);
    memory.clock.set(memory.clock.now() - MINUTE / 2);
    memory.acquire(&request.clone().with_cost(4));
    memory.clock.advance(MINUTE + MILLISECOND);
    assert_eq!(memory.look(&request).limits[0].remaining, 0);
    memory.clock.advance(MINUTE / 2);
    assert_eq!(memory.look(&request).limits[0].remaining, 5);
}
