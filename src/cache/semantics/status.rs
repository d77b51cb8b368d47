//! `Cache-Status` (RFC 9211).
