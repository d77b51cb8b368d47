//! How long a response is fresh (RFC 9111 §4.2).
