//! What holds for a family of sessions, and what each route makes of it.

mod family;
mod route;

use std::{fmt, sync::Arc, time::Duration};

use http::{request, response};

pub(super) use self::family::Family;
use self::route::Route;
pub use self::{
    family::OnReuse,
    route::{OnGone, OnOutage},
};
use super::{
    csrf::Csrf,
    expiry::Timeouts,
    transport::{HeaderTransport, SessionCookie, Transport},
};
use crate::{error::ConfigError, policy::Policy, rule_name::check_name};

/// How sessions of one family live, and what a route may do with them; cheap to clone.
///
/// The name stands for the family: rules of one name share their sessions, so they must agree in
/// cookie, time-outs and rotation. What is said for a route may differ:
///
/// ```
/// use std::time::Duration;
/// use tower_stash::{policy::{Policy as _, Routes}, session::SessionRule};
///
/// const HOUR: Duration = Duration::from_secs(3600);
///
/// let web = SessionRule::new("web")?.with_timeouts(8 * HOUR, 7 * 24 * HOUR)?;
/// let routes = Routes::new()
///     .get("/poll", web.clone().without_slide())
///     .any("/account/{*rest}", web.clone().with_required_user())
///     .or(web);
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SessionRule {
    shape: Arc<Shape>,
}

#[derive(Clone)]
struct Shape {
    family: Arc<Family>,
    route: Route,
}

