//! A request's way through the cache.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{runtime::Handle, time::sleep};
use tower_service::Service;

use super::{
    Bypass, NotStored,
    answer::{Note, forwarded, from_store, hit, only_if_cached},
    ask::Ask,
    body::ResponseBody,
    case::{Case, Use},
    engine::{
        Claim, Coalescing, Consistency, Deposited, Found, Held, Landing, Lead, Mark, Place, Role,
        Stake, Standing,
    },
    fetch::Fetch,
    future::Handover,
    outcome::{CacheOutcome, OutcomeKind},
    record::Flag,
    semantics::{
        reuse::{self, Asks, Reuse, Stored},
        status::{CacheStatus, Forward},
        storable::Flags,
    },
    shared::Shared,
};
use crate::{
    body::RequestBody,
    clock::{Timestamp, monotonic_now},
    observe::WarnSite,
};

/// A request, and the service that may answer it.
pub(super) struct Visit<S> {
    /// The one that was polled ready, or a clone that was not.
    pub(super) inner: S,
    pub(super) is_ready: bool,
    pub(super) case: Case,
    pub(super) handover: Arc<Handover>,
}

impl<S> Visit<S> {
    pub(super) async fn answer<Q, B>(self) -> Result<Response<ResponseBody<B>>, S::Error>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let core = &self.case.shared.core;
        core.listen(self.case.shared.settings.max_life);
        let found = match core.look(&*self.case.ask, &self.case.shared.settings).await {
            Ok(found) => found,
            Err(error) => {
                UNAVAILABLE.warn(&error);
                let outcome = CacheOutcome::unstored(OutcomeKind::Unavailable, NotStored::Backend);
                return self.pass(outcome, Forward::Bypass).await;
            }
        };
        match self.case.judge(&found) {
            Use::Serve {
                held,
                age,
                ttl,
                refreshes,
            } => {
                if refreshes {
                    self.refresh(found);
                }
                let kind = if ttl < 0 {
                    OutcomeKind::Stale
                } else {
                    OutcomeKind::Hit
                };
                Ok(self.case.serve(held, age, hit(ttl), kind))
            }
            _ if self.case.ask.directives.only_if_cached => Ok(only_if_cached(&self.case.ask.rule)),
            Use::Pass(bypass) => {
                self.pass(CacheOutcome::passed(bypass), Forward::Bypass)
                    .await
            }
            Use::Nothing => {
                let why = match (&found.place, &found.held) {
                    (Place::Variant { .. }, None) => Forward::VaryMiss,
                    (_, Some(_)) => Forward::Miss,
                    (Place::Url(_), None) => Forward::UriMiss,
                };
                self.fetch(found, None, false, why).await
            }
            Use::Validate { held, may_stand_in } => {
                let is_fresh = held.entry.lifetime > self.case.age(&held);
                let why = if is_fresh {
                    Forward::Request
                } else {
                    Forward::Stale
                };
                self.fetch(found, Some(held), may_stand_in, why).await
            }
        }
    }

    /// Fetches a response, or waits for another that does.
    async fn fetch<Q, B>(
        self,
        mut found: Found,
        mut base: Option<Held>,
        mut may_stand_in: bool,
        mut why: Forward,
    ) -> Result<Response<ResponseBody<B>>, S::Error>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        if let Some(bypass) = self.case.ask.bypass() {
            let outcome = CacheOutcome::passed(bypass);
            return self.pass(outcome, Forward::Bypass).await;
        }
        if !self.case.ask.is_for_all_of_it() && (base.is_none() || !self.case.ask.is_get()) {
            let bypass = if self.case.ask.is_get() {
                Bypass::Range
            } else {
                Bypass::Head
            };
            let outcome = CacheOutcome {
                kind: OutcomeKind::Miss,
                ..CacheOutcome::passed(bypass)
            };
            return self.pass(outcome, why).await;
        }
        let shared = Arc::clone(&self.case.shared);
        let core = &shared.core;
        let page = self.case.ask.url_key().page();
        let began = monotonic_now();
        let mut lost = 0;
        let mut turns = Backoff::new();
        let mut lead: Option<Lead> = None;
        let stake = loop {
            let lease = found.place.lease();
            let stake = |lead, holding| Stake {
                core: Arc::clone(core),
                runtime: Handle::current(),
                lease: lease.clone(),
                lead,
                holding,
            };
            let mark = core.marks.find(&lease);
            if mark == Some(Mark::Pass) {
                break (stake(None, None), Err(NotStored::NotLeader));
            }
            if lead.is_none() && self.case.may_wait() {
                match core.flights.join(&page, &lease) {
                    Role::Lead(leads) => lead = Some(leads),
                    Role::Follow(follower) => match follower.landed().await {
                        Landing::Stored(deposited) => {
                            if let Some(answer) = self.case.take_over(&deposited).await {
                                return Ok(answer);
                            }
                            if lost < MAX_LOST && self.case.is_purged(&deposited).await {
                                lost += 1;
                                continue;
                            }
                            break (stake(None, None), Err(NotStored::NotLeader));
                        }
                        Landing::Lost if lost < MAX_LOST => {
                            lost += 1;
                            continue;
                        }
                        _ => break (stake(None, None), Err(NotStored::NotLeader)),
                    },
                }
            }
            match core.claim(&found, began.elapsed()).await {
                Ok(Claim::Ours(holding, started)) => {
                    break (stake(lead, Some(holding)), Ok(started));
                }
                Ok(Claim::Everybody(started)) => {
                    let mut stake = stake(lead, None);
                    stake.release();
                    break (stake, Ok(started));
                }
                Ok(Claim::Another(_)) if self.case.waits_for_others() && mark.is_none() => {}
                Ok(Claim::Another(now)) => break (stake(lead, None), Ok(now)),
                Ok(Claim::Unstored) => break (stake(lead, None), Err(NotStored::NotLeader)),
                Err(error) => {
                    UNAVAILABLE.warn(&error);
                    break (stake(lead, None), Err(NotStored::Backend));
                }
            }
            // Another instance fetches it.
            sleep(turns.next()).await;
            let Ok(next) = core.look(&*self.case.ask, &self.case.shared.settings).await else {
                break (stake(lead, None), Err(NotStored::Backend));
            };
            match self.case.judge(&next) {
                Use::Serve { held, age, ttl, .. } => {
                    let status = hit(ttl);
                    return Ok(self.case.serve(held, age, status, OutcomeKind::Collapsed));
                }
                Use::Pass(bypass) => {
                    let outcome = CacheOutcome::passed(bypass);
                    return self.pass(outcome, Forward::Bypass).await;
                }
                Use::Nothing => {
                    base = None;
                    may_stand_in = false;
                }
                Use::Validate {
                    held,
                    may_stand_in: may,
                } => {
                    base = Some(held);
                    may_stand_in = may;
                }
            }
            if next.place.lease() != lease {
                // It is one of several, as is known now: others wait for another one.
                lead = None;
                why = Forward::VaryMiss;
            }
            found = next;
        };
        let (stake, started) = stake;
        let fetch = Fetch {
            found,
            base,
            may_stand_in,
            why,
            stake,
            started,
        };
        self.call(fetch).await
    }
}

