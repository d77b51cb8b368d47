//! When calls go through: the breaker's state, without waiting, locks or a clock.

use std::time::Duration;

use crate::{
    backend::{BackendErrorKind, Result},
    clock::Monotonic,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// How many outages in a row open the circuit.
    pub(super) failures: u32,
    /// How long after an outage it takes a probe.
    pub(super) probe_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failures: 5,
            probe_after: Duration::from_secs(1),
        }
    }
}

#[derive(Debug)]
pub(super) struct Circuit {
    settings: Settings,
    state: State,
    /// Which state this is, counted from the first; verdicts on calls of earlier ones are void.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls go through; so many outages were met in a row.
    Closed { failures: u32 },
    /// Calls fail, until one after this wait is the probe.
    Open { since: Monotonic, wait: Duration },
    /// Calls fail, but for the one that is under way.
    Probing,
}

/// Leave for one call to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    pub(super) generation: u64,
}

/// What a call says about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers, if only that it is full or cannot read what it stores.
    Answers,
    /// It is in trouble.
    Outage,
    /// Nothing: the call was dropped, or was wrong before it reached the backend.
    Unknown,
}

impl Verdict {
    pub(super) fn of<T>(answer: &Result<T>) -> Self {
        match answer {
            Ok(_) => Self::Answers,
            Err(error) => match error.kind() {
                BackendErrorKind::InvalidInput => Self::Unknown,
                // Refused at once: a server that is full still answers reads, and lets go.
                BackendErrorKind::Rejected | BackendErrorKind::Corrupt => Self::Answers,
                _ => Self::Outage,
            },
        }
    }
}

impl Circuit {
    pub(super) const fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
            generation: 0,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// The generation, if calls go through and no failure is counted.
    pub(super) fn spotless(&self) -> Option<u64> {
        (self.state == State::Closed { failures: 0 }).then_some(self.generation)
    }