impl SessionRule {
    /// The family of this name, with the cookie `__Host-id` and the time-outs below.
    ///
    /// The name is what operators read in metrics. Layers and services that have a backend, its
    /// namespace and this name in common share their sessions.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        check_name("rule", name)?;
        Ok(Self {
            shape: Arc::new(Shape {
                family: Arc::new(Family::new(name)),
                route: Route::default(),
            }),
        })
    }

    /// Keeps the token in this cookie; by default in `__Host-id`.
    ///
    /// # Errors
    ///
    /// What browsers would refuse, an absolute time-out above 400 days included (see
    /// [`with_timeouts`](Self::with_timeouts)); the message says what to write instead.
    pub fn with_cookie(self, cookie: SessionCookie) -> Result<Self, ConfigError> {
        let transport = Transport::cookie(cookie)?;
        self.with_family(|family| family.transport = transport)
    }

    /// Takes the token from a header of the request and gives it in one of the response, for
    /// clients that are no browsers; then there is no cookie.
    ///
    /// # Errors
    ///
    /// Never yet.
    pub fn with_header_transport(self, headers: HeaderTransport) -> Result<Self, ConfigError> {
        let transport = Transport::header(headers);
        self.with_family(|family| family.transport = transport)
    }

    /// A session with a user ends when it was not used for `idle`, and `absolute` after its login
    /// whatever happens; by default 24 hours and 30 days.
    ///
    /// # Errors
    ///
    /// An idle time-out below two seconds, above the absolute one, or not above what
    /// [`with_touch_every`](Self::with_touch_every) was given; an absolute one above 400 days, which
    /// is as long as browsers keep a cookie, unless the token is in
    /// [headers](Self::with_header_transport) or the cookie is
    /// [one of a browser session](SessionCookie::with_browser_session): say these first.
    pub fn with_timeouts(self, idle: Duration, absolute: Duration) -> Result<Self, ConfigError> {
        self.with_family(|family| family.signed_in = Timeouts::new(idle, absolute))
    }

    /// The same for sessions without a user; by default one hour and 24 hours.
    ///
    /// # Errors
    ///
    /// Those of [`with_timeouts`](Self::with_timeouts).
    pub fn with_anonymous_timeouts(
        self,
        idle: Duration,
        absolute: Duration,
    ) -> Result<Self, ConfigError> {
        self.with_family(|family| family.anonymous = Timeouts::new(idle, absolute))
    }

    /// A request that only reads moves the idle time-out if that gains at least so much; by default
    /// a twentieth of the idle time-out, between 1 s and 5 min.
    ///
    /// The shorter, the more writes; the longer, the earlier an unused session may end.
    ///
    /// # Errors
    ///
    /// As long as an idle time-out, or longer: of that with a user, and of that without, which is an
    /// hour by default.
    pub fn with_touch_every(self, gain: Duration) -> Result<Self, ConfigError> {
        self.with_family(|family| family.touch_every = Some(gain))
    }

    /// Gives a session a new secret every so often; by default only at login and
    /// [`renew`](super::Session::renew).
    ///
    /// Requests that are under way with the old secret go on: it works until 30 s after the first
    /// request with the new one, and 10 minutes at most. So a client that never gets the response
    /// with the new secret, because the connection broke, is logged out 10 minutes later.
    ///
    /// # Errors
    ///
    /// Less than a minute.
    pub fn with_rotation_every(self, interval: Duration) -> Result<Self, ConfigError> {
        self.with_family(|family| family.rotation_every = Some(interval))
    }

    /// What becomes of a session when someone comes with a secret that a rotation replaced, long
    /// after that, and the new one has been used; by default only a WARN event tells of it.
    ///
    /// # Errors
    ///
    /// Never yet.
    pub fn with_on_reuse(self, on_reuse: OnReuse) -> Result<Self, ConfigError> {
        self.with_family(|family| family.on_reuse = on_reuse)
    }

    /// Nothing of a session can be changed here; who tries gets an error.
    #[must_use]
    pub fn with_read_only(self) -> Self {
        self.with_route(|route| route.is_read_only = true)
    }

    /// Requests whose session has no user get 401 (gRPC: `UNAUTHENTICATED`) and do not run.
    #[must_use]
    pub fn with_required_user(self) -> Self {
        self.with_route(|route| route.needs_user = true)
    }

    /// Reading does not move the idle time-out; for pages that poll, so that a forgotten tab does
    /// not keep its user logged in.
    #[must_use]
    pub fn without_slide(self) -> Self {
        self.with_route(|route| route.slides = false)
    }

    /// Changes are written only if nobody else wrote the session since it was loaded; else the
    /// request is answered with 409. By default changes are merged.
    #[must_use]
    pub fn with_strict_commits(self) -> Self {
        self.with_route(|route| route.is_strict = true)
    }

    /// Changes are written if this holds for the head of the response, instead of: unless the
    /// status is 5xx, or a gRPC status that says the same.
    #[must_use]
    pub fn with_save_if(
        self,
        saves: impl Fn(&response::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with_route(|route| route.save_if = Some(Arc::new(saves)))
    }

    /// What becomes of the response when the session ended before the request could write it; by
    /// default nothing, as that is what a logout in another tab looks like.
    #[must_use]
    pub fn with_on_gone(self, on_gone: OnGone) -> Self {
        self.with_route(|route| route.on_gone = on_gone)
    }

    /// What becomes of the response when changes could not be written; by default it is
    /// replaced by 503.
    #[must_use]
    pub fn with_on_outage(self, on_outage: OnOutage) -> Self {
        self.with_route(|route| route.on_outage = on_outage)
    }

    /// Responses carry no session cookie, so nothing here begins or renews a session.
    #[must_use]
    pub fn without_cookie(self) -> Self {
        self.with_route(|route| route.sends_cookie = false)
    }

    /// Requests that may be another site's doing get 403 (gRPC: `PERMISSION_DENIED`) and do not run;
    /// by default the cookie's `SameSite` alone keeps them off.
    #[must_use]
    pub fn with_csrf(self, csrf: Csrf) -> Self {
        self.with_route(|route| route.csrf = Some(csrf))
    }

    /// Takes [`with_csrf`](Self::with_csrf) back; for routes that other sites are to call.
    #[must_use]
    pub fn without_csrf(self) -> Self {
        self.with_route(|route| route.csrf = None)
    }

    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shape.family.name
    }

    pub(super) fn family(&self) -> &Arc<Family> {
        &self.shape.family
    }

    pub(super) fn route(&self) -> &Route {
        &self.shape.route
    }

    fn with_family(mut self, change: impl FnOnce(&mut Family)) -> Result<Self, ConfigError> {
        let shape = Arc::make_mut(&mut self.shape);
        let mut family = (*shape.family).clone();
        change(&mut family);
        family.check()?;
        shape.family = Arc::new(family);
        Ok(self)
    }

    fn with_route(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(&mut Arc::make_mut(&mut self.shape).route);
        self
    }
}

/// A rule alone is the policy that applies it to every request.
impl Policy<SessionRule> for SessionRule {
    fn rule(&self, _: &request::Parts) -> Option<SessionRule> {
        Some(self.clone())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&SessionRule)) {
        visit(self);
    }
}

impl fmt::Debug for SessionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRule")
            .field("family", &self.shape.family)
            .field("route", &self.shape.route)
            .finish()
    }
}
