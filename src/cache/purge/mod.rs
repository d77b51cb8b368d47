//! Purging, for programs and operators.

mod bearer;
mod error;
mod order;
mod service;

use std::{fmt, sync::Arc};

use http::Uri;

pub use self::{
    bearer::BearerToken,
    error::{PurgeError, PurgeErrorKind},
    service::PurgeService,
};
use super::{
    shared::Shared,
    stamps::{Severity, Tag},
    url::{Origin, TagName, UrlKey, origin, tag_digest},
};

/// Purges what a [`CacheLayer`](super::CacheLayer) has stored; cheap to clone.
///
/// When a purge has returned `Ok`, this instance uses nothing any more that was fetched before the
/// purge began, or is being fetched since before. The others stop when they hear of it, which is at
/// once as a rule, and at the latest after the layer's
/// [consistency](super::CacheLayer::with_consistency). So purge after the write is committed:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn main() -> Result<(), tower_stash::ConfigError> {
/// use std::time::Duration;
/// use axum::{Router, extract::{Path, State}, response::IntoResponse, routing::get};
/// use tower_stash::{
///     backend::MemoryBackend,
///     cache::{CacheLayer, CacheRule, CacheTags, Purge, PurgeError},
/// };
///
/// async fn show(Path(id): Path<u64>) -> impl IntoResponse {
///     (CacheTags::new([format!("product:{id}")]), format!("product {id}"))
/// }
///
/// async fn update(State(purge): State<Purge>, Path(id): Path<u64>) -> Result<(), PurgeError> {
///     // Here it is saved.
///     purge.tag(format!("product:{id}")).await
/// }
///
/// let rule = CacheRule::new("product")?.with_ttl(Duration::from_secs(60));
/// let cache = CacheLayer::new(MemoryBackend::new(), rule)?;
/// let app: Router = Router::new()
///     .route("/products/{id}", get(show).put(update))
///     .with_state(cache.purge())
///     .layer(cache);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "axum"))]
/// # fn main() {}
/// ```
///
/// It works from anywhere in the program, also where there is no request:
///
/// ```
/// use tower_stash::cache::{Purge, PurgeError};
///
/// async fn import_prices(purge: Purge) -> Result<(), PurgeError> {
///     // Here they are written.
///     purge.tags(["prices", "offers"]).await?;
///     purge.url("https://shop.example/").await?;
///     // The rest may be shown for another minute while it is fetched anew.
///     purge.soft().all().await
/// }
/// ```
///
/// Futures of a purge are awaited inside a tokio runtime.
///
/// # What a purge rests on
///
/// The backend keeps a stamp for each purged tag, for longer than any response is stored, a journal of
/// the last 64 purges of tags, and for five minutes a mark in the place of a purged URL. A Redis that
/// is full and evicts may evict these as well, and with them a purge: give it `noeviction`, or
/// `volatile-ttl`, which takes stamps last but marks of URLs first. After a failover, which may lose
/// the latest writes, each instance purges again what it has purged in the last minute.
///
/// # Cancel safety
///
/// Dropped, a purge has happened, or not, or happens shortly. This instance takes it for possible:
/// for half a minute it asks the backend at each use of what has the tags.
#[derive(Clone)]
pub struct Purge {
    shared: Arc<Shared>,
    severity: Severity,
}

