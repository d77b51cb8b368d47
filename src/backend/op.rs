//! The calls that a backend answers.

/// One of the calls that the five capabilities have between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Op {
    /// [`KeyValue::get`](super::KeyValue::get).
    Get,
    /// [`KeyValue::put`](super::KeyValue::put).
    Put,
    /// [`KeyValue::delete`](super::KeyValue::delete).
    Delete,
    /// [`KeyValue::touch`](super::KeyValue::touch).
    Touch,
    /// [`Quotas::acquire`](super::Quotas::acquire).
    Acquire,
    /// [`Quotas::refund`](super::Quotas::refund).
    Refund,
    /// [`Quotas::reset`](super::Quotas::reset).
    Reset,
    /// [`Quotas::amend`](super::Quotas::amend).
    Amend,
    /// [`Slots::hold`](super::Slots::hold).
    SlotsHold,
    /// [`Slots::renew`](super::Slots::renew).
    SlotsRenew,
    /// [`Slots::release`](super::Slots::release).
    SlotsRelease,
    /// [`Index::add`](super::Index::add).
    IndexAdd,
    /// [`Index::remove`](super::Index::remove).
    IndexRemove,
    /// [`Index::members`](super::Index::members).
    IndexMembers,
    /// [`Broadcast::publish`](super::Broadcast::publish).
    Publish,
    /// [`Broadcast::subscribe`](super::Broadcast::subscribe).
    Subscribe,
}

impl Op {
    /// Every call.
    pub const ALL: &'static [Self] = &[
        Self::Get,
        Self::Put,
        Self::Delete,
        Self::Touch,
        Self::Acquire,
        Self::Refund,
        Self::Reset,
        Self::Amend,
        Self::SlotsHold,
        Self::SlotsRenew,
        Self::SlotsRelease,
        Self::IndexAdd,
        Self::IndexRemove,
        Self::IndexMembers,
        Self::Publish,
        Self::Subscribe,
    ];

    /// The call as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Touch => "touch",
            Self::Acquire => "acquire",
            Self::Refund => "refund",
            Self::Reset => "reset",
            Self::Amend => "amend",
            Self::SlotsHold => "slots_hold",
            Self::SlotsRenew => "slots_renew",
            Self::SlotsRelease => "slots_release",
            Self::IndexAdd => "index_add",
            Self::IndexRemove => "index_remove",
            Self::IndexMembers => "index_members",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// What the call attempts, as the beginning of an error's text: "could not …".
    pub(crate) const fn attempt(self) -> &'static str {
        match self {
            Self::Get => "get a record",
            Self::Put => "put a record",
            Self::Delete => "delete a record",
            Self::Touch => "touch a record",
            Self::Acquire => "acquire from a quota",
            Self::Refund => "refund to a quota",
            Self::Reset => "reset a quota",
            Self::Amend => "amend a quota",
            Self::SlotsHold => "hold a slot",
            Self::SlotsRenew => "renew slots",
            Self::SlotsRelease => "release a slot",
            Self::IndexAdd => "add a member to an index",
            Self::IndexRemove => "remove a member from an index",
            Self::IndexMembers => "list the members of an index",
            Self::Publish => "publish a message",
            Self::Subscribe => "subscribe to a channel",
        }
    }
}
