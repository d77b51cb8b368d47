//! When tags were purged, and whether an entry is older.
