//! A backend that fails on demand.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, pending},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::backend::{
    BackendError, BackendErrorKind, Op, Result,
    wrapper::{Wrapper, impl_capabilities},
};

/// A backend whose calls fail as a test wants them to, and are counted.
///
/// What a call meets is, in this order: the outage if [it is down](Self::go_down); the next fault
/// of the [script](Self::script), if one is left; at the [fault rate](Self::with_fault_rate) one of
/// the [faults](Self::with_faults), by a schedule that only the [seed](Self::with_seed) decides;
/// none. Clones share script, schedule and counts, so a test keeps one and gives the other away.
///
/// ```
/// use tower_stash::{
///     backend::{BackendErrorKind, KeyValue, MemoryBackend, Op, PutOptions},
///     key::{Key, KeyParts},
///     testing::{Fault, FaultBackend},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let backend = FaultBackend::new(MemoryBackend::new());
/// let key = Key::custom("greeting", &KeyParts::new());
/// let for_a_minute = PutOptions::new(std::time::Duration::from_secs(60));
///
/// backend.script([Fault::LostReply]);
/// let error = backend.put(&key, "hello".into(), for_a_minute).await.unwrap_err();
/// assert!(error.may_have_applied());
///
/// let greeting = backend.get(&key, Default::default()).await.unwrap();
/// assert_eq!(greeting.unwrap().value, "hello");
/// assert_eq!(backend.calls(Op::Put), 1);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultBackend<B> {
    backend: B,
    plan: Arc<Mutex<Plan>>,
    is_seen_as_remote: bool,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: it is answered.
    None,
    /// It fails with an error of this kind, and is not applied.
    Fail(BackendErrorKind),
    /// It is applied, and fails with [`Disconnected`](BackendErrorKind::Disconnected).
    LostReply,
    /// It is applied and answered, after this long; dropped before, it is not applied.
    Delay(Duration),
    /// It is applied at once, and answered after this long.
    LateReply(Duration),
    /// It never ends, and is not applied.
    ///
    /// Layers have no time-out of their own: put the backend into a
    /// [`Timeout`](crate::backend::Timeout), or the request never ends either.
    Hang,
    /// It is applied, and never ends.
    HangAfter,
}

impl<B> FaultBackend<B> {
    /// This backend, without a fault for now.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            plan: Arc::default(),
            is_seen_as_remote: false,
        }
    }

    /// Layers see it as a backend that is reached over a network, and save
    /// calls to it where they can.
    #[must_use]
    pub fn seen_as_remote(mut self) -> Self {
        self.is_seen_as_remote = true;
        self
    }

    /// Faults come by the schedule with this number, 0 if not said: the same ones in each run.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.plan().seed = seed;
        self
    }

    /// This share of the calls meets a fault: from 0.0, which is the default, to 1.0.
    #[must_use]
    pub fn with_fault_rate(self, rate: f64) -> Self {
        self.plan().fault_rate = rate;
        self
    }

    /// Faults that come at the [fault rate](Self::with_fault_rate) are these, each as likely as any
    /// other.
    ///
    /// If not said: unavailable, the reply lost, and a delay of 10 ms.
    #[must_use]
    pub fn with_faults(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.plan().faults = faults.into_iter().collect();
        self
    }

    /// The next calls meet these faults, one each, once the script so far is over.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan().script.extend(faults);
    }

    /// Begins an outage, in which every call fails with
    /// [`Unavailable`](BackendErrorKind::Unavailable) and the script waits.
    pub fn go_down(&self) {
        self.plan().is_down = true;
    }

    /// Ends the outage.
    pub fn come_up(&self) {
        self.plan().is_down = false;
    }

    /// How many calls of this kind were made so far, whatever became of them.
    #[must_use]
    pub fn calls(&self, op: Op) -> u64 {
        self.plan().calls.get(&op).copied().unwrap_or_default()
    }

    /// How many calls were made so far, whatever became of them: round trips, on a real backend.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.plan().total_calls()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Sync> Wrapper for FaultBackend<B> {
    async fn around<T: Send, F: Future<Output = Result<T>> + Send>(
        &self,
        op: Op,
        call: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        let fault = self.plan().next(op);
        match fault {
            Fault::None => call().await,
            Fault::Fail(kind) => Err(injected(op, kind)),
            Fault::LostReply => {
                drop(call().await);
                Err(injected(op, BackendErrorKind::Disconnected))
            }
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                call().await
            }
            Fault::LateReply(delay) => {
                let answer = call().await;
                tokio::time::sleep(delay).await;
                answer
            }
            Fault::Hang => pending().await,
            Fault::HangAfter => {
                drop(call().await);
                pending().await
            }
        }
    }

    fn leaves_process(&self, wrapped: bool) -> bool {
        wrapped || self.is_seen_as_remote
    }
}

