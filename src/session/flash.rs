//! Messages for the next page.

use super::{Session, SessionError, SessionErrorKind, json, names::FLASH, state::State};
use crate::clock::{Clock as _, SystemClock};

/// A message for the next page; see [`Session::flash`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flash {
    /// What kind of message it is, such as "info".
    pub level: String,
    /// What it says.
    pub message: String,
}

impl<M> Session<M> {
    /// Leaves a message for the page that is shown next, usually behind a redirect. Each message is
    /// one of the session's 64 attributes.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert).
    pub async fn flash(&self, level: &str, message: &str) -> Result<(), SessionError> {
        // In the order in which they came; by chance where that is one moment.
        let order = SystemClock.now().as_micros();
        let name = format!("{FLASH}{order:016x}{:08x}", getrandom::u32()?);
        self.set(&name, json::write(&(level, message))?).await
    }

    /// Takes all messages, in the order in which they came.
    ///
    /// They are removed with the response: one that is not written, or is for a browser that only
    /// fetches the page beforehand (`Sec-Purpose: prefetch`), leaves them. So does a read-only route.
    ///
    /// # Errors
    ///
    /// See [the type](Self#errors).
    pub async fn flashes(&self) -> Result<Vec<Flash>, SessionError> {
        self.visit().load().await?;
        let (names, flashes) = self.visit().read(flashes);
        if names.is_empty() || self.visit().is_prefetch {
            return Ok(flashes);
        }
        let removed = self.visit().write(|state| {
            for name in &names {
                state.delta.remove(name);
            }
            Ok(())
        });
        match removed {
            Err(error) if error.kind() != SessionErrorKind::ReadOnly => Err(error),
            _ => Ok(flashes),
        }
    }
}

/// The messages of a session, and the names of their attributes.
fn flashes(state: &State) -> (Vec<Box<str>>, Vec<Flash>) {
    let attributes = state.attributes();
    let messages = attributes
        .iter()
        .filter(|(name, _)| name.starts_with(FLASH));
    messages
        .filter_map(|(name, value)| {
            let (level, message) = json::read(value).ok()?;
            Some((Box::from(name), Flash { level, message }))
        })
        .unzip()
}