impl Purge {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            severity: Severity::Hard,
        }
    }

    /// A handle whose purges leave what is stored, but stale: it is validated, or fetched anew, before
    /// its next use, and for a minute it may be shown while that goes on, or in the place of an error,
    /// unless it forbids that itself (`must-revalidate`).
    #[must_use]
    pub fn soft(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            severity: Severity::Soft,
        }
    }

    /// Purges all responses and values with this tag, whatever their URLs. Of the empty tag there are none.
    ///
    /// # Errors
    ///
    /// [`PurgeErrorKind::Unavailable`]. Purge again: twice does no harm.
    pub async fn tag(&self, tag: impl AsRef<str>) -> Result<(), PurgeError> {
        self.tags([tag]).await
    }

    /// Purges all responses with any of these tags, in the time of one purge.
    ///
    /// # Errors
    ///
    /// Those of [`tag`](Self::tag); then some of the tags may be purged, and others not.
    pub async fn tags<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<(), PurgeError> {
        let mut digests = Vec::new();
        for tag in tags {
            let name = tag.as_ref().as_bytes();
            if !name.is_empty() {
                digests.push(self.digest(&TagName::Plain(name)));
            }
        }
        self.purge(digests).await
    }

    /// Purges the members of a group of responses (RFC 9875), which their header `Cache-Groups` puts
    /// them into. A group belongs to an origin, such as `https://shop.example`; of a URL only that
    /// counts.
    ///
    /// # Errors
    ///
    /// Those of [`tag`](Self::tag), and [`PurgeErrorKind::NotAbsolute`].
    pub async fn group(
        &self,
        origin: impl TryInto<Uri>,
        name: impl AsRef<str>,
    ) -> Result<(), PurgeError> {
        let group = self.group_digest(origin.try_into().ok(), name.as_ref())?;
        self.purge(group).await
    }

    /// Purges the responses of an absolute URL, as requests show it: behind TLS the proxy must send
    /// `Host` and `X-Forwarded-Proto`, else they count as `http`. A URL of which nothing is stored is
    /// `Ok`; each query makes another URL, so tags are better for families.
    ///
    /// The URL is keyed as that of a `GET` request, by the rule that the policy has for one with nothing
    /// but this URL.
    ///
    /// ```
    /// # async fn example(purge: tower_stash::cache::Purge, url: http::Uri)
    /// #     -> Result<(), tower_stash::cache::PurgeError> {
    /// purge.url("https://shop.example/products/7?lang=en").await?;
    /// purge.url(&url).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tag`](Self::tag), [`PurgeErrorKind::NotAbsolute`], [`PurgeErrorKind::NoRule`].
    pub async fn url(&self, url: impl TryInto<Uri>) -> Result<(), PurgeError> {
        let url = url.try_into().map_err(|_| PurgeErrorKind::NotAbsolute)?;
        let key = self.url_key(&url)?;
        let core = &self.shared.core;
        core.listen(self.shared.settings.max_life);
        core.purge_url(&key, self.severity).await?;
        Ok(())
    }

    /// Purges all that is stored, responses and values, by every cache layer on this namespace and key
    /// secret.
    ///
    /// # Errors
    ///
    /// Those of [`tag`](Self::tag).
    pub async fn all(&self) -> Result<(), PurgeError> {
        self.purge(vec![self.shared.core.purges.everything()]).await
    }

    fn url_key(&self, url: &Uri) -> Result<UrlKey, PurgeError> {
        if origin(url).is_err() {
            return Err(PurgeErrorKind::NotAbsolute.into());
        }
        let key = self.shared.url_key(url);
        key.ok_or_else(|| PurgeErrorKind::NoRule.into())
    }

    async fn purge(&self, tags: Vec<Tag>) -> Result<(), PurgeError> {
        if tags.is_empty() {
            return Ok(());
        }
        let core = &self.shared.core;
        let max_life = self.shared.settings.max_life;
        core.listen(max_life);
        let purged = core.purges.purge_tags(&tags, self.severity, max_life);
        Ok(purged.await?)
    }

    fn group_digest(&self, origin_url: Option<Uri>, name: &str) -> Result<Vec<Tag>, PurgeError> {
        let url = origin_url.ok_or(PurgeErrorKind::NotAbsolute)?;
        let (scheme, host) = origin(&url).map_err(|_| PurgeErrorKind::NotAbsolute)?;
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let origin = Origin {
            scheme,
            host: &host,
        };
        let name = name.as_bytes();
        Ok(vec![self.digest(&TagName::Group { origin, name })])
    }

    fn digest(&self, name: &TagName<'_>) -> Tag {
        tag_digest(name, &self.shared.core.digester)
    }
}

impl fmt::Debug for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purge")
            .field("severity", &self.severity)
            .finish_non_exhaustive()
    }
}
