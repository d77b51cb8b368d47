//! What stands in a store is a session that is written as it was read, has ended, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_stash::session::{SessionErrorKind, SessionLayer};

fuzz_target!(|stored: &[u8]| {
    read(stored);
    // Most of what is not said to be a session of format 1 is refused at its first byte.
    read(&[b"s\x01", stored].concat());
    // And most of what is too short for its head, or claims too much, at once after it.
    read(&[b"s\x01", &[0; 194][..], stored].concat());
});

fn read(stored: &[u8]) {
    match SessionLayer::rewrite_stored(stored) {
        Ok(Some(written)) => {
            assert_eq!(written.len(), stored.len());
            for (position, (written, read)) in written.iter().zip(stored).enumerate() {
                // Flags that are not known are not kept.
                assert!(written == read || FLAGS.contains(&position), "byte {position}");
            }
        }
        Ok(None) => assert_eq!(stored.first(), Some(&b'x')),
        Err(error) => assert_eq!(error.kind(), SessionErrorKind::Unreadable),
    }
}

const FLAGS: std::ops::Range<usize> = 2..4;
