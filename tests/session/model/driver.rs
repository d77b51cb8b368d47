//! Runs tasks one backend call at a time, in the order that it is told.

use std::{future::Future, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    task::{JoinHandle, yield_now},
    time::advance,
};
use tower_stash::{
    backend::{Index, KeyValue, Precondition, Put, Result},
    clock::{Clock, Timestamp},
    testing::ManualClock,
};

use super::stepped::{Call, ParkedCalls, Reply, Stepped, TaskId, lost, refused};

/// A scheduler of tasks over a store.
///
/// Whatever runs on the runtime besides the driver waits for a call or is done before each step. It
/// must be a current-thread runtime.
#[derive(Debug)]
pub(crate) struct Driver<B, T> {
    pub(crate) backend: B,
    pub(crate) time: T,
    parked: ParkedCalls,
    tasks: Vec<JoinHandle<()>>,
    /// Writes that may arrive once more, or at last.
    late: Vec<Late>,
}

#[derive(Debug)]
struct Late {
    number: usize,
    task: TaskId,
    call: Call,
}

/// How the clocks of the store and of the process move on.
pub(crate) trait Time {
    /// What time it is on the store's clock.
    fn now(&self) -> Timestamp;

    /// Lets this much time pass.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;

    /// How far off a computed time may be.
    const SLACK: Duration;
}

/// Both clocks stand still but when told; the runtime must be paused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Virtual(pub(crate) ManualClock);

/// What becomes of a call that is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// It is applied and answered.
    Answer,
    /// It is applied; the answer is lost.
    LoseReply,
    /// It is lost on the way, and may arrive later.
    LoseCall,
    /// It is refused: the store is full.
    Refuse,
}

/// What happened at the store.
#[derive(Debug)]
pub(crate) struct Event {
    /// Which call it was.
    pub(crate) number: usize,
    pub(crate) task: TaskId,
    pub(crate) call: Call,
    /// What became of it; none of a late delivery, of which nobody hears.
    pub(crate) release: Option<Release>,
    /// What the store answered, if the call reached it, whoever heard.
    pub(crate) reply: Option<Result<Reply>>,
}

impl<B: KeyValue + Index, T: Time> Driver<B, T> {
    pub(crate) fn new(backend: B, time: T) -> Self {
        Self {
            backend,
            time,
            parked: ParkedCalls::default(),
            tasks: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Starts a task, which makes all its calls to the backend that it is given.
    pub(crate) fn spawn<F>(&mut self, task: impl FnOnce(Stepped) -> F) -> TaskId
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.tasks.len();
        self.tasks.push(tokio::spawn(task(self.parked.backend(id))));
        id
    }

    /// Drops a task wherever it is; what it spawned goes on.
    pub(crate) fn cancel(&self, task: TaskId) {
        self.tasks[task].abort();
    }

    /// Runs every task up to its next call, or its end; says whose calls wait, and their numbers.
    pub(crate) async fn settle(&self) -> Vec<(TaskId, usize)> {
        for _ in 0..PATIENCE {
            let (mut before, mut quiet) = (self.look(), 0);
            while quiet < QUIET {
                yield_now().await;
                let after = self.look();
                quiet = if after == before { quiet + 1 } else { 0 };
                before = after;
            }
            let waiting = self.parked.waiting();
            let is_waiting = |task| waiting.iter().any(|(waits, _)| *waits == task);
            if (0..self.tasks.len()).all(|task| self.is_done(task) || is_waiting(task)) {
                return waiting;
            }
            // It sleeps between two tries.
            self.time.pass(Duration::from_millis(5)).await;
        }
        panic!("a task neither calls nor ends");
    }

    pub(crate) fn is_done(&self, task: TaskId) -> bool {
        self.tasks[task].is_finished()
    }

    /// Releases the call that waits at this place.
    pub(crate) async fn release(&mut self, place: usize, release: Release) -> Event {
        let parked = self.parked.take(place);
        let (number, task, call) = (parked.number, parked.task, parked.call.clone());
        let arrives = matches!(release, Release::Answer | Release::LoseReply);
        let reply = if arrives {
            Some(call.apply(&self.backend).await)
        } else {
            None
        };
        let may_come = match &reply {
            None => release == Release::LoseCall,
            // What begins a session is applied once at most; other writes know their own.
            Some(Ok(Reply::Put(Put::Stored(_)))) => !begins(&call),
            Some(Ok(Reply::Done)) => true,
            Some(_) => false,
        };
        // A removal is of what is over for ever, or not known to anyone.
        if may_come && matches!(call, Call::Put(..) | Call::Add(..)) {
            self.late.push(Late {
                number,
                task,
                call: call.clone(),
            });
        }
        parked.answer(match (&reply, release) {
            (Some(reply), Release::Answer) => reply.clone(),
            (_, Release::Refuse) => Err(refused()),
            _ => Err(lost()),
        });
        Event {
            number,
            task,
            call,
            release: Some(release),
            reply,
        }
    }

    /// How many writes may arrive late.
    pub(crate) fn late(&self) -> usize {
        self.late.len()
    }

    /// Delivers one of them; nobody hears the answer.
    pub(crate) async fn deliver(&mut self, place: usize) -> Event {
        let Late { number, task, call } = self.late.remove(place);
        let reply = Some(call.apply(&self.backend).await);
        Event {
            number,
            task,
            call,
            release: None,
            reply,
        }
    }

    fn look(&self) -> (usize, usize, usize) {
        let done = self.tasks.iter().filter(|task| task.is_finished());
        (
            self.parked.ever(),
            self.parked.waiting().len(),
            done.count(),
        )
    }
}

/// One thread, whose clock stands still unless it is told to move.
pub(crate) fn runtime() -> Runtime {
    runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime is built")
}

fn begins(call: &Call) -> bool {
    matches!(call, Call::Put(_, _, options) if options.precondition == Precondition::Absent)
}

impl Time for Virtual {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn pass(&self, time: Duration) {
        self.0.advance(time);
        advance(time).await;
    }

    const SLACK: Duration = Duration::from_millis(2);
}

/// So often nothing moves when nothing will: a wake-up takes a turn of the runtime or two.
const QUIET: usize = 8;

/// So often a task may sleep before its next call.
const PATIENCE: usize = 1_000;
