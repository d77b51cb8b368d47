//! Parts of a stored response (RFC 9110 §14).
