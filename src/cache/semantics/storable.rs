//! Whether a response may be stored (RFC 9111 §3).
