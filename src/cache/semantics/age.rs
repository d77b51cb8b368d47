//! How old a response is (RFC 9111 §4.2.3, §5.1).
