//! What a request is limited by.

mod limits;
mod outage;
mod shape;
mod sharing;

use std::{fmt, sync::Arc};

use http::{request, response};

pub use self::outage::Outage;
use self::{
    limits::Limits,
    shape::{Cost, Shape},
};
pub(super) use self::{
    limits::{NamedLimits, applied},
    shape::CountIf,
    sharing::Sharing,
};
use super::twice::Looks;
use crate::{
    backend::{Ban, Quota, Strikes},
    error::ConfigError,
    observe::{Decisions, LayerName},
    policy::{Condition, Policy, Subject},
    rule_name::check_name,
};

/// Some limits and whose they are; cheap to clone.
///
/// A request that a rule applies to is admitted if all of its limits admit it, and then counts in
/// all of them; else it counts in none.
///
/// ```
/// use tower_stash::{
///     policy::{KeyExtractor as _, peer_ip},
///     rate_limit::{Outage, Quota, RateLimitRule},
/// };
///
/// let login = RateLimitRule::new(
///     "login",
///     peer_ip().or_reject(),
///     [("burst", Quota::per_minute(5)), ("daily", Quota::per_day(50))],
/// )?
/// .with_count_if(|response| response.status == 401)
/// .with_outage(Outage::Deny);
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
///
/// A mistake in what `with_*` is given comes out when a layer or a limiter is made of the rule. A
/// rule that only a request brings, by a closure or an extension, is not looked at by then.
#[derive(Clone)]
pub struct RateLimitRule {
    shape: Arc<Shape>,
}

impl RateLimitRule {
    /// The rule of this name, which limits each subject by these named quotas.
    ///
    /// Names are what clients read in `RateLimit` headers and operators in metrics; together with
    /// algorithm and window they decide which limits share a counter. Rules of one name share
    /// counters, also across layers and services on one backend.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`, no quota or more than eight, two quotas
    /// of one name, or a quota that cannot work.
    pub fn new<'a>(
        name: &str,
        subject: Subject,
        quotas: impl IntoIterator<Item = (&'a str, Quota)>,
    ) -> Result<Self, ConfigError> {
        check_name("rule", name)?;
        let limits = Limits::new(name, quotas)?;
        subject.check().map_err(|error| mistake(name, error))?;
        let name: Arc<str> = name.into();
        Ok(Self {
            shape: Arc::new(Shape {
                decisions: Arc::new(Decisions::new(LayerName::RateLimit, &name)),
                name,
                subject,
                limits,
                cost: Cost::Fixed(1),
                skip: None,
                deny: None,
                count_if: None,
                gives_permit: false,
                is_shadow: false,
                strikes: None,
                has_overrides: false,
                sharing: Sharing::default(),
                outage: Outage::default(),
                and: Vec::new(),
                looks: Looks::default(),
                mistake: None,
            }),
        })
    }

    /// Every request costs this much instead of one.
    ///
    /// A cost of zero is never denied; one above a limit always, and its answer says so
    /// (`"permanent":true`, no `Retry-After`). To make a request weigh more in one limit than in
    /// another, see [`Quota::with_weight`].
    #[must_use]
    pub fn with_fixed_cost(mut self, cost: u64) -> Self {
        if let Some(name) = self.shape.limits.too_small_for(cost) {
            self.note(format!(
                "a cost of {cost} never fits limit \"{name}\"; write a smaller cost or a larger limit"
            ));
        }
        self.shape_mut().cost = Cost::Fixed(cost);
        self
    }

    /// A request costs what this says; see [`with_fixed_cost`](Self::with_fixed_cost).
    ///
    /// By the size of an upload, for example. A body that is sent in chunks does not say its size
    /// beforehand; here it never fits, so that nobody goes round the limit that way:
    ///
    /// ```
    /// use http::{header::CONTENT_LENGTH, request::Parts};
    /// use tower_stash::{
    ///     policy::{KeyExtractor as _, header},
    ///     rate_limit::{MINUTE, Quota, RateLimitRule},
    /// };
    ///
    /// fn body_bytes(request: &Parts) -> u64 {
    ///     let length = request.headers.get(CONTENT_LENGTH);
    ///     let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    ///     length.unwrap_or(u64::MAX)
    /// }
    ///
    /// let ten_megabytes = [("bytes", Quota::token_bucket(10_000_000, MINUTE))];
    /// let upload = RateLimitRule::new("upload", header("x-api-key").or_reject(), ten_megabytes)?
    ///     .with_cost(body_bytes);
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_cost(
        mut self,
        cost: impl Fn(&request::Parts) -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.shape_mut().cost = Cost::ByRequest(Arc::new(cost));
        self
    }

