//! What handlers did, as they wrote it down.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;
use tower_stash::idempotency::Execution;

use super::{
    instance::Life,
    schedule::{Schedule, Sending},
    time::now,
};

/// Shared by all instances, like the table of a database.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) schedule: Schedule,
    began: Instant,
    runs: Mutex<Vec<Run>>,
    /// Who worked at one time, and did not know.
    overlap: Mutex<Option<String>>,
    /// What happened, a line each.
    trace: Mutex<String>,
}

/// A handler that began.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) request: usize,
    pub(super) fence: u64,
    pub(super) attempt: u32,
    pub(super) began: Instant,
    pub(super) ended: Option<Instant>,
    life: Arc<Life>,
    execution: Execution,
}

impl Ledger {
    pub(super) fn new(schedule: Schedule) -> Arc<Self> {
        Arc::new(Self {
            schedule,
            began: now(),
            runs: Mutex::default(),
            overlap: Mutex::default(),
            trace: Mutex::default(),
        })
    }

    pub(super) fn sending(&self, request: usize) -> Sending {
        self.schedule.requests[request].clone()
    }

    /// A handler begins; gives the number of its run.
    pub(super) fn start(&self, request: usize, life: &Arc<Life>, execution: &Execution) -> usize {
        let (fence, attempt) = (execution.fence(), execution.attempt());
        self.note(&format!(
            "r{request} runs: fence {}, attempt {attempt}",
            short(fence)
        ));
        let number = {
            let mut runs = self.runs.lock().unwrap();
            runs.push(Run {
                request,
                fence,
                attempt,
                began: now(),
                ended: None,
                life: Arc::clone(life),
                execution: execution.clone(),
            });
            runs.len() - 1
        };
        self.look();
        number
    }

    pub(super) fn end(&self, number: usize) {
        self.look();
        let mut runs = self.runs.lock().unwrap();
        let run = &mut runs[number];
        run.ended = Some(now());
        let (request, ends) = (run.request, self.schedule.requests[run.request].ends);
        self.note(&format!("r{request} ends: {ends:?}"));
    }

    /// Whether two are at work who both have the key, for all that they know.
    pub(super) fn look(&self) {
        let runs = self.runs.lock().unwrap();
        let at_work = runs.iter().filter(|run| {
            run.ended.is_none() && !run.life.is_over() && !run.execution.is_lease_lost()
        });
        let at_work: Vec<_> = at_work.map(|run| run.request).collect();
        if at_work.len() > 1 {
            let mut overlap = self.overlap.lock().unwrap();
            overlap.get_or_insert_with(|| format!("requests {at_work:?} run at one time"));
        }
    }

    pub(super) fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap().clone()
    }

    pub(super) fn overlap(&self) -> Option<String> {
        self.overlap.lock().unwrap().clone()
    }

    pub(super) fn note(&self, line: &str) {
        let at = (now() - self.began).as_millis();
        _ = writeln!(self.trace.lock().unwrap(), "{at:>6} ms  {line}");
    }

    pub(super) fn trace(&self) -> String {
        self.trace.lock().unwrap().clone()
    }
}

/// Versions are long, and differ in their last digits.
pub(super) fn short(version: u64) -> String {
    format!("..{}", version % 1_000_000_000)
}
