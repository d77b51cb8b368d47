//! What all services of a layer, and its handle, share.

use std::sync::Arc;

use super::{
    SessionRule,
    rule::Family,
    store::{Store, Stored},
    users::Users,
};
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

impl Shared {
    /// Takes a session that has ended from its user's list, if it can: the list forgets it anyway.
    pub(super) async fn unlist(&self, ended: &Stored) {
        if let (Some(users), Some(user)) = (&self.users, ended.user()) {
            let _ = users.of(&self.store, user).leave(&ended.handle).await;
        }
    }
}
