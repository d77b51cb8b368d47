//! The session as a handler has it.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
};

use super::{
    Detached, SessionError, SessionErrorKind,
    commit::{Change, Commit, Mode, NotCommitted, Refusal},
    delta::{Delta, Staged},
    json,
    names::{check_name, is_reserved},
    record::{Ending, Value},
    store::{Stored, Via},
    token::Handle,
    users::LoginTicket,
    visit::{StagedIdentity, Standing, State, Visit},
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

/// The public name of a session. It finds a session and opens none, so it may be shown to its user
/// and to support staff.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub(super) Handle);

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

    /// Changes an attribute at once and exactly: `change` gets what stands there and says what is to
    /// (`None`: nothing), and is asked again if somebody was faster. Gives what now stands there.
    ///
    /// This is written whatever becomes of the response, with what this request set of the same
    /// attribute before. Where there is no session yet, and after a [`login`](Self::login), it waits
    /// for the response like an [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`Ended`](SessionErrorKind::Ended) if there is no session any more;
    /// [`Indeterminate`](SessionErrorKind::Indeterminate) if it may have been written; those of
    /// [`insert`](Self::insert).
    pub async fn update<T, F>(&self, name: &str, mut change: F) -> Result<Option<T>, SessionError>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Option<T>) -> Option<T>,
    {
        check_name(name)?;
        self.change_exactly(name, |value| {
            let new = change(value.map(json::read).transpose()?);
            let value = new.as_ref().map(json::write).transpose()?;
            Ok((value, new))
        })
        .await
    }

    /// Adds to an attribute at once and exactly, from zero if there is none, and gives the sum; see
    /// [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// [`Json`](SessionErrorKind::Json) if it is no integer,
    /// [`TooLarge`](SessionErrorKind::TooLarge) if the sum is none of 64 bits; those of `update`.
    pub async fn incr(&self, name: &str, by: i64) -> Result<i64, SessionError> {
        check_name(name)?;
        self.change_exactly(name, |value| {
            let old = value.map(json::read::<i64>).transpose()?.unwrap_or(0);
            let sum = old.checked_add(by).ok_or(SessionErrorKind::TooLarge)?;
            Ok((Some(json::write(&sum)?), sum))
        })
        .await
    }

    /// Removes an attribute at once and exactly, and gives what it was: of several who take it, one
    /// gets it; see [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// [`Json`](SessionErrorKind::Json) if it is no `T`: then it stays; those of `update`.
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        check_name(name)?;
        self.change_exactly(name, |value| Ok((None, value.map(json::read).transpose()?)))
            .await
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

    /// Changes an attribute at once if there is a session to write it to, and else with the
    /// response.
    async fn change_exactly<T>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<&Value>) -> Result<(Option<Value>, T), SessionError>,
    ) -> Result<T, SessionError> {
        self.visit.load().await?;
        let at_once = self.visit.write_with_cookie(|state| {
            let is_moving = matches!(state.identity, StagedIdentity::SignedIn(_));
            match &state.standing {
                Standing::Stored(stored, via) if !is_moving => {
                    let staged = match state.delta.of(name) {
                        Staged::Unchanged => None,
                        Staged::Removed => Some(None),
                        Staged::Set(value) => Some(Some(value.clone())),
                    };
                    Ok(Some((stored.clone(), *via, staged)))
                }
                Standing::Gone
                    if matches!(
                        state.identity,
                        StagedIdentity::Same | StagedIdentity::Renewed
                    ) =>
                {
                    Err(SessionErrorKind::Ended.into())
                }
                _ => Ok(None),
            }
        })?;
        let Some((stored, via, staged)) = at_once else {
            return self.change_staged(name, change);
        };
        let mut given = None;
        let committed = self
            .commit(&stored, via)
            .run(|current| {
                let stands = current.record.attributes.get(name);
                let stands = staged.as_ref().map_or(stands, Option::as_ref);
                let (value, result) = change(stands)?;
                given = Some(result);
                let mut delta = Delta::default();
                match value {
                    Some(value) => delta.set(name, value),
                    None => delta.remove(name),
                }
                Ok(Change {
                    delta,
                    ..Change::default()
                })
            })
            .await;
        let written = self.note(committed)?;
        let mut state = self.visit.lock();
        // What was set meanwhile is newer, and waits for the response.
        if staged.is_some_and(|staged| state.delta.says(name, staged.as_ref())) {
            state.delta.forget(name);
        }
        self.adopt(&mut state, written);
        given.ok_or_else(|| SessionErrorKind::Indeterminate.into())
    }

    /// Changes an attribute with the response; no lock is held while `change` runs.
    fn change_staged<T>(
        &self,
        name: &str,
        mut change: impl FnMut(Option<&Value>) -> Result<(Option<Value>, T), SessionError>,
    ) -> Result<T, SessionError> {
        loop {
            let before = self.visit.read(|state| state.value(name).cloned());
            let (value, given) = change(before.as_ref())?;
            let is_staged = self.visit.write(|state| {
                if state.value(name) != before.as_ref() {
                    return Ok(false);
                }
                match value {
                    Some(value) => state.set(name, value)?,
                    None => state.delta.remove(name),
                }
                Ok(true)
            })?;
            if is_staged {
                return Ok(given);
            }
        }
    }

    fn commit<'a>(&'a self, base: &'a Stored, via: Via) -> Commit<'a> {
        Commit {
            store: &self.visit.shared.store,
            family: self.visit.rule.family(),
            base,
            via,
            mode: Mode::Exact,
        }
    }

    fn note(&self, committed: Result<Stored, NotCommitted>) -> Result<Stored, SessionError> {
        match committed {
            Ok(written) => Ok(written),
            Err(NotCommitted::Failed(error)) => Err(error),
            Err(NotCommitted::Refused(Refusal::Gone)) => {
                let mut state = self.visit.lock();
                if let Standing::Stored(..) = state.standing {
                    state.standing = Standing::Gone;
                }
                Err(SessionErrorKind::Ended.into())
            }
            Err(NotCommitted::Refused(Refusal::Indeterminate | Refusal::Conflict)) => {
                Err(SessionErrorKind::Indeterminate.into())
            }
        }
    }

    /// What was written is what this request goes on from, unless it has something newer, or must
    /// not go on from what others wrote.
    fn adopt(&self, state: &mut State, written: Stored) {
        let is_strict = self.visit.rule.route().is_strict;
        if let Standing::Stored(stored, via) = &mut state.standing
            && stored.handle == written.handle
            && stored.version < written.version
            // What a login made of it since is not for who came before.
            && stored.record.head.generation == written.record.head.generation
            && (!is_strict || written.record.head.trail.follows(&stored.record.head.trail))
        {
            if stored.record.head.digest != written.record.head.digest {
                // Somebody else has rotated: this request did not come with the new secret.
                *via = Via::Previous;
            }
            *stored = written;
        }
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

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As text.
impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl FromStr for SessionId {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let handle = bytes.as_deref().and_then(Handle::from_bytes);
        handle
            .map(Self)
            .ok_or_else(|| SessionErrorKind::InvalidId.into())
    }
}
