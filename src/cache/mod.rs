//! A response cache that all instances share, as RFC 9111 says.
#![allow(
    dead_code,
    unused_imports,
    reason = "while the parts of the layer are put together"
)]

mod protocol;
mod record;
mod rule;
mod semantics;
mod stamps;
mod url;

pub use self::{
    rule::{Authorization, CacheRule, Profile, Query, RequestCookies, SetCookie},
    semantics::NotStored,
};
