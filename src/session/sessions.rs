//! Sessions without a request: logging in, and logging out elsewhere.

use std::{fmt, marker::PhantomData, sync::Arc};

use super::{
    DeviceSession, LoginTicket, Main, Session, SessionError, SessionErrorKind, SessionId,
    names::check_user,
    record::Ending,
    shared::Shared,
    state::State,
    users::{Roster, Ticket, Users},
};
use crate::clock::monotonic_now;

/// The sessions of a layer, for handlers and programs; made by
/// [`SessionLayer::handle`](super::SessionLayer::handle), cheap to clone.
///
/// All but [`begin_login`](Self::begin_login) need the layer's
/// [`with_users`](super::SessionLayer::with_users).
///
/// # Errors
///
/// [`NoUsers`](SessionErrorKind::NoUsers) without it;
/// [`InvalidUser`](SessionErrorKind::InvalidUser) for a user that is not 1 to 256 bytes;
/// [`Unavailable`](SessionErrorKind::Unavailable): what was not reached lives on, and calling again
/// goes on from there.
pub struct Sessions<M = Main> {
    shared: Arc<Shared>,
    marker: PhantomData<fn() -> M>,
}

impl<M> Sessions<M> {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            marker: PhantomData,
        }
    }

    /// Begins a login: to be called *before* the password is checked, so that
    /// [`destroy_all`](Self::destroy_all) meanwhile ends it.
    ///
    /// The user is whatever your program calls them, and never readable in the backend's keys; it is
    /// what [`Session::user`] gives back.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn begin_login(
        &self,
        user: impl fmt::Display,
    ) -> Result<LoginTicket<M>, SessionError> {
        let user = user.to_string();
        check_user(&user)?;
        let asked = monotonic_now();
        let epoch = match &self.shared.users {
            Some(users) => users.of(&self.shared.store, &user).epoch().await?,
            None => None,
        };
        Ok(LoginTicket::new(Ticket::new(user.into(), epoch, asked)))
    }

    /// Ends all sessions of a user, and all logins that are under way; says how many sessions.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn destroy_all(&self, user: impl fmt::Display) -> Result<usize, SessionError> {
        let user = user.to_string();
        self.roster(&user)?.end_all().await
    }

    /// Ends all sessions of this one's user but this one, and all logins that are under way; says
    /// how many sessions. For after a change of password, together with
    /// [`renew`](Session::renew): whoever has a copy of this session's token keeps it otherwise.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn destroy_others(&self, session: &Session<M>) -> Result<usize, SessionError> {
        self.users()?;
        let Some((user, id)) = owner(session).await? else {
            return Ok(0);
        };
        self.roster(&user)?.end_all_but(&id.0).await
    }

    /// The sessions of this one's user, the one used last first, for a page of devices.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn devices(&self, session: &Session<M>) -> Result<Vec<DeviceSession>, SessionError> {
        self.users()?;
        let Some((user, id)) = owner(session).await? else {
            return Ok(Vec::new());
        };
        self.roster(&user)?.devices(Some(&id.0)).await
    }

    /// The sessions of a user, the one used last first, for a page of an administrator.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn devices_of(
        &self,
        user: impl fmt::Display,
    ) -> Result<Vec<DeviceSession>, SessionError> {
        let user = user.to_string();
        self.roster(&user)?.devices(None).await
    }

    /// Ends this session if it is this user's, and says whether it was.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn destroy_device(
        &self,
        user: impl fmt::Display,
        id: &SessionId,
    ) -> Result<bool, SessionError> {
        let user = user.to_string();
        self.roster(&user)?.end_own(&id.0, Ending::Revoked).await
    }

    fn roster<'a>(&'a self, user: &'a str) -> Result<Roster<'a>, SessionError> {
        check_user(user)?;
        Ok(self.users()?.of(&self.shared.store, user))
    }

    fn users(&self) -> Result<&Users, SessionError> {
        let users = self.shared.users.as_ref();
        users.ok_or_else(|| SessionErrorKind::NoUsers.into())
    }
}

/// Whose session a request has, and which.
async fn owner<M>(session: &Session<M>) -> Result<Option<(String, SessionId)>, SessionError> {
    session.visit().load().await?;
    Ok(session.visit().read(|state: &State| {
        let stored = state.stored()?;
        Some((stored.user()?.to_owned(), SessionId(stored.handle)))
    }))
}

impl<M> Clone for Sessions<M> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl<M> fmt::Debug for Sessions<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}
