//! A request's way through the cache.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{runtime::Handle, time::timeout};
use tower_service::Service;

use super::{
    NotStored,
    answer::{hit, only_if_cached},
    body::ResponseBody,
    case::{Base, Case, Use, Wanted},
    engine::{Claim, Found, Stake, Turn, Turns},
    fetch::Fetch,
    future::Handover,
    outcome::{CacheOutcome, OutcomeKind},
    semantics::status::Forward,
};
use crate::{body::RequestBody, observe::WarnSite};

/// A request, and the service that may answer it.
pub(super) struct Visit<S> {
    /// The one that was polled ready, or a clone that was not.
    pub(super) inner: S,
    pub(super) is_ready: bool,
    pub(super) case: Case,
    pub(super) handover: Arc<Handover>,
}

impl<S> Visit<S> {
    /// The answer. What a hit has no need of is boxed on its own, as it takes much more room.
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
                if self.case.ask.directives.only_if_cached {
                    return Ok(only_if_cached(&self.case.ask.rule));
                }
                let outcome = CacheOutcome::unstored(OutcomeKind::Unavailable, NotStored::Backend);
                return Box::pin(self.pass(outcome, Forward::Bypass)).await;
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
                } else {
                    // Else its headers would be copied.
                    drop(found);
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
                let outcome = CacheOutcome::passed(bypass);
                Box::pin(self.pass(outcome, Forward::Bypass)).await
            }
            Use::Nothing => Box::pin(self.fetch(Wanted::nothing(found))).await,
            Use::Validate(base) => {
                let wanted = self.case.validation(found, base);
                Box::pin(self.fetch(wanted)).await
            }
        }
    }

    /// Fetches a response, or waits for another that does.
    async fn fetch<Q, B>(
        mut self,
        mut wanted: Wanted,
    ) -> Result<Response<ResponseBody<B>>, S::Error>
    where
        S: Service<Request<RequestBody<Q>>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        if let Some((outcome, why)) = self.passing(&wanted) {
            return self.pass(outcome, why).await;
        }
        let Case { shared, ask, .. } = self.case.clone();
        let core = &shared.core;
        let mut turns = Turns::new(core, ask.url_key().page(), self.case.coalescing());
        let (stake, started) = loop {
            // Who waits holds no permit of the handler's.
            let give_way = || {
                self.inner = self.inner.clone();
                self.is_ready = false;
            };
            match turns.next(&*ask, &wanted.found, give_way).await {
                Turn::Fetch(stake, started) => break (stake, started),
                Turn::Unavailable(stake, error) => {
                    UNAVAILABLE.warn(&error);
                    break (stake, Err(NotStored::Backend));
                }
                Turn::Landed(landed) => {
                    let found = core.take_over(&*ask, &shared.settings, &landed).await;
                    let used = found.map(|found| self.case.judge(&found));
                    if let Some(Use::Serve { held, age, ttl, .. }) = used {
                        return Ok(self.case.serve(held, age, hit(ttl), OutcomeKind::Collapsed));
                    }
                    if !turns.begins_again(&*ask, &landed).await {
                        break (turns.alone(&wanted.found), Err(NotStored::NotLeader));
                    }
                    continue;
                }
                Turn::Look => {}
            }
            let Ok(found) = core.look(&*ask, &shared.settings).await else {
                break (turns.alone(&wanted.found), Err(NotStored::Backend));
            };
            match self.case.judge(&found) {
                Use::Serve { held, age, ttl, .. } => {
                    turns.land(found.place, held.clone());
                    return Ok(self.case.serve(held, age, hit(ttl), OutcomeKind::Collapsed));
                }
                Use::Pass(bypass) => {
                    let outcome = CacheOutcome::passed(bypass);
                    return self.pass(outcome, Forward::Bypass).await;
                }
                Use::Nothing => wanted = Wanted::nothing(found),
                Use::Validate(base) => wanted = self.case.validation(found, base),
            }
        };
        self.call(Fetch {
            wanted,
            stake,
            started,
        })
        .await
    }

    /// Why the handler is asked what the client asks, and nothing is stored, if that is so.
    fn passing(&self, wanted: &Wanted) -> Option<(CacheOutcome, Forward)> {
        let ask = &self.case.ask;
        if let Some(bypass) = ask.bypass() {
            return Some((CacheOutcome::passed(bypass), Forward::Bypass));
        }
        let bypass = ask.bypass_of_part(wanted.base.is_some())?;
        let outcome = CacheOutcome {
            kind: OutcomeKind::Miss,
            ..CacheOutcome::passed(bypass)
        };
        Some((outcome, wanted.why))
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
            case: Case {
                has_client: false,
                ..self.case.clone()
            },
            handover: Arc::default(),
        };
        let tasks = Arc::clone(&core.tasks);
        tasks.spawn(&runtime.clone(), async move {
            let _permit = permit;
            let Ok(Claim::Ours(holding, started)) = core.claim(&found, Duration::ZERO).await else {
                return;
            };
            let base = found.held.clone().map(|held| Base {
                held,
                may_stand_in: false,
            });
            let fetch = Fetch {
                wanted: Wanted {
                    found,
                    base,
                    why: Forward::Stale,
                },
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
            // Too slow, it is dropped.
            drop(timeout(LONGEST_REFRESH, visit.call(fetch)).await);
        });
    }
}

/// How long something is fetched that nobody waits for.
const LONGEST_REFRESH: Duration = Duration::from_secs(30);

/// Where the backend does not answer.
pub(super) static UNAVAILABLE: WarnSite = WarnSite::new("cache: look");
