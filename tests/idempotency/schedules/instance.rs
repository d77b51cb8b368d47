//! An instance: the layer around a handler, in a process that may die or be stopped for a while.

use std::{
    convert::Infallible,
    fmt,
    future::pending,
    panic::resume_unwind,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::Request;
use tokio::time::{Instant, sleep_until};
use tower::{Layer as _, ServiceExt as _, util::BoxCloneService};
use tower_stash::{
    backend::KeyValue,
    idempotency::{Execution, IdempotencyLayer, Outcome, RequestBody},
    policy::{KeyExtractor as _, header},
};

use super::{
    ledger::Ledger,
    schedule::{ANSWER_LIMIT, Ends, RuleShape, Sending},
    time::now,
};

/// The layer, and the process that it is in.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) life: Arc<Life>,
    pub(super) service: BoxCloneService<Request<Body>, Response, Refused>,
}

/// Whether a process does anything.
///
/// The tasks of one that is dead are not stopped. But none of them reaches the store, the ledger or a
/// client any more, which is as much of its death as others see.
#[derive(Debug)]
pub(super) struct Life(Mutex<State>);

#[derive(Clone, Copy, Debug)]
enum State {
    AsleepUntil(Instant),
    Dead,
}

/// The error of a handler.
#[derive(Debug)]
pub(super) struct Refused;

impl Instance {
    pub(super) fn new(
        life: Arc<Life>,
        backend: impl KeyValue,
        rule: &RuleShape,
        ledger: Arc<Ledger>,
    ) -> Self {
        let scope = header("x-user").or_shared();
        let layer = IdempotencyLayer::new(backend, scope, rule.rule()).unwrap();
        let process = Arc::clone(&life);
        let handler = tower::service_fn(move |request| {
            handle(Arc::clone(&process), Arc::clone(&ledger), request)
        });
        let service = layer.layer(handler);
        let service = service.map_response(|response: http::Response<_>| response.map(Body::new));
        Self {
            life,
            service: BoxCloneService::new(service),
        }
    }
}

impl Life {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::AsleepUntil(now()))))
    }

    pub(super) fn end(&self) {
        *self.0.lock().unwrap() = State::Dead;
    }

    pub(super) fn sleep(&self, time: Duration) {
        let mut state = self.0.lock().unwrap();
        if let State::AsleepUntil(until) = *state {
            *state = State::AsleepUntil(until.max(now() + time));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.0.lock().unwrap(), State::Dead)
    }

    /// Goes on as soon as the process does.
    pub(super) async fn awake(&self) {
        loop {
            let state = *self.0.lock().unwrap();
            match state {
                State::Dead => pending().await,
                State::AsleepUntil(until) if until <= now() => return,
                State::AsleepUntil(until) => sleep_until(until).await,
            }
        }
    }
}

/// Does what the schedule says of this request, and writes that down.
async fn handle(
    life: Arc<Life>,
    ledger: Arc<Ledger>,
    request: Request<RequestBody<Body>>,
) -> Result<Response, Refused> {
    life.awake().await;
    let sender: usize = request.headers()[REQUEST]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let execution: &Execution = request.extensions().get().unwrap();
    let fence = execution.fence();
    let run = ledger.start(sender, &life, execution);
    let Sending {
        takes, ends, body, ..
    } = ledger.sending(sender);
    let ends_at = now() + takes;
    while now() < ends_at {
        sleep_until(ends_at.min(now() + takes / SLICES)).await;
        life.awake().await;
        ledger.look();
    }
    ledger.end(run);
    let (status, outcome) = match ends {
        Ends::Status(status) => (status, None),
        Ends::NotExecuted(status) => (status, Some(Outcome::NotExecuted)),
        Ends::TooLarge => (201, None),
        Ends::BrokenBody => return Ok(Response::new(broken_body())),
        Ends::Error => return Err(Refused),
        // As `panic!` does, but that it writes nothing.
        Ends::Panic => resume_unwind(Box::new(())),
    };
    let mut text = format!("run {fence} of {sender}, {body}");
    if ends == Ends::TooLarge {
        text.extend(std::iter::repeat_n('.', ANSWER_LIMIT));
    }
    let response = http::Response::builder()
        .status(status)
        .header(FENCE, fence);
    let mut response = response.body(Body::from(text)).unwrap();
    if let Some(outcome) = outcome {
        response.extensions_mut().insert(outcome);
    }
    Ok(response)
}

fn broken_body() -> Body {
    let begun = Ok(Bytes::from_static(b"and then"));
    let chunks = [begun, Err(std::io::Error::other("it broke"))];
    Body::from_stream(futures_util::stream::iter(chunks))
}

impl From<Infallible> for Refused {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

/// Which request it is; no part of its fingerprint.
pub(super) const REQUEST: &str = "x-request";

/// Which run it was.
pub(super) const FENCE: &str = "x-fence";

/// A handler looks around so often.
const SLICES: u32 = 16;
