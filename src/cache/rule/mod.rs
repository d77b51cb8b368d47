//! What holds for the requests of a route.

mod profile;
mod query;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};

pub(super) use self::{profile::Heuristics, query::Chosen};
pub use self::{
    profile::{Authorization, Profile, RequestCookies, SetCookie},
    query::Query,
};
use crate::{
    error::ConfigError,
    observe::{Decisions, LayerName},
    policy::{Condition, KeyExtractor, Policy},
    rule_name::check_name,
};

/// How responses of a route are cached; cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::cache::CacheRule;
///
/// let product = CacheRule::new("product")?
///     .with_ttl(Duration::from_secs(60))
///     .with_stale_while_revalidate(Duration::from_secs(30));
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CacheRule {
    shape: Arc<Shape>,
}

#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, and any of them may stand beside any other"
)]
pub(super) struct Shape {
    pub(super) name: Arc<str>,
    pub(super) decisions: Arc<Decisions>,
    pub(super) profile: Profile,
    pub(super) ttl: Ttl,
    /// Freshness of error statuses that do not say theirs.
    pub(super) negative: Vec<(StatusCode, Duration)>,
    /// All that RFC 9111 allows, if none.
    pub(super) statuses: Option<Vec<StatusCode>>,
    /// Where the response does not say it.
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    /// In lower case; all, if empty.
    pub(super) hosts: Vec<Box<str>>,
    pub(super) query: Query,
    pub(super) key_parts: Vec<NamedPart>,
    pub(super) covers_credentials: bool,
    /// What a handler sees of a request besides what is keyed; everything, if none.
    pub(super) narrow: Option<Vec<HeaderName>>,
    pub(super) condition: Option<Arc<dyn Condition>>,
    pub(super) says_x_cache: bool,
    pub(super) body_limit: usize,
    pub(super) refreshes_early: bool,
    pub(super) compresses: bool,
    /// How long answers of unary gRPC calls are fresh; they are not cached, if none.
    pub(super) grpc: Option<Duration>,
}

/// How fresh responses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ttl {
    /// As they say.
    #[default]
    Declared,
    /// For so long, where they do not say it.
    Default(Duration),
    /// For so long, whatever they say.
    Override(Duration),
}

/// What chooses between responses of one URL besides headers.
#[derive(Clone)]
pub(super) struct NamedPart {
    pub(super) name: Box<str>,
    pub(super) extractor: Arc<dyn KeyExtractor>,
}