impl_capabilities!(FaultBackend);

fn injected(op: Op, kind: BackendErrorKind) -> BackendError {
    BackendError::new(kind, format!("{}: injected fault", op.attempt()))
}

/// What the next calls meet, and which there were.
#[derive(Debug)]
struct Plan {
    is_down: bool,
    script: VecDeque<Fault>,
    seed: u64,
    fault_rate: f64,
    faults: Vec<Fault>,
    /// How many faults, or the lack of one, the schedule has given out.
    scheduled: u64,
    calls: BTreeMap<Op, u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            is_down: false,
            script: VecDeque::new(),
            seed: 0,
            fault_rate: 0.0,
            faults: vec![
                Fault::Fail(BackendErrorKind::Unavailable),
                Fault::LostReply,
                Fault::Delay(Duration::from_millis(10)),
            ],
            scheduled: 0,
            calls: BTreeMap::new(),
        }
    }
}

impl Plan {
    fn next(&mut self, op: Op) -> Fault {
        *self.calls.entry(op).or_default() += 1;
        if self.is_down {
            return Fault::Fail(BackendErrorKind::Unavailable);
        }
        if let Some(scripted) = self.script.pop_front() {
            return scripted;
        }
        self.next_scheduled()
    }

    fn next_scheduled(&mut self) -> Fault {
        let random = blake3::Hasher::new()
            .update(&self.seed.to_be_bytes())
            .update(&self.scheduled.to_be_bytes())
            .finalize();
        self.scheduled += 1;
        let [r0, r1, r2, r3, r4, r5, ..] = *random.as_bytes();
        // Strictly below one, so that a rate of 1.0 spares no call.
        let chance = f64::from(u32::from_be_bytes([r0, r1, r2, r3])) / (f64::from(u32::MAX) + 1.0);
        let is_due = chance < self.fault_rate;
        if !is_due {
            return Fault::None;
        }
        let choice = usize::from(u16::from_be_bytes([r4, r5]))
            .checked_rem(self.faults.len())
            .unwrap_or_default();
        self.faults.get(choice).copied().unwrap_or(Fault::None)
    }

    fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        backend::{
            KeyValue, MemoryBackend, Quotas,
            stub::{Stub, call},
        },
        clock::monotonic_now,
    };

    /// A faulty backend, and the one behind it.
    fn faulty() -> (FaultBackend<Stub>, Stub) {
        let stub = Stub::default();
        (FaultBackend::new(stub.clone()), stub)
    }

    /// How each of so many calls fails, if it does.
    async fn failures(backend: &FaultBackend<Stub>, calls: usize) -> Vec<Option<BackendErrorKind>> {
        let mut failures = Vec::with_capacity(calls);
        for _ in 0..calls {
            failures.push(call(backend, Op::Get).await.err().map(|e| e.kind()));
        }
        failures
    }

    #[tokio::test]
    async fn without_a_fault_every_call_is_passed_on_as_itself_and_counted_once() {
        let (backend, stub) = faulty();
        for &op in Op::ALL {
            call(&backend, op).await.expect("no fault was asked for");
            assert_eq!(backend.calls(op), 1, "{op:?}");
        }
        assert_eq!(stub.applied(), Op::ALL);
        assert_eq!(backend.total_calls(), Op::ALL.len() as u64);
        assert_eq!(backend.clock_skew(), Stub::CLOCK_SKEW);
    }

    #[tokio::test]
    async fn a_failed_call_is_counted_but_not_applied_whichever_it_is() {
        let (backend, stub) = faulty();
        for &op in Op::ALL {
            backend.script([Fault::Fail(BackendErrorKind::Rejected)]);
            let error = call(&backend, op).await.expect_err("it fails");
            assert_eq!(error.kind(), BackendErrorKind::Rejected);
            assert_eq!(backend.calls(op), 1);
        }
        assert_eq!(stub.applied(), []);
    }

    #[tokio::test]
    async fn a_call_whose_reply_is_lost_is_applied() {
        let (backend, stub) = faulty();
        backend.script([Fault::LostReply]);
        let error = call(&backend, Op::Put).await.expect_err("no reply");
        assert!(error.may_have_applied());
        assert_eq!(stub.applied(), [Op::Put]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_call_is_applied_at_the_end_of_the_delay() {
        let (backend, stub) = faulty();
        let delay = Duration::from_secs(3);
        backend.script([Fault::Delay(delay), Fault::Delay(delay)]);

        let dropped = tokio::time::timeout(delay / 2, call(&backend, Op::Put)).await;
        assert!(dropped.is_err());
        assert_eq!(stub.applied(), []);

        let began = monotonic_now();
        call(&backend, Op::Get).await.expect("it is late, no more");
        assert_eq!(monotonic_now() - began, delay);
        assert_eq!(stub.applied(), [Op::Get]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_reply_is_of_a_call_that_was_applied_at_once() {
        let (backend, stub) = faulty();
        let delay = Duration::from_secs(3);
        backend.script([Fault::LateReply(delay), Fault::LateReply(delay)]);

        let dropped = tokio::time::timeout(delay / 2, call(&backend, Op::Put)).await;
        assert!(dropped.is_err());
        assert_eq!(stub.applied(), [Op::Put]);

        let began = monotonic_now();
        call(&backend, Op::Get).await.expect("it is late, no more");
        assert_eq!(monotonic_now() - began, delay);
    }

    #[test]
    fn it_is_remote_if_it_shall_be_seen_so() {
        let backend = FaultBackend::new(MemoryBackend::new());
        assert!(!Quotas::is_remote(&backend) && !KeyValue::is_remote(&backend));
        let backend = backend.seen_as_remote();
        assert!(Quotas::is_remote(&backend) && KeyValue::is_remote(&backend));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_call_never_ends_and_is_applied_only_where_asked_for() {
        let (backend, stub) = faulty();
        let for_a_day = Duration::from_secs(24 * 60 * 60);
        backend.script([Fault::Hang, Fault::HangAfter]);

        let before = tokio::time::timeout(for_a_day, call(&backend, Op::Put)).await;
        assert!(before.is_err());
        assert_eq!(stub.applied(), []);

        let after = tokio::time::timeout(for_a_day, call(&backend, Op::Delete)).await;
        assert!(after.is_err());
        assert_eq!(stub.applied(), [Op::Delete]);
    }

    #[tokio::test]
    async fn a_script_is_met_in_order_then_ends() {
        let (backend, stub) = faulty();
        backend.script([Fault::None, Fault::Fail(BackendErrorKind::Corrupt)]);
        backend.script([Fault::LostReply]);
        assert_eq!(
            failures(&backend, 4).await,
            [
                None,
                Some(BackendErrorKind::Corrupt),
                Some(BackendErrorKind::Disconnected),
                None
            ]
        );
        assert_eq!(stub.applied().len(), 3);
    }

    #[tokio::test]
    async fn an_outage_fails_every_call_and_leaves_the_script_for_later() {
        let (backend, stub) = faulty();
        backend.script([Fault::Fail(BackendErrorKind::Corrupt)]);
        backend.go_down();
        assert_eq!(
            failures(&backend, 2).await,
            [Some(BackendErrorKind::Unavailable); 2]
        );
        assert_eq!(stub.applied(), []);

        backend.clone().come_up();
        assert_eq!(
            failures(&backend, 2).await,
            [Some(BackendErrorKind::Corrupt), None]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_gives_one_schedule_and_another_seed_another() {
        let schedule = async |seed| {
            let backend = faulty().0.with_seed(seed).with_fault_rate(0.5);
            failures(&backend, 200).await
        };
        assert_eq!(schedule(1).await, schedule(1).await);
        assert_ne!(schedule(1).await, schedule(2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_does_not_shift_the_schedule() {
        let (backend, _) = faulty();
        let backend = backend.with_fault_rate(0.5);
        backend.script([Fault::None; 3]);
        let scripted_first = failures(&backend, 103).await;
        let plain = failures(&faulty().0.with_fault_rate(0.5), 100).await;
        assert_eq!(scripted_first[3..], plain);
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_as_frequent_as_asked_for_and_all_of_the_given_ones_come() {
        let faults = [
            Fault::Fail(BackendErrorKind::Unavailable),
            Fault::Fail(BackendErrorKind::Rejected),
            Fault::LostReply,
        ];
        let kinds = [
            BackendErrorKind::Unavailable,
            BackendErrorKind::Rejected,
            BackendErrorKind::Disconnected,
        ];
        for (rate, expected) in [(0.0, 0..=0), (0.3, 800..=1_000), (1.0, 3_000..=3_000)] {
            let backend = faulty().0.with_faults(faults).with_fault_rate(rate);
            let failures = failures(&backend, 3_000).await;
            let count = failures.iter().flatten().count();
            assert!(expected.contains(&count), "{count} faults at {rate}");
            for kind in kinds {
                let share = failures.iter().flatten().filter(|k| **k == kind).count();
                assert!(share >= count / 4, "{share} of {count} are {kind:?}");
            }
        }
    }
}
