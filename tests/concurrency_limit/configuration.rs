//! Mistakes are told when a rule or a layer is made.

use std::time::Duration;

use tower_stash::{
    ConfigError,
    backend::MemoryBackend,
    concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule},
    policy::{KeyExtractor as _, Routes, header, peer_ip},
};

fn rule(name: &str, limit: u64) -> Result<ConcurrencyLimitRule, ConfigError> {
    ConcurrencyLimitRule::new(name, peer_ip().or_shared(), limit)
}

#[test]
fn a_limit_or_a_name_that_cannot_work_is_refused() {
    for (name, limit) in [("api", 0), ("api", 1_000_001), ("", 1), ("a b", 1)] {
        let error = rule(name, limit).unwrap_err().to_string();
        assert!(error.contains(&format!("{name:?}")), "{error}");
        assert!(error.contains("write "), "{error}");
    }
}

#[test]
fn a_lease_that_cannot_work_is_refused() {
    let leases = [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_micros(1_000_001),
        Duration::from_secs(86_401),
    ];
    for lease in leases {
        let error = rule("api", 1).unwrap().with_lease(lease).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("rule \"api\": a lease of "), "{error}");
        assert!(error.contains("write "), "{error}");
    }
}

#[test]
fn a_mistake_in_the_subject_is_told_with_the_rules_name() {
    let error = ConcurrencyLimitRule::new("api", header("not a name").or_skip(), 1).unwrap_err();
    assert!(error.to_string().starts_with("rule \"api\": "), "{error}");
}

#[test]
fn two_rules_of_one_name_must_have_one_limit_and_one_lease() {
    let layer = |other| {
        let routes = Routes::new()
            .get("/a", rule("api", 1).unwrap())
            .get("/b", other);
        ConcurrencyLimitLayer::new(MemoryBackend::new(), routes)
    };
    assert!(layer(rule("api", 1).unwrap()).is_ok());
    assert!(layer(rule("other", 2).unwrap()).is_ok());
    let shorter = rule("api", 1).unwrap().with_lease(Duration::from_secs(1));
    for clash in [rule("api", 2), shorter] {
        let error = layer(clash.unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("two rules named \"api\""), "{error}");
    }
}

#[test]
fn a_rule_shows_its_settings() {
    let shown = format!("{:?}", rule("api", 7).unwrap());
    let expected =
        "ConcurrencyLimitRule { name: \"api\", limit: 7, lease: 30s, outage: Allow, .. }";
    assert_eq!(shown, expected);
}

#[test]
fn a_layer_can_be_cloned_whatever_answers() {
    struct NoClone;

    let layer = ConcurrencyLimitLayer::new(MemoryBackend::new(), rule("api", 1).unwrap());
    let layer = layer.unwrap().with_respond(NoClone);
    let _ = layer.clone();
}
