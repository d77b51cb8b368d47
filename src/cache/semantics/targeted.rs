//! Targeted cache control (RFC 9213).
