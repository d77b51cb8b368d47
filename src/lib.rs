//! Tower layers for state that several instances of a service share.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
pub mod clock;
mod error;
pub mod key;
pub mod observe;
pub mod policy;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::ConfigError;
