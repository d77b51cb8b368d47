//! What becomes of requests while the backend does not answer.

/// What becomes of requests while the backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// They go through, uncounted.
    #[default]
    Allow,
    /// They get 503 (gRPC: `UNAVAILABLE`), to be retried after a second.
    Deny,
    /// They are counted in this process, against the share of each limit that one of so many
    /// instances has: a limit of 100 admits 25 here if there are four.
    ///
    /// A share is at least one call. With as many instances as said, together they admit at most as
    /// many times that, besides what the backend had admitted before. What was counted here is not
    /// counted there when the backend answers again. A request that costs more
    /// than the share gets 503.
    Local {
        /// How many instances there are, at least one.
        instances: u32,
    },
}

impl Outage {
    pub(super) fn check(self) -> Result<(), String> {
        match self {
            Self::Local { instances: 0 } => Err(
                "Outage::Local divides limits by the number of instances; write 1 or more".into(),
            ),
            _ => Ok(()),
        }
    }
}
