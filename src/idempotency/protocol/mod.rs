//! What becomes of a key: pure decisions on what is stored under it.

pub(super) mod fingerprint;
pub(super) mod record;
