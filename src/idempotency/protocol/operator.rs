//! What an operator may do to a record, decided by what is there.

use bytes::Bytes;

use super::record::{Flags, Owner, Record, State};
use crate::{backend::Version, clock::Timestamp};

/// What follows when a record is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum OnForget {
    Delete,
    /// Its owner is to be left alone yet.
    Running,
}

/// What follows when a record is to get an answer of an operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::idempotency) enum OnSettle {
    /// Nobody knows what became of it, and nobody else will say.
    Settle,
    /// Its owner is to be left alone yet.
    Running,
    /// It has an answer, or the next request with the key may make one.
    Known,
}

/// What follows when this record, written as `version`, is to be forgotten at the backend's time
/// `now`.
pub(in crate::idempotency) fn on_forget(
    found: &Record,
    version: Version,
    now: Timestamp,
) -> OnForget {
    if found.is_running(version, now) {
        OnForget::Running
    } else {
        OnForget::Delete
    }
}

/// What follows when this record, written as `version`, is to get an operator's answer at the
/// backend's time `now`; `never_again` is what its rule says by now.
pub(in crate::idempotency) fn on_settle(
    found: &Record,
    version: Version,
    now: Timestamp,
    never_again: bool,
) -> OnSettle {
    if found.is_running(version, now) {
        OnSettle::Running
    } else if found.is_outcome_unknown(never_again) {
        OnSettle::Settle
    } else {
        OnSettle::Known
    }
}

/// Whether the record that was `forgotten` as this version is gone, when `found` is there now as
/// `version`: if that was claimed anew, and is not the same one in a later state.
pub(in crate::idempotency) fn is_forgotten(
    forgotten: Version,
    found: &Record,
    version: Version,
) -> bool {
    found.attempt == 1 && found.epoch(version) > forgotten
}

impl Record {
    /// This record, which has this version, with the answer of an operator.
    ///
    /// Its owner is a new one: the old one, should it live, finds that the key is lost to somebody
    /// who has answered, and gives this answer in the place of its own.
    pub(in crate::idempotency) fn settled(
        &self,
        version: Version,
        operator: Owner,
        answer: Bytes,
        is_sealed: bool,
    ) -> Self {
        Self {
            state: State::Completed,
            flags: Flags {
                is_started: true,
                never_again: self.flags.never_again,
                is_sealed,
                ..Flags::default()
            },
            epoch: Some(self.epoch(version)),
            owner: operator,
            payload: answer,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::idempotency::protocol::Fingerprint;

    const WRITTEN: Version = Version::from_u64(5_000_000);
    const LEASE: Duration = Duration::from_secs(10);

    fn record(state: State, flags: Flags) -> Record {
        Record {
            state,
            flags,
            attempt: 3,
            epoch: None,
            lease: LEASE,
            ttl: Duration::from_secs(60),
            owner: Owner::random().unwrap(),
            fingerprint: Fingerprint::from_bytes([7; 32]),
            rule: Bytes::from_static(b"orders"),
            payload: Bytes::from_static(b"a step"),
        }
    }

    /// The backend's time when the record is this old.
    fn after(age: Duration) -> Timestamp {
        WRITTEN.written_at() + age
    }

    fn started(never_again: bool) -> Flags {
        Flags {
            is_started: true,
            never_again,
            ..Flags::default()
        }
    }

    #[test]
    fn an_owner_is_left_alone_to_the_last_microsecond_of_its_lease() {
        let claimed = record(State::InProgress, started(true));
        let (last, over) = (LEASE.saturating_sub(Duration::from_micros(1)), LEASE);
        let forget = |age| on_forget(&claimed, WRITTEN, after(age));
        let settle = |age| on_settle(&claimed, WRITTEN, after(age), false);
        assert_eq!(
            (forget(last), settle(last)),
            (OnForget::Running, OnSettle::Running)
        );
        assert_eq!(
            (forget(over), settle(over)),
            (OnForget::Delete, OnSettle::Settle)
        );
        // A clock that stepped back takes nobody's lease away.
        let earlier = Timestamp::from_micros(1);
        assert_eq!(on_forget(&claimed, WRITTEN, earlier), OnForget::Running);
        assert_eq!(
            on_settle(&claimed, WRITTEN, earlier, true),
            OnSettle::Running
        );
    }

    #[test]
    fn an_orphan_is_settled_only_if_it_began_and_does_not_begin_again() {
        let settle = |flags, never| {
            on_settle(
                &record(State::InProgress, flags),
                WRITTEN,
                after(LEASE),
                never,
            )
        };
        let unstarted = Flags {
            never_again: true,
            ..Flags::default()
        };
        assert_eq!(settle(unstarted, true), OnSettle::Known);
        assert_eq!(settle(started(false), false), OnSettle::Known);
        assert_eq!(settle(started(false), true), OnSettle::Settle);
        assert_eq!(settle(started(true), false), OnSettle::Settle);
    }

    #[test]
    fn what_is_over_is_settled_only_if_nobody_knows_how_and_no_attempt_follows() {
        let at_once = after(Duration::ZERO);
        let settle = |state, flags| on_settle(&record(state, flags), WRITTEN, at_once, true);
        let unknown = Flags {
            is_unknown: true,
            ..started(true)
        };
        assert_eq!(settle(State::Completed, unknown), OnSettle::Settle);
        assert_eq!(settle(State::Completed, started(true)), OnSettle::Known);
        assert_eq!(settle(State::Failed, unknown), OnSettle::Known);
        let unaccounted = Flags {
            is_unaccounted: true,
            ..Flags::default()
        };
        assert_eq!(settle(State::Failed, unaccounted), OnSettle::Settle);
        for state in [State::Completed, State::Failed] {
            let found = record(state, started(true));
            assert_eq!(on_forget(&found, WRITTEN, at_once), OnForget::Delete);
        }
    }

    #[test]
    fn a_settled_record_has_a_new_owner_and_keeps_epoch_attempt_and_request() {
        let found = record(
            State::InProgress,
            Flags {
                is_sealed: true,
                is_unknown: true,
                is_not_replayable: true,
                ..started(true)
            },
        );
        let operator = Owner::random().unwrap();
        let settled = found.settled(WRITTEN, operator, Bytes::from_static(b"paid"), false);
        let expected = Record {
            epoch: Some(WRITTEN),
            owner: operator,
            payload: Bytes::from_static(b"paid"),
            ..record(State::Completed, started(true))
        };
        assert_eq!(settled, expected);
        let earlier = Version::from_u64(4_000_000);
        let renewed = Record {
            epoch: Some(earlier),
            ..found
        };
        let settled = renewed.settled(WRITTEN, operator, Bytes::new(), true);
        assert_eq!(settled.epoch, Some(earlier));
        assert!(settled.flags.is_sealed);
    }

    #[test]
    fn a_record_is_gone_if_another_first_claim_came_after_it() {
        let later = Version::from_u64(WRITTEN.as_u64() + 1);
        let found = |attempt, epoch| Record {
            attempt,
            epoch,
            ..record(State::InProgress, Flags::default())
        };
        assert!(is_forgotten(WRITTEN, &found(1, None), later));
        assert!(is_forgotten(WRITTEN, &found(1, Some(later)), later));
        // The same claim, which wrote on.
        assert!(!is_forgotten(WRITTEN, &found(1, Some(WRITTEN)), later));
        // A takeover.
        assert!(!is_forgotten(WRITTEN, &found(2, None), later));
    }
}
