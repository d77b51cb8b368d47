//! What a 304 changes of a stored response (RFC 9111 §3.2, §4.3.4).
