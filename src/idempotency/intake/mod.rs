//! What is read of a request before it may run.
