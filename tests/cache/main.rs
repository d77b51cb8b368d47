//! The cache layer on the memory backend, as services see it.

mod basics;
mod fixture;
mod freshness;
mod grpc;
