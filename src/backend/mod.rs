//! What the layers need of a store, and the stores that have it.
//!
//! There are five capabilities, each a trait: [`KeyValue`] (versioned records with conditional
//! writes), [`Quotas`] (counters that admit or deny), [`Slots`] (held by so many at once),
//! [`Index`] (sets whose members expire) and [`Broadcast`] (messages to every instance). A store
//! that has all five is a [`Backend`]. A layer's
//! constructor asks only for what the layer uses, so a store of your own may offer less.
//!
//! [`MemoryBackend`] is embedded in the process. `RedisBackend` (feature `redis`) is shared by
//! all instances. [`Breaker`], [`Metered`] and [`Timeout`] wrap any of them and are backends
//! themselves; [`AnyBackend`] is one that is chosen at run time.
//!
//! # Contract
//!
//! Every implementation owes the following, besides what each method says. The suite in
//! `testing::conformance` (feature `testing`) asks for all of it.
//!
//! * **One call is one atomic step** and one round trip: no other call is seen half done.
//! * **One clock.** Versions, times to live, windows and deadlines are all on the backend's clock,
//!   in microseconds since the Unix epoch, never on the caller's.
//! * **Applied at most once.** An implementation never sends a write twice on its own. When the
//!   answer is lost the caller gets an error for which
//!   [`may_have_applied`](BackendError::may_have_applied) is true, and decides.
//! * **Dropping a future** leaves the write applied, not applied, or to be applied shortly.
//! * **No half-truths.** What cannot be read back whole is [`BackendErrorKind::Corrupt`], never an
//!   absent record; an outage is an error, never an absent record.
//! * **Everything expires.** Nothing can be stored without a time to live.
//! * **Clones are handles** of one store, not copies of it.
//!
//! No method has a default, so that a wrapper cannot forget one: it forwards all of them,
//! [`KeyValue::clock_skew`] and both `is_remote` included.

mod any;
mod breaker;
mod broadcast;
mod erased;
mod error;
mod index;
mod key_value;
mod memory;
mod metered;
mod op;
mod quotas;
#[cfg(feature = "redis")]
mod redis;
mod slots;
#[cfg(test)]
pub(crate) mod stub;
mod timeout;
pub(crate) mod wrapper;

#[cfg(feature = "redis")]
pub use self::redis::{RedisBackend, RedisConfig};
pub use self::{
    any::AnyBackend,
    breaker::Breaker,
    broadcast::{Broadcast, Signal, Subscription},
    error::{BackendError, BackendErrorKind, Result},
    index::{Cursor, Index, Member, Page},
    key_value::{Entry, GetOptions, KeyValue, Precondition, Put, PutOptions, Version},
    memory::MemoryBackend,
    metered::Metered,
    op::Op,
    quotas::{
        Acquire, Algorithm, Amendment, Ban, DAY, Decision, HOUR, Limit, LimitState, MINUTE, Quota,
        Quotas, Receipt, Retry, SECOND, Strikes, Take,
    },
    slots::{Hold, SlotId, SlotLimit, Slots},
    timeout::Timeout,
};

#[cfg(any(feature = "rate-limit", feature = "session"))]
pub(crate) use self::erased::Call;
#[cfg(feature = "cache")]
pub(crate) use self::erased::ErasedBroadcast;
#[cfg(feature = "session")]
pub(crate) use self::erased::ErasedIndex;
#[cfg(any(feature = "cache", feature = "idempotency", feature = "session"))]
pub(crate) use self::erased::ErasedKeyValue;
#[cfg(feature = "rate-limit")]
pub(crate) use self::erased::{ErasedQuotas, ErasedSlots};

/// A store with all five capabilities.
pub trait Backend: KeyValue + Quotas + Slots + Index + Broadcast {}

impl<B: KeyValue + Quotas + Slots + Index + Broadcast> Backend for B {}
