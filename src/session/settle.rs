//! What a request leaves behind: decided when the head of its response is there, written before
//! that leaves.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, response};

use super::{
    SessionError, SessionErrorKind,
    commit::{
        Change, Commit, Identity, Mode, NotCommitted, Refusal, create, is_first_use, new_record,
        slid_record,
    },
    delta::Delta,
    expiry::gain,
    record::Attributes,
    state::{StagedIdentity, Standing},
    store::{Stored, Via},
    token::Token,
    users::{LoginRefusal, NotSignedIn, SignInto, Ticket},
    visit::Visit,
};
use crate::{
    backend::{Precondition, Put},
    grpc,
    respond::GrpcCode,
};

/// What is to be done with a session when its request has been answered.
pub(super) enum Work {
    /// Nothing.
    Rest,
    /// Write it as it is, so that it lives on.
    Slide(Stored, Via),
    /// Write it with another secret, which is due.
    Rotate(Stored, Via),
    /// Store a new one.
    Create,
    /// Write what changed.
    Commit(Stored, Via, NewSecret),
    SignIn(Ticket),
    /// What changed is lost, for the session ended.
    Lose,
}

/// Whether a commit makes a new secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewSecret {
    None,
    Rotation,
    Renewal,
}

/// What was done with it.
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
    /// Decides what is to be done, once the head of the response is there; from now on nothing can
    /// be changed.
    pub(super) fn seal(&self, head: &response::Parts) -> Work {
        let saves = self.saves(head);
        let mut state = self.lock();
        state.is_sealed = true;
        let identity = std::mem::take(&mut state.identity);
        let identity = if saves {
            identity
        } else {
            StagedIdentity::Same
        };
        if !saves {
            state.delta = Delta::default();
        }
        match (&state.standing, identity) {
            (Standing::NotLoaded, _) => Work::Rest,
            (_, StagedIdentity::SignedIn(ticket)) => {
                state.identity = StagedIdentity::SignedIn(ticket.clone());
                Work::SignIn(ticket)
            }
            (Standing::Stored(stored, via), identity) => {
                let (stored, via) = (stored.clone(), *via);
                state
                    .delta
                    .forget_what_changes_nothing(&stored.record.attributes);
                let secret = match identity {
                    StagedIdentity::Renewed => NewSecret::Renewal,
                    _ if saves && self.is_to_rotate(&stored, via) => NewSecret::Rotation,
                    _ => NewSecret::None,
                };
                if secret == NewSecret::Rotation && state.delta.is_empty() {
                    Work::Rotate(stored, via)
                } else if secret != NewSecret::None || !state.delta.is_empty() {
                    Work::Commit(stored, via, secret)
                } else if self.is_to_slide(&stored, via) {
                    Work::Slide(stored, via)
                } else {
                    Work::Rest
                }
            }
            (_, StagedIdentity::Started) => Work::Create,
            (Standing::Nothing, _) => {
                state
                    .delta
                    .forget_what_changes_nothing(&Attributes::default());
                if state.delta.is_empty() {
                    Work::Rest
                } else {
                    Work::Create
                }
            }
            (Standing::Gone, _) if state.delta.is_empty() => Work::Rest,
            (Standing::Gone, _) => Work::Lose,
        }
    }

    /// Does it.
    pub(super) async fn settle(self: Arc<Self>, work: Work) -> Settled {
        match work {
            Work::Rest => Settled::Rested,
            Work::Lose => Settled::Lost,
            Work::Slide(stored, via) => {
                self.slide(&stored, via).await;
                Settled::Slid
            }
            // Nobody asked for it, and the secret that the client has is good still.
            Work::Rotate(stored, via) => {
                match self.commit(&stored, via, NewSecret::Rotation).await {
                    Ok(Some(issue)) => Settled::Issued(issue),
                    Ok(None) => Settled::Slid,
                    Err(_) => Settled::Rested,
                }
            }
            Work::Create => match self.create().await {
                Ok(issue) => Settled::Issued(issue),
                Err(error) => Settled::Failed(error),
            },
            Work::Commit(stored, via, secret) => match self.commit(&stored, via, secret).await {
                Ok(None) => Settled::Saved,
                Ok(Some(issue)) => Settled::Issued(issue),
                Err(NotCommitted::Refused(Refusal::Gone)) => Settled::Lost,
                Err(NotCommitted::Refused(Refusal::Conflict)) => Settled::Conflict,
                Err(NotCommitted::Refused(Refusal::Indeterminate)) => {
                    Settled::Failed(SessionErrorKind::Indeterminate.into())
                }
                Err(NotCommitted::Failed(error)) => Settled::Failed(error),
            },
            Work::SignIn(ticket) => match self.sign_in(&ticket).await {
                Ok(issue) => Settled::Issued(issue),
                Err(NotSignedIn::Refused(refusal)) => Settled::LoginRefused(refusal),
                Err(NotSignedIn::Failed(error)) => Settled::Failed(error),
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
            let until = stored.record.head.deadline(stored.version);
            let _ = users.of(store, user).join(&stored.handle, until).await;
        }
    }

    async fn create(&self) -> Result<Issue, SessionError> {
        let family = self.rule.family();
        let seed = self.lock().next_csrf_seed()?;
        let timeouts = family.timeouts(false);
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

    async fn commit(
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
            max_age: written.record.head.deadline(written.version) - written.clock.now(),
            is_new: false,
        }))
    }

    async fn sign_in(&self, ticket: &Ticket) -> Result<Issue, NotSignedIn> {
        let (base, delta) = self.read(|state| (state.standing.clone(), state.delta.clone()));
        let csrf_seed = self.lock().next_csrf_seed()?;
        let base = match &base {
            Standing::Stored(stored, via) => Some((stored, *via)),
            _ => None,
        };
        let into = SignInto {
            shared: &self.shared,
            family: self.rule.family(),
            base,
            delta: &delta,
            ticket,
            csrf_seed,
        };
        let (token, _) = into.run().await?;
        Ok(Issue {
            token,
            max_age: ticket.lifetime(self.rule.family().timeouts(true).absolute),
            is_new: true,
        })
    }

    fn saves(&self, head: &response::Parts) -> bool {
        match &self.rule.route().save_if {
            Some(saves) => saves(head),
            None => !is_failure(head),
        }
    }

    /// A request that came with the secret before the last rotation never makes another; nor does
    /// one that is not to keep the session alive, as writing a record does.
    fn is_to_rotate(&self, stored: &Stored, via: Via) -> bool {
        let head = &stored.record.head;
        let made = head.rotated.max(head.born(stored.version));
        let route = self.rule.route();
        via == Via::Current
            && route.sends_cookie
            && route.slides
            && !route.is_read_only
            && self
                .rule
                .family()
                .rotation_every
                .is_some_and(|every| stored.clock.now() - made >= every)
    }

    fn is_to_slide(&self, stored: &Stored, via: Via) -> bool {
        if !self.rule.route().slides {
            return false;
        }
        let head = &stored.record.head;
        if is_first_use(head, via) {
            return true;
        }
        let family = self.rule.family();
        let timeouts = family.timeouts(stored.record.user.is_some());
        let now = stored.clock.now();
        let ttl = timeouts.idle.min(head.deadline(stored.version) - now);
        gain(head, stored.version, ttl, now) >= family.touch_every(timeouts.idle)
    }
}

/// Whether a response says that what its request did is not to be kept: a server's error in HTTP,
/// or in gRPC where its status is in the head.
fn is_failure(head: &response::Parts) -> bool {
    head.status >= StatusCode::INTERNAL_SERVER_ERROR
        || grpc::status(&head.headers).is_some_and(|code| FAILURES.contains(&code))
}

const FAILURES: [GrpcCode; 6] = [
    GrpcCode::UNKNOWN,
    GrpcCode::DEADLINE_EXCEEDED,
    GrpcCode::UNIMPLEMENTED,
    GrpcCode::INTERNAL,
    GrpcCode::UNAVAILABLE,
    GrpcCode::DATA_LOSS,
];