    /// The size of this limit is what `size` says for each request: by plan, by tenant.
    ///
    /// With `None` the limit does not apply to the request; a size of 0 admits nothing. The quota
    /// that the rule was made with is the most it can be, and says how it is counted. The
    /// counter stays the same whatever the size: a smaller one forgives nothing, a larger one acts
    /// at once.
    ///
    /// ```
    /// use tower_stash::{
    ///     policy::{KeyExtractor as _, header},
    ///     rate_limit::{Quota, RateLimitRule},
    /// };
    ///
    /// #[derive(Clone, Copy)]
    /// enum Plan { Free, Team, Unlimited }
    ///
    /// // An outer middleware has put the customer's plan into the request's extensions.
    /// let api = RateLimitRule::new("api", header("x-api-key").or_reject(), [("rate", Quota::per_minute(600))])?
    ///     .with_dynamic_limit("rate", |request| match request.extensions.get::<Plan>() {
    ///         None | Some(Plan::Free) => Some(60),
    ///         Some(Plan::Team) => Some(600),
    ///         Some(Plan::Unlimited) => None,
    ///     });
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_dynamic_limit(
        mut self,
        limit: &str,
        size: impl Fn(&request::Parts) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        let full_name = format!("{}.{limit}", self.name());
        if !self
            .shape_mut()
            .limits
            .resize_by(&full_name, Arc::new(size))
        {
            self.note(format!(
                "there is no limit {limit:?} to be dynamic; write the name of one of its quotas"
            ));
        }
        self
    }

    /// Requests of which this holds are not limited by this rule: an allow list, or health checks.
    ///
    /// Rules that it [asks too](Self::with_and) limit them all the same,
    /// unless they skip them as well.
    ///
    /// ```
    /// use http::request::Parts;
    /// use tower_stash::{
    ///     policy::{KeyExtractor as _, peer_ip},
    ///     rate_limit::{Quota, RateLimitRule},
    /// };
    ///
    /// let rule = RateLimitRule::new("all", peer_ip().or_reject(), [("rate", Quota::per_second(50))])?
    ///     .with_skip(|request: &Parts| request.uri.path() == "/health"); // a closure needs its type here
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_skip(mut self, condition: impl Condition) -> Self {
        self.check_condition(&condition);
        self.shape_mut().skip = Some(Arc::new(condition));
        self
    }

    /// Requests of which this holds get 403 (gRPC: `PERMISSION_DENIED`) without being counted.
    #[must_use]
    pub fn with_deny_list(mut self, condition: impl Condition) -> Self {
        self.check_condition(&condition);
        self.shape_mut().deny = Some(Arc::new(condition));
        self
    }

