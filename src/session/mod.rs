//! Sessions that all instances of a service share.

mod token;
