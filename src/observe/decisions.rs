//! Counting what a layer decides, rule by rule.

use std::sync::Arc;
#[cfg(feature = "metrics")]
use std::sync::OnceLock;

use super::LayerName;
#[cfg(feature = "metrics")]
use super::REQUESTS;

/// The decisions on the requests of one rule; what they are counted under is put together once.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(dead_code, reason = "nobody listens")
)]
pub(crate) struct Decisions {
    layer: LayerName,
    rule: Arc<str>,
    /// The outcomes so far and their metrics.
    #[cfg(feature = "metrics")]
    counted: [OnceLock<(&'static str, metrics::Key)>; MAX_OUTCOMES],
}

impl Decisions {
    pub(crate) fn new(layer: LayerName, rule: &Arc<str>) -> Self {
        Self {
            layer,
            rule: Arc::clone(rule),
            #[cfg(feature = "metrics")]
            counted: Default::default(),
        }
    }

    /// Tells what the layer decided on a request; `outcome` is one of the layer's closed list.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        expect(unused_variables, clippy::unused_self, reason = "nobody listens")
    )]
    pub(crate) fn record(&self, outcome: &'static str) {
        #[cfg(feature = "metrics")]
        self.count(outcome);

        // A target is part of an event's static description, hence an event for each.
        #[cfg(feature = "tracing")]
        match self.layer {
            #[cfg(feature = "rate-limit")]
            LayerName::RateLimit => {
                tracing::debug!(target: "tower_stash::rate_limit", rule = %self.rule, outcome);
            }
            #[cfg(feature = "rate-limit")]
            LayerName::ConcurrencyLimit => {
                tracing::debug!(target: "tower_stash::concurrency_limit", rule = %self.rule, outcome);
            }
            #[cfg(feature = "session")]
            LayerName::Session => {
                tracing::debug!(target: "tower_stash::session", rule = %self.rule, outcome);
            }
            #[cfg(feature = "idempotency")]
            LayerName::Idempotency => {
                tracing::debug!(target: "tower_stash::idempotency", rule = %self.rule, outcome);
            }
            #[cfg(feature = "cache")]
            LayerName::Cache => {
                tracing::debug!(target: "tower_stash::cache", rule = %self.rule, outcome);
            }
        }
    }

    #[cfg(feature = "metrics")]
    fn count(&self, outcome: &'static str) {
        for counted in &self.counted {
            let (known, key) = counted.get_or_init(|| (outcome, self.key(outcome)));
            if *known == outcome {
                metrics::with_recorder(|recorder| {
                    recorder.register_counter(key, &METADATA).increment(1);
                });
                return;
            }
        }
    }

    #[cfg(feature = "metrics")]
    fn key(&self, outcome: &'static str) -> metrics::Key {
        let labels = [
            metrics::Label::new("layer", self.layer.as_str()),
            metrics::Label::new("rule", Arc::clone(&self.rule)),
            metrics::Label::new("outcome", outcome),
        ];
        metrics::Key::from_parts(REQUESTS.name, labels.to_vec())
    }
}

#[cfg(feature = "metrics")]
static METADATA: metrics::Metadata<'static> =
    metrics::Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

/// More outcomes than any layer has.
#[cfg(feature = "metrics")]
const MAX_OUTCOMES: usize = 16;