impl CacheRule {
    /// The rule of this name, which is what operators read in metrics. It stores what responses allow
    /// to be stored.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        check_name("rule", name)?;
        let shared_name = Arc::<str>::from(name);
        Ok(Self {
            shape: Arc::new(Shape {
                decisions: Arc::new(Decisions::new(LayerName::Cache, &shared_name)),
                name: shared_name,
                profile: Profile::safe(),
                ttl: Ttl::Declared,
                negative: Vec::new(),
                statuses: None,
                stale_while_revalidate: None,
                stale_if_error: None,
                hosts: Vec::new(),
                query: Query::all(),
                key_parts: Vec::new(),
                covers_credentials: false,
                narrow: None,
                condition: None,
                says_x_cache: false,
                body_limit: 1024 * 1024,
                refreshes_early: false,
                compresses: false,
                grpc: None,
            }),
        })
    }

    /// The choices that RFC 9111 leaves; by default [`Profile::safe`].
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        self.with(|shape| shape.profile = profile)
    }

    /// How long responses are fresh that do not say it, as those of most APIs: of the statuses that
    /// RFC 9110 §15.1 lets caches guess, 404 and 410 among them, and of those that
    /// [`with_statuses`](Self::with_statuses) names, up to 499.
    ///
    /// It makes nothing storable that says `private` or `no-store`.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        self.with(|shape| shape.ttl = Ttl::Default(ttl))
    }

    /// How long responses are fresh, whatever `max-age` and `Expires` say.
    ///
    /// It makes nothing storable that says `private` or `no-store`.
    #[must_use]
    pub fn with_override_ttl(self, ttl: Duration) -> Self {
        self.with(|shape| shape.ttl = Ttl::Override(ttl))
    }

    /// How long responses of this status are fresh that do not say it, such as 404. A status from 500
    /// on is stored only with this or with freshness of its own.
    #[must_use]
    pub fn with_negative_ttl(self, status: StatusCode, ttl: Duration) -> Self {
        self.with(|shape| shape.negative.push((status, ttl)))
    }

    /// Stores responses of these statuses only.
    #[must_use]
    pub fn with_statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.with(|shape| shape.statuses = Some(statuses.into_iter().collect()))
    }

    /// How long a stale response may be given while a new one is fetched in the background, where it
    /// does not say so itself (RFC 5861 §3). Requests with cookies or `Authorization` that the key does
    /// not cover fetch nothing in the background.
    #[must_use]
    pub fn with_stale_while_revalidate(self, stale: Duration) -> Self {
        self.with(|shape| shape.stale_while_revalidate = Some(stale))
    }

    /// How long a stale response may stand in for an error of the handler, where it does not say so
    /// itself (RFC 5861 §4).
    #[must_use]
    pub fn with_stale_if_error(self, stale: Duration) -> Self {
        self.with(|shape| shape.stale_if_error = Some(stale))
    }

    /// Caches responses of these hosts only, each with its port unless that is the scheme's own;
    /// requests to others pass. By default, of all.
    #[must_use]
    pub fn with_hosts<H: AsRef<str>>(self, hosts: impl IntoIterator<Item = H>) -> Self {
        let hosts = hosts.into_iter();
        self.with(|shape| {
            shape.hosts = hosts
                .map(|host| host.as_ref().to_ascii_lowercase().into())
                .collect();
        })
    }

    /// Which parameters of the query belong to the URL; by default all, as they were sent.
    #[must_use]
    pub fn with_query(self, query: Query) -> Self {
        self.with(|shape| shape.query = query)
    }

    /// Keeps a response for each value of this, such as the role or tenant of a user. Requests in
    /// which it finds nothing share one; [`with_condition`](Self::with_condition) lets them pass.
    #[must_use]
    pub fn with_key_part(self, name: &str, extractor: impl KeyExtractor) -> Self {
        let part = NamedPart {
            name: name.into(),
            extractor: Arc::new(extractor),
        };
        self.with(|shape| shape.key_parts.push(part))
    }

    /// Says that the [parts](Self::with_key_part) of the key hold all that cookies and
    /// `Authorization` change about a response.
    #[must_use]
    pub fn with_credentials_covered(self) -> Self {
        self.with(|shape| shape.covers_credentials = true)
    }

    /// Shows the handler only these headers of a request and those that choose between responses, so
    /// that no other can change, or poison, what is stored. A response that varies on any other is not
    /// stored.
    #[must_use]
    pub fn with_narrow(self, headers: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|shape| shape.narrow = Some(headers.into_iter().collect()))
    }

    /// Caches requests only for which this holds; the others pass.
    #[must_use]
    pub fn with_condition(self, condition: impl Condition) -> Self {
        self.with(|shape| shape.condition = Some(Arc::new(condition)))
    }

    /// Says `X-Cache: HIT` or `MISS` as well.
    #[must_use]
    pub fn with_x_cache(self) -> Self {
        self.with(|shape| shape.says_x_cache = true)
    }

    /// The longest body that is stored, in bytes; by default 1 MiB.
    #[must_use]
    pub fn with_body_limit(self, limit: usize) -> Self {
        self.with(|shape| shape.body_limit = limit)
    }

    /// Fetches a response anew shortly before it is stale, the more likely the longer that takes and
    /// the nearer the end, so that many requests do not come to that end at once.
    #[must_use]
    pub fn with_early_refresh(self) -> Self {
        self.with(|shape| shape.refreshes_early = true)
    }

    /// Stores texts and the like compressed: bodies of at least 1 KiB with the status 200, where that
    /// saves a tenth or more. Clients that accept gzip get them so, the others unpacked. Both are told
    /// `Vary: Accept-Encoding`, and their `ETag` is a weak one.
    ///
    /// What has a `Content-Encoding` already, says `no-transform` or carries a digest of its bytes is
    /// stored as it is. A range is given to those only who do not accept gzip; the others get the
    /// whole.
    ///
    /// So a layer that compresses has nothing to do for hits. Where there is one, put it outside of
    /// this one: it leaves alone what is compressed already, and compresses what was just made. Inside,
    /// it would make a variant of each response for each set of codings that clients accept, and have
    /// each fetched on its own.
    ///
    /// Compress no page that shows a secret beside something that the client has sent, here or
    /// elsewhere: its length would tell of the secret (the attack BREACH).
    #[cfg(feature = "compression")]
    #[cfg_attr(docsrs, doc(cfg(feature = "compression")))]
    #[must_use]
    pub fn with_compression(self) -> Self {
        self.with(|shape| shape.compresses = true)
    }

    /// Answers unary gRPC calls from the cache as well, each for so long unless its answer has
    /// `cache-control` metadata. gRPC has no word of its own for what may be cached, so without this
    /// no call is.
    ///
    /// Calls are told apart by their messages, of at most 64 KiB, and by `grpc-accept-encoding`. What
    /// else of their metadata changes answers must be a [part of the key](Self::with_key_part), and a
    /// call with `Authorization` or a cookie passes unless the key
    /// [covers](Self::with_credentials_covered) that. Stored are answers of one message and the status
    /// OK, with their trailers. They are purged by tags: a URL stands for the calls of all messages,
    /// and no call purges its own.
    ///
    /// It is for methods that change nothing. Under it a call that streams waits up to a second before
    /// it passes.
    #[must_use]
    pub fn with_grpc(self, ttl: Duration) -> Self {
        self.with(|shape| shape.grpc = Some(ttl))
    }

    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shape.name
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let shape = self.shape();
        for part in &shape.key_parts {
            part.extractor.check()?;
        }
        match &shape.condition {
            Some(condition) => condition.check(),
            None => Ok(()),
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    fn with(mut self, change: impl FnOnce(&mut Shape)) -> Self {
        change(Arc::make_mut(&mut self.shape));
        self
    }
}

/// The same rule for every request.
impl Policy<Self> for CacheRule {
    fn rule(&self, _: &http::request::Parts) -> Option<Self> {
        Some(self.clone())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
    }
}

impl fmt::Debug for CacheRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheRule")
            .field("name", &self.shape.name)
            .finish_non_exhaustive()
    }
}
