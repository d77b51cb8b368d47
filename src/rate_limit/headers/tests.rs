//! Properties of every style, over limits and states that no backend need ever report.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};
use sfv::{BareItem, Dictionary, List, ListEntry, Parser};

use super::*;
use crate::{
    backend::{Algorithm, Limit, LimitState, Quota, Retry},
    rate_limit::rule::NamedLimits,
};

/// Some limits and where they stand.
#[derive(Clone, Debug)]
struct Standing {
    limits: NamedLimits,
    decision: Decision,
}

fn quota() -> impl Strategy<Value = Quota> {
    let window = prop_oneof![
        (1..=366 * 86_400_u64).prop_map(Duration::from_secs),
        (1..=10_000_u64).prop_map(Duration::from_millis),
    ];
    let fixed = (1..=INTEGER, window, 1..5_u32).prop_map(|(limit, window, weight)| {
        Quota::fixed(limit.max(weight.into()), window).with_weight(weight)
    });
    let bucket = (1..=1_000_u64, 1..=86_400_000_u64, 5..=1_000_u64, 1..5_u32);
    let bucket = bucket.prop_map(|(limit, window, burst, weight)| {
        Quota::token_bucket(limit, Duration::from_millis(window))
            .with_burst(burst)
            .with_weight(weight)
    });
    prop_oneof![fixed, bucket]
}

/// How much a quota admits in how many seconds, if they are whole.
fn admitted(quota: &Quota) -> (u64, Option<u64>) {
    let calls = quota.capacity() / u64::from(quota.weight());
    if let Algorithm::TokenBucket { burst } = quota.algorithm() {
        let micros = quota
            .window()
            .as_micros()
            .div_ceil(quota.limit().max(1).into());
        let refill = (micros * u128::from(burst)).div_ceil(1_000_000);
        return (calls, (burst > 0).then(|| refill.try_into().unwrap()));
    }
    let is_whole = quota.window().subsec_nanos() == 0;
    (calls, is_whole.then_some(quota.window().as_secs()))
}

/// Waits as they are, and as they could be.
fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..100_000_000_u64).prop_map(Duration::from_micros),
        any::<Duration>(),
    ]
}

fn state() -> impl Strategy<Value = LimitState> {
    let retry = prop_oneof![
        Just(Retry::Now),
        wait().prop_map(Retry::After),
        Just(Retry::Never),
    ];
    let number = || prop_oneof![0..20_u64, any::<u64>()];
    let limit = prop_oneof![0..20_u64, 0..=INTEGER];
    (limit, number(), retry, option::of(wait())).prop_map(|(limit, remaining, retry, reset)| {
        LimitState::new(limit, remaining, retry, reset, 0)
    })
}

fn standing() -> impl Strategy<Value = Standing> {
    let limit = ("[A-Za-z0-9_.-]{1,64}", quota(), state(), any::<bool>());
    (vec(limit, 1..9), any::<u64>(), any::<bool>()).prop_map(|(limits, now, is_written)| {
        let mut names = Vec::new();
        let mut sized = Vec::new();
        let mut states = Vec::new();
        for (name, quota, mut state, is_resized) in limits {
            if !is_resized {
                state.limit = quota.limit();
            }
            sized.push(Limit::new(&*name, quota).unwrap());
            names.push(name.into());
            states.push(state);
        }
        let policy = policy(&names, &sized).unwrap();
        Standing {
            limits: NamedLimits {
                names: names.into(),
                limits: sized.into(),
                policy_header: is_written.then_some(policy),
            },
            decision: Decision::denied(Timestamp::from_micros(now), states),
        }
    })
}

impl Standing {
    fn in_style(&self, style: HeaderStyle) -> HeaderMap {
        let mut headers = HeaderMap::new();
        style.append(&mut headers, &self.limits, &self.decision);
        headers
    }

    /// Each limit as if it were alone.
    fn alone(&self) -> impl Iterator<Item = Self> {
        let each = self.limits.iter().zip(&self.decision.limits);
        each.map(|((name, limit), state)| Self {
            limits: NamedLimits {
                names: [name.clone()].into(),
                limits: [*limit].into(),
                policy_header: None,
            },
            decision: Decision::denied(self.decision.now, vec![*state]),
        })
    }
}

/// The String and the Integers of each item of the List in a header.
fn items(headers: &HeaderMap, name: HeaderName) -> Vec<(String, Vec<(String, i64)>)> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let [line] = lines.as_slice() else {
        panic!("one line: {lines:?}");
    };
    let list: List = Parser::new(line.as_bytes()).parse().unwrap();
    let item = |entry| match entry {
        ListEntry::Item(item) => item,
        ListEntry::InnerList(list) => panic!("an item: {list:?}"),
    };
    list.into_iter()
        .map(item)
        .map(|item| {
            let BareItem::String(name) = item.bare_item else {
                panic!("a String: {item:?}");
            };
            let parameters = item.params.into_iter().map(|(key, value)| {
                let integer = value.as_integer().unwrap();
                (key.to_string(), i64::from(integer))
            });
            (name.to_string(), parameters.collect())
        })
        .collect()
}

fn seconds(duration: Duration) -> i64 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    number(duration.as_secs().saturating_add(begun))
}

fn number(number: u64) -> i64 {
    i64::try_from(number.min(INTEGER)).unwrap()
}

const INTEGER: u64 = 999_999_999_999_999;

