//! A backend whose every call waits until it is released.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tower_stash::{
    backend::{
        BackendError, BackendErrorKind, Cursor, Entry, GetOptions, Index, KeyValue, Page,
        Precondition, Put, PutOptions, Result,
    },
    clock::Timestamp,
    key::Key,
};

/// Makes no call itself: each is parked, under the name of its task, until a driver answers it.
///
/// So a step is one call, and the order of steps is the order in which the store sees them.
#[derive(Clone, Debug)]
pub(crate) struct Stepped {
    task: TaskId,
    parked: ParkedCalls,
}

/// Which of the driver's tasks makes a call.
pub(crate) type TaskId = usize;

/// Calls that wait, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParkedCalls(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    calls: Vec<Parked>,
    ever: usize,
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    /// How many calls were made before it.
    pub(crate) number: usize,
    pub(crate) task: TaskId,
    pub(crate) call: Call,
    answer: oneshot::Sender<Result<Reply>>,
}

/// A call as it was made.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Get(Key, GetOptions),
    Put(Key, Bytes, PutOptions),
    Delete(Key, Precondition),
    Touch(Key, Duration, Precondition),
    Add(Key, Bytes, Timestamp),
    Remove(Key, Bytes),
    Members(Key, Option<Cursor>),
}

/// What a store answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Entry(Option<Entry>),
    Put(Put),
    Flag(bool),
    Done,
    Page(Page),
}

impl ParkedCalls {
    /// A backend whose calls are this task's.
    pub(crate) fn backend(&self, task: TaskId) -> Stepped {
        Stepped {
            task,
            parked: self.clone(),
        }
    }

    /// How many calls were ever made.
    pub(crate) fn ever(&self) -> usize {
        self.with(|waiting| waiting.ever)
    }

    /// Whose calls wait, and their numbers.
    pub(crate) fn waiting(&self) -> Vec<(TaskId, usize)> {
        self.with(|waiting| {
            let calls = waiting.calls.iter();
            calls.map(|parked| (parked.task, parked.number)).collect()
        })
    }

    /// Takes out the call at this place.
    pub(crate) fn take(&self, place: usize) -> Parked {
        self.with(|waiting| waiting.calls.remove(place))
    }

    fn park(&self, task: TaskId, call: Call) -> oneshot::Receiver<Result<Reply>> {
        let (answer, answered) = oneshot::channel();
        self.with(|waiting| {
            let number = waiting.ever;
            waiting.ever += 1;
            waiting.calls.push(Parked {
                number,
                task,
                call,
                answer,
            });
        });
        answered
    }

    fn with<T>(&self, look: impl FnOnce(&mut Waiting) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Parked {
    /// Lets its task go on, if that still waits.
    pub(crate) fn answer(self, answer: Result<Reply>) {
        _ = self.answer.send(answer);
    }
}

impl Call {
    /// Makes the call.
    pub(crate) async fn apply<B: KeyValue + Index>(&self, backend: &B) -> Result<Reply> {
        match self.clone() {
            Self::Get(key, options) => backend.get(&key, options).await.map(Reply::Entry),
            Self::Put(key, value, options) => {
                backend.put(&key, value, options).await.map(Reply::Put)
            }
            Self::Delete(key, condition) => backend.delete(&key, condition).await.map(Reply::Flag),
            Self::Touch(key, ttl, condition) => {
                backend.touch(&key, ttl, condition).await.map(Reply::Flag)
            }
            Self::Add(key, member, deadline) => {
                let added = backend.add(&key, member, deadline).await;
                added.map(|()| Reply::Done)
            }
            Self::Remove(key, member) => backend.remove(&key, member).await.map(Reply::Flag),
            Self::Members(key, after) => backend.members(&key, after).await.map(Reply::Page),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Get(key, _)
            | Self::Put(key, ..)
            | Self::Delete(key, _)
            | Self::Touch(key, ..)
            | Self::Add(key, ..)
            | Self::Remove(key, _)
            | Self::Members(key, _) => key,
        }
    }
}

impl Stepped {
    async fn answered(&self, call: Call) -> Result<Reply> {
        let answered = self.parked.park(self.task, call).await;
        // The driver is gone, and with it the test.
        answered.unwrap_or_else(|_| Err(lost()))
    }
}

impl KeyValue for Stepped {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        match self.answered(Call::Get(key.clone(), options)).await? {
            Reply::Entry(entry) => Ok(entry),
            other => panic!("{other:?} answers a get"),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        match self
            .answered(Call::Put(key.clone(), value, options))
            .await?
        {
            Reply::Put(put) => Ok(put),
            other => panic!("{other:?} answers a put"),
        }
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<bool> {
        let call = Call::Delete(key.clone(), precondition);
        Ok(flag(&self.answered(call).await?))
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> Result<bool> {
        let call = Call::Touch(key.clone(), ttl, precondition);
        Ok(flag(&self.answered(call).await?))
    }

    fn clock_skew(&self) -> Duration {
        Duration::ZERO
    }

    fn is_remote(&self) -> bool {
        false
    }
}

impl Index for Stepped {
    async fn add(&self, index: &Key, member: Bytes, deadline: Timestamp) -> Result<()> {
        let call = Call::Add(index.clone(), member, deadline);
        match self.answered(call).await? {
            Reply::Done => Ok(()),
            other => panic!("{other:?} answers an add"),
        }
    }

    async fn remove(&self, index: &Key, member: Bytes) -> Result<bool> {
        let call = Call::Remove(index.clone(), member);
        Ok(flag(&self.answered(call).await?))
    }

    async fn members(&self, index: &Key, after: Option<Cursor>) -> Result<Page> {
        match self.answered(Call::Members(index.clone(), after)).await? {
            Reply::Page(page) => Ok(page),
            other => panic!("{other:?} answers members"),
        }
    }
}

/// The connection is lost before the answer comes.
pub(crate) fn lost() -> BackendError {
    BackendError::new(BackendErrorKind::Disconnected, "hear the answer")
}

/// The backend is full.
pub(crate) fn refused() -> BackendError {
    BackendError::new(BackendErrorKind::Rejected, "find room")
}

fn flag(reply: &Reply) -> bool {
    match reply {
        Reply::Flag(flag) => *flag,
        other => panic!("{other:?} answers yes or no"),
    }
}
