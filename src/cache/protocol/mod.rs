//! Decisions on what is found in the store, without the store.

pub(in crate::cache) mod lease;
mod store;

pub(in crate::cache) use self::{
    lease::{Found, Lease, OnLeaseConflict, Settled, Token, on_lease_conflict},
    store::{
        Occupant, OnStoreConflict, Present, Storing, TOMBSTONE_LIFE, is_too_late,
        on_store_conflict, record_life,
    },
};
