//! Doing what is left to do when a request has been answered, before its response leaves.

use std::{sync::Arc, time::Duration};

use super::{
    SessionError, SessionErrorKind,
    commit::{
        Change, Commit, Identity, Mode, NotCommitted, Refusal, create, new_record, slid_record,
    },
    job::Job,
    state::Standing,
    store::{Stored, Via},
    token::Token,
    users::{Login, LoginRefusal, NotLoggedIn, Ticket},
    visit::Visit,
    work::{NewSecret, Work},
};
use crate::backend::{Precondition, Put};

/// What was done with a session when its request had been answered.
#[derive(Clone, Debug)]
pub(super) enum Settled {
    Rested,
    Slid,
    Saved,
    /// The client is to have this token, for so long.
    Issued(Issue),
    /// What changed is lost, for the session ended or somebody logged in with it.
    Lost,
    Conflict,
    LoginRefused(LoginRefusal),
    Failed(SessionError),
}

/// A token for the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issue {
    pub(super) token: Token,
    pub(super) max_age: Duration,
    pub(super) is_new: bool,
}

impl Visit {
    /// Begins to do it. What a handler has decided on is written even if its client goes away.
    pub(super) fn begin(self: &Arc<Self>, work: Work) -> Job<Settled> {
        match work {
            Work::Rest => Job::done(Settled::Rested),
            Work::Lose => Job::done(Settled::Lost),
            Work::Slide(..) => Job::inline(Arc::clone(self).settle(work)),
            _ => Job::spawned(Arc::clone(self).settle(work)),
        }
    }

    async fn settle(self: Arc<Self>, work: Work) -> Settled {
        match work {
            Work::Rest => Settled::Rested,
            Work::Lose => Settled::Lost,
            Work::Slide(stored, via) => {
                self.slide(&stored, via).await;
                Settled::Slid
            }
            // Nobody asked for it, and the secret that the client has is good still.
            Work::Rotate(stored, via) => match self.save(&stored, via, NewSecret::Rotation).await {
                Ok(Some(issue)) => Settled::Issued(issue),
                Ok(None) => Settled::Slid,
                Err(_) => Settled::Rested,
            },
            Work::Create => match self.create().await {
                Ok(issue) => Settled::Issued(issue),
                Err(error) => Settled::Failed(error),
            },
            Work::Save(stored, via, secret) => match self.save(&stored, via, secret).await {
                Ok(None) => Settled::Saved,
                Ok(Some(issue)) => Settled::Issued(issue),
                Err(NotCommitted::Refused(Refusal::Gone)) => Settled::Lost,
                Err(NotCommitted::Refused(Refusal::Conflict)) => Settled::Conflict,
                Err(NotCommitted::Refused(Refusal::Indeterminate)) => {
                    Settled::Failed(SessionErrorKind::Indeterminate.into())
                }
                Err(NotCommitted::Failed(error)) => Settled::Failed(error),
            },
            Work::LogIn(ticket) => match self.log_in(&ticket).await {
                Ok(issue) => Settled::Issued(issue),
                Err(NotLoggedIn::Refused(refusal)) => Settled::LoginRefused(refusal),
                Err(NotLoggedIn::Failed(error)) => Settled::Failed(error),
            },
        }
    }

    async fn slide(&self, stored: &Stored, via: Via) {
        let now = stored.clock.now();
        let Some(record) = slid_record(stored, via, self.rule.family(), now) else {
            return;
        };
        let precondition = Precondition::Matches(stored.version);
        let ttl = record.head.ttl;
        let store = &self.shared.store;
        let put = store.put(&stored.handle, record.encode(), ttl, precondition);
        // Refused, somebody else wrote it, which moved its end as well.
        if let Ok((Put::Stored(_), _)) = put.await
            && let (Some(users), Some(user)) = (&self.shared.users, stored.user())
        {
            let _ = users
                .of(store, user)
                .join(&stored.handle, stored.deadline())
                .await;
        }
    }

    async fn create(&self) -> Result<Issue, SessionError> {
        let family = self.rule.family();
        let seed = self.lock().next_csrf_seed()?;
        let timeouts = family.anonymous;
        let (token, _) = create(&self.shared.store, timeouts.idle, |digest| {
            let mut record = new_record(digest, getrandom::u64()?, seed, family);
            record.attributes = self.read(|state| state.delta.apply(&record.attributes));
            Ok(record)
        })
        .await?;
        Ok(Issue {
            token,
            max_age: timeouts.absolute,
            is_new: true,
        })
    }

    async fn save(
        &self,
        stored: &Stored,
        via: Via,
        secret: NewSecret,
    ) -> Result<Option<Issue>, NotCommitted> {
        let token = match secret {
            NewSecret::None => None,
            NewSecret::Rotation | NewSecret::Renewal => Some(Token::renewed(stored.handle)?),
        };
        let digest = token.map(|token| token.secret.digest());
        let change = Change {
            delta: self.read(|state| state.delta.clone()),
            identity: match (secret, digest) {
                (NewSecret::Rotation, Some(digest)) => Identity::Rotated(digest),
                (NewSecret::Renewal, Some(digest)) => Identity::Renewed(digest, getrandom::u64()?),
                _ => Identity::Same,
            },
        };
        let route = self.rule.route();
        let commit = Commit {
            store: &self.shared.store,
            family: self.rule.family(),
            base: stored,
            via,
            mode: match secret {
                _ if route.is_strict => Mode::Strict,
                NewSecret::Renewal => Mode::Exact,
                NewSecret::None | NewSecret::Rotation => Mode::Merge,
            },
        };
        let written = commit.run(|_| Ok(change.clone())).await?;
        // A rotation that somebody else was faster with did not make this secret theirs.
        let issued = token.filter(|_| Some(written.record.head.digest) == digest);
        Ok(issued.map(|token| Issue {
            token,
            max_age: written.deadline() - written.clock.now(),
            is_new: false,
        }))
    }

    async fn log_in(&self, ticket: &Ticket) -> Result<Issue, NotLoggedIn> {
        let (base, delta) = self.read(|state| (state.standing.clone(), state.delta.clone()));
        let csrf_seed = self.lock().next_csrf_seed()?;
        let base = match &base {
            Standing::Stored(stored, via) => Some((stored, *via)),
            _ => None,
        };
        let login = Login {
            shared: &self.shared,
            family: self.rule.family(),
            base,
            delta: &delta,
            ticket,
            csrf_seed,
        };
        Ok(Issue {
            token: login.run().await?,
            max_age: ticket.lifetime(self.rule.family().signed_in.absolute),
            is_new: true,
        })
    }
}
