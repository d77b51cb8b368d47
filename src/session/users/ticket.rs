//! What a login begins with.

use std::{fmt, marker::PhantomData, time::Duration};

use super::super::Main;
use crate::{
    backend::Version,
    clock::{Monotonic, monotonic_now},
};

/// Permission to log a user in, asked for before the password is checked; see
/// [`Sessions::begin_login`](crate::session::Sessions::begin_login).
///
/// It is good for 15 minutes, and until its user is logged out everywhere: someone who changes a
/// password because it was stolen ends the thief's logins that are under way as well.
pub struct LoginTicket<M = Main> {
    ticket: Ticket,
    marker: PhantomData<fn() -> M>,
}

/// The same, whichever layer it is for.
#[derive(Clone)]
pub(in crate::session) struct Ticket {
    pub(super) user: Box<str>,
    pub(super) epoch: Option<Version>,
    asked: Monotonic,
    lifetime: Option<Duration>,
    pub(in crate::session) kept: Option<Vec<Box<str>>>,
    pub(in crate::session) label: Option<Box<str>>,
}

impl<M> LoginTicket<M> {
    pub(in crate::session) fn new(ticket: Ticket) -> Self {
        Self {
            ticket,
            marker: PhantomData,
        }
    }

    pub(in crate::session) fn into_inner(self) -> Ticket {
        self.ticket
    }

    /// Of what the session held before, only these attributes stay; by default all of them.
    ///
    /// Whatever this says, nothing stays of another user's session.
    #[must_use]
    pub fn with_kept<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.ticket.kept = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What the session is called in the list of its user's sessions, such as "Firefox on Linux";
    /// cut to 200 bytes.
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Self {
        let starts = label.char_indices().map(|(start, _)| start);
        let ends = starts.skip(1).chain([label.len()]);
        let end = ends.take_while(|end| *end <= MAX_LABEL).last();
        self.ticket.label = label.get(..end.unwrap_or(0)).map(Into::into);
        self
    }

    /// The session ends so long after this login at the latest, if that is earlier than by the
    /// rule's [absolute time-out](crate::session::SessionRule::with_timeouts): a rule for those who
    /// want to be remembered, and a shorter life for those who do not. Its cookie lives as long.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.ticket.lifetime = Some(lifetime);
        self
    }

    /// Who is to be logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        self.ticket.user()
    }
}

impl Ticket {
    pub(in crate::session) fn new(
        user: Box<str>,
        epoch: Option<Version>,
        asked: Monotonic,
    ) -> Self {
        Self {
            user,
            epoch,
            asked,
            lifetime: None,
            kept: None,
            label: None,
        }
    }

    pub(in crate::session) fn user(&self) -> &str {
        &self.user
    }

    /// How long the session lives, by a rule that lets it live so long.
    pub(in crate::session) fn lifetime(&self, longest: Duration) -> Duration {
        self.lifetime
            .map_or(longest, |lifetime| lifetime.max(SHORTEST).min(longest))
    }

    pub(super) fn is_too_old(&self) -> bool {
        monotonic_now().saturating_duration_since(self.asked) >= LIFE
    }
}

impl<M> Clone for LoginTicket<M> {
    fn clone(&self) -> Self {
        Self::new(self.ticket.clone())
    }
}

/// Shows nobody's name.
impl<M> fmt::Debug for LoginTicket<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginTicket").finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

/// A session that ends at once would be none.
const SHORTEST: Duration = Duration::from_secs(1);

const LIFE: Duration = Duration::from_secs(15 * 60);

const MAX_LABEL: usize = 200;
