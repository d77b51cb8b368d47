//! Someone who wants a value.

use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Handle, time::timeout};

use super::{Keep, fill::Fill};
use crate::{
    cache::{
        CacheRule, NotStored, OutcomeKind,
        case::stored,
        early,
        engine::{Asking, Claim, Found, Held, Stake, Turn, Turns},
        record::Head,
        semantics::{
            directives::RequestDirectives,
            reuse::{self, Asks, Reuse},
        },
        shared::Shared,
        url::{UrlKey, VariantKey},
        visit::UNAVAILABLE,
    },
    key::{Digester, KeyParts},
};

/// A value that is wanted, removed or set.
pub(super) struct Want<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) rule: CacheRule,
    pub(super) ask: Arc<ValueAsk>,
    pub(super) keep: Keep,
    pub(super) value: PhantomData<fn() -> T>,
}

/// What a value is to the store: a page without variants.
pub(super) struct ValueAsk {
    key: UrlKey,
    digester: Digester,
}

/// What was found, to someone who wants a value.
enum Use<T> {
    /// It is given, and fetched anew if that is due.
    Give {
        value: T,
        is_fresh: bool,
        refreshes: bool,
    },
    /// It must be fetched; what was found stands in for an error.
    Fetch { stand_in: Option<T> },
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Want<T> {
    /// The value, if it is there.
    pub(super) async fn find(self) -> Option<T> {
        match self.look().await? {
            (_, Use::Give { value, .. }) => Some(value),
            (_, Use::Fetch { .. }) => None,
        }
    }

    /// The value, by fetching it if need be.
    pub(super) async fn answer<F, E>(
        self,
        fetch: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Send + 'static,
    {
        let Some((mut found, used)) = self.look().await else {
            self.note(OutcomeKind::Unavailable);
            return fetch().await;
        };
        let mut stand_in = match used {
            Use::Give {
                value,
                is_fresh,
                refreshes,
            } => {
                if refreshes {
                    self.refresh(found, fetch);
                }
                self.note(if is_fresh {
                    OutcomeKind::Hit
                } else {
                    OutcomeKind::Stale
                });
                return Ok(value);
            }
            Use::Fetch { stand_in } => stand_in,
        };
        let core = &self.shared.core;
        let mut turns = Turns::new(core, self.ask.url().page(), self.shared.settings.coalescing);
        let (stake, started) = loop {
            match turns.next(&*self.ask, &found, || {}).await {
                Turn::Fetch(stake, started) => break (stake, started),
                Turn::Unavailable(stake, error) => {
                    UNAVAILABLE.warn(&error);
                    break (stake, Err(NotStored::Backend));
                }
                Turn::Landed(deposited) => {
                    let settings = &self.shared.settings;
                    let landed = core.take_over(&*self.ask, settings, &deposited).await;
                    if let Some(landed) = landed
                        && let Use::Give { value, .. } = self.judge(&landed)
                    {
                        self.note(OutcomeKind::Collapsed);
                        return Ok(value);
                    }
                    if !turns.begins_again(&*self.ask, &deposited).await {
                        break (turns.alone(&found), Err(NotStored::NotLeader));
                    }
                }
                Turn::Look => {}
            }
            match self.look().await {
                Some((found, Use::Give { value, .. })) => {
                    if let Some(held) = found.held {
                        turns.land(found.place, held);
                    }
                    self.note(OutcomeKind::Collapsed);
                    return Ok(value);
                }
                Some((next, Use::Fetch { stand_in: next_in })) => {
                    found = next;
                    stand_in = next_in;
                }
                None => break (turns.alone(&found), Err(NotStored::Backend)),
            }
        };
        let fill = Fill {
            want: self,
            found,
            stake,
            started,
            stand_in,
        };
        fill.run(fetch).await
    }

    /// Fetches the value anew, without a caller who waits for it.
    fn refresh<F, E>(&self, found: Found, fetch: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Send + 'static,
    {
        let core = Arc::clone(&self.shared.core);
        let lease = found.place.lease();
        if core.marks.find(&lease).is_some() {
            return;
        }
        let Some(permit) = core.tasks.refresh() else {
            return;
        };
        let Some(lead) = core.flights.lead(&self.ask.url().page(), &lease) else {
            return;
        };
        let runtime = Handle::current();
        let want = self.clone();
        let tasks = Arc::clone(&core.tasks);
        tasks.spawn(&runtime.clone(), async move {
            let _permit = permit;
            let Ok(Claim::Ours(holding, started)) = core.claim(&found, Duration::ZERO).await else {
                return;
            };
            let fill = Fill {
                want,
                found,
                stake: Stake {
                    core,
                    runtime,
                    lease,
                    lead: Some(lead),
                    holding: Some(holding),
                },
                started: Ok(started),
                stand_in: None,
            };
            // Too slow, it is dropped. An error is for nobody: the next caller tries again.
            drop(timeout(LONGEST_REFRESH, fill.run(fetch)).await);
        });
    }

    /// What is stored, and what that is to the caller; nothing, where the backend does not answer.
    async fn look(&self) -> Option<(Found, Use<T>)> {
        let core = &self.shared.core;
        core.listen(self.shared.settings.max_life);
        match core.look(&*self.ask, &self.shared.settings).await {
            Ok(found) => {
                let used = self.judge(&found);
                Some((found, used))
            }
            Err(error) => {
                UNAVAILABLE.warn(&error);
                None
            }
        }
    }

    fn judge(&self, found: &Found) -> Use<T> {
        let used = found.held.as_ref().and_then(|held| self.judge_held(held));
        used.unwrap_or(Use::Fetch { stand_in: None })
    }

    /// What a stored value is to the caller; nothing, if it cannot be read as one.
    fn judge_held(&self, held: &Held) -> Option<Use<T>> {
        let stored = stored(held, held.standing(), self.shared.core.purges.now())?;
        let directives = RequestDirectives::default();
        let asks = Asks {
            directives: &directives,
            has_authorization: false,
        };
        let reuse = reuse::judge(&stored, &asks, self.rule.shape());
        let value = || serde_json::from_slice(&held.body).ok();
        Some(match reuse {
            Reuse::Fresh { left } => Use::Give {
                value: value()?,
                is_fresh: true,
                refreshes: self.keep.refreshes_early
                    && early::is_due(left, held.entry.fill_time, (self.shared.settings.chance)()),
            },
            Reuse::StaleWhileRevalidate { .. } | Reuse::Stale { .. } => Use::Give {
                value: value()?,
                is_fresh: false,
                refreshes: true,
            },
            Reuse::Validate { may_stand_in: true } => Use::Fetch { stand_in: value() },
            Reuse::Validate { .. } | Reuse::NotForThis(_) => Use::Fetch { stand_in: None },
        })
    }
}

impl<T> Want<T> {
    /// Counts what became of a call.
    pub(super) fn note(&self, outcome: OutcomeKind) {
        self.rule.shape().decisions.record(outcome.as_str());
    }
}

impl ValueAsk {
    pub(super) fn new(key: UrlKey, digester: &Digester) -> Self {
        Self {
            key,
            digester: digester.clone(),
        }
    }
}

impl Asking for ValueAsk {
    fn url(&self) -> &UrlKey {
        &self.key
    }

    /// There are no variants of values, so there is nothing under this.
    fn variant(&self, head: &Head) -> VariantKey {
        VariantKey::of(&self.key, head.generation, &KeyParts::new(), &self.digester)
    }

    fn shape(&self) -> u64 {
        0
    }

    fn accepts_gzip(&self) -> bool {
        false
    }
}

impl<T> Clone for Want<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            rule: self.rule.clone(),
            ask: Arc::clone(&self.ask),
            keep: self.keep.clone(),
            value: PhantomData,
        }
    }
}

/// How long a value is fetched that nobody waits for.
const LONGEST_REFRESH: Duration = Duration::from_secs(30);
