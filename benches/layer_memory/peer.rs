//! `RateLimitLayer` against `tower_governor`'s layer: the same requests, the same key (the peer's
//! address), the same inner service, in one run.
//!
//! In every round each side handles the same number of requests, the order turning from round to
//! round, and a ratio is taken within a round: what slows the machine down for a while slows both.
//!
//! Its denials make a clock each, which asks the processor what it can. On a virtual machine that
//! instruction (CPUID) takes longer than all the rest; on bare metal it does not.

use std::{
    convert::Infallible,
    future::Future as _,
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use axum::{body::Body, extract::ConnectInfo};
use http::{Request, Response};
use tower::{Layer as _, Service, service_fn};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, peer_ip},
    rate_limit::{HeaderStyle, Quota, RateLimitLayer, RateLimitRule},
    testing::FaultBackend,
};

use crate::{BoxError, PATH, inner, rounds::Rounds, support};

/// Measures and prints how fast the layer is to the other one.
pub(crate) fn compare() -> Result<(), BoxError> {
    let mut contests = contests()?;
    let mut times = vec![(Vec::new(), Vec::new()); contests.len()];
    for round in 0..WARM_UP + ROUNDS {
        for (contest, (ours, theirs)) in contests.iter_mut().zip(&mut times) {
            let (our_time, their_time) = contest.run(u32::try_from(round).unwrap_or(0));
            if round >= WARM_UP {
                ours.push(our_time);
                theirs.push(their_time);
            }
        }
    }

    support::heading(&[
        &"layers over memory (middle half of rounds)",
        &"ns, tower-stash",
        &"ns, tower_governor",
        &"speed, ours to theirs",
    ]);
    for (contest, (ours, theirs)) in contests.iter().zip(&times) {
        let median = |times: &[f64]| format!("{:.0}", Rounds::new(times.iter().copied()).median());
        let speed = Rounds::ratio(theirs, ours);
        support::row(&[&contest.name, &median(ours), &median(theirs), &speed]);
    }
    Ok(())
}

fn contests() -> Result<Vec<Contest>, BoxError> {
    let hour = Duration::from_secs(3_600);
    let mut contests = Vec::new();
    for (told, style) in [
        ("no headers", HeaderStyle::Off),
        ("headers", HeaderStyle::Draft11),
    ] {
        let theirs = |burst| governor(burst, style);
        contests.push(Contest {
            name: format!("admitted, log of 1,000, {told}"),
            clients: Clients::NewFor { requests: 1_000 },
            ours: ours(Quota::log(1_000, hour), style)?,
            theirs: theirs(1_000)?,
        });
        contests.push(Contest {
            name: format!("admitted, log of 10, {told}"),
            clients: Clients::NewFor { requests: 10 },
            ours: ours(Quota::log(10, hour), style)?,
            theirs: theirs(10)?,
        });
        contests.push(Contest {
            name: format!("denied in memory, {told}"),
            clients: Clients::One,
            ours: ours(Quota::log(1, hour), style)?,
            theirs: theirs(1)?,
        });
        contests.push(Contest {
            name: format!("denied from the deny cache, {told}"),
            clients: Clients::One,
            ours: ours_remote(Quota::log(1, hour), style)?,
            theirs: theirs(1)?,
        });
    }
    Ok(contests)
}

/// The same work for both.
struct Contest {
    name: String,
    clients: Clients,
    ours: Contestant,
    theirs: Contestant,
}

/// Whose requests they are.
#[derive(Clone, Copy)]
enum Clients {
    /// One client's.
    One,
    /// Of clients that come for so many requests each.
    NewFor { requests: u32 },
}

/// Handles these requests and says how long one takes, in nanoseconds.
type Contestant = Box<dyn FnMut(Vec<Request<Body>>) -> f64>;

impl Contest {
    /// The time of one request: ours, theirs.
    fn run(&mut self, round: u32) -> (f64, f64) {
        if round.is_multiple_of(2) {
            let ours = (self.ours)(self.clients.requests(round));
            (ours, (self.theirs)(self.clients.requests(round)))
        } else {
            let theirs = (self.theirs)(self.clients.requests(round));
            ((self.ours)(self.clients.requests(round)), theirs)
        }
    }
}

impl Clients {
    /// The requests of a round.
    fn requests(self, round: u32) -> Vec<Request<Body>> {
        let client = |request: u32| match self {
            Self::One => 0,
            Self::NewFor { requests } => (round * BATCH + request) / requests,
        };
        let request = |number| {
            let peer = Ipv4Addr::from_bits(0x0a00_0000 | client(number));
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = http::Uri::from_static(PATH);
            let peer = ConnectInfo(SocketAddr::from((peer, 4711)));
            request.extensions_mut().insert(peer);
            request
        };
        (0..BATCH).map(request).collect()
    }
}

fn ours(quota: Quota, style: HeaderStyle) -> Result<Contestant, BoxError> {
    let rule = RateLimitRule::new("rule", peer_ip().or_reject(), [("hour", quota)])?;
    let layer = RateLimitLayer::new(MemoryBackend::new(), rule)?.with_headers(style);
    Ok(contestant(layer.layer(service_fn(inner))))
}

fn ours_remote(quota: Quota, style: HeaderStyle) -> Result<Contestant, BoxError> {
    let rule = RateLimitRule::new("rule", peer_ip().or_reject(), [("hour", quota)])?;
    let backend = FaultBackend::new(MemoryBackend::new()).seen_as_remote();
    let layer = RateLimitLayer::new(backend, rule)?.with_headers(style);
    Ok(contestant(layer.layer(service_fn(inner))))
}

/// A burst of so many, which an hour gives back; with the headers that it can tell, or none.
fn governor(burst: u32, style: HeaderStyle) -> Result<Contestant, BoxError> {
    let mut config = GovernorConfigBuilder::default();
    config.period(Duration::from_secs(3_600) / burst);
    config.burst_size(burst);
    let refused = "no period, or no burst";
    if style == HeaderStyle::Off {
        let layer = GovernorLayer::new(config.finish().ok_or(refused)?);
        return Ok(contestant(layer.layer(service_fn(inner))));
    }
    let layer = GovernorLayer::new(config.use_headers().finish().ok_or(refused)?);
    Ok(contestant(layer.layer(service_fn(inner))))
}

/// Measures from the calls to the responses; making requests and dropping
/// responses is no part of it.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock that there is"
)]
fn contestant<S>(mut service: S) -> Contestant
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + 'static,
{
    Box::new(move |requests| {
        let mut responses = Vec::with_capacity(requests.len());
        let started = Instant::now();
        for request in requests {
            let mut response = pin!(service.call(black_box(request)));
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(Ok(response)) = response.as_mut().poll(context) {
                responses.push(response);
            }
        }
        let spent = started.elapsed();
        drop(black_box(responses));
        spent.as_secs_f64() * 1e9 / f64::from(BATCH)
    })
}

const BATCH: u32 = 1_000;
const WARM_UP: usize = 20;
const ROUNDS: usize = 400;
