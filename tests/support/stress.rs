//! How long properties are tried: `scripts/stress` tries them longer.

/// So many cases, or as many times as many as the variable [`FACTOR`] says.
pub(crate) fn stressed(cases: u32) -> u32 {
    let factor = std::env::var(FACTOR)
        .ok()
        .and_then(|factor| factor.parse().ok())
        .unwrap_or(1);
    cases.saturating_mul(factor)
}

const FACTOR: &str = "TOWER_STASH_STRESS";
