//! Making a session a user's: five steps, none of which can be torn by a logout everywhere.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        SessionError, SessionErrorKind,
        commit::{
            Change, Commit, Identity, Mode, NotCommitted, Refusal, SignIn, create, new_record,
        },
        csrf::CsrfSeed,
        delta::Delta,
        json,
        names::LABEL,
        record::Ending,
        rule::Family,
        shared::Shared,
        store::{Stored, Via},
        token::Token,
    },
    MaxSessions, Roster, Ticket, Users,
};
use crate::{clock::Timestamp, observe::WarnSite};

/// Why nobody was logged in.
#[derive(Clone, Debug)]
pub(in crate::session) enum NotLoggedIn {
    Refused(LoginRefusal),
    Failed(SessionError),
}

/// Why a login is not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum LoginRefusal {
    /// The ticket is older than 15 minutes.
    TicketTooOld,
    /// The user was logged out everywhere since the ticket was asked for.
    LoggedOutMeanwhile,
    /// The session ended, or somebody else logged in with it.
    SessionEnded,
    /// The user has as many sessions as may be.
    TooManySessions,
}

impl<E: Into<SessionError>> From<E> for NotLoggedIn {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A login, and what it starts from.
pub(in crate::session) struct Login<'a> {
    pub(in crate::session) shared: &'a Shared,
    pub(in crate::session) family: &'a Family,
    /// The session that the request came with.
    pub(in crate::session) base: Option<(&'a Stored, Via)>,
    pub(in crate::session) delta: &'a Delta,
    pub(in crate::session) ticket: &'a Ticket,
    pub(in crate::session) csrf_seed: CsrfSeed,
}

impl Login<'_> {
    /// Binds a session to the ticket's user and says by which token.
    pub(in crate::session) async fn run(&self) -> Result<Token, NotLoggedIn> {
        if self.ticket.is_too_old() {
            return Err(NotLoggedIn::Refused(LoginRefusal::TicketTooOld));
        }
        // Another user's session is not taken over; it ends when the new one is there.
        let kept = self.base.filter(|(base, _)| self.is_free(base));
        let replaced = self.base.filter(|(base, _)| !self.is_free(base));
        let created;
        let (base, via) = if let Some(kept) = kept {
            kept
        } else {
            created = self.create().await?;
            (&created, Via::Current)
        };
        let bound = match &self.shared.users {
            Some(users) => self.bind_listed(users, base, via, kept.is_none()).await?,
            None => self.bind(base, via).await?,
        };
        if let Some((replaced, _)) = replaced {
            let ended = self.shared.store.end(&replaced.handle, Ending::Destroyed);
            match ended.await {
                Ok(()) => self.shared.unlist(replaced).await,
                Err(error) => LEFT_OVER.warn(&error),
            }
        }
        Ok(bound)
    }

    /// Whether a session is nobody's, or the user's own.
    fn is_free(&self, base: &Stored) -> bool {
        base.user().is_none_or(|user| user == self.ticket.user())
    }

    /// Stores a session that is nobody's, for as long as a login takes.
    async fn create(&self) -> Result<Stored, SessionError> {
        // Whoever it is bound to gets another secret, and a seed.
        let seed = CsrfSeed::random()?;
        let (_, created) = create(&self.shared.store, UNBOUND, |digest| {
            Ok(new_record(digest, getrandom::u64()?, seed, self.family))
        })
        .await?;
        Ok(created)
    }

    async fn bind_listed(
        &self,
        users: &Users,
        base: &Stored,
        via: Via,
        is_created: bool,
    ) -> Result<Token, NotLoggedIn> {
        let roster = users.of(&self.shared.store, self.ticket.user());
        // As long as any login's: how long they are on the list tells those that are under way.
        let until = base.clock.now() + self.family.signed_in.absolute;
        roster.join(&base.handle, until).await?;
        let bound = match self.check(users, &roster, until - UNBOUND).await {
            Ok(()) => self.bind(base, via).await,
            Err(refused) => Err(refused),
        };
        if is_created && matches!(bound, Err(NotLoggedIn::Refused(_))) {
            // One that others know may become the user's by them, and one whose answer did not come
            // may be the user's.
            let _ = roster.leave(&base.handle).await;
        }
        let bound = bound?;
        if let Some(MaxSessions::EvictOldest(most)) = users.max_sessions
            && let Err(error) = roster.make_room(most, &base.handle).await
        {
            LEFT_OVER.warn(&error);
        }
        Ok(bound)
    }

    /// Whether the user may be logged in still.
    async fn check(
        &self,
        users: &Users,
        roster: &Roster<'_>,
        under_way: Timestamp,
    ) -> Result<(), NotLoggedIn> {
        if let Some(MaxSessions::Reject(most)) = users.max_sessions
            && roster.has_more_than(most, under_way).await?
        {
            return Err(NotLoggedIn::Refused(LoginRefusal::TooManySessions));
        }
        let epoch = roster.epoch().await?;
        if epoch.is_some() && epoch != self.ticket.epoch {
            return Err(NotLoggedIn::Refused(LoginRefusal::LoggedOutMeanwhile));
        }
        if self.ticket.is_too_old() {
            return Err(NotLoggedIn::Refused(LoginRefusal::TicketTooOld));
        }
        Ok(())
    }

    async fn bind(&self, base: &Stored, via: Via) -> Result<Token, NotLoggedIn> {
        let token = Token::renewed(base.handle)?;
        let change = Change {
            delta: self.labelled(),
            identity: Identity::SignedIn(SignIn {
                user: Bytes::copy_from_slice(self.ticket.user().as_bytes()),
                digest: token.secret.digest(),
                generation: getrandom::u64()?,
                csrf_seed: self.csrf_seed,
                life: self.life(),
                kept: self.ticket.kept.clone(),
            }),
        };
        let commit = Commit {
            store: &self.shared.store,
            family: self.family,
            base,
            via,
            mode: Mode::Exact,
        };
        match commit.run(|_| Ok(change.clone())).await {
            Ok(_) => Ok(token),
            Err(NotCommitted::Refused(Refusal::Indeterminate)) => {
                Err(SessionErrorKind::Indeterminate.into())
            }
            Err(NotCommitted::Refused(Refusal::Gone | Refusal::Conflict)) => {
                Err(NotLoggedIn::Refused(LoginRefusal::SessionEnded))
            }
            Err(NotCommitted::Failed(error)) => Err(NotLoggedIn::Failed(error)),
        }
    }

    fn life(&self) -> Duration {
        self.ticket.lifetime(self.family.signed_in.absolute)
    }

    /// What the request changed, and the session's label.
    fn labelled(&self) -> Delta {
        let mut delta = self.delta.clone();
        match self.ticket.label.as_ref().map(json::write) {
            Some(Ok(label)) => delta.set(LABEL, label),
            _ => delta.remove(LABEL),
        }
        delta
    }
}

/// How long a session waits for the login that it was made for.
const UNBOUND: Duration = Duration::from_secs(60);

/// Where a login left sessions that it should have ended.
static LEFT_OVER: WarnSite = WarnSite::new("session: login");
