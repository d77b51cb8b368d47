//! Values of the program's, cached by what caches responses.

mod fill;
mod keep;
mod want;
mod write;

use std::{fmt, future::Future, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

pub use self::keep::Keep;
use self::want::{ValueAsk, Want};
use super::{CacheRule, PurgeError, shared::Shared, url::UrlKey};
use crate::{error::ConfigError, key::KeyPart};

/// Values of one type that all instances share, by identifier; made by
/// [`CacheLayer::values`](super::CacheLayer::values), cheap to clone.
///
/// ```
/// use std::{io, time::Duration};
/// use serde::{Deserialize, Serialize};
/// use tower_stash::{
///     backend::MemoryBackend,
///     cache::{CacheLayer, CacheRule, Keep, Values},
/// };
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// async fn load(id: u64) -> Result<User, io::Error> {
///     Ok(User { name: format!("user {id}") })
/// }
///
/// async fn user(users: &Values<User>, id: u64) -> Result<User, io::Error> {
///     let keep = Keep::new(Duration::from_secs(300)).with_tags([format!("user:{id}")]);
///     users.get_or_insert_with(id, keep, move || load(id)).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In a program without a service the layer is put around nothing, and its rule is for nothing.
/// let cache = CacheLayer::new(MemoryBackend::new(), CacheRule::new("pages")?)?;
/// let users = cache.values::<User>("user", 1)?;
/// assert_eq!(user(&users, 7).await?.name, "user 7");
/// # Ok(())
/// # }
/// ```
///
/// # What it replaces
///
/// | what programs write by hand | here |
/// |---|---|
/// | cache-aside: read, else load and write (`withCache`, `remember`) | [`get_or_insert_with`](Self::get_or_insert_with): of all callers on all instances one loads |
/// | write-through: save, then write the value | [`set`](Self::set): a load that began before does not overwrite it |
/// | delete after a write | [`remove`](Self::remove): a load that began before does not bring it back |
/// | sets of keys by tag (`cacheWithTags`, `invalidateByTag`) | [`Keep::with_tags`] and [`Purge::tag`](super::Purge::tag), which reaches values and responses alike |
/// | keys with a prefix | the name and the version of the values |
/// | checking what was read against a schema | serde: what is no `T` counts as not there |
///
/// A cached `None` is a value like any other: with `T = Option<User>` it is remembered that there is
/// no such user.
///
/// # Storage
///
/// A value is stored as JSON, of at most 1 MiB, under a digest of name, version and identifier. Raise
/// the version when the type changes in a way that old JSON would be misread, and instances of both
/// programs can run side by side.
///
/// # When the backend fails
///
/// Callers load for themselves, and what they load is not stored. No call waits longer for the
/// backend than 100 ms at a time, and none fails because of it but [`set`](Self::set) and
/// [`remove`](Self::remove), which the caller must know of.
pub struct Values<T> {
    shared: Arc<Shared>,
    rule: CacheRule,
    version: u32,
    value: PhantomData<fn() -> T>,
}

impl<T> Values<T> {
    pub(super) fn new(shared: Arc<Shared>, name: &str, version: u32) -> Result<Self, ConfigError> {
        Ok(Self {
            shared,
            rule: CacheRule::new(name)?,
            version,
            value: PhantomData,
        })
    }

    /// Purges the value of this identifier, for all instances, also one that is being fetched: after
    /// `Ok` what was fetched or set before is not used here any more, nor elsewhere for longer than
    /// the layer's [consistency](super::CacheLayer::with_consistency) allows.
    ///
    /// # Errors
    ///
    /// The backend does not answer: other instances may use the value until it is no longer fresh.
    /// This one does not, and goes on trying for half a minute.
    pub async fn remove(&self, id: impl KeyPart) -> Result<(), PurgeError> {
        let want = self.want(id, Keep::new(Duration::ZERO));
        want.remove().await.map_err(PurgeError::from)
    }

    fn want(&self, id: impl KeyPart, keep: Keep) -> Want<T> {
        let digester = &self.shared.core.digester;
        let name = &self.rule.shape().name;
        let key = UrlKey::of_value(name, self.version, id, digester);
        Want {
            shared: Arc::clone(&self.shared),
            rule: self.rule.clone(),
            ask: Arc::new(ValueAsk::new(key, digester)),
            keep,
            value: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Values<T> {
    /// The value of this identifier, fetched if it is not there, and kept.
    ///
    /// Of several callers who do not find it, in this process and in others, one fetches; the others
    /// wait for what it stores, for at most three seconds if it runs elsewhere. An error of the fetch
    /// is the caller's and is not stored; those who waited fetch for themselves.
    ///
    /// The value is stored in the background once it is there. One that cannot be written as JSON, or
    /// is too large, is returned and not stored.
    ///
    /// # Errors
    ///
    /// Those of `fetch`.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it fetches what others in this process wait for, the fetch goes on in the
    /// background, for at most half a minute. Dropped otherwise, it leaves at most a lease, which is
    /// deleted in the background.
    pub async fn get_or_insert_with<F, E>(
        &self,
        id: impl KeyPart,
        keep: impl Into<Keep>,
        fetch: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Send + 'static,
    {
        let want = self.want(id, keep.into());
        want.answer(fetch).await
    }

    /// The value of this identifier, if it is there and [`get_or_insert_with`] would return it without
    /// fetching; nothing also where the backend does not answer.
    ///
    /// [`get_or_insert_with`]: Self::get_or_insert_with
    pub async fn get(&self, id: impl KeyPart) -> Option<T> {
        let want = self.want(id, Keep::new(Duration::ZERO));
        want.find().await
    }

    /// Keeps this as the value of an identifier, in the place of what was there.
    ///
    /// It is for a program that has just saved the value: a fetch that began before this call is not
    /// stored any more, so that it cannot bring back what it read before. Of several calls the one
    /// that began last counts; where several programs save the same thing, that may be another one
    /// than saved last, and [`remove`](Self::remove) is the safe way. An instance with a
    /// [near cache](super::CacheLayer::with_near_cache) may use its copy of the former value for as
    /// long as the layer's consistency allows.
    ///
    /// What cannot be stored, as it is too large, has too many tags or is purged meanwhile by one of
    /// them, is removed.
    ///
    /// # Errors
    ///
    /// The backend does not answer: other instances may use the former value until it is no longer
    /// fresh. This one does not, and goes on trying for half a minute to remove it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the value is set, or not, or is set shortly.
    pub fn set(
        &self,
        id: impl KeyPart,
        value: &T,
        keep: impl Into<Keep>,
    ) -> impl Future<Output = Result<(), PurgeError>> + Send {
        let want = self.want(id, keep.into());
        // Not in the future, which can then go to another thread where a reference cannot.
        let body = want.encode(value);
        async move { want.set(body).await.map_err(PurgeError::from) }
    }
}

impl<T> Clone for Values<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            rule: self.rule.clone(),
            version: self.version,
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("name", &self.rule.shape().name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
