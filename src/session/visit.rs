//! One request's use of its session: what was loaded, what is to change.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, HeaderValue, Method, Uri, Version as HttpVersion, header, request::Parts};
use tokio::sync::OnceCell;

use super::{
    SessionError, SessionErrorKind, SessionRule,
    csrf::CsrfSeed,
    delta::{Delta, Staged},
    limits, names,
    record::{Attributes, Ending, Value},
    rule::OnReuse,
    shared::Shared,
    store::{Found, Stored, Via},
    token::Handle,
    transport::Presented,
    users::Ticket,
};
use crate::{
    marks::{Flag, SessionAccessed},
    observe::WarnSite,
};

/// One request's use of its session, shared by all clones of its `Session`.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) rule: SessionRule,
    pub(super) presented: Presented,
    pub(super) request: Glimpse,
    /// The mark of a session layer outside, which then is this one's as well.
    outer: Option<SessionAccessed>,
    is_accessed: AtomicBool,
    loading: OnceCell<Result<(), SessionError>>,
    state: Mutex<State>,
}

/// As much of a request as an answer to it needs; copied without allocating.
pub(super) struct Glimpse {
    method: Method,
    uri: Uri,
    version: HttpVersion,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    /// Whether a browser asks before anybody wants to see the answer.
    pub(super) is_prefetch: bool,
}

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

impl Visit {
    pub(super) fn new(
        shared: Arc<Shared>,
        rule: SessionRule,
        request: &Parts,
        outer: Option<SessionAccessed>,
    ) -> Self {
        Self {
            presented: rule.family().transport.read(&request.headers),
            shared,
            rule,
            request: Glimpse::of(request),
            outer,
            is_accessed: AtomicBool::new(false),
            loading: OnceCell::new(),
            state: Mutex::default(),
        }
    }

    /// Whether anybody asked anything of this session.
    pub(super) fn is_accessed(&self) -> bool {
        self.is_accessed.load(Ordering::Relaxed)
    }

    /// Whether anybody asked, of this session or another layer's, as other layers see it.
    pub(super) fn accessed(self: &Arc<Self>) -> SessionAccessed {
        let own = || SessionAccessed::of(Arc::clone(self) as Arc<dyn Flag>);
        self.outer.clone().unwrap_or_else(own)
    }

    /// Finds out what the token stands for, once for all clones; a load that failed stays failed.
    pub(super) async fn load(&self) -> Result<(), SessionError> {
        // First, so that a response which is sealed after the question knows of this.
        self.is_accessed.store(true, Ordering::Relaxed);
        if let Some(outer) = &self.outer {
            outer.mark();
        }
        if !self.loading.initialized() && self.lock().is_sealed {
            return Err(SessionErrorKind::Sealed.into());
        }
        let loaded = self.loading.get_or_init(async || {
            let standing = self.find().await?;
            self.lock().standing = standing;
            Ok(())
        });
        loaded.await.clone()
    }

    async fn find(&self) -> Result<Standing, SessionError> {
        let mut standing = Standing::Nothing;
        for token in self.presented.tokens() {
            match self.shared.store.find(&token).await? {
                Found::Session(stored, via) => {
                    return Ok(Standing::Stored(stored, via));
                }
                Found::Gone => standing = Standing::Gone,
                Found::Reused => self.note_reuse(&token.handle).await?,
                Found::Nothing => {}
            }
        }
        Ok(standing)
    }

    /// Someone has a copy of a token, or a very old one.
    async fn note_reuse(&self, handle: &Handle) -> Result<(), SessionError> {
        REUSED.warn(&"a client came with a secret that was replaced long ago");
        match self.rule.family().on_reuse {
            OnReuse::Tell => Ok(()),
            OnReuse::Destroy => self.shared.store.end(handle, Ending::Reused).await,
        }
    }

    /// Why nothing is known of the session, if somebody asked.
    pub(super) fn failure(&self) -> Option<&SessionError> {
        self.loading.get()?.as_ref().err()
    }

    /// Reads what is known, after [`load`](Self::load).
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes what is to become of the session, unless the response has left or the route is
    /// read-only.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        if self.rule.route().is_read_only {
            return Err(SessionErrorKind::ReadOnly.into());
        }
        let mut state = self.lock();
        if state.is_sealed {
            return Err(SessionErrorKind::Sealed.into());
        }
        write(&mut state)
    }

    /// The same for what needs a cookie, if there is no session yet.
    pub(super) fn write_with_cookie<T>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let sends_cookie = self.rule.route().sends_cookie;
        self.write(|state| {
            if !sends_cookie && !matches!(state.standing, Standing::Stored(..)) {
                return Err(SessionErrorKind::NoCookie.into());
            }
            write(state)
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flag for Visit {
    fn flag(&self) -> &AtomicBool {
        &self.is_accessed
    }
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
        match self.delta.of(name) {
            Staged::Set(value) => Some(value),
            Staged::Removed => None,
            Staged::Unchanged => {
                let stored = self.stored()?;
                let value = stored.record.attributes.get(name)?;
                self.shows(stored, name).then_some(value)
            }
        }
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

    /// The session that the request came with has ended; what is changed from now on begins another.
    pub(super) fn note_destroyed(&mut self) {
        if let Standing::Stored(..) = self.standing {
            self.standing = Standing::Nothing;
            self.is_destroyed = true;
        }
        self.forget_staged();
    }

    /// Forgets all that is to become of the session.
    pub(super) fn forget_staged(&mut self) {
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

impl Glimpse {
    fn of(request: &Parts) -> Self {
        let purpose = request
            .headers
            .get("sec-purpose")
            .map(HeaderValue::as_bytes);
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            accept: request.headers.get(header::ACCEPT).cloned(),
            content_type: request.headers.get(header::CONTENT_TYPE).cloned(),
            is_prefetch: purpose.is_some_and(|purpose| purpose.starts_with(b"prefetch")),
        }
    }

    /// A request that an answer can be written to; of its headers it has `Accept` and `Content-Type`.
    pub(super) fn to_parts(&self) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = self.uri.clone();
        parts.version = self.version;
        let mut headers = HeaderMap::new();
        if let Some(accept) = &self.accept {
            headers.insert(header::ACCEPT, accept.clone());
        }
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        parts.headers = headers;
        parts
    }
}

/// Where secrets come back that had been replaced.
static REUSED: WarnSite = WarnSite::new("session: reused secret");
