//! Whose turn it is to fetch: one at a time, among all instances.

use std::{mem, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use super::{
    Core,
    claim::Claim,
    deposit::{Deposited, Stake},
    flights::{Landing, Lead, Role},
    lease::Holding,
    lookup::{Asking, Found, Held, Page, Place},
    marks::Mark,
    purges::Standing,
    settings::{Coalescing, Consistency, Settings},
};
use crate::{
    backend::BackendError,
    cache::semantics::NotStored,
    clock::{Monotonic, Timestamp, monotonic_now},
    key::Key,
};

/// Someone who wants what is not there, until it is there or his to fetch.
pub(in crate::cache) struct Turns {
    core: Arc<Core>,
    /// Under which everything that is fetched of one URL is purged.
    page: Key,
    coalescing: Coalescing,
    began: Monotonic,
    /// How many who were followed gave up.
    lost: u32,
    backoff: Backoff,
    lead: Option<(Key, Lead)>,
}

/// What is to be done now.
pub(in crate::cache) enum Turn {
    /// To fetch. What is fetched was not there before this time; or why it is not to be stored.
    Fetch(Stake, Result<Timestamp, NotStored>),
    /// The same, as the backend does not answer.
    Unavailable(Stake, BackendError),
    /// To take what another of this process has just stored, or to fetch
    /// [for oneself](Turns::alone).
    Landed(Arc<Deposited>),
    /// To look again: another instance may have stored it by now.
    Look,
}

impl Turns {
    pub(in crate::cache) fn new(core: &Arc<Core>, page: Key, coalescing: Coalescing) -> Self {
        Self {
            core: Arc::clone(core),
            page,
            coalescing,
            began: monotonic_now(),
            lost: 0,
            backoff: Backoff::new(),
            lead: None,
        }
    }

    /// What is to be done where this was found.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has left its place to someone else.
    pub(in crate::cache) async fn next(
        &mut self,
        asking: &impl Asking,
        found: &Found,
        mut before_waiting: impl FnMut(),
    ) -> Turn {
        let lease = found.place.lease();
        if self.lead.as_ref().is_some_and(|(led, _)| *led != lease) {
            // It is one of several, as is known now: others wait for another one.
            self.lead = None;
        }
        let mark = self.core.marks.find(&lease);
        if mark == Some(Mark::Pass) {
            return Turn::Fetch(self.alone(found), Err(NotStored::NotLeader));
        }
        if found.held.is_none() && !self.core.admits(&found.place, asking) {
            return Turn::Fetch(self.alone(found), Err(NotStored::TooManyVariants));
        }
        let mut may_wait = mark.is_none();
        if self.lead.is_none() && may_wait && self.coalescing != Coalescing::Off {
            match self.core.flights.join(&self.page, &lease) {
                Role::Lead(lead) => self.lead = Some((lease.clone(), lead)),
                Role::Follow(follower) => {
                    before_waiting();
                    match follower.landed().await {
                        Landing::Stored(deposited) => return Turn::Landed(deposited),
                        Landing::Lost if self.lost < MAX_LOST => {
                            // What was there when it was looked for is not what is there now.
                            self.lost += 1;
                            return Turn::Look;
                        }
                        Landing::Arriving => {
                            // Too slowly: nobody waits for it any more.
                            self.core.marks.set(&lease, Mark::Hurry);
                            may_wait = false;
                        }
                        _ => return Turn::Fetch(self.alone(found), Err(NotStored::NotLeader)),
                    }
                }
            }
        }
        let waits = self.coalescing == Coalescing::Fleet && may_wait;
        match self.core.claim(found, self.began.elapsed()).await {
            Ok(Claim::Ours(holding, started)) => {
                Turn::Fetch(self.stake(lease, Some(holding)), Ok(started))
            }
            Ok(Claim::Everybody(started)) => Turn::Fetch(self.alone(found), Ok(started)),
            Ok(Claim::Another(_)) if waits => {
                before_waiting();
                sleep(self.backoff.next()).await;
                Turn::Look
            }
            Ok(Claim::Another(now)) => Turn::Fetch(self.stake(lease, None), Ok(now)),
            Ok(Claim::Unstored) => Turn::Fetch(self.stake(lease, None), Err(NotStored::NotLeader)),
            Err(error) => Turn::Unavailable(self.stake(lease, None), error),
        }
    }

    /// To fetch for oneself, what nobody waits for.
    pub(in crate::cache) fn alone(&mut self, found: &Found) -> Stake {
        let mut stake = self.stake(found.place.lease(), None);
        stake.release();
        stake
    }

    /// Another instance has stored it: who waits here gets it as well.
    pub(in crate::cache) fn land(&mut self, place: Place, held: Held) {
        if let Some((_, lead)) = self.lead.take() {
            // Each who takes it over unpacks it for himself.
            let held = Held {
                unpacked: None,
                ..held
            };
            lead.land(Landing::Stored(Arc::new(Deposited { place, held })));
        }
    }

    /// Whether what has landed was purged since, and another one may be fetched for all.
    pub(in crate::cache) async fn begins_again(
        &mut self,
        asking: &impl Asking,
        landed: &Deposited,
    ) -> bool {
        if self.lost >= MAX_LOST {
            return false;
        }
        self.lost += 1;
        let purges = &self.core.purges;
        let standing = purges.standing(&landed.held.entry, asking.url()).await;
        standing.is_ok_and(|standing| standing == Standing::Purged)
    }

    fn stake(&mut self, lease: Key, holding: Option<Holding>) -> Stake {
        Stake {
            core: Arc::clone(&self.core),
            runtime: Handle::current(),
            lease,
            lead: self.lead.take().map(|(_, lead)| lead),
            holding,
        }
    }
}

impl Core {
    /// What another of this process has just stored, as it is found by this one. Where it may be
    /// that it was purged and nobody here knows, it is looked up.
    pub(in crate::cache) async fn take_over(
        &self,
        asking: &impl Asking,
        settings: &Settings,
        deposited: &Deposited,
    ) -> Option<Found> {
        let is_direct = match settings.consistency {
            Consistency::Bounded(max_age) => {
                let age = self.purges.now() - deposited.held.entry.checked;
                self.store.is_remote() && age < max_age
            }
            Consistency::Strict => false,
        };
        let is_its = is_its_place(asking, &deposited.place)
            && deposited.held.belongs(&deposited.place, asking);
        if !is_direct || !is_its {
            return self.look(asking, settings).await.ok();
        }
        let mut held = deposited.held.clone().opened(asking).await?;
        let standing = self
            .purges
            .present_standing(&held.entry, asking.url(), settings);
        held.standing = standing.await.ok()?;
        Some(Found {
            place: deposited.place.clone(),
            page: Page::Unread,
            held: Some(held),
        })
    }
}

/// Whether what someone wants belongs there, too.
fn is_its_place(asking: &impl Asking, place: &Place) -> bool {
    match place {
        Place::Url(url) => url == asking.url(),
        Place::Variant { head, variant } => asking.variant(head) == *variant,
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
