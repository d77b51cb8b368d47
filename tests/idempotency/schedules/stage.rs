//! Runs a schedule: sends its requests, brings about its events, and waits for what comes of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tower::ServiceExt as _;
use tower_stash::{backend::KeyValue, idempotency::InProgress};

use super::{
    Verdict,
    instance::{FENCE, Instance, Life, REQUEST as REQUEST_HEADER},
    ledger::{Ledger, Run},
    network::{self, History, Network},
    oracle::{self, Sights},
    schedule::{Ends, Event, Schedule, Sending},
    time::now,
};

/// The world that a schedule is run in.
#[derive(Debug)]
struct Stage<B> {
    schedule: Schedule,
    key: String,
    ledger: Arc<Ledger>,
    network: Arc<Network<B>>,
    instances: Mutex<Vec<Instance>>,
    /// The requests that are under way: at which instance's life, and how to stop them.
    under_way: Mutex<Vec<(Arc<Life>, AbortHandle)>>,
    answers: Mutex<Vec<Answer>>,
}

/// What is known when all is over.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) schedule: Schedule,
    pub(super) runs: Vec<Run>,
    pub(super) overlap: Option<String>,
    pub(super) history: History,
    pub(super) answers: Vec<Answer>,
    /// Requests that were answered by nobody, though nobody left.
    pub(super) unanswered: Vec<usize>,
    /// How many requests there were before all died; what was sent then comes after them.
    pub(super) before_doom: usize,
}

/// What a client got.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) request: usize,
    pub(super) sent: Instant,
    pub(super) at: Instant,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A handler's answer.
    Result(Answered),
    /// The last word of a problem's type.
    Problem(u16, String),
    /// The inner service's error.
    Error,
}

/// A handler's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) fence: u64,
    pub(super) body: Bytes,
    pub(super) is_replay: bool,
    /// `Idempotency-Stored: ?0`.
    pub(super) is_unrecorded: bool,
}

/// Runs a schedule to its end; what is not allowed comes with all that happened.
pub(crate) async fn run<B: KeyValue>(
    backend: B,
    schedule: Schedule,
    key: String,
    set_clock_back: impl Fn(Duration),
) -> Verdict<Sights> {
    let before_doom = schedule.requests.len();
    let ledger = Ledger::new(with_last_requests(schedule.clone()));
    let network = Network::new(backend, Arc::clone(&ledger));
    let stage = Arc::new(Stage {
        schedule,
        key,
        ledger,
        network,
        instances: Mutex::default(),
        under_way: Mutex::default(),
        answers: Mutex::default(),
    });
    for number in 0..stage.schedule.rules.len() {
        let instance = stage.instance(number);
        stage.instances.lock().unwrap().push(instance);
    }
    let unanswered = stage.play(set_clock_back).await;
    stage.die_and_try_again(before_doom).await;
    let seen = Seen {
        schedule: stage.ledger.schedule.clone(),
        runs: stage.ledger.runs(),
        overlap: stage.ledger.overlap(),
        history: stage.network.history(),
        answers: stage.answers.lock().unwrap().clone(),
        unanswered,
        before_doom,
    };
    oracle::look(&seen).map_err(|error| format!("{error}\n{}", stage.ledger.trace()))
}

/// One of each kind after all the others.
fn with_last_requests(mut schedule: Schedule) -> Schedule {
    for body in ["apple", "pear"] {
        schedule.requests.push(Sending {
            at: Duration::ZERO,
            instance: 0,
            body,
            takes: Duration::ZERO,
            ends: Ends::Status(201),
            hangs_up: None,
            puts: Vec::new(),
        });
    }
    schedule
}

impl<B: KeyValue> Stage<B> {
    fn instance(&self, number: usize) -> Instance {
        let life = Life::new();
        let backend = self.network.line(number, &life);
        let rule = &self.schedule.rules[number];
        Instance::new(life, backend, rule, Arc::clone(&self.ledger))
    }

    /// Gives the requests that were not answered, and should have been.
    async fn play(self: &Arc<Self>, set_clock_back: impl Fn(Duration)) -> Vec<usize> {
        let began = now();
        let requests: Vec<_> = (0..self.schedule.requests.len())
            .map(|request| tokio::spawn(Arc::clone(self).client(request, began)))
            .collect();
        let mut events = self.schedule.events.clone();
        events.sort_by_key(|(at, _)| *at);
        let doom = self.schedule.doom.map(|doom| began + doom);
        for (at, event) in events {
            if doom.is_some_and(|doom| began + at > doom) {
                break;
            }
            sleep_until(began + at).await;
            self.ledger.note(&format!("{event:?}"));
            self.bring_about(event, &set_clock_back).await;
        }
        let Some(doom) = doom else {
            return self.answered_in_time(requests, began).await;
        };
        sleep_until(doom).await;
        for request in requests {
            request.abort();
        }
        Vec::new()
    }

