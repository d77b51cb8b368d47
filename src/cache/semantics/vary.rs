//! Which request headers choose between responses (RFC 9111 §4.1).
