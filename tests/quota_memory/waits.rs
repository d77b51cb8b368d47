//! What is told: what is left, and how long to wait.

use proptest::prelude::*;
use tower_stash::backend::{Acquire, Retry};

use crate::{
    memory::{MILLISECOND, Memory, request},
    quota_oracle::{agrees_with_brute_force, quotas, steps, subject},
    stress::stressed,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(stressed(400)))]

    /// P7, P9: `remaining`, `retry` and `reset` are found by trying.
    #[test]
    fn every_decision_of_one_limit_is_what_brute_force_says(quota in quotas(), steps in steps(60)) {
        agrees_with_brute_force(&Memory::new(), &subject(0), &[quota], &steps)?;
    }

    /// P11: the oracle takes from all or none of limits that know nothing of each other.
    #[test]
    fn every_decision_of_several_limits_is_what_brute_force_says(
        quotas in prop::collection::vec(quotas(), 2..=4),
        steps in steps(40),
    ) {
        agrees_with_brute_force(&Memory::new(), &subject(0), &quotas, &steps)?;
    }

    /// P7, P11
    #[test]
    fn the_longest_retry_is_enough_for_all_limits_and_nothing_less_is(
        quotas in prop::collection::vec(quotas(), 1..=4),
        steps in steps(30),
        cost in 1..6_u64,
    ) {
        let memory = Memory::new();
        let request = request(&quotas).with_cost(cost);
        memory.run(&request, &steps);
        memory.exhaust(&request);
        let denied = memory.acquire(&request);
        let fits_never = quotas.iter().any(|quota| cost * u64::from(quota.weight()) > quota.capacity());
        prop_assert_eq!(denied.retry() == Retry::Never, fits_never);
        if let Retry::After(wait) = denied.retry() {
            memory.clock.advance(wait.saturating_sub(MILLISECOND));
            if wait > MILLISECOND {
                prop_assert!(!memory.acquire(&request).admitted, "less was enough than {:?}", wait);
            }
            memory.clock.advance(wait.min(MILLISECOND));
            prop_assert!(memory.acquire(&request).admitted, "{:?} was not enough", wait);
        }
    }

    /// P9
    #[test]
    fn exactly_what_remains_passes_at_once(quota in quotas(), steps in steps(40)) {
        let memory = Memory::new();
        let request = request(&[quota]);
        memory.run(&request, &steps);
        let remaining = memory.look(&request).limits[0].remaining;
        for left in (0..remaining).rev() {
            let decision = memory.acquire(&request);
            prop_assert!(decision.admitted);
            prop_assert_eq!(decision.limits[0].remaining, left);
        }
        prop_assert!(!memory.acquire(&request).admitted);
    }

    /// P10
    #[test]
    fn looking_changes_no_decision(
        quotas in prop::collection::vec(quotas(), 1..=3),
        steps in steps(40),
    ) {
        let request = request(&quotas);
        let unseen = Memory::new().run(&request, &steps);
        let memory = Memory::new();
        for (step, expected) in steps.iter().zip(&unseen) {
            memory.look(&request);
            let decisions = memory.run(&request, std::slice::from_ref(step));
            memory.look(&request);
            prop_assert_eq!(&decisions[0], expected);
        }
    }

    /// P11
    #[test]
    fn of_several_limits_each_takes_as_if_it_were_alone_or_nothing(
        quotas in prop::collection::vec(quotas(), 2..=4),
        steps in steps(40),
    ) {
        let (together, apart) = (Memory::new(), Memory::new());
        let all = request(&quotas);
        let each: Vec<Acquire> = all
            .limits
            .iter()
            .map(|limit| Acquire::new(all.subject.clone(), [*limit]))
            .collect();
        for step in &steps {
            together.clock.advance(step.after);
            apart.clock.advance(step.after);
            let decision = together.acquire(&all.clone().with_cost(step.cost));
            let fits = |alone: &Acquire| {
                let left = apart.look(alone).limits[0].remaining;
                step.cost == 0 || step.cost <= left
            };
            prop_assert_eq!(decision.admitted, each.iter().all(fits));
            for (alone, told) in each.iter().zip(&decision.limits) {
                let cost = if decision.admitted { step.cost } else { 0 };
                let state = apart.acquire(&alone.clone().with_cost(cost)).limits[0];
                prop_assert_eq!((state.remaining, state.reset), (told.remaining, told.reset));
            }
        }
    }
}
