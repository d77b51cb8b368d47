//! What happens in a schedule: all of it is chosen by one number.

use std::time::Duration;

use tower_stash::idempotency::{IdempotencyRule, InProgress, Recovery, StorePolicy, Unrecorded};

use super::chance::Chance;

/// Requests with one key, and what befalls them.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) pace: Pace,
    /// One for each instance.
    pub(crate) rules: Vec<RuleShape>,
    pub(crate) requests: Vec<Sending>,
    /// What becomes of the calls of each instance that are no puts, in their order.
    pub(crate) other_calls: Vec<Vec<Fate>>,
    pub(crate) events: Vec<(Duration, Event)>,
    /// When all instances die, if not after all is answered.
    pub(crate) doom: Option<Duration>,
    /// The store does to records what it must not.
    pub(crate) tampering: Tampering,
}

/// What all times are multiples of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) lease: Duration,
    /// How long an instance waits for the store.
    pub(crate) patience: Duration,
    /// By so much whatever takes time may take longer.
    pub(crate) slack: Duration,
}

/// What the rule of an instance says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleShape {
    pub(crate) recovery: Recovery,
    pub(crate) store: StorePolicy,
    pub(crate) in_progress: InProgress,
    pub(crate) lease: Duration,
    pub(crate) max_execution: Duration,
    pub(crate) retention: Duration,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) at: Duration,
    pub(crate) instance: usize,
    pub(crate) body: &'static str,
    /// How long its handler takes, if it runs.
    pub(crate) takes: Duration,
    pub(crate) ends: Ends,
    /// When its client goes away, counted from `at`.
    pub(crate) hangs_up: Option<Duration>,
    /// What becomes of the puts of its claim, in their order.
    pub(crate) puts: Vec<Fate>,
}

/// How a handler ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Status(u16),
    /// With this status, and as if it had done nothing.
    NotExecuted(u16),
    TooLarge,
    BrokenBody,
    Error,
    Panic,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It takes so long there, and so long back.
    Pass(Duration, Duration),
    /// It is refused.
    Refuse,
    /// It gets lost, and its caller waits as long as it can.
    LoseCall,
    /// The connection is lost when it has arrived.
    LoseReply(Duration),
    /// It arrives after so long, when its caller may have given up.
    Late(Duration),
    /// The connection is lost at once, and it arrives after so long all the same.
    LostAndLate(Duration),
}

/// What happens besides requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// All that this instance does ends at once, and another one takes its place.
    Crash(usize),
    /// It does nothing for so long, and knows nothing of it.
    Pause(usize, Duration),
    /// The store is not reached by anyone for so long.
    Outage(Duration),
    /// The store's clock is set back.
    ClockBack(Duration),
    /// The record is lost.
    Delete,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tampering {
    #[default]
    None,
    /// What must not begin again is not remembered: two rules that differ become the forbidden
    /// pair, one that answers what is not recorded, and one that runs again.
    ForgetsNever,
}

impl Schedule {
    /// The schedule with this number.
    pub(crate) fn with_seed(seed: u64, pace: Pace) -> Self {
        Draw {
            chance: Chance::new(seed),
            pace,
            trouble: 0,
            is_slow: false,
            is_lossy: false,
        }
        .schedule()
    }

    /// Whether a record may be lost before its time.
    pub(crate) fn loses_records(&self) -> bool {
        self.events.iter().any(|(_, event)| *event == Event::Delete)
    }

    /// How far the store's clock is set back in all.
    pub(crate) fn set_back(&self) -> Duration {
        let events = self.events.iter();
        let steps = events.filter_map(|(_, event)| match event {
            Event::ClockBack(by) => Some(*by),
            _ => None,
        });
        steps.sum()
    }
}

impl RuleShape {
    pub(crate) fn rule(&self) -> IdempotencyRule {
        let rule = IdempotencyRule::new("orders", self.recovery).unwrap();
        let rule = rule.with_max_execution(self.max_execution).unwrap();
        let rule = rule.with_lease(self.lease).unwrap();
        let rule = rule.with_retention(self.retention).unwrap();
        rule.with_store(self.store)
            .with_in_progress(self.in_progress)
            .with_answer_limit(ANSWER_LIMIT)
    }

    pub(crate) fn is_never(&self) -> bool {
        matches!(self.recovery, Recovery::Never(_))
    }

    pub(crate) fn answers_unrecorded(&self) -> bool {
        self.recovery == Recovery::Never(Unrecorded::Answer)
    }
}

/// Draws a schedule.
struct Draw {
    chance: Chance,
    pace: Pace,
    /// In percent of the calls.
    trouble: usize,
    /// Answers take long, if not too long.
    is_slow: bool,
    /// Records get lost.
    is_lossy: bool,
}

impl Draw {
    fn schedule(mut self) -> Schedule {
        self.trouble = self.chance.pick(&[0, 5, 10, 20, 40]);
        self.is_slow = self.chance.is_one_in(5);
        self.is_lossy = self.chance.is_one_in(12);
        let instances = 1 + self.chance.below(3);
        let rules = self.rules(instances);
        let count = 2 + self.chance.below(7);
        // Most come while others are under way, some when all is over.
        let longest = self.chance.pick(&[0.1, 2.0, 5.0, 12.0]);
        let requests = (0..count)
            .map(|_| self.request(instances, longest))
            .collect();
        let other_calls = (0..instances).map(|_| self.fates(24)).collect();
        let events = self.events(instances, longest);
        let doom = self.chance.is_one_in(3).then(|| self.moment(longest + 1.0));
        Schedule {
            pace: self.pace,
            rules,
            requests,
            other_calls,
            events,
            doom,
            tampering: Tampering::None,
        }
    }