    /// Counts only requests whose response is like this: only failures, to protect a login; or only
    /// successes.
    ///
    /// What a request costs is taken before it runs, so that no more than the limit run at once,
    /// and given back when the response's head says that it does not count. If that call is lost,
    /// the request stays counted; so does one that is dropped or fails without a response. The body
    /// is not looked at: for what only the handler knows, see [`with_permit`](Self::with_permit),
    /// and for the status of gRPC calls [`GrpcRefundLayer`](super::GrpcRefundLayer).
    #[must_use]
    pub fn with_count_if(
        mut self,
        counts: impl Fn(&response::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.shape_mut().count_if = Some(Arc::new(counts));
        self
    }

    /// Puts a [`Permit`](super::Permit) into the extensions of every request of this rule, with which
    /// the handler can give back what it cost.
    #[must_use]
    pub fn with_permit(mut self) -> Self {
        self.shape_mut().gives_permit = true;
        self
    }

    /// Bans a subject that is denied too often: until the ban is over, everything is denied.
    ///
    /// Denials of all instances count, in the call that denies; what was admitted does not. So with
    /// five calls and `Ban::after(1)` the sixth bans. A ban is told as `abnormal-usage-detected`,
    /// and [`RateLimiter`](super::RateLimiter) imposes and lifts it by hand.
    ///
    /// ```
    /// use tower_stash::{
    ///     policy::{KeyExtractor as _, peer_ip},
    ///     rate_limit::{Ban, MINUTE, Quota, RateLimitRule},
    /// };
    ///
    /// let login = RateLimitRule::new("login", peer_ip().or_reject(), [("burst", Quota::per_minute(5))])?
    ///     .with_ban(Ban::after(20).within(MINUTE).lasting(15 * MINUTE));
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_ban(mut self, ban: Ban) -> Self {
        match Strikes::new((self.name(), "ban"), ban) {
            Ok(strikes) => self.shape_mut().strikes = Some(strikes),
            Err(mistake) => self.note(mistake),
        }
        self
    }

    /// Lets [`RateLimiter::set_limit`](super::RateLimiter::set_limit) give single subjects another
    /// limit, which costs the backend one more read for each limit of a request.
    #[must_use]
    pub fn with_overrides(mut self) -> Self {
        self.shape_mut().has_overrides = true;
        self
    }

    /// Asks once for all requests of a subject that come while it is being asked about.
    ///
    /// For subjects with many requests at the same time, such as a large tenant or one shared
    /// bucket. The first question goes out alone. Requests that reach this instance before its
    /// answer wait, and the next call asks for all of them. What it brings is dealt out in their
    /// order, so limits are kept as exactly as without, by every algorithm. An instance then has
    /// one call of a subject under way at a time, and a request waits for two round trips at most.
    ///
    /// Only requests that cost one share calls; the others ask alone. What a client that has left
    /// would have got goes to those behind it, or stays taken. If a call fails it has failed for
    /// all who wait for it, and the rule's [`Outage`] decides for each. Nobody waits for a call
    /// that began more than a second before.
    ///
    /// It does not go with [`with_ban`](Self::with_ban), where each denial has to be counted, and
    /// has no effect on a backend in this process.
    #[must_use]
    pub fn with_coalescing(mut self) -> Self {
        let shape = self.shape_mut();
        if shape.sharing == Sharing::Nothing {
            shape.sharing = Sharing::Together;
        }
        self
    }

    /// Takes units for later requests along, so that most requests of a busy subject are decided
    /// without a call; `instances` says how many instances share the limits.
    ///
    /// For limits of hundreds or more in a window, of subjects that all instances are asked about
    /// all the time. The first request of a subject in a window takes what it costs. After that a
    /// call takes `remaining / (4 × instances)` units, at least what is asked for, and they pay for
    /// requests until they are spent or the window ends. Requests that come during a call wait for
    /// it, as with [`with_coalescing`](Self::with_coalescing).
    ///
    /// * All instances together never admit more than the limit in a window: each unit is taken
    ///   before it is spent, and spent before its window ends. That supposes that the backend's
    ///   clock goes as fast as this process's and is not set forward.
    /// * They may admit less. Units that an instance has no requests for are lost until the window
    ///   ends: a quarter of the limit at most, and next to nothing under load, because leases
    ///   shrink with what remains. A request that costs more than a lease is denied if the backend
    ///   has not so much left.
    /// * At ten times the traffic that the limit admits, eight instances make 0.02 calls a request
    ///   with a limit of 1,000 a minute, and 0.16 with one of 100.
    /// * `remaining` in headers is what this instance knows: what it was last told, less what it
    ///   has spent since.
    /// * What is given back, by response or [`Permit`](super::Permit), goes to the
    ///   backend, in a call each.
    /// * What a [`RateLimiter`](super::RateLimiter) changes for a subject, by a reset, a penalty or
    ///   a new size, ends the lease of its own layer. Other instances spend
    ///   theirs until the window ends.
    ///
    /// It needs windows with an end, [`Quota::fixed`] or [`Quota::fixed_aligned`], best all of one
    /// length, because a lease ends with the first of them. It does not go with
    /// [`with_ban`](Self::with_ban), and has no effect on a backend in this process. An instance
    /// keeps leases of 10,000 subjects, those that were asked about last.
    ///
    /// ```
    /// use tower_stash::{
    ///     policy::{KeyExtractor as _, header},
    ///     rate_limit::{Quota, RateLimitRule},
    /// };
    ///
    /// let minute = std::time::Duration::from_secs(60);
    /// let events = RateLimitRule::new(
    ///     "events",
    ///     header("x-api-key").or_reject(),
    ///     [("minute", Quota::fixed(100_000, minute))],
    /// )?
    /// .with_leases(8);
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_leases(mut self, instances: u32) -> Self {
        if instances == 0 {
            self.note("leases for 0 instances; write how many share the limits");
        } else if let Some(name) = self.shape.limits.without_an_end() {
            self.note(format!(
                "limit \"{name}\" has no window with an end, which a lease needs; write Quota::fixed \
                 or Quota::fixed_aligned, or leave out with_leases"
            ));
        } else {
            self.shape_mut().sharing = Sharing::Leased { instances };
        }
        self
    }

    /// Counts and measures, but never denies and sends no headers: a rule on trial.
    ///
    /// Requests on its deny list and those that do not say whose they are pass too. Their outcome
    /// is counted as if they did not.
    #[must_use]
    pub fn with_shadow(mut self) -> Self {
        self.shape_mut().is_shadow = true;
        self
    }

    /// What becomes of requests while the backend does not answer; by default they go through.
    #[must_use]
    pub fn with_outage(mut self, outage: Outage) -> Self {
        if let Err(mistake) = outage.check() {
            self.note(mistake);
        }
        self.shape_mut().outage = outage;
        self
    }

    /// Asks another rule too, of another subject: by address and by user, for example.
    ///
    /// Rules are asked in this order, one round trip each, so in an outage a request may wait for a
    /// time-out each. The first that denies answers, and what was taken from those before it is
    /// given back; if that call is lost, it stays counted. Each rule skips and lets
    /// through for itself only:
    ///
    /// ```
    /// use http::request::Parts;
    /// use tower_stash::{
    ///     policy::{KeyExtractor as _, extension, peer_ip},
    ///     rate_limit::{Quota, RateLimitRule},
    /// };
    ///
    /// // By account, which an authentication further out has put in; who has none by address.
    /// type Account = u64;
    /// let is_known = |request: &Parts| request.extensions.get::<Account>().is_some();
    /// let others = RateLimitRule::new("others", peer_ip().or_reject(), [("rate", Quota::per_minute(20))])?
    ///     .with_skip(is_known);
    /// let api = RateLimitRule::new("api", extension::<Account>().or_skip(), [("rate", Quota::per_minute(100))])?
    ///     .with_and(others);
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_and(mut self, other: Self) -> Self {
        let later = other.shape.and.clone();
        let and = &mut self.shape_mut().and;
        and.push(other);
        and.extend(later);
        self
    }

    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shape.name
    }

    fn shape_mut(&mut self) -> &mut Shape {
        Arc::make_mut(&mut self.shape)
    }

    fn check_condition(&mut self, condition: &impl Condition) {
        if let Err(mistake) = condition.check() {
            self.note(mistake);
        }
    }

    /// Remembers a mistake, if it is the first.
    fn note(&mut self, mistake: impl fmt::Display) {
        let mistake = self::mistake(self.name(), mistake);
        self.shape_mut().mistake.get_or_insert(mistake);
    }
}

/// What is wrong with the rule of this name.
fn mistake(rule: &str, what: impl fmt::Display) -> ConfigError {
    ConfigError::new(format!("rule {rule:?}: {what}"))
}

impl Policy<RateLimitRule> for RateLimitRule {
    fn rule(&self, _: &request::Parts) -> Option<RateLimitRule> {
        Some(self.clone())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&RateLimitRule)) {
        visit(self);
    }
}

impl fmt::Debug for RateLimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitRule")
            .field("name", &self.shape.name)
            .field("limits", &self.shape.limits.all())
            .field("outage", &self.shape.outage)
            .finish_non_exhaustive()
    }
}
