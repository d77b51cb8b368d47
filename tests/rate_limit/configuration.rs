//! Mistakes come out at construction, with what to write instead.

use std::time::Duration;

use tower_stash::{
    ConfigError,
    backend::MemoryBackend,
    policy::{KeyExtractor as _, Routes, Subject, header, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

const MINUTE: Duration = Duration::from_secs(60);

fn subject() -> Subject {
    peer_ip().or_shared()
}

fn rule(name: &str, limit: &str, quota: Quota) -> Result<RateLimitRule, ConfigError> {
    RateLimitRule::new(name, subject(), [(limit, quota)])
}

/// The error names the mistake and says what to write instead.
fn says(result: Result<impl Sized, ConfigError>, mistake: &str, instead: &str) {
    let Err(error) = result else {
        panic!("accepted, though {mistake}")
    };
    let message = error.to_string();
    assert!(
        message.contains(mistake) && message.contains(instead),
        "{message}"
    );
}

#[test]
fn quotas_that_cannot_work_are_refused_with_what_to_write() {
    says(
        rule("r", "l", Quota::sliding(0, MINUTE)),
        "limit \"r.l\": a limit of 0",
        "write 1 or more",
    );
    says(
        rule("r", "l", Quota::fixed(5, Duration::ZERO)),
        "a window of 0",
        "e.g. MINUTE",
    );
    says(
        rule("r", "l", Quota::fixed(5, Duration::from_micros(1_500))),
        "window",
        "whole milliseconds",
    );
    says(
        rule("r", "l", Quota::fixed(5, Duration::MAX)),
        "window",
        "366 days",
    );
    says(
        rule("r", "l", Quota::log(10_001, MINUTE)),
        "at most 10000",
        "Quota::sliding(10001",
    );
    says(
        rule("r", "l", Quota::counter(1 << 40, MINUTE)),
        "2^51",
        "smaller limit",
    );
    says(
        rule("r", "l", Quota::per_second(5).with_weight(0)),
        "weight of 0",
        "leave the limit out",
    );
    says(
        rule(
            "r",
            "l",
            Quota::fixed_aligned(5, MINUTE).with_offset(MINUTE),
        ),
        "offset",
        "less than the window",
    );
}

#[test]
fn a_weight_that_never_fits_is_refused() {
    let heavy = Quota::sliding(2, MINUTE).with_weight(3);
    says(
        rule("r", "l", heavy),
        "weight of 3 never fits",
        "a larger limit",
    );
}

#[test]
fn a_million_a_month_is_a_fixed_window_like_any_other() {
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    assert!(rule("r", "l", Quota::fixed(1_000_000, month)).is_ok());
}

#[test]
fn names_that_do_not_fit_a_header_are_refused() {
    says(
        rule("", "l", Quota::per_minute(5)),
        "rule name \"\"",
        "A-Z a-z 0-9",
    );
    says(
        rule("r", "a b", Quota::per_minute(5)),
        "limit name \"a b\"",
        "A-Z a-z 0-9",
    );
    says(
        rule("\"", "l", Quota::per_minute(5)),
        "rule name",
        "A-Z a-z 0-9",
    );
    says(
        rule(&"x".repeat(65), "l", Quota::per_minute(5)),
        "rule name",
        "one to 64",
    );
}

#[test]
fn a_rule_has_one_to_eight_limits_of_different_names() {
    says(
        RateLimitRule::new("r", subject(), []),
        "has 0 limits",
        "one to 8",
    );
    let nine =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| (name, Quota::per_minute(5)));
    says(
        RateLimitRule::new("r", subject(), nine),
        "has 9 limits",
        "one to 8",
    );
    let twice = [("a", Quota::per_minute(5)), ("a", Quota::per_hour(50))];
    says(
        RateLimitRule::new("r", subject(), twice),
        "two limits named \"a\"",
        "a name of its own",
    );
}

#[test]
fn two_rules_of_one_name_and_different_shape_are_refused() {
    let five = rule("api", "minute", Quota::per_minute(5)).unwrap();
    let six = rule("api", "minute", Quota::per_minute(6)).unwrap();
    let routes = Routes::new().get("/a", five.clone()).get("/b", six);
    says(
        RateLimitLayer::new(MemoryBackend::new(), routes),
        "two rules named \"api\"",
        "another name",
    );

    let same = Routes::new().get("/a", five.clone()).get("/b", five);
    assert!(RateLimitLayer::new(MemoryBackend::new(), same).is_ok());
}

#[test]
fn mistakes_in_routes_and_extractors_come_out_at_construction() {
    let five = rule("api", "minute", Quota::per_minute(5)).unwrap();
    let twice = Routes::new()
        .get("/a", five.clone())
        .get("/a", five.clone());
    assert!(RateLimitLayer::new(MemoryBackend::new(), twice).is_err());
    let unfinished = Routes::new().get("/a/{id", five);
    assert!(RateLimitLayer::new(MemoryBackend::new(), unfinished).is_err());
    let bad_header = RateLimitRule::new(
        "r",
        header("x api key").or_reject(),
        [("l", Quota::per_minute(5))],
    );
    assert!(bad_header.is_err());
}
