//! What stands in a store as an answer is written as it was read and can be replayed, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_stash::{idempotency::ResponseBody, marks::Replayed};

fuzz_target!(|stored: &[u8]| {
    read(stored);
    // Most of what has no status that exists is refused at its first bytes.
    read(&[b"\0\xc8", stored].concat());
    // And most of what claims too much, at once after it.
    read(&[b"\0\xc8\0\x02\0\x04etag\0\0\0\x01\xff", stored].concat());
    read(&[b"\0\xc8\0\0\x01\0\x01", stored].concat());
});

fn read(stored: &[u8]) {
    let Some((written, replay)) = ResponseBody::<String>::replay_stored(stored) else {
        return;
    };
    assert_eq!(written, stored);
    assert_eq!(replay.status().as_u16().to_be_bytes(), stored[..2]);
    assert_eq!(replay.headers()["idempotent-replayed"], "true");
    assert!(replay.extensions().get::<Replayed>().is_some());
    let body = http_body::Body::size_hint(replay.body()).lower();
    assert!(body < stored.len() as u64);
}
