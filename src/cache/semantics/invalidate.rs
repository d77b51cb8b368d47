//! What unsafe methods invalidate (RFC 9111 §4.4).
