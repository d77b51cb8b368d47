//! What every backend owes, asked of Redis in every topology.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use tower_stash::{
    backend::{KeyValue as _, Put, PutOptions, RedisBackend},
    clock::Timestamp,
    key::{Key, KeyParts},
    testing::conformance::{self, Case, Fixture},
};

use super::connect;
use crate::{servers::Topology, trial::Bed};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    let capabilities = [
        ("key_value", conformance::key_value()),
        ("index", conformance::index()),
        ("broadcast", conformance::broadcast()),
        ("quotas", conformance::quotas()),
        ("slots", conformance::slots()),
    ];
    let mut trials = Vec::new();
    for topology in Topology::ALL {
        for (capability, cases) in &capabilities {
            trials.extend(
                cases
                    .iter()
                    .map(|case| trial(bed, topology, capability, *case)),
            );
        }
    }
    trials
}

fn trial(bed: &Bed, topology: Topology, capability: &str, case: Case<Redis>) -> Trial {
    let name = format!("conformance::{capability}::{}", case.name());
    bed.trial(topology, &name, async move |servers| {
        let backend = connect(servers.address(topology).await?).await?;
        case.run(Arc::new(Redis(backend.clone()))).await;
        backend.close().await;
        Ok(())
    })
}

/// A Redis server on its own clock.
struct Redis(RedisBackend);

impl Fixture for Redis {
    type Backend = RedisBackend;

    fn backend(&self) -> &RedisBackend {
        &self.0
    }

    async fn now(&self) -> Timestamp {
        let clock = Key::custom("clock", &KeyParts::new());
        let put = self
            .0
            .put(&clock, "".into(), PutOptions::new(Duration::from_secs(60)))
            .await;
        match put.expect("put answers") {
            Put::Stored(version) => version.written_at(),
            Put::Conflict { now, .. } => now,
        }
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