    /// All of one kind as a rule, since others hide what happens among them.
    fn rules(&mut self, instances: usize) -> Vec<RuleShape> {
        let recoveries = [
            Recovery::ReExecute,
            Recovery::ReExecute,
            Recovery::Never(Unrecorded::Withhold),
            Recovery::Never(Unrecorded::Answer),
        ];
        let common = self.chance.pick(&recoveries);
        let is_mixed = self.chance.is_one_in(4);
        let store = self.chance.pick(&[
            StorePolicy::Settled,
            StorePolicy::Settled,
            StorePolicy::Executed,
            StorePolicy::SuccessOnly,
        ]);
        let budget = self.pace.lease.mul_f64(self.chance.pick(&[0.3, 1.5, 4.0]));
        (0..instances)
            .map(|_| RuleShape {
                recovery: if is_mixed {
                    self.chance.pick(&recoveries)
                } else {
                    common
                },
                store,
                in_progress: self
                    .chance
                    .pick(&[InProgress::Reject, InProgress::Wait(budget)]),
                lease: if is_mixed {
                    self.pace.lease.mul_f64(self.chance.pick(&[1.0, 1.5]))
                } else {
                    self.pace.lease
                },
                max_execution: self.pace.lease * 3,
                retention: self.pace.lease * 6,
            })
            .collect()
    }

    fn request(&mut self, instances: usize, longest: f64) -> Sending {
        let ends = match self.chance.below(20) {
            0 => Ends::Panic,
            1 => Ends::BrokenBody,
            2 => Ends::Error,
            3 => Ends::TooLarge,
            4 | 5 => Ends::NotExecuted(503),
            6..=8 => Ends::Status(500),
            9 => Ends::Status(404),
            10 => Ends::Status(429),
            _ => Ends::Status(201),
        };
        let takes = self
            .chance
            .pick(&[0.0, 0.01, 0.1, 0.1, 0.5, 0.5, 0.95, 1.5, 2.5, 3.7, 5.0]);
        Sending {
            at: self.moment(longest),
            instance: self.chance.below(instances),
            body: if self.chance.is_one_in(if self.is_lossy { 2 } else { 8 }) {
                "pear"
            } else {
                "apple"
            },
            takes: self.pace.lease.mul_f64(takes),
            ends,
            hangs_up: self.chance.is_one_in(6).then(|| self.moment(1.0)),
            puts: self.fates(16),
        }
    }

    fn fates(&mut self, count: usize) -> Vec<Fate> {
        (0..count).map(|_| self.fate()).collect()
    }

    fn fate(&mut self) -> Fate {
        let lease = self.pace.lease;
        let travel = lease.mul_f64(self.chance.pick(&[0.001, 0.001, 0.003, 0.02]));
        if !self.chance.percent(self.trouble) {
            let back = if self.is_slow {
                lease.mul_f64(self.chance.pick(&[0.001, 0.05, 0.2, 0.24]))
            } else {
                travel
            };
            return Fate::Pass(travel, back);
        }
        let late = self
            .chance
            .pick(&[0.05, 0.26, 0.3, 0.5, 0.9, 1.01, 1.3, 2.0, 3.5, 7.0]);
        let late = lease.mul_f64(late);
        match self.chance.below(8) {
            0 => Fate::Refuse,
            1 => Fate::LoseCall,
            2 | 3 => Fate::LoseReply(travel),
            4 => Fate::LostAndLate(late),
            5 => Fate::Pass(lease.mul_f64(0.12), lease.mul_f64(0.12)),
            _ => Fate::Late(late),
        }
    }

    fn events(&mut self, instances: usize, longest: f64) -> Vec<(Duration, Event)> {
        let mut events = Vec::new();
        for _ in 0..self.chance.pick(&[0, 0, 1, 1, 2, 4]) {
            let lease = self.pace.lease;
            let at = self.moment(longest.max(1.5));
            let of = self.chance.below(instances);
            let kinds = if self.is_lossy { 16 } else { 11 };
            let event = match self.chance.below(kinds) {
                0..=3 => Event::Crash(of),
                4..=6 => Event::Pause(
                    of,
                    lease.mul_f64(self.chance.pick(&[0.2, 0.7, 1.1, 2.0, 3.0])),
                ),
                7..=9 => Event::Outage(lease.mul_f64(self.chance.pick(&[0.1, 0.5, 1.2, 3.0]))),
                10 => Event::ClockBack(lease.mul_f64(self.chance.pick(&[0.3, 1.0, 2.5]))),
                _ => Event::Delete,
            };
            events.push((at, event));
        }
        events
    }

    fn moment(&mut self, longest: f64) -> Duration {
        let share = u32::try_from(self.chance.below(1_001)).unwrap();
        self.pace.lease.mul_f64(longest) * share / 1_000
    }
}

/// In bytes.
pub(super) const ANSWER_LIMIT: usize = 256;
