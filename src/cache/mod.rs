//! A response cache that all instances share, as RFC 9111 says.
#![allow(
    dead_code,
    unused_imports,
    reason = "while the parts of the layer are put together"
)]

mod answer;
mod ask;
mod body;
mod bypass;
mod case;
mod engine;
mod fetch;
mod future;
mod invalidation;
mod layer;
mod outcome;
mod protocol;
mod purge;
mod record;
mod rule;
mod semantics;
mod service;
mod shared;
mod stamps;
mod tags;
mod unary;
mod url;
mod visit;

pub use self::{
    body::ResponseBody,
    bypass::Bypass,
    engine::{Coalescing, Consistency},
    future::ResponseFuture,
    layer::CacheLayer,
    outcome::{CacheOutcome, OutcomeKind},
    purge::{Purge, PurgeError, PurgeErrorKind},
    rule::{Authorization, CacheRule, Profile, Query, RequestCookies, SetCookie},
    semantics::NotStored,
    service::Cache,
    tags::CacheTags,
};
pub use crate::body::RequestBody;
