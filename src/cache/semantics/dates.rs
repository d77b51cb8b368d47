//! Dates in headers (RFC 9110 §5.6.7).
