//! Conditional requests (RFC 9110 §13).
