//! Which headers are stored (RFC 9111 §3.1).
