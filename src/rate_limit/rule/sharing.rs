//! What requests of one subject have of each other's calls to the backend.

/// What requests of one subject have of each other's calls to the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::rate_limit) enum Sharing {
    /// Each asks for itself.
    #[default]
    Nothing,
    /// Those that come while one is asked for are asked for together.
    Together,
    /// They are also paid out of what earlier calls took for later requests.
    Leased {
        /// How many instances share the limits.
        instances: u32,
    },
}
