//! What is stored: the bytes of each kind of record.