    /// Sends a request in a task that ends with its instance, or when its client goes away.
    async fn client(self: Arc<Self>, request: usize, began: Instant) {
        let Sending {
            at,
            instance,
            hangs_up,
            ..
        } = self.ledger.sending(request);
        sleep_until(began + at).await;
        let instance = self.instances.lock().unwrap()[instance].clone();
        let life = Arc::clone(&instance.life);
        let sending = tokio::spawn(Arc::clone(&self).send(request, instance));
        let handle = sending.abort_handle();
        self.under_way.lock().unwrap().push((life, handle.clone()));
        let Some(time) = hangs_up else {
            _ = sending.await;
            return;
        };
        if timeout_at(now() + time, sending).await.is_err() {
            self.ledger.note(&format!("r{request} hangs up"));
            handle.abort();
        }
    }

    async fn send(self: Arc<Self>, request: usize, at: Instance) {
        let Sending { instance, body, .. } = self.ledger.sending(request);
        let Instance { life, service } = at;
        life.awake().await;
        self.ledger
            .note(&format!("r{request} asks i{instance} for {body}"));
        let sent = now();
        let head = Request::post("/orders")
            .header("idempotency-key", &self.key)
            .header(REQUEST_HEADER, request);
        let asked = service.oneshot(head.body(Body::from(body)).unwrap());
        let response = network::REQUEST.scope(request, asked).await;
        let what = match response {
            Ok(response) => read(response).await,
            Err(_) => What::Error,
        };
        life.awake().await;
        self.ledger.note(&format!("r{request} gets {what:?}"));
        self.answers.lock().unwrap().push(Answer {
            request,
            sent,
            at: now(),
            what,
        });
    }

    async fn bring_about(&self, event: Event, set_clock_back: &impl Fn(Duration)) {
        match event {
            Event::Crash(number) => {
                let instance = self.instance(number);
                let mut instances = self.instances.lock().unwrap();
                let dead = std::mem::replace(&mut instances[number], instance);
                self.end(&dead.life);
            }
            Event::Pause(number, time) => {
                self.instances.lock().unwrap()[number].life.sleep(time);
            }
            Event::Outage(time) => self.network.go_down(time),
            Event::ClockBack(by) => set_clock_back(by),
            Event::Delete => self.network.lose_record().await,
        }
    }

    /// Ends a process, and all its clients' connections.
    fn end(&self, life: &Arc<Life>) {
        life.end();
        let under_way = self.under_way.lock().unwrap();
        for (of, request) in under_way.iter() {
            if Arc::ptr_eq(of, life) {
                request.abort();
            }
        }
    }

    async fn answered_in_time(&self, requests: Vec<JoinHandle<()>>, began: Instant) -> Vec<usize> {
        let mut late = Vec::new();
        for (number, request) in requests.into_iter().enumerate() {
            let until = began + self.schedule.requests[number].at + self.longest_wait();
            if timeout_at(until, request).await.is_err() {
                late.push(number);
            }
        }
        late
    }

    /// As long as a request may wait at most, whatever happens.
    fn longest_wait(&self) -> Duration {
        let schedule = &self.schedule;
        let paused = schedule.events.iter().map(|(_, event)| match event {
            Event::Pause(_, time) | Event::Outage(time) => *time,
            _ => Duration::ZERO,
        });
        let rules = schedule.rules.iter().map(|rule| {
            let waits = match rule.in_progress {
                InProgress::Wait(budget) => budget,
                _ => Duration::ZERO,
            };
            // It may wait for a turn and for who took over; its answer may be recorded for a lease.
            waits * 2 + rule.max_execution + rule.lease * 2
        });
        // A claim has eight rounds, of two calls each, and so has what is written before the start.
        rules.max().unwrap_or_default()
            + paused.sum::<Duration>()
            + schedule.pace.patience * 40
            + schedule.pace.slack
    }

    /// All instances die, one lease passes: what do the last requests get?
    async fn die_and_try_again(self: &Arc<Self>, first: usize) {
        self.ledger.note("all die");
        let lives: Vec<_> = self
            .instances
            .lock()
            .unwrap()
            .iter()
            .map(|i| Arc::clone(&i.life))
            .collect();
        for life in lives {
            self.end(&life);
        }
        self.network.calm_down();
        let leases = self.schedule.rules.iter().map(|rule| rule.lease);
        let lease = leases.max().unwrap_or_default();
        sleep(lease + self.schedule.set_back() + self.schedule.pace.slack).await;
        let instance = self.instance(0);
        for request in [first, first + 1] {
            let until = now() + self.longest_wait();
            let sending = Arc::clone(self).send(request, instance.clone());
            _ = timeout_at(until, tokio::spawn(sending)).await;
        }
    }
}

async fn read(response: Response) -> What {
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return What::Problem(head.status.as_u16(), "a broken body".into());
    };
    let body = body.to_bytes();
    let status = head.status.as_u16();
    let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap());
    let Some(fence) = header(FENCE) else {
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let word = problem["type"]
            .as_str()
            .unwrap()
            .rsplit('#')
            .next()
            .unwrap();
        return What::Problem(status, word.to_owned());
    };
    What::Result(Answered {
        status,
        fence: fence.parse().unwrap(),
        body,
        is_replay: header("idempotent-replayed").is_some(),
        is_unrecorded: header("idempotency-stored") == Some("?0"),
    })
}
