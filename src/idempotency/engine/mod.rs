//! Claims over a backend: the protocol's decisions, carried out.

mod claim;
mod error;
mod operator;
mod renewals;
mod sealing;
mod store;
mod withdrawal;

#[cfg(feature = "sealed-answers")]
pub(super) use self::sealing::{Purpose, Sealing};
pub(super) use self::{
    claim::{Claim, Lost, Unwritten},
    error::ClaimError,
    operator::Read,
    renewals::{Renewals, Renewed},
    store::{Found, Store},
};
