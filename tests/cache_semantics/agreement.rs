//! What both crates speak of.

use std::time::Duration;

use proptest::{prelude::*, strategy::ValueTree as _};
use tower_stash::cache::NotStored;

use crate::{Case, Line, date};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn both_serve_the_same(case in case()) {
        let ours = case.is_served_by_us();
        let theirs = case.is_served_by_them();
        if differs_knowingly(&case, ours) {
            return Ok(());
        }
        prop_assert_eq!(ours.unwrap_or(false), theirs, "{:?}", ours);
    }
}

#[test]
fn much_of_what_is_compared_is_served_and_much_is_not() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut served = 0;
    for _ in 0..1_000 {
        let case = case().new_tree(&mut runner).expect("a case").current();
        served += usize::from(case.is_served_by_us() == Ok(true));
    }
    assert!((100..900).contains(&served), "{served} of 1000");
}

/// What [`faults`](crate::faults) shows of `max-stale`.
fn differs_knowingly(case: &Case, ours: Result<bool, NotStored>) -> bool {
    let says = |lines: &[Line], word: &str| lines.iter().any(|(_, value)| value.contains(word));
    let is_useless = matches!(ours, Err(NotStored::NoFreshness | NotStored::NoValidator));
    says(&case.later, "max-stale")
        && (is_useless || says(&case.lines, "s-maxage") || says(&case.lines, "no-cache"))
}

fn case() -> impl Strategy<Value = Case> {
    let statuses = prop::sample::select(vec![
        200, 200, 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
    ]);
    let after = (0_u64..200).prop_map(|seconds| Duration::from_millis(seconds * 1_000 + 500));
    (asked(), statuses, response(), later(), after).prop_map(
        |(asked, status, lines, later, after)| Case {
            asked,
            status,
            lines,
            later,
            after,
        },
    )
}

fn asked() -> impl Strategy<Value = Vec<Line>> {
    prop_oneof![
        6 => Just(Vec::new()),
        2 => Just(vec![("authorization", "x".to_owned())]),
        1 => Just(vec![("cache-control", "no-store".to_owned())]),
        1 => Just(vec![("cookie", "a=b".to_owned())]),
    ]
}

fn response() -> impl Strategy<Value = Vec<Line>> {
    let directives = prop_oneof![
        6 => (0_u64..200).prop_map(|seconds| format!("max-age={seconds}")),
        3 => (0_u64..200).prop_map(|seconds| format!("s-maxage=\"{seconds}\"")),
        2 => Just("max-age=x".to_owned()),
        8 => prop::sample::select(vec![
            "public", "public", "must-revalidate", "no-transform", "immutable", "x=y", "",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["private", "no-store", "no-cache"]).prop_map(str::to_owned),
    ];
    let directives = prop::collection::vec(directives, 0..4);
    let expires = prop::option::weighted(
        0.4,
        prop_oneof![3 => (-200_i64..200).prop_map(date), 1 => Just("0".to_owned())],
    );
    let made = prop::option::of((0_i64..100).prop_map(date));
    let modified = prop::option::weighted(0.4, (-3_000_i64..10).prop_map(date));
    let age = prop::option::weighted(0.3, (0_u64..100).prop_map(|age| age.to_string()));
    (directives, prop::bool::ANY, expires, made, modified, age).prop_map(
        |(directives, has_one_line, expires, made, modified, age)| {
            let directives = without_second_values(directives);
            let mut lines: Vec<Line> = if has_one_line {
                vec![("cache-control", directives.join(", "))]
            } else {
                let lines = directives.into_iter();
                lines
                    .map(|directive| ("cache-control", directive))
                    .collect()
            };
            let others = [
                ("expires", expires),
                ("date", made),
                ("last-modified", modified),
                ("age", age),
            ];
            lines.extend(
                others
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            lines
        },
    )
}

/// The first of each directive.
fn without_second_values(directives: Vec<String>) -> Vec<String> {
    let name = |directive: &str| directive.split('=').next().unwrap_or_default().to_owned();
    let mut kept: Vec<String> = Vec::new();
    for directive in directives {
        if kept.iter().all(|earlier| name(earlier) != name(&directive)) {
            kept.push(directive);
        }
    }
    kept
}

fn later() -> impl Strategy<Value = Vec<Line>> {
    let directive = prop_oneof![
        (1_u64..200).prop_map(|seconds| format!("max-age={seconds}")),
        (0_u64..200).prop_map(|seconds| format!("min-fresh={seconds}")),
        (0_u64..200).prop_map(|seconds| format!("max-stale={seconds}")),
        Just("max-stale".to_owned()),
        Just("no-cache".to_owned()),
        Just("no-transform".to_owned()),
    ];
    prop_oneof![
        2 => Just(Vec::new()),
        1 => directive.prop_map(|directive| vec![("cache-control", directive)]),
    ]
}