impl<S> Visit<S> {
    /// Fetches what was found anew, without a client that waits for it.
    fn refresh<Q, B>(&self, found: Found)
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        if self.case.ask.has_credentials() {
            return;
        }
        let core = Arc::clone(&self.case.shared.core);
        let lease = found.place.lease();
        if core.marks.find(&lease).is_some() {
            return;
        }
        let Some(permit) = core.tasks.refresh() else {
            return;
        };
        let page = self.case.ask.url_key().page();
        let Some(lead) = core.flights.lead(&page, &lease) else {
            return;
        };
        let runtime = Handle::current();
        let visit = Self {
            inner: self.inner.clone(),
            is_ready: false,
            case: self.case.clone(),
            handover: Arc::default(),
        };
        let tasks = Arc::clone(&core.tasks);
        tasks.spawn(&runtime.clone(), async move {
            let _permit = permit;
            let Ok(Claim::Ours(holding, started)) = core.claim(&found, Duration::ZERO).await else {
                return;
            };
            let base = found.held.clone();
            let fetch = Fetch {
                found,
                base,
                may_stand_in: false,
                why: Forward::Stale,
                stake: Stake {
                    core,
                    runtime,
                    lease,
                    lead: Some(lead),
                    holding: Some(holding),
                },
                started: Ok(started),
            };
            // What the client of this response would have read is read on in the background.
            drop(visit.call(fetch).await);
        });
    }
}

/// How long someone waits before he looks again.
struct Backoff(Duration);

impl Backoff {
    const fn new() -> Self {
        Self(Duration::from_millis(25))
    }

    fn next(&mut self) -> Duration {
        let next = (self.0 * 2).min(Duration::from_millis(200));
        mem::replace(&mut self.0, next)
    }
}

/// Others who gave up are followed so often.
const MAX_LOST: u32 = 2;

/// Where the backend does not answer.
pub(super) static UNAVAILABLE: WarnSite = WarnSite::new("cache: look");
