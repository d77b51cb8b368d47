//! Cache groups (RFC 9875).
