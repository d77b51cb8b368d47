//! The session as a handler has it.

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Detached, SessionError, SessionErrorKind, SessionId, json,
    names::{check_name, is_reserved},
    record::{Ending, Value},
    state::{StagedIdentity, Standing, State},
    users::LoginTicket,
    visit::Visit,
};

/// The marker of a layer that does not say another.
///
/// Two session layers around one service need two, so that each has an extension of its own; see
/// [`SessionLayer::with_marker`](super::SessionLayer::with_marker).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Main {}

/// The session of a request; cheap to clone, and all clones are one.
///
/// The layer puts it into the request's extensions. With the feature `axum` it is an extractor as
/// well. Nothing is asked of the backend before the first call here; that loads, once for all
/// clones. What is changed is written when the head of the response is there and before it leaves,
/// unless the response is a failure (5xx): then it is forgotten.
///
/// Changes of different attributes by requests at the same time all survive, of the same one the
/// later; [`update`](Self::update), [`incr`](Self::incr) and [`take`](Self::take) are for what must
/// not be lost in between.
///
/// # Errors
///
/// Every call can give [`Unavailable`](SessionErrorKind::Unavailable) and
/// [`Unreadable`](SessionErrorKind::Unreadable): then nothing is known of the session, so it is not
/// as if there were none. Those that change something give
/// [`ReadOnly`](SessionErrorKind::ReadOnly) on such a route and
/// [`Sealed`](SessionErrorKind::Sealed) once the response is on its way.
///
/// # Cancel safety
///
/// A call that is dropped leaves nothing torn: a staged change is staged or not; what is written at
/// once is written, or not, or will be.
pub struct Session<M = Main> {
    visit: Arc<Visit>,
    marker: PhantomData<fn() -> M>,
}

/// What a request's session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// There is none, or none that this token opens; writing begins one.
    None,
    /// There is one.
    Active,
    /// There was one until a moment ago: it was ended, or someone logged in with it, while this
    /// request was under way. Ordinary changes are lost; [`login`](Session::login) and
    /// [`start`](Session::start) make a new one.
    Ended,
}

impl<M> Session<M> {
    pub(super) fn new(visit: Arc<Visit>) -> Self {
        Self {
            visit,
            marker: PhantomData,
        }
    }

    pub(super) fn visit(&self) -> &Arc<Visit> {
        &self.visit
    }

