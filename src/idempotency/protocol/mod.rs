//! What becomes of a key: the record under it, and pure decisions on what is found there.

mod claim;
mod conflict;
mod fingerprint;
mod operator;
mod record;

pub(super) use self::{
    claim::{Claimant, OnClaim, Terms, on_claim},
    conflict::{Intent, Loss, OnConflict, on_conflict},
    fingerprint::Fingerprint,
    operator::{OnForget, OnSettle, is_forgotten, on_forget, on_settle},
    record::{Flags, Owner, Record, State, Unreadable},
};
