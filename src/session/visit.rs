//! One request's use of its session: it is loaded once, and changed until the response leaves.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use http::request::Parts;
use tokio::sync::OnceCell;

use super::{
    SessionError, SessionErrorKind, SessionRule,
    record::Ending,
    rule::OnReuse,
    shared::Shared,
    state::{Standing, State},
    store::Found,
    token::Handle,
    transport::Presented,
};
use crate::{
    excerpt::Excerpt,
    marks::{Flag, SessionAccessed},
    observe::WarnSite,
};

/// One request's use of its session, shared by all clones of its `Session`.
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) rule: SessionRule,
    pub(super) presented: Presented,
    pub(super) request: Excerpt,
    /// Whether a browser asks before anybody wants to see the answer.
    pub(super) is_prefetch: bool,
    /// The mark of a session layer outside, which then is this one's as well.
    outer: Option<SessionAccessed>,
    is_accessed: AtomicBool,
    loading: OnceCell<Result<(), SessionError>>,
    state: Mutex<State>,
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
            request: Excerpt::of(request),
            is_prefetch: is_prefetch(request),
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

fn is_prefetch(request: &Parts) -> bool {
    let purpose = request.headers.get("sec-purpose");
    purpose.is_some_and(|purpose| purpose.as_bytes().starts_with(b"prefetch"))
}

/// Where secrets come back that had been replaced.
static REUSED: WarnSite = WarnSite::new("session: reused secret");

/// Where nobody could say whose a request is.
pub(super) static NOT_LOADED: WarnSite = WarnSite::new("session: load");
