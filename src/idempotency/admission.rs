//! Whether a request may run: it claims its key, or waits for the answer of who has it.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout_at};

use super::{
    engine::{Claim, ClaimError, Found},
    problem::Problem,
    protocol::{Fingerprint, Record, State, Terms},
    race::{First, first},
    rooms::{Called, Seat},
    rule::{InProgress, Outage, Shape},
    shared::Core,
};
use crate::{
    backend::GetOptions,
    clock::{Monotonic, monotonic_in},
    key::Key,
    observe::WarnSite,
};

/// What is to be done with a request.
#[derive(Debug)]
pub(super) enum Admission {
    /// Run it: the key is its own.
    Run(Arc<Claim>),
    /// Give it this answer.
    Replay(Arc<Record>),
    /// Run it without protection, as its rule wants while the backend does not answer.
    Bypass,
    Reject(Problem),
}

impl Core {
    /// Claims the key, and waits if the rule says so.
    ///
    /// # Cancel safety
    ///
    /// That of [`Store::claim`](super::engine::Store::claim).
    pub(super) async fn admit(
        &self,
        key: &Key,
        fingerprint: &Fingerprint,
        rule: &Shape,
    ) -> Admission {
        let found = match (
            self.store.claim(key, *fingerprint, &rule.terms).await,
            rule.in_progress,
        ) {
            (Ok(Found::Busy { left }), InProgress::Wait(budget)) => {
                let until = monotonic_in(budget);
                match self.rooms.enter(key) {
                    Some(seat) => {
                        self.wait(seat, key, fingerprint, &rule.terms, until, left)
                            .await
                    }
                    None => Ok(Found::Busy { left }),
                }
            }
            (found, _) => found,
        };
        match found {
            Ok(Found::Ours(claim)) => Admission::Run(claim),
            Ok(Found::Answer(record)) => Admission::Replay(record),
            Ok(Found::Mismatch) => Admission::Reject(Problem::KeyReused),
            Ok(Found::Busy { left }) => Admission::Reject(Problem::InProgress { left }),
            Ok(Found::Unknown) => Admission::Reject(Problem::OutcomeUnknown),
            Err(ClaimError::Corrupt) => Admission::Reject(Problem::RecordUnreadable),
            Err(ClaimError::NewerFormat) => Admission::Reject(Problem::Unavailable),
            Err(ClaimError::Unavailable(error)) => {
                UNCLAIMED.warn(&error);
                match rule.outage {
                    Outage::Reject => Admission::Reject(Problem::Unavailable),
                    Outage::PassThrough => Admission::Bypass,
                }
            }
        }
    }

    /// Asks again and again, one request of this process for all that wait for the key.
    async fn wait(
        &self,
        seat: Seat,
        key: &Key,
        fingerprint: &Fingerprint,
        terms: &Terms,
        until: Monotonic,
        mut left: Duration,
    ) -> Result<Found, ClaimError> {
        let _turn = match timeout_at(until, seat.called()).await {
            Ok(Called::Answer(record)) => return Ok(found_answer(record, fingerprint)),
            Ok(Called::Turn(turn)) => turn,
            Err(_) => return Ok(Found::Busy { left }),
        };
        for attempt in 0.. {
            let pause = timeout_at(until, pause(attempt));
            match first(seat.told(), pause).await {
                First::One(record) => return Ok(found_answer(record, fingerprint)),
                First::Other(Err(_)) => break,
                First::Other(Ok(())) => {}
            }
            match self.store.claim(key, *fingerprint, terms).await {
                Ok(Found::Busy { left: now_left }) => left = now_left,
                Ok(Found::Answer(record)) => {
                    seat.announce(&record);
                    return Ok(Found::Answer(record));
                }
                // Somebody was at work, and that nobody can be asked now is no news of them.
                Err(ClaimError::Unavailable(error)) => UNCLAIMED.warn(&error),
                settled => return settled,
            }
        }
        Ok(Found::Busy { left })
    }

    /// The answer of whoever took this key from a request that had it, if it comes in time.
    pub(super) async fn await_answer(
        &self,
        key: &Key,
        fingerprint: &Fingerprint,
        budget: Duration,
    ) -> Option<Arc<Record>> {
        let until = monotonic_in(budget);
        for attempt in 0.. {
            timeout_at(until, pause(attempt)).await.ok()?;
            let read = self.store.get(key, GetOptions::new()).await;
            let entry = read.ok().flatten()?;
            let record = Record::decode(entry.value).ok()?;
            match record.state {
                _ if record.fingerprint != *fingerprint => return None,
                State::Completed => return Some(Arc::new(record)),
                State::Failed => return None,
                State::InProgress => {}
            }
        }
        None
    }

    /// Tells those who wait in this process what is recorded under this claim.
    pub(super) async fn announce(&self, claim: &Claim) {
        if self.rooms.is_awaited(claim.key())
            && let Some(record) = claim.answer().await
        {
            self.rooms.announce(claim.key(), &record);
        }
    }
}

fn found_answer(record: Arc<Record>, fingerprint: &Fingerprint) -> Found {
    if record.fingerprint == *fingerprint {
        Found::Answer(record)
    } else {
        Found::Mismatch
    }
}

/// Between two questions: 50 to 500 ms, longer each time, and never the same for two.
pub(super) async fn pause(attempt: u32) {
    let longest = 100_u64 << attempt.min(3);
    let longest = longest.min(500);
    let chance = getrandom::u64().unwrap_or_default() % (longest / 2);
    sleep(Duration::from_millis(longest / 2 + chance)).await;
}

/// Where requests are not claimed, because the backend does not answer.
static UNCLAIMED: WarnSite = WarnSite::new("idempotency: claim");
