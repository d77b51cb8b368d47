//! Records without a store, for tests.

use bytes::Bytes;

use super::Record;
use crate::cache::CacheRule;

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl CacheRule {
    /// Reads what may stand in a store under any key of the cache, and writes again what it says;
    /// `None` for what is no record, which to the cache is as if nothing were stored. For tests.
    #[must_use]
    pub fn rewrite_stored(stored: &[u8]) -> Option<Bytes> {
        let record = Record::decode(Bytes::copy_from_slice(stored)).ok()?;
        record.encode()
    }
}
