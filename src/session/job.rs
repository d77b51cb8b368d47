//! Work on a session that a response waits for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{runtime::Handle, task::JoinHandle};

/// Work on a session that a response waits for.
pub(super) enum Job<T> {
    /// There is nothing to wait for.
    Done(Option<T>),
    /// Ends when who waits for it goes away.
    Inline(Pin<Box<dyn Future<Output = T> + Send>>),
    /// Goes on when who waits for it goes away.
    Spawned(JoinHandle<T>),
}

impl<T: Send + 'static> Job<T> {
    pub(super) fn done(output: T) -> Self {
        Self::Done(Some(output))
    }

    pub(super) fn inline(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Inline(Box::pin(work))
    }

    /// Without a runtime that could go on with it, it is done inline.
    pub(super) fn spawned(work: impl Future<Output = T> + Send + 'static) -> Self {
        match Handle::try_current() {
            Ok(runtime) => Self::Spawned(runtime.spawn(work)),
            Err(_) => Self::inline(work),
        }
    }
}

/// `None` if the runtime ended before the work did.
impl<T: Unpin> Future for Job<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut *self {
            Self::Done(output) => Poll::Ready(output.take()),
            Self::Inline(work) => work.as_mut().poll(cx).map(Some),
            Self::Spawned(work) => {
                let joined = ready!(Pin::new(work).poll(cx));
                Poll::Ready(joined.ok())
            }
        }
    }
}
