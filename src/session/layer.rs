//! The layer: configuration, and a service for each route it is put around.

use std::{fmt, marker::PhantomData, sync::Arc};

use tower_layer::Layer;

use super::{
    Main, MaxSessions, SessionRule, SessionService, Sessions, shared::Shared, store::Store,
    users::Users,
};
use crate::{
    backend::{Breaker, Index, KeyValue},
    error::ConfigError,
    key::Digester,
    policy::Policy,
    respond::ProblemDetails,
};

/// Gives each request a [`Session`](super::Session), which all instances share, and writes
/// what the request changed before the head of its response leaves.
///
/// One layer serves a whole application: its policy says which requests have sessions and what each
/// route may do with them. All services made by a layer and its clones share one state. `M` is the
/// marker under which handlers find the session, `R` says how a rejection is answered.
pub struct SessionLayer<M = Main, R = ProblemDetails> {
    shared: Arc<Shared>,
    respond: Arc<R>,
    marker: PhantomData<fn() -> M>,
}

impl SessionLayer {
    /// The layer that keeps sessions in this backend, by the rules of this policy.
    ///
    /// Five failed calls to the backend in a row open a breaker: for a second sessions are
    /// unavailable without a call, then one request tries again.
    ///
    /// # Errors
    ///
    /// What the policy reports; rules of different names, or that disagree in more than what a route
    /// may say; a policy that shows no rule beforehand, as a closure cannot: see
    /// [`for_rule`](Self::for_rule).
    pub fn new(
        backend: impl KeyValue,
        policy: impl Policy<SessionRule>,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        let mut first = None;
        policy.each_rule(&mut |rule| {
            first.get_or_insert_with(|| rule.clone());
        });
        match first {
            Some(rule) => Self::for_rule(backend, &rule, policy),
            None => Err(ConfigError::new(
                "this policy shows no rule beforehand, as a closure cannot; write SessionLayer::for_rule(backend, &rule, policy) with the rule of which it gives clones",
            )),
        }
    }

    /// The same for a policy that does not show its rules: all that it gives must be clones of this
    /// one, with what a route may say. A request for which it gives another one gets 500.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new) but the last.
    pub fn for_rule(
        backend: impl KeyValue,
        rule: &SessionRule,
        policy: impl Policy<SessionRule>,
    ) -> Result<Self, ConfigError> {
        policy.check()?;
        check_families(rule, &policy)?;
        let backend = Arc::new(Breaker::new(backend));
        let store = Store::new(backend, &rule.family().name);
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                family: Arc::clone(rule.family()),
                policy: Arc::new(policy),
                users: None,
            }),
            respond: Arc::new(ProblemDetails),
            marker: PhantomData,
        })
    }
}

impl<M, R> SessionLayer<M, R> {
    /// Keeps an index of each user's sessions in this backend, which is usually the same one: for
    /// logging out everywhere, a page of devices, and a limit of sessions.
    ///
    /// A login then costs three round trips more. What has ended stays on its user's list, 16 bytes
    /// each, until its absolute time-out, or until the list is looked at: for the page of devices, to
    /// log out everywhere, or by a login above a [limit](Self::with_max_sessions).
    ///
    /// # Errors
    ///
    /// Never yet.
    pub fn with_users(mut self, backend: impl Index) -> Result<Self, ConfigError> {
        Arc::make_mut(&mut self.shared).users = Some(Users {
            index: Arc::new(Breaker::new(backend)),
            max_sessions: None,
        });
        Ok(self)
    }

