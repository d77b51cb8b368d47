//! Whether a stored response answers a request (RFC 9111 §4).
