//! What stands in a store under a key of the cache is written as it was read, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_stash::cache::CacheRule;

fuzz_target!(|stored: &[u8]| {
    read(stored);
    // Most of what is not said to be a record of format 1 is refused at its first bytes.
    for kind in *b"ehlsj" {
        read(&[&[kind, 1][..], stored].concat());
    }
    // And most of what has no status that exists, or claims too much, at once after it.
    let head = [&b"e\x01\0\0\0\xc8"[..], &[0; 32], &[0; 7]].concat();
    read(&[&head, stored].concat());
    read(&[&head, &b"\0\x02\x04etag\x01\xff"[..], stored].concat());
});

fn read(stored: &[u8]) {
    let Some(written) = CacheRule::rewrite_stored(stored) else {
        return;
    };
    let again = CacheRule::rewrite_stored(&written);
    assert_eq!(again.as_ref(), Some(&written));
    match stored.first() {
        // Of a tombstone nothing but its kind matters.
        Some(b'x') => assert_eq!(written, &b"x\x01"[..]),
        // Lines of one name are written together.
        Some(b'e') => assert_eq!(written.len(), stored.len()),
        _ => assert_eq!(written, stored),
    }
}
