//! What all sessions of one name have in common.

use std::{sync::Arc, time::Duration};

use super::super::{expiry::Timeouts, record::Record, transport::Transport};
use crate::{
    error::ConfigError,
    observe::{Decisions, LayerName},
};

/// The part of a rule in which all rules of one name agree.
#[derive(Clone, Debug)]
pub(in crate::session) struct Family {
    pub(in crate::session) name: Arc<str>,
    pub(in crate::session) decisions: Arc<Decisions>,
    pub(in crate::session) transport: Transport,
    /// Of sessions with a user.
    pub(in crate::session) signed_in: Timeouts,
    /// Of sessions without one.
    pub(in crate::session) anonymous: Timeouts,
    pub(in crate::session) touch_every: Option<Duration>,
    pub(in crate::session) rotation_every: Option<Duration>,
    pub(in crate::session) on_reuse: OnReuse,
}

/// What becomes of a session when someone comes with a secret that was replaced long ago.
///
/// It may have been copied, by someone who now is one of two that think the session is theirs; or it
/// comes from a browser's backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnReuse {
    /// A WARN event; the request has no session.
    #[default]
    Tell,
    /// That, and the session ends for everybody.
    Destroy,
}

impl Family {
    pub(super) fn new(name: &str) -> Self {
        let name: Arc<str> = name.into();
        Self {
            decisions: Arc::new(Decisions::new(LayerName::Session, &name)),
            name,
            transport: Transport::default(),
            signed_in: Timeouts::new(DAY, 30 * DAY),
            anonymous: Timeouts::new(HOUR, DAY),
            touch_every: None,
            rotation_every: None,
            on_reuse: OnReuse::default(),
        }
    }

    /// How long the session of this record lives.
    pub(in crate::session) fn timeouts(&self, record: &Record) -> Timeouts {
        match record.user {
            Some(_) => self.signed_in,
            None => self.anonymous,
        }
    }

    /// What a slide must gain to be worth a write.
    pub(in crate::session) fn touch_every(&self, idle: Duration) -> Duration {
        self.touch_every
            .unwrap_or_else(|| (idle / 20).clamp(SECOND, 5 * MINUTE))
    }

    /// Whether sessions of both are the same sessions.
    pub(in crate::session) fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (self.name == other.name && self.agrees_with(other))
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.transport.is_same(&other.transport)
            && self.signed_in == other.signed_in
            && self.anonymous == other.anonymous
            && self.touch_every == other.touch_every
            && self.rotation_every == other.rotation_every
            && self.on_reuse == other.on_reuse
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_settings()
            .map_err(|error| ConfigError::new(format!("rule {:?}: {error}", &*self.name)))
    }

    fn check_settings(&self) -> Result<(), ConfigError> {
        for Timeouts { idle, absolute } in [self.signed_in, self.anonymous] {
            if idle < 2 * SECOND {
                return Err(ConfigError::new(format!(
                    "an idle time-out of {idle:?}: write 2 s or more"
                )));
            }
            if idle > absolute {
                return Err(ConfigError::new(format!(
                    "an idle time-out of {idle:?} is longer than the absolute one of {absolute:?}: write {absolute:?} or less; with the same for both, only the absolute one counts"
                )));
            }
            self.transport.check(absolute)?;
            if self.touch_every.is_some_and(|gain| gain >= idle) {
                return Err(ConfigError::new(format!(
                    "a touch every {:?} is too seldom for an idle time-out of {idle:?}: write a twentieth of that",
                    self.touch_every.unwrap_or_default()
                )));
            }
        }
        if self.rotation_every.is_some_and(|every| every < MINUTE) {
            return Err(ConfigError::new(
                "a rotation more often than once in a minute: write a minute or more",
            ));
        }
        Ok(())
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
