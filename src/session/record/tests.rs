use std::collections::BTreeMap;

use proptest::{collection::btree_map, prelude::*, sample::Index};

use super::*;

/// The bytes of a golden file.
fn golden(hex: &str) -> Bytes {
    let digits = hex
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::chars)
        .filter_map(|digit| digit.to_digit(16));
    let digits: Vec<_> = digits.collect();
    let bytes = digits.chunks_exact(2);
    bytes
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|index| from + u8::try_from(index).unwrap())
}

fn json(text: &'static str) -> Value {
    Value {
        codec: Codec::Json,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

/// What `session_1_full.hex` says.
fn full() -> Record {
    let born = Timestamp::from_micros(1_767_225_600_000_000);
    let rotated = born + Duration::from_secs(300);
    let mut attributes = Attributes::default();
    attributes.set("~label", json(r#""Firefox""#));
    attributes.set("cart", json("[1,2,3]"));
    let raw = Value {
        codec: Codec::Raw,
        bytes: Bytes::from_static(&[0, 0xff]),
    };
    attributes.set("raw", raw);
    let mut trail = Trail::default();
    for nonce in 1..=8 {
        trail.push(nonce * 0x1111_1111_1111_1111);
    }
    Record {
        head: Head {
            is_new_secret_used: true,
            ttl: Duration::from_secs(86_400),
            born: Some(born),
            life: Duration::from_secs(30 * 86_400),
            generation: 0x0123_4567_89ab_cdef,
            rotated,
            digest: SecretDigest::from_bytes(counting(0)),
            previous: SecretDigest::from_bytes(counting(32)),
            previous_until: rotated + Duration::from_secs(30),
            csrf_seed: CsrfSeed::from_bytes(counting(64)),
            trail,
        },
        user: Some(Bytes::from_static(b"ada")),
        attributes,
    }
}

/// What `session_1_new.hex` says.
fn new() -> Record {
    let mut trail = Trail::default();
    trail.push(7);
    Record {
        head: Head {
            is_new_secret_used: false,
            ttl: Duration::from_secs(3_600),
            born: None,
            life: Duration::from_secs(86_400),
            generation: 0xfedc_ba98_7654_3210,
            rotated: Timestamp::default(),
            digest: SecretDigest::from_bytes([0xff; 32]),
            previous: SecretDigest::NONE,
            previous_until: Timestamp::default(),
            csrf_seed: CsrfSeed::from_bytes([0xa5; 16]),
            trail,
        },
        user: None,
        attributes: Attributes::default(),
    }
}

fn decoded(stored: &Bytes) -> Record {
    match Content::decode(stored.clone()) {
        Ok(Content::Session(record)) => Record::clone(&record),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_format_1_has_stored_is_read() {
    assert_eq!(decoded(&golden(FULL)), full());
    assert_eq!(decoded(&golden(NEW)), new());
    assert_eq!(Content::decode(golden(TOMB)), Ok(Content::Ended));
}

#[test]
fn sessions_are_stored_in_format_1() {
    assert_eq!(full().encode(), golden(FULL));
    assert_eq!(new().encode(), golden(NEW));
    assert_eq!(Ending::Revoked.tombstone(), golden(TOMB));
}

#[test]
fn a_session_without_anything_takes_200_bytes() {
    assert_eq!(new().encode().len(), 200);
}

#[test]
fn every_reason_to_end_is_a_tombstone() {
    for ending in [
        Ending::Destroyed,
        Ending::Revoked,
        Ending::Evicted,
        Ending::Reused,
    ] {
        assert_eq!(Content::decode(ending.tombstone()), Ok(Content::Ended));
    }
}

#[test]
fn a_tombstone_of_a_later_format_is_one() {
    let later = Bytes::from_static(b"x\x09whatever it says");
    assert_eq!(Content::decode(later), Ok(Content::Ended));
}

#[test]
fn another_format_is_told_from_damage() {
    let mut later = golden(FULL).to_vec();
    later[1] = 2;
    assert_eq!(Content::decode(later.into()), Err(Unreadable::Format));
    let mut other = golden(FULL).to_vec();
    other[0] = b'q';
    assert_eq!(Content::decode(other.into()), Err(Unreadable::Format));
    for short in [&b""[..], b"s", b"x", b"s\x01"] {
        let short = Bytes::from_static(short);
        assert_eq!(Content::decode(short), Err(Unreadable::Corrupt));
    }
}

#[test]
fn flags_that_are_not_known_do_not_matter() {
    let mut later = golden(FULL).to_vec();
    later[2] = 0xff;
    assert_eq!(decoded(&later.into()), full());
}

#[test]
fn no_part_of_a_record_is_a_record() {
    let stored = golden(FULL);
    for end in 0..stored.len() {
        let part = Content::decode(stored.slice(..end));
        assert_eq!(part, Err(Unreadable::Corrupt), "{end} bytes");
    }
    let longer = Bytes::from([&stored[..], &[0]].concat());
    assert_eq!(Content::decode(longer), Err(Unreadable::Corrupt));
}

#[test]
fn a_record_with_any_byte_changed_is_damaged_or_says_just_that() {
    let stored = golden(FULL);
    for position in 2..stored.len() {
        for change in 1..=0xff {
            let mut changed = stored.to_vec();
            changed[position] ^= change;
            let changed = Bytes::from(changed);
            match Content::decode(changed.clone()) {
                Err(error) => assert_eq!(error, Unreadable::Corrupt),
                // Flags that are not known do not matter.
                Ok(Content::Session(_)) if position == 2 || position == 3 => {}
                Ok(Content::Session(record)) => {
                    assert_eq!(record.encode(), changed, "byte {position}");
                }
                Ok(Content::Ended) => panic!("byte {position} made it a tombstone"),
            }
        }
    }
}

#[test]
fn text_that_is_none_is_damage() {
    let stored = golden(FULL);
    for text in [&b"ada"[..], b"cart"] {
        let mut broken = stored.to_vec();
        let at = broken.windows(text.len()).position(|found| found == text);
        broken[at.unwrap()] = 0xff;
        let broken = Content::decode(broken.into());
        assert_eq!(broken, Err(Unreadable::Corrupt), "{text:?}");
    }
}

#[test]
fn attributes_out_of_order_or_twice_are_damage() {
    for names in [["b", "a"], ["a", "a"]] {
        let mut stored = new().encode().to_vec();
        stored.truncate(HEAD_LEN + 2);
        stored.put_u16(2);
        for name in names {
            stored.put_u8(1);
            stored.put_slice(name.as_bytes());
            stored.put_slice(&[0, 0, 0, 0, 1, b'1']);
        }
        let stored = Content::decode(stored.into());
        assert_eq!(stored, Err(Unreadable::Corrupt), "{names:?}");
    }
}

#[test]
fn a_claim_of_many_attributes_reserves_no_memory_for_them() {
    let mut stored = new().encode().to_vec();
    stored.truncate(HEAD_LEN + 2);
    stored.put_u16(u16::MAX);
    let stored = Bytes::from(stored);
    let used = allocation_counter::measure(|| {
        assert_eq!(Content::decode(stored.clone()), Err(Unreadable::Corrupt));
    });
    assert!(used.bytes_max < 512, "{used:?}");
}

#[test]
fn a_claim_of_a_long_value_reserves_no_memory_for_it() {
    let mut stored = new().encode().to_vec();
    stored.truncate(HEAD_LEN + 2);
    stored.put_u16(1);
    stored.put_slice(&[1, b'a', 0]);
    stored.put_u32(u32::MAX);
    let stored = Bytes::from(stored);
    let used = allocation_counter::measure(|| {
        assert_eq!(Content::decode(stored.clone()), Err(Unreadable::Corrupt));
    });
    assert!(used.bytes_max < 512, "{used:?}");
}

#[test]
fn values_are_not_copied() {
    let stored = golden(FULL);
    let record = decoded(&stored);
    let all = stored.as_ptr_range();
    for (name, value) in record.attributes.iter() {
        assert!(all.contains(&value.bytes.as_ptr()), "{name}");
    }
    assert!(all.contains(&record.user.unwrap().as_ptr()));
}

#[test]
fn nothing_of_a_session_shows_in_a_record() {
    let shown = format!("{:?}", full());
    for secret in ["[0, 1, 2", "64, 65, 66", "Firefox", "[1,2,3]"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn a_trail_has_the_last_eight_marks() {
    let mut trail = Trail::default();
    for nonce in 1..=9 {
        trail.push(nonce);
        assert_eq!(trail.newest(), nonce);
    }
    assert!(!trail.has(1));
    assert!((2..=9).all(|nonce| trail.has(nonce)));
}

fn any_value() -> impl Strategy<Value = Value> {
    let codec = prop_oneof![Just(Codec::Json), Just(Codec::Raw)];
    (codec, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(codec, bytes)| Value {
        codec,
        bytes: bytes.into(),
    })
}

fn any_head() -> impl Strategy<Value = Head> {
    let times = (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
    );
    let secrets = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 16]>());
    (
        any::<bool>(),
        any::<u64>(),
        times,
        secrets,
        any::<[u64; 8]>(),
    )
        .prop_map(|(is_new_secret_used, generation, times, secrets, trail)| {
            let (ttl, born, life, rotated, until) = times;
            Head {
                is_new_secret_used,
                ttl: Duration::from_millis(ttl),
                born: (born > 0).then_some(Timestamp::from_micros(born)),
                life: Duration::from_millis(life),
                generation,
                rotated: Timestamp::from_micros(rotated),
                digest: SecretDigest::from_bytes(secrets.0),
                previous: SecretDigest::from_bytes(secrets.1),
                previous_until: Timestamp::from_micros(until),
                csrf_seed: CsrfSeed::from_bytes(secrets.2),
                trail: Trail(trail),
            }
        })
}

fn any_record() -> impl Strategy<Value = Record> {
    let attributes = btree_map("\\PC{1,16}", any_value(), 0..8);
    (any_head(), "\\PC{0,64}", attributes).prop_map(|(head, user, values)| {
        let mut attributes = Attributes::default();
        for (name, value) in values {
            attributes.set(&name, value);
        }
        Record {
            head,
            user: (!user.is_empty()).then(|| Bytes::from(user)),
            attributes,
        }
    })
}

/// What a program may do to a session's attributes.
#[derive(Clone, Debug)]
enum Step {
    Set(String, Value),
    Remove(String),
    Keep(char),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => ("[a-c]{0,2}", any_value()).prop_map(|(name, value)| Step::Set(name, value)),
        2 => "[a-c]{0,2}".prop_map(Step::Remove),
        1 => proptest::char::range('a', 'c').prop_map(Step::Keep),
    ]
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in any_record()) {
        let stored = record.encode();
        prop_assert_eq!(stored.len(), record.encoded_len());
        prop_assert_eq!(decoded(&stored), record);
    }

    #[test]
    fn whatever_is_read_is_written_the_same(
        record in any_record(),
        position in any::<Index>(),
        change in 1..=u8::MAX,
        is_cut in any::<bool>(),
    ) {
        let mut stored = record.encode().to_vec();
        // The head may say anything.
        let position = HEAD_LEN + position.index(stored.len() - HEAD_LEN);
        stored[position] ^= change;
        if is_cut {
            stored.truncate(position);
        }
        let stored = Bytes::from(stored);
        match Content::decode(stored.clone()) {
            Ok(Content::Session(record)) => prop_assert_eq!(record.encode(), stored),
            other => prop_assert_eq!(other, Err(Unreadable::Corrupt)),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(kind in "[sxq]", format in 0..4_u8, rest in any::<Vec<u8>>()) {
        let stored = [kind.as_bytes(), &[format], &rest].concat();
        let _ = Content::decode(stored.into());
    }

    #[test]
    fn attributes_are_a_map_in_the_order_of_names(
        steps in prop::collection::vec(any_step(), 0..40)
    ) {
        let mut attributes = Attributes::default();
        let mut expected = BTreeMap::new();
        for step in steps {
            match step {
                Step::Set(name, value) => {
                    attributes.set(&name, value.clone());
                    expected.insert(name, value);
                }
                Step::Remove(name) => {
                    attributes.remove(&name);
                    expected.remove(&name);
                }
                Step::Keep(letter) => {
                    attributes.retain(|name| name.contains(letter));
                    expected.retain(|name, _| name.contains(letter));
                }
            }
            let found: Vec<_> = attributes.iter().collect();
            let known: Vec<_> = expected.iter().map(|(name, value)| (&**name, value)).collect();
            prop_assert_eq!(found, known);
            for name in ["", "a", "b", "ab", "cc"] {
                prop_assert_eq!(attributes.get(name), expected.get(name));
            }
            let mut stored = Vec::new();
            attributes.encode(&mut stored);
            prop_assert_eq!(stored.len(), attributes.encoded_len());
        }
    }
}

const FULL: &str = include_str!("golden/session_1_full.hex");
const NEW: &str = include_str!("golden/session_1_new.hex");
const TOMB: &str = include_str!("golden/tombstone_1.hex");
