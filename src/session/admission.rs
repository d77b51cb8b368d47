//! Whether a request may run.

use std::sync::Arc;

use super::{
    SessionError,
    outcome::Outcome,
    rejection,
    visit::{NOT_LOADED, Visit},
};
use crate::respond::Rejection;

/// Whether a request may run whose route needs a user.
pub(super) struct Admission(Result<bool, SessionError>);

impl Admission {
    pub(super) async fn of(visit: Arc<Visit>) -> Self {
        Self(
            visit
                .load()
                .await
                .map(|()| visit.read(|state| state.user().is_some())),
        )
    }

    /// What it is told if it may not.
    pub(super) fn rejection(self, visit: &Visit) -> Option<Rejection> {
        match self.0 {
            Ok(true) => None,
            Ok(false) => {
                Outcome::Unauthenticated.record(&visit.rule);
                Some(rejection::unauthenticated(&visit.rule))
            }
            Err(error) => {
                Outcome::Outage.record(&visit.rule);
                NOT_LOADED.warn(&error);
                Some(rejection::unavailable(&visit.rule))
            }
        }
    }
}
