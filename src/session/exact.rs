//! Changes at once: update, incr, take.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Session, SessionError, SessionErrorKind,
    commit::{Change, Commit, Mode, NotCommitted, Refusal},
    delta::{Delta, Staged},
    json,
    names::check_name,
    record::Value,
    state::{StagedIdentity, Standing, State},
    store::{Stored, Via},
};

impl<M> Session<M> {
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
        self.change_exactly(name, |value| Ok((None, value.map(json::read).transpose()?)))
            .await
    }

    /// Changes an attribute at once if there is a session to write it to, and else with the
    /// response.
    async fn change_exactly<T>(
        &self,
        name: &str,
        change: impl FnMut(Option<&Value>) -> Result<(Option<Value>, T), SessionError>,
    ) -> Result<T, SessionError> {
        check_name(name)?;
        self.visit().load().await?;
        match self.visit().write_with_cookie(|state| base(state, name))? {
            Some(base) => self.change_at_once(name, &base, change).await,
            None => self.change_staged(name, change),
        }
    }

    async fn change_at_once<T>(
        &self,
        name: &str,
        base: &Base,
        mut change: impl FnMut(Option<&Value>) -> Result<(Option<Value>, T), SessionError>,
    ) -> Result<T, SessionError> {
        let commit = Commit {
            store: &self.visit().shared.store,
            family: self.visit().rule.family(),
            base: &base.stored,
            via: base.via,
            mode: Mode::Exact,
        };
        let mut given = None;
        let committed = commit.run(|current| {
            let stored = current.record.attributes.get(name);
            let (value, result) = change(base.staged.as_ref().over(stored))?;
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
        });
        let written = self.note(committed.await)?;
        let mut state = self.visit().lock();
        // What was set meanwhile is newer, and waits for the response.
        let staged = base.staged.as_ref();
        if staged != Staged::Unchanged && staged == state.delta.of(name) {
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
            let before = self.visit().read(|state| state.value(name).cloned());
            let (value, given) = change(before.as_ref())?;
            let is_staged = self.visit().write(|state| {
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

    /// A session that turned out to have ended is known as such from now on.
    fn note(&self, committed: Result<Stored, NotCommitted>) -> Result<Stored, SessionError> {
        match committed {
            Ok(written) => Ok(written),
            Err(NotCommitted::Failed(error)) => Err(error),
            Err(NotCommitted::Refused(Refusal::Gone)) => {
                let mut state = self.visit().lock();
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
        let is_strict = self.visit().rule.route().is_strict;
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

/// What a change at once begins with.
struct Base {
    stored: Stored,
    via: Via,
    /// What the request said of the attribute before, which is written along.
    staged: Staged<Value>,
}

/// What to write a change of this attribute over; `None` if it must wait for the response.
fn base(state: &State, name: &str) -> Result<Option<Base>, SessionError> {
    match (&state.standing, &state.identity) {
        (_, StagedIdentity::SignedIn(_))
        | (Standing::Gone, StagedIdentity::Started)
        | (Standing::NotLoaded | Standing::Nothing, _) => Ok(None),
        (Standing::Gone, _) => Err(SessionErrorKind::Ended.into()),
        (Standing::Stored(stored, via), _) => Ok(Some(Base {
            stored: stored.clone(),
            via: *via,
            staged: state.delta.of(name).cloned(),
        })),
    }
}
