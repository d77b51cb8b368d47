//! What a URL is stored under.
