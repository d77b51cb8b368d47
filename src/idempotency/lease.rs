//! A lock that its holder can lose: who relies on it alone is wrong.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout_at;

use super::{
    admission::pause,
    engine::{Claim, ClaimError, Found, Renewals, Renewed, Store, Unwritten},
    protocol::{Fingerprint, Terms},
    rule::whole_millis,
};
use crate::{
    backend::{BackendError, Breaker, KeyValue},
    clock::monotonic_in,
    error::ConfigError,
    key::{Digester, Key, KeyPart, KeyParts, Kind},
};

/// Leases that programs take by name; cheap to clone.
///
/// ```
/// use tower_stash::{backend::MemoryBackend, idempotency::Leases};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let leases = Leases::new(MemoryBackend::new());
/// let lease = leases.acquire("nightly-report").await?;
/// // Another instance is refused meanwhile:
/// assert!(leases.acquire("nightly-report").await.is_err());
///
/// // UPDATE reports SET body = $1, fence = $2 WHERE day = $3 AND fence < $2
/// let fence = lease.fence();
/// # let _ = fence;
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
///
/// A lease is renewed while its holder has it. A holder that stops for long, or cannot reach the
/// backend, loses it without noticing at once: so what must not happen twice is written under the
/// [`fence`](Lease::fence), by a statement that refuses smaller ones.
#[derive(Clone)]
pub struct Leases {
    store: Store,
    renewals: Arc<Renewals>,
    digester: Digester,
    lease: Duration,
}

/// A lease that is held until it is released or dropped; renewed meanwhile.
pub struct Lease {
    claim: Arc<Claim>,
    renewed: Option<Renewed>,
}

/// Why there is no lease.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody has it, and nobody else can before this.
    Held(Duration),
    /// The backend does not answer.
    Backend(BackendError),
}

impl Leases {
    /// Leases in this backend, of ten seconds.
    #[must_use]
    pub fn new(backend: impl KeyValue) -> Self {
        Self {
            store: Store::new(Arc::new(Breaker::new(backend))),
            renewals: Arc::default(),
            digester: Digester::default(),
            lease: Duration::from_secs(10),
        }
    }

    /// How long after its last sign of life a holder is taken for dead; it gives one every third of
    /// that.
    ///
    /// # Errors
    ///
    /// Less than 100 ms, or more than an hour.
    pub fn with_lease(mut self, lease: Duration) -> Result<Self, ConfigError> {
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&lease) {
            return Err(ConfigError::new(
                "a lease has 100 ms to one hour; ten seconds are usual",
            ));
        }
        self.lease = whole_millis(lease);
        Ok(self)
    }

    /// Derives the names of what is stored from this secret, which all instances must share.
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.digester = Digester::with_secret(secret.as_ref());
        self
    }

    /// Takes the lease of this name, in one call.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Held`] if somebody has it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, what it may have got is given back in the background, or over when its time is.
    pub async fn acquire(&self, name: impl KeyPart) -> Result<Lease, LeaseError> {
        let parts = KeyParts::new().with(name);
        let key = Key::new(Kind::LEASE, self.digester.digest(&parts));
        // All who want a lease want the same.
        let fingerprint = Fingerprint::from_bytes([0; Fingerprint::LEN]);
        let terms = Terms {
            rule: Bytes::new(),
            lease: self.lease,
            retention: self.lease,
            never_again: false,
        };
        match self.store.claim(&key, fingerprint, &terms).await {
            Ok(Found::Ours(claim)) => Ok(Lease {
                renewed: Some(self.renewals.renew(&claim, None)),
                claim,
            }),
            Ok(Found::Busy { left }) => Err(LeaseError::Held(left)),
            // None of these is ever written under a lease's key.
            Ok(Found::Answer(_) | Found::Mismatch | Found::Unknown) => {
                Err(LeaseError::Held(self.lease))
            }
            Err(ClaimError::Unavailable(error)) => Err(LeaseError::Backend(error)),
            Err(ClaimError::Corrupt | ClaimError::NewerFormat) => {
                Err(LeaseError::Backend(BackendError::unreadable()))
            }
        }
    }
}

impl Leases {
    /// The same, and tries again for so long while somebody has it.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// That of [`acquire`](Self::acquire).
    pub async fn acquire_within(
        &self,
        name: impl KeyPart + Clone,
        budget: Duration,
    ) -> Result<Lease, LeaseError> {
        let until = monotonic_in(budget);
        for attempt in 0.. {
            match self.acquire(name.clone()).await {
                Err(LeaseError::Held(left)) => {
                    if timeout_at(until, pause(attempt)).await.is_err() {
                        return Err(LeaseError::Held(left));
                    }
                }
                answer => return answer,
            }
        }
        Err(LeaseError::Held(self.lease))
    }
}

impl Lease {
    /// A number that is larger than that of every earlier holder: whoever stores it with each effect,
    /// and refuses smaller ones, is safe from a holder that was taken for dead and is not.
    ///
    /// Microseconds since the Unix epoch, as the backend's clock has them.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.claim.epoch().as_u64()
    }

    /// Whether somebody else may have it, because it could not be renewed in time.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.claim.is_lost()
    }

    /// Ends when somebody else may have it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn lost(&self) {
        self.claim.lost().await;
    }

    /// Gives it back, so that the next one need not wait.
    ///
    /// # Errors
    ///
    /// The backend does not say whether it is given back; then it is over when its time is.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is given back, or over when its time is.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.renewed = None;
        match self.claim.release().await {
            Ok(()) | Err(Unwritten::Over | Unwritten::Lost(_)) => Ok(()),
            Err(Unwritten::Unconfirmed(error)) => Err(LeaseError::Backend(error)),
        }
    }
}

/// Gives it back in the background.
impl Drop for Lease {
    fn drop(&mut self) {
        if self.renewed.take().is_some() {
            self.claim.give_back();
        }
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(left) => write!(
                f,
                "could not take a lease: somebody has it, for at least {} ms",
                left.as_millis()
            ),
            Self::Backend(_) => f.write_str("could not take or release a lease"),
        }
    }
}

impl Error for LeaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Held(_) => None,
            Self::Backend(error) => Some(error),
        }
    }
}
