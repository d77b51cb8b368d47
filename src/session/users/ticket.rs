//! What a login begins with.

use std::{fmt, time::Duration};

use super::super::{SessionError, names::check_user};
use crate::{
    backend::Version,
    clock::{Monotonic, monotonic_now},
};

/// Permission to log a user in, asked for before the password is checked; see
/// [`Sessions::begin_login`](crate::session::Sessions::begin_login).
///
/// It is good for 15 minutes, and until its user is logged out everywhere: someone who changes a
/// password because it was stolen ends the thief's logins that are under way as well.
#[derive(Clone)]
pub struct LoginTicket {
    pub(super) user: Box<str>,
    pub(super) epoch: Option<Version>,
    asked: Monotonic,
    pub(in crate::session) kept: Option<Vec<Box<str>>>,
    pub(in crate::session) label: Option<Box<str>>,
}

impl LoginTicket {
    pub(in crate::session) fn new(
        user: Box<str>,
        epoch: Option<Version>,
        asked: Monotonic,
    ) -> Result<Self, SessionError> {
        check_user(&user)?;
        Ok(Self {
            user,
            epoch,
            asked,
            kept: None,
            label: None,
        })
    }

    /// Of what the session held before, only these attributes stay; by default all of them.
    ///
    /// Whatever this says, nothing stays of another user's session.
    #[must_use]
    pub fn with_kept<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.kept = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What the session is called in the list of its user's sessions, such as "Firefox on Linux";
    /// cut to 200 bytes.
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Self {
        let starts = label.char_indices().map(|(start, _)| start);
        let ends = starts.skip(1).chain([label.len()]);
        let end = ends.take_while(|end| *end <= MAX_LABEL).last();
        self.label = label.get(..end.unwrap_or(0)).map(Into::into);
        self
    }

    /// Who is to be logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn is_too_old(&self) -> bool {
        monotonic_now().saturating_duration_since(self.asked) >= LIFE
    }
}

/// Shows nobody's name.
impl fmt::Debug for LoginTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginTicket").finish_non_exhaustive()
    }
}

const LIFE: Duration = Duration::from_secs(15 * 60);

const MAX_LABEL: usize = 200;