/// What a style with room for one limit tells of it besides its size: of equally tight limits
/// either may be told.
fn remaining_and_reset(headers: &HeaderMap) -> (String, String) {
    let read = |name| headers.get(name).map(|value| value.to_str().unwrap());
    if let Some(dictionary) = read(RATELIMIT) {
        let mut members = dictionary.split(", ").skip(1).map(str::to_owned);
        return (members.next().unwrap(), members.next().unwrap());
    }
    let remaining = read(RATELIMIT_REMAINING).or(read(LEGACY_REMAINING));
    let reset = read(RATELIMIT_RESET).or(read(LEGACY_RESET));
    (remaining.unwrap().to_owned(), reset.unwrap().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // P23
    #[test]
    fn draft_11_is_two_lists_that_say_what_is_so(standing in standing()) {
        let headers = standing.in_style(HeaderStyle::Draft11);
        let limits = standing.limits.iter().zip(&standing.decision.limits);
        let (policy, standing): (Vec<(_, Vec<_>)>, Vec<_>) = limits
            .map(|((name, limit), state)| {
                let (calls, window) = admitted(&applied(limit, state));
                let calls = Some(("q".to_owned(), number(calls)));
                let window = window.map(|seconds| ("w".to_owned(), number(seconds)));
                let admitted = calls.into_iter().chain(window).collect();
                let mut left = vec![("r".to_owned(), number(state.remaining))];
                if let Some(reset) = state.reset {
                    left.push(("t".to_owned(), seconds(reset)));
                }
                ((name.to_string(), admitted), (name.to_string(), left))
            })
            .unzip();
        prop_assert_eq!(items(&headers, RATELIMIT_POLICY), policy);
        prop_assert_eq!(items(&headers, RATELIMIT), standing);
    }

    #[test]
    fn draft_7_is_a_dictionary_and_a_list(standing in standing()) {
        let headers = standing.in_style(HeaderStyle::Draft7);
        let told: Dictionary = Parser::new(headers[RATELIMIT].as_bytes()).parse().unwrap();
        let keys: Vec<_> = told.keys().map(|key| key.as_str()).collect();
        prop_assert_eq!(keys, ["limit", "remaining", "reset"]);
        for member in told.values() {
            let ListEntry::Item(item) = member else {
                panic!("an item: {member:?}");
            };
            prop_assert!(item.bare_item.as_integer().is_some());
        }
        let policy: List = Parser::new(headers[RATELIMIT_POLICY].as_bytes()).parse().unwrap();
        prop_assert_eq!(policy.len(), 1);
    }

    #[test]
    fn the_other_styles_are_plain_numbers(standing in standing(), style in select(vec![
        HeaderStyle::Draft6, HeaderStyle::Legacy, HeaderStyle::LegacyDelta,
    ])) {
        let headers = standing.in_style(style);
        for (name, value) in &headers {
            if name != RATELIMIT_POLICY {
                value.to_str().unwrap().parse::<u64>().unwrap();
            }
        }
        let told = style.exposed_headers().len() - 1;
        prop_assert_eq!(headers.len(), told);
    }

    #[test]
    fn no_order_of_telling_changes_which_limit_is_the_tightest(
        standing in standing(),
        style in select(vec![
            HeaderStyle::Draft7, HeaderStyle::Draft6, HeaderStyle::Legacy, HeaderStyle::LegacyDelta,
        ]),
    ) {
        let tell = |each: &[Standing]| {
            let mut headers = HeaderMap::new();
            for one in each {
                style.append(&mut headers, &one.limits, &one.decision);
            }
            remaining_and_reset(&headers)
        };
        let mut each: Vec<_> = standing.alone().collect();
        let forwards = tell(&each);
        each.reverse();
        prop_assert_eq!(forwards, tell(&each));
    }
}

#[test]
fn what_denies_is_told_before_what_has_fewer_left() {
    let quotas = [Quota::per_minute(9), Quota::per_minute(8)];
    let states = [
        LimitState::new(9, 1, Retry::Now, None, 0),
        LimitState::new(8, 2, Retry::After(Duration::from_secs(3)), None, 0),
    ];
    let standing = Standing {
        limits: NamedLimits {
            names: ["a".into(), "b".into()].into(),
            limits: quotas.map(|quota| Limit::new("x", quota).unwrap()).into(),
            policy_header: None,
        },
        decision: Decision::denied(Timestamp::default(), states.into()),
    };
    let headers = standing.in_style(HeaderStyle::Legacy);
    assert_eq!(headers[LEGACY_LIMIT], "8");
}

#[test]
fn a_list_is_measured_as_long_as_it_is() {
    for number in [0, 9, 10, 99, 100, INTEGER, u64::MAX] {
        assert_eq!(lists::digits(number), number.to_string().len());
    }
}

#[test]
fn a_decision_is_told_in_one_allocation() {
    let state = |remaining, reset| {
        let reset = Some(Duration::from_secs(reset));
        LimitState::new(1_000_000, remaining, Retry::Now, reset, 0)
    };
    let quotas = [Quota::fixed(1_000_000, Duration::from_secs(3_600)); 2];
    let names: [std::sync::Arc<str>; 2] = ["api.rate".into(), "api.daily".into()];
    let limits = quotas.map(|quota| Limit::new("x", quota).unwrap());
    let standing = Standing {
        limits: NamedLimits {
            policy_header: Some(policy(&names, &limits).unwrap()),
            names: names.into(),
            limits: limits.into(),
        },
        decision: Decision::admitted(
            1,
            Timestamp::default(),
            vec![state(999_983, 3_599), state(0, 10)],
        ),
    };
    // The policy is shared from its first clone on, and the map has room.
    standing.in_style(HeaderStyle::Draft11);
    let mut headers = HeaderMap::with_capacity(8);
    let allocations = allocation_counter::measure(|| {
        HeaderStyle::Draft11.append(&mut headers, &standing.limits, &standing.decision);
    });
    assert_eq!(allocations.count_total, 1);
    assert_eq!(
        headers[RATELIMIT],
        "\"api.rate\";r=999983;t=3599, \"api.daily\";r=0;t=10"
    );
}
