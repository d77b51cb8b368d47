//! A user's sessions, as a page of devices shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    super::{
        SessionError, SessionId, json, names::LABEL, record::Ending, store::Stored, token::Handle,
    },
    Listed, MARGIN, Roster,
};
use crate::clock::Timestamp;

/// One of a user's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSession {
    /// What to hand to [`Sessions::destroy_device`](crate::session::Sessions::destroy_device).
    pub id: SessionId,
    /// When the user logged in with it.
    pub created: SystemTime,
    /// When it was used last; early by the rule's
    /// [`touch_every`](crate::session::SessionRule::with_touch_every) at most.
    pub last_seen: SystemTime,
    /// What [`LoginTicket::with_label`](super::LoginTicket::with_label) said.
    pub label: Option<String>,
    /// Whether it is the session that asked.
    pub is_current: bool,
}

/// The same, as it was read.
pub(super) struct Device {
    pub(super) handle: Handle,
    pub(super) born: Timestamp,
    last_seen: Timestamp,
    label: Option<String>,
}

impl Device {
    pub(super) fn new(session: &Stored) -> Self {
        let label = session.record.attributes.get(LABEL);
        Self {
            handle: session.handle,
            born: session.record.head.born(session.version),
            last_seen: session.version.written_at(),
            label: label.and_then(|label| json::read(label).ok()),
        }
    }

    fn shown_to(self, current: Option<&Handle>) -> DeviceSession {
        DeviceSession {
            is_current: Some(&self.handle) == current,
            id: SessionId(self.handle),
            created: system_time(self.born),
            last_seen: system_time(self.last_seen),
            label: self.label,
        }
    }
}

impl Roster<'_> {
    /// The user's sessions, the one used last first.
    pub(in crate::session) async fn devices(
        &self,
        current: Option<&Handle>,
    ) -> Result<Vec<DeviceSession>, SessionError> {
        let mut devices = self.living().await?;
        devices.sort_by_key(|device| std::cmp::Reverse(device.last_seen));
        let shown = devices.into_iter().map(|device| device.shown_to(current));
        Ok(shown.collect())
    }

    /// Ends the oldest sessions of the user until so many are left, this one among them.
    pub(super) async fn make_room(&self, most: usize, newest: &Handle) -> Result<(), SessionError> {
        if self.handles().await?.len() <= most {
            return Ok(());
        }
        let mut living = self.living().await?;
        living.sort_by_key(|device| (device.born, device.handle));
        let surplus = living.len().saturating_sub(most);
        // Of two logins at one moment, only the newer makes room.
        let older = living.iter().take_while(|device| device.handle != *newest);
        for device in older.take(surplus) {
            self.end_own(&device.handle, Ending::Evicted).await?;
        }
        Ok(())
    }

    /// Whether the user has more sessions than so many. Logins under way count as well, which are
    /// those that joined the list to be on it until then or longer.
    pub(super) async fn has_more_than(
        &self,
        most: usize,
        under_way: Timestamp,
    ) -> Result<bool, SessionError> {
        let members = self.members().await?;
        if members.len() <= most {
            return Ok(false);
        }
        let mut count = 0;
        for (handle, deadline) in members {
            let counts = match self.listed(&handle).await? {
                Listed::TheirOwn(_) | Listed::Unknown => true,
                Listed::Nobodys => deadline >= under_way + MARGIN,
                Listed::AnothersNow | Listed::Over => false,
                Listed::Ended => {
                    self.leave(&handle).await?;
                    false
                }
            };
            count += usize::from(counts);
        }
        Ok(count > most)
    }

    /// The user's sessions; what has ended is taken from the list.
    async fn living(&self) -> Result<Vec<Device>, SessionError> {
        let mut living = Vec::new();
        for handle in self.handles().await? {
            match self.listed(&handle).await? {
                Listed::TheirOwn(device) => living.push(device),
                // Final: a handle joins only when there is a record, and is never used again.
                Listed::Ended => self.leave(&handle).await?,
                Listed::Nobodys | Listed::AnothersNow | Listed::Over | Listed::Unknown => {}
            }
        }
        Ok(living)
    }
}

fn system_time(timestamp: Timestamp) -> SystemTime {
    // What is stored may say anything; some systems know no such time.
    let since_epoch = Duration::from_micros(timestamp.as_micros());
    UNIX_EPOCH.checked_add(since_epoch).unwrap_or(UNIX_EPOCH)
}
