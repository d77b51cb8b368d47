//! A request's session as the request sees it: what was loaded, and what is to change.

use super::{
    SessionError,
    csrf::CsrfSeed,
    delta::Delta,
    limits, names,
    record::{Attributes, Value},
    store::{Stored, Via},
    users::Ticket,
};

/// What is known of a session, and what is to become of it.
#[derive(Default)]
pub(super) struct State {
    pub(super) standing: Standing,
    pub(super) delta: Delta,
    pub(super) identity: StagedIdentity,
    /// Of the session that this request begins, once somebody has asked for it.
    next_csrf_seed: Option<CsrfSeed>,
    /// Whether this request ended the session that it came with.
    pub(super) is_destroyed: bool,
    pub(super) is_sealed: bool,
}

/// What a request's token stands for.
#[derive(Clone, Default)]
pub(super) enum Standing {
    /// Nobody has asked.
    #[default]
    NotLoaded,
    /// No session.
    Nothing,
    /// A session that ended, or was given another secret, a moment ago.
    Gone,
    Stored(Stored, Via),
}

/// What is to become of who may use the session.
#[derive(Clone, Debug, Default)]
pub(super) enum StagedIdentity {
    #[default]
    Same,
    /// If there is no session, there is to be one.
    Started,
    Renewed,
    SignedIn(Ticket),
}

impl State {
    /// Whether nobody asked anything of the session.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.standing, Standing::NotLoaded)
    }

    /// The session that the request came with, if it may use it.
    pub(super) fn stored(&self) -> Option<&Stored> {
        match &self.standing {
            Standing::Stored(stored, _) => Some(stored),
            _ => None,
        }
    }

    /// An attribute as this request sees it: as it left it, or as it was loaded.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        let stored = self.stored().filter(|stored| self.shows(stored, name));
        let value = stored.and_then(|stored| stored.record.attributes.get(name));
        self.delta.of(name).over(value)
    }

    /// All attributes as this request sees them.
    pub(super) fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::default();
        if let Some(stored) = self.stored() {
            attributes = stored.record.attributes.clone();
            attributes.retain(|name| self.shows(stored, name));
        }
        self.delta.apply(&attributes)
    }

    /// Who is logged in, as this request sees it.
    pub(super) fn user(&self) -> Option<&str> {
        match &self.identity {
            StagedIdentity::SignedIn(ticket) => Some(ticket.user()),
            _ => self.stored()?.user(),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Value) -> Result<(), SessionError> {
        let before = self.delta.clone();
        self.delta.set(name, value);
        let fits = limits::check_attributes(&self.attributes());
        if fits.is_err() {
            self.delta = before;
        }
        fits
    }

    /// What the tokens of the session are made from as this request leaves it, if that is known yet.
    pub(super) fn csrf_seed(&self) -> Option<CsrfSeed> {
        match (self.stored(), &self.identity) {
            (None, _) | (_, StagedIdentity::SignedIn(_)) => self.next_csrf_seed,
            (Some(stored), _) => Some(stored.record.head.csrf_seed),
        }
    }

    /// The same, and that of the session as this request came with it.
    pub(super) fn csrf_seeds(&self) -> [Option<CsrfSeed>; 2] {
        let loaded = self.stored().map(|stored| stored.record.head.csrf_seed);
        [loaded, self.next_csrf_seed]
    }

    /// What the tokens of the session are made from that this request begins, or logs in with.
    pub(super) fn next_csrf_seed(&mut self) -> Result<CsrfSeed, getrandom::Error> {
        match self.next_csrf_seed {
            Some(seed) => Ok(seed),
            None => Ok(*self.next_csrf_seed.insert(CsrfSeed::random()?)),
        }
    }

    /// Notes what is to become of who may use the session; a login is more than the others, of
    /// which one is for a session that is there, and one for none.
    pub(super) fn stage(&mut self, identity: StagedIdentity) {
        let is_moot = match &identity {
            StagedIdentity::Same => true,
            StagedIdentity::Started => self.stored().is_some(),
            StagedIdentity::Renewed => self.stored().is_none(),
            StagedIdentity::SignedIn(ticket) => {
                if self.user().is_some_and(|user| user != ticket.user()) {
                    // What was changed so far belongs to the other user as well.
                    self.delta = Delta::default();
                }
                self.identity = identity;
                return;
            }
        };
        if !is_moot && !matches!(self.identity, StagedIdentity::SignedIn(_)) {
            self.identity = identity;
        }
    }

    /// Drops what changes nothing of the session as it was loaded; but not before a login, which may
    /// keep less of that.
    pub(super) fn forget_what_changes_nothing(&mut self) {
        match (&self.standing, &self.identity) {
            (_, StagedIdentity::SignedIn(_)) | (Standing::NotLoaded | Standing::Gone, _) => {}
            (Standing::Nothing, _) => {
                let nothing = Attributes::default();
                self.delta.forget_what_changes_nothing(&nothing);
            }
            (Standing::Stored(stored, _), _) => {
                let attributes = &stored.record.attributes;
                self.delta.forget_what_changes_nothing(attributes);
            }
        }
    }

    /// The session that the request came with has ended; what is changed from now on begins another.
    pub(super) fn note_destroyed(&mut self) {
        if let Standing::Stored(..) = self.standing {
            self.standing = Standing::Nothing;
            self.is_destroyed = true;
        }
        self.forget_staged();
    }

    /// Forgets all that is to become of the session.
    fn forget_staged(&mut self) {
        self.delta = Delta::default();
        self.identity = StagedIdentity::Same;
        self.next_csrf_seed = None;
    }

    /// Whether a stored attribute is still there after the login that is to come.
    fn shows(&self, stored: &Stored, name: &str) -> bool {
        let StagedIdentity::SignedIn(ticket) = &self.identity else {
            return true;
        };
        if stored.user().is_some_and(|user| user != ticket.user()) {
            return false;
        }
        let is_kept = |kept: &Vec<Box<str>>| kept.iter().any(|kept| **kept == *name);
        names::is_reserved(name) || ticket.kept.as_ref().is_none_or(is_kept)
    }
}