    /// A user may have so many sessions at once; by default any number.
    ///
    /// # Errors
    ///
    /// Without [`with_users`](Self::with_users), and none at all.
    pub fn with_max_sessions(mut self, max_sessions: MaxSessions) -> Result<Self, ConfigError> {
        let (MaxSessions::Reject(most) | MaxSessions::EvictOldest(most)) = max_sessions;
        if most == 0 {
            return Err(ConfigError::new(
                "a user who may have 0 sessions can never log in; write 1 or more",
            ));
        }
        match &mut Arc::make_mut(&mut self.shared).users {
            Some(users) => users.max_sessions = Some(max_sessions),
            None => {
                return Err(ConfigError::new(
                    "with_max_sessions(..) counts in the index of users; write with_users(backend)? before it",
                ));
            }
        }
        Ok(self)
    }

    /// Handlers find the session as `Session<M2>`; for the second of two session layers around one
    /// service. Its rule needs a name and a cookie of its own, which nothing checks: neither layer
    /// knows of the other.
    ///
    /// * Of one cookie name, as the default is, a browser keeps one: each layer then takes the other's
    ///   token for an unknown one, and whichever sets the cookie last logs the client out of the
    ///   other. The same goes for two [header transports](super::HeaderTransport).
    /// * Of one rule name the sessions are the same: who has a token of one layer can send it
    ///   as that of the other.
    /// * Of one marker, handlers find the session of the inner layer, and never that of the outer.
    ///
    /// Each layer has a [handle](Self::handle) of its own; logging out everywhere is asked of both.
    #[must_use]
    pub fn with_marker<M2>(self) -> SessionLayer<M2, R> {
        SessionLayer {
            shared: self.shared,
            respond: self.respond,
            marker: PhantomData,
        }
    }

    /// Answers rejected requests in this way; by default as [`ProblemDetails`].
    ///
    /// Of a request that has run, only method, URI, `Accept` and `Content-Type` are shown to it. A
    /// [`SessionError`](super::SessionError) that a handler passes on is the handler's answer, and
    /// not one of these.
    #[must_use]
    pub fn with_respond<R2>(self, respond: R2) -> SessionLayer<M, R2> {
        SessionLayer {
            shared: self.shared,
            respond: Arc::new(respond),
            marker: PhantomData,
        }
    }

    /// Derives the names of what is stored from this secret, which all instances must share.
    ///
    /// Without it, someone who reads the store can test whether a certain user has sessions;
    /// with it they cannot. Under another secret nobody is logged in.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.shared).store.digester = Digester::with_secret(secret.as_ref());
        self
    }

    /// The sessions of this layer, for handlers that log in and out, and for programs.
    ///
    /// To be taken when all is said of the layer: of what is said after that, it does not know. One
    /// that was taken before [`with_key_secret`](Self::with_key_secret) finds nobody's sessions.
    #[must_use]
    pub fn handle(&self) -> Sessions<M> {
        Sessions::new(Arc::clone(&self.shared))
    }
}

impl<S, M, R> Layer<S> for SessionLayer<M, R> {
    type Service = SessionService<S, M, R>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, Arc::clone(&self.shared), Arc::clone(&self.respond))
    }
}

impl<M, R> Clone for SessionLayer<M, R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            respond: Arc::clone(&self.respond),
            marker: PhantomData,
        }
    }
}

impl<M, R> fmt::Debug for SessionLayer<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").finish_non_exhaustive()
    }
}

/// A layer's rules are of one family.
fn check_families(
    rule: &SessionRule,
    policy: &impl Policy<SessionRule>,
) -> Result<(), ConfigError> {
    let mut problem = None;
    policy.each_rule(&mut |other| {
        if other.name() != rule.name() {
            problem = Some(format!(
                "rules named {:?} and {:?} in one layer: a layer has one family of sessions; give each a SessionLayer of its own, the second one with_marker::<..>()",
                rule.name(),
                other.name()
            ));
        } else if !other.family().is_same(rule.family()) {
            problem = Some(format!(
                "two rules named {:?} differ in cookie, time-outs or rotation; make one of them a clone of the other with what its routes need",
                rule.name()
            ));
        }
    });
    problem.map_or(Ok(()), |problem| Err(ConfigError::new(problem)))
}
