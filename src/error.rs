//! The error of every constructor here.

use std::{borrow::Cow, error::Error, fmt};

/// A setting that cannot work, found when a rule, a layer or a backend is constructed.
///
/// The message names the setting and says what to write instead. It never contains what a request
/// sent, since no request has been seen yet.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    message: Cow<'static, str>,
}

impl ConfigError {
    /// An error with this message, for policies and extractors written outside this crate.
    ///
    /// Name the setting and say what to write instead: `rule "login": a limit of 0 admits nothing;
    /// write 1 or more`.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Shows the message as it is, because `fn main() -> Result<(), ConfigError>` prints this form.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConfigError {}