    /// Lets a call through, or not.
    pub(super) fn admit(&mut self, now: Monotonic) -> Option<Permit> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { since, wait } if now.saturating_duration_since(since) >= wait => {
                self.enter(State::Probing);
            }
            State::Open { .. } | State::Probing => return None,
        }
        Some(Permit {
            generation: self.generation,
        })
    }

    /// Takes note of what became of a call that was let through.
    pub(super) fn settle(&mut self, permit: Permit, verdict: Verdict, now: Monotonic) {
        if permit.generation != self.generation {
            return;
        }
        let open = |wait| State::Open { since: now, wait };
        match (self.state, verdict) {
            (State::Closed { failures }, Verdict::Outage) => {
                let failures = failures.saturating_add(1);
                if failures < self.settings.failures {
                    self.state = State::Closed { failures };
                } else {
                    self.enter(open(self.settings.probe_after));
                }
            }
            (State::Closed { .. }, Verdict::Answers) => self.state = State::Closed { failures: 0 },
            (State::Closed { .. }, Verdict::Unknown) | (State::Open { .. }, _) => {}
            (State::Probing, Verdict::Outage) => self.enter(open(self.settings.probe_after)),
            (State::Probing, Verdict::Answers) => self.enter(State::Closed { failures: 0 }),
            (State::Probing, Verdict::Unknown) => self.enter(open(Duration::ZERO)),
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backend::BackendError, clock::monotonic_now};

    const SECOND: Duration = Duration::from_secs(1);

    fn circuit() -> Circuit {
        Circuit::new(Settings {
            failures: 3,
            probe_after: SECOND,
        })
    }

    /// A circuit that opened just now.
    fn open_circuit(now: Monotonic) -> Circuit {
        let mut circuit = circuit();
        fail(&mut circuit, 3, now);
        assert!(circuit.is_open());
        circuit
    }

    fn fail(circuit: &mut Circuit, times: u32, now: Monotonic) {
        for _ in 0..times {
            let permit = circuit.admit(now).expect("it is closed");
            circuit.settle(permit, Verdict::Outage, now);
        }
    }

    #[test]
    fn it_opens_at_the_last_of_so_many_failures_and_not_before() {
        let now = monotonic_now();
        let mut circuit = circuit();
        fail(&mut circuit, 2, now);
        assert!(!circuit.is_open());
        fail(&mut circuit, 1, now);
        assert!(circuit.is_open());
        assert_eq!(circuit.admit(now), None);
    }

    #[test]
    fn zero_failures_mean_one() {
        let now = monotonic_now();
        let mut circuit = Circuit::new(Settings {
            failures: 0,
            probe_after: SECOND,
        });
        assert!(!circuit.is_open());
        fail(&mut circuit, 1, now);
        assert!(circuit.is_open());
    }

    #[test]
    fn an_answer_in_between_starts_the_count_anew() {
        let now = monotonic_now();
        let mut circuit = circuit();
        fail(&mut circuit, 2, now);
        let permit = circuit.admit(now).expect("it is closed");
        circuit.settle(permit, Verdict::Answers, now);
        fail(&mut circuit, 2, now);
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_dropped_call_neither_counts_nor_starts_the_count_anew() {
        let now = monotonic_now();
        let mut circuit = circuit();
        fail(&mut circuit, 2, now);
        let permit = circuit.admit(now).expect("it is closed");
        circuit.settle(permit, Verdict::Unknown, now);
        assert!(!circuit.is_open());
        fail(&mut circuit, 1, now);
        assert!(circuit.is_open());
    }

    #[test]
    fn one_probe_goes_through_after_the_wait_and_no_other_call() {
        let now = monotonic_now();
        let mut circuit = open_circuit(now);
        let early = now + SECOND - Duration::from_nanos(1);
        assert_eq!(circuit.admit(early), None);
        assert!(circuit.admit(now + SECOND).is_some());
        assert_eq!(circuit.admit(now + SECOND), None);
        assert_eq!(circuit.admit(now + 100 * SECOND), None);
        assert!(circuit.is_open());
    }

    #[test]
    fn a_probe_that_is_answered_closes_it_with_no_failure_counted() {
        let now = monotonic_now();
        let mut circuit = open_circuit(now);
        let probe = circuit.admit(now + SECOND).expect("it is time");
        circuit.settle(probe, Verdict::Answers, now + SECOND);
        assert!(!circuit.is_open());
        fail(&mut circuit, 2, now);
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_the_whole_wait_again() {
        let now = monotonic_now();
        let mut circuit = open_circuit(now);
        let probe = circuit.admit(now + SECOND).expect("it is time");
        let failed = now + 3 * SECOND;
        circuit.settle(probe, Verdict::Outage, failed);
        let early = failed + SECOND - Duration::from_nanos(1);
        assert_eq!(circuit.admit(early), None);
        assert!(circuit.admit(failed + SECOND).is_some());
    }

    #[test]
    fn a_probe_that_is_dropped_makes_room_for_the_next() {
        let now = monotonic_now();
        let mut circuit = open_circuit(now);
        let probe = circuit.admit(now + SECOND).expect("it is time");
        circuit.settle(probe, Verdict::Unknown, now + SECOND);
        assert!(circuit.is_open());
        assert!(circuit.admit(now + SECOND).is_some());
        assert_eq!(circuit.admit(now + SECOND), None);
    }

    #[test]
    fn calls_begun_before_it_opened_have_no_say() {
        for verdict in [Verdict::Answers, Verdict::Outage, Verdict::Unknown] {
            let now = monotonic_now();
            let mut circuit = circuit();
            let late = circuit.admit(now).expect("it is closed");
            fail(&mut circuit, 3, now);

            circuit.settle(late, verdict, now);
            assert_eq!(circuit.admit(now), None, "it stays open at {verdict:?}");

            let probe = circuit.admit(now + SECOND).expect("it is time");
            circuit.settle(late, verdict, now + SECOND);
            assert_eq!(circuit.admit(now + SECOND), None, "the probe decides");

            circuit.settle(probe, Verdict::Answers, now + SECOND);
            fail(&mut circuit, 2, now);
            circuit.settle(late, verdict, now + SECOND);
            assert!(!circuit.is_open(), "an old failure is not the third");
            fail(&mut circuit, 1, now);
            assert!(circuit.is_open(), "nor does an old answer forgive two");
        }
    }

    #[test]
    fn only_outages_count_and_a_call_that_was_wrong_proves_nothing() {
        let verdict = |kind| Verdict::of::<()>(&Err(BackendError::new(kind, "do it")));
        for kind in BackendErrorKind::ALL {
            let expected = match kind {
                BackendErrorKind::Rejected | BackendErrorKind::Corrupt => Verdict::Answers,
                BackendErrorKind::InvalidInput => Verdict::Unknown,
                _ => Verdict::Outage,
            };
            assert_eq!(verdict(kind), expected, "{kind:?}");
        }
        assert_eq!(Verdict::of(&Ok(())), Verdict::Answers);
    }
}
