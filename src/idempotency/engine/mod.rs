//! Claims over a backend: the protocol's decisions, carried out.

mod claim;
mod error;
mod renewals;
mod store;
mod upkeep;
mod withdrawal;

pub(super) use self::{
    claim::{Claim, Lost, Unwritten},
    error::ClaimError,
    renewals::{Renewals, Renewed},
    store::{Found, Store},
    upkeep::{Read, Settlement},
};