    /// What the session is, as it is stored: one that this request begins is
    /// [`None`](SessionState::None) up to the next one.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn state(&self) -> Result<SessionState, SessionError> {
        self.visit.load().await?;
        Ok(self.visit.read(|state| match state.standing {
            Standing::Stored(..) => SessionState::Active,
            Standing::Gone => SessionState::Ended,
            Standing::Nothing | Standing::NotLoaded => SessionState::None,
        }))
    }

    /// The session's public name, if one is stored: of one that this request begins, from the next
    /// one on.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn id(&self) -> Result<Option<SessionId>, SessionError> {
        self.visit.load().await?;
        let handle = |state: &State| Some(SessionId(state.stored()?.handle));
        Ok(self.visit.read(handle))
    }

    /// Who is logged in; after a [`login`](Self::login) at once, although that is written only with
    /// the response.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn user(&self) -> Result<Option<String>, SessionError> {
        self.visit.load().await?;
        Ok(self.visit.read(|state| state.user().map(str::to_owned)))
    }

    /// The attribute of this name.
    ///
    /// # Errors
    ///
    /// [`Json`](SessionErrorKind::Json) if it is no `T`; the others still are what they are.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        self.visit.load().await?;
        if is_reserved(name) {
            return Ok(None);
        }
        let value = self.visit.read(|state| state.value(name).cloned());
        value.as_ref().map(json::read).transpose()
    }

    /// Sets the attribute of this name.
    ///
    /// What says the same as before is not written.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](SessionErrorKind::InvalidName) for a name that is not 1 to 64 bytes or begins
    /// with `~`; [`TooLarge`](SessionErrorKind::TooLarge) above 64 attributes or 62 KiB of them, and
    /// nothing changes; [`Json`](SessionErrorKind::Json).
    pub async fn insert(&self, name: &str, value: impl Serialize) -> Result<(), SessionError> {
        check_name(name)?;
        let value = json::write(&value)?;
        self.set(name, value).await
    }

    pub(super) async fn set(&self, name: &str, value: Value) -> Result<(), SessionError> {
        self.visit.load().await?;
        self.visit.write_with_cookie(|state| state.set(name, value))
    }

    /// Removes the attribute of this name, and says whether there was one.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn remove(&self, name: &str) -> Result<bool, SessionError> {
        check_name(name)?;
        self.visit.load().await?;
        self.visit.write(|state| {
            let was_there = state.value(name).is_some();
            state.delta.remove(name);
            Ok(was_there)
        })
    }

    /// Removes all attributes; the session and its user stay.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn clear(&self) -> Result<(), SessionError> {
        self.visit.load().await?;
        self.visit.write(|state| {
            state.delta.clear();
            Ok(())
        })
    }

    /// Logs a user in: with the response the session is theirs, under a new secret; the old one is
    /// dead, and requests that are under way with it write nothing any more.
    ///
    /// What the session holds stays, unless [the ticket says otherwise](LoginTicket::with_kept) or
    /// another user was logged in: then it ends, and a new one takes its place. If the login cannot
    /// be written, or must not be (the ticket is too old, the user was logged out everywhere
    /// meanwhile, has too many sessions), the response is replaced by 401, or 503.
    ///
    /// # Errors
    ///
    /// [`NoCookie`](SessionErrorKind::NoCookie) on such a route; see [the type](Self#errors).
    pub async fn login(&self, ticket: LoginTicket<M>) -> Result<(), SessionError> {
        self.stage(StagedIdentity::SignedIn(ticket.into_inner()))
            .await
    }

    /// Gives the session a new secret with the response: the old one is dead, and requests that are
    /// under way with it write nothing any more. For when a user gains rights.
    ///
    /// Without a session it does nothing.
    ///
    /// # Errors
    ///
    /// [`NoCookie`](SessionErrorKind::NoCookie) on such a route; see [the type](Self#errors).
    pub async fn renew(&self) -> Result<(), SessionError> {
        self.stage(StagedIdentity::Renewed).await
    }

    /// Begins a session with the response if there is none, also where one has just ended.
    ///
    /// # Errors
    ///
    /// [`NoCookie`](SessionErrorKind::NoCookie) on such a route; see [the type](Self#errors).
    pub async fn start(&self) -> Result<(), SessionError> {
        self.stage(StagedIdentity::Started).await
    }

    /// Ends the session, at once and for all: whoever is still about to write it writes nothing.
    ///
    /// What this request changed before is dropped; what it changes after begins a new session.
    /// Without a session, or with the token of one that has ended, there is nothing more to do, and
    /// the cookie stays.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](SessionErrorKind::Unavailable): then the session may live on, and its cookie
    /// stays. See [the type](Self#errors).
    pub async fn destroy(&self) -> Result<(), SessionError> {
        self.visit.load().await?;
        let stored = self.visit.write(|state| match &state.standing {
            Standing::Stored(stored, _) => Ok(Some(stored.clone())),
            _ => Ok(None),
        })?;
        let shared = &self.visit.shared;
        if let Some(stored) = &stored {
            shared.store.end(&stored.handle, Ending::Destroyed).await?;
        }
        self.visit.lock().note_destroyed();
        if let Some(stored) = &stored {
            shared.unlist(stored).await;
        }
        Ok(())
    }

    /// What is known of the session now, for what outlives the request: a WebSocket, a stream of
    /// events, a task.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn detach(&self) -> Result<Detached, SessionError> {
        self.visit.load().await?;
        let store = self.visit.shared.store.clone();
        let stored = |state: &State| state.stored().cloned();
        Ok(Detached::new(store, self.visit.read(stored)))
    }

    async fn stage(&self, identity: StagedIdentity) -> Result<(), SessionError> {
        self.visit.load().await?;
        let sends_cookie = self.visit.rule.route().sends_cookie;
        self.visit.write(|state| {
            if !sends_cookie {
                return Err(SessionErrorKind::NoCookie.into());
            }
            state.stage(identity);
            Ok(())
        })
    }
}

impl<M> Clone for Session<M> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.visit))
    }
}

/// Shows nothing of what it holds.
impl<M> fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
