//! What all services of a layer, and its handle, share.

use std::sync::Arc;

use super::{SessionRule, rule::Family, store::Store, users::Users};
use crate::policy::Policy;

/// Settings, and pointers to what is asked.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    /// Of all rules that the policy gives.
    pub(super) family: Arc<Family>,
    pub(super) policy: Arc<dyn Policy<SessionRule>>,
    pub(super) users: Option<Users>,
}
