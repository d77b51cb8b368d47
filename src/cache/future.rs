//! The response future: what passes is polled in place; what the cache has a say in is one box.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::time::timeout;

use super::{
    answer::Note,
    body::ResponseBody,
    engine::{Audience, Elsewhere},
};

/// A request that the cache has a say in.
pub(super) type Visiting<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody<B>>, E>> + Send>>;

pin_project! {
    /// The response of a [`Cache`](super::Cache) service, whose inner service has a future `F`.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it fetches what others in this process wait for, it goes on in the background,
    /// for at most half a minute. Dropped otherwise, it leaves at most a lease, which is deleted in
    /// the background.
    pub struct ResponseFuture<F, B, E>
    where
        B: 'static,
        E: 'static,
    {
        #[pin]
        state: State<F, B, E>,
    }

    impl<F, B, E> PinnedDrop for ResponseFuture<F, B, E>
    where
        B: 'static,
        E: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            if let StateProjection::Visiting { visit, handover } = this.project().state.project()
                && let Some(visit) = visit.take()
            {
                handover.go_on(visit);
            }
        }
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, E> {
        /// The cache has no say in it.
        Passing { #[pin] response: F, note: Option<Note> },
        /// The visit is gone when it has answered.
        Visiting { visit: Option<Visiting<B, E>>, handover: Arc<Handover> },
    }
}

/// Who waits for what a request fetches, if it does.
#[derive(Default)]
pub(super) struct Handover(OnceLock<(Audience, Elsewhere)>);

impl Handover {
    /// The request fetches what these may wait for.
    pub(super) fn set(&self, audience: Audience, elsewhere: Elsewhere) {
        // A request that fetches twice has the same audience.
        let _ = self.0.set((audience, elsewhere));
    }

    /// Goes on with a visit whose client is gone, if anybody waits for it.
    pub(super) fn go_on(&self, visit: impl Future + Send + 'static) {
        let Some((audience, elsewhere)) = self.0.get() else {
            return;
        };
        if audience.is_waiting() {
            elsewhere.spawn(async move {
                drop(timeout(LONGEST_VISIT, visit).await);
            });
        }
    }
}

impl<F, B, E> ResponseFuture<F, B, E> {
    /// The cache has no say in it, which is what the note tells the client.
    pub(super) fn passing(response: F, note: Option<Note>) -> Self {
        let state = State::Passing { response, note };
        Self { state }
    }

    pub(super) fn visiting(visit: Visiting<B, E>, handover: Arc<Handover>) -> Self {
        let state = State::Visiting {
            visit: Some(visit),
            handover,
        };
        Self { state }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Passing { response, note } => {
                let mut response = ready!(response.poll(cx))?;
                if let Some(note) = note.take() {
                    note.write_on(&mut response);
                }
                Poll::Ready(Ok(response.map(ResponseBody::passed)))
            }
            StateProjection::Visiting { visit, .. } => {
                // Taken out, so that one that panics does not go on.
                let Some(mut going) = visit.take() else {
                    return Poll::Pending;
                };
                let polled = going.as_mut().poll(cx);
                if polled.is_pending() {
                    *visit = Some(going);
                }
                polled
            }
        }
    }
}

impl<F, B, E> fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// How long a visit goes on that no client waits for.
const LONGEST_VISIT: Duration = Duration::from_secs(30);
