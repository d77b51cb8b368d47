use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{fields::MAX_FIELDS, *};
use crate::{
    backend::Version,
    cache::stamps::{Purge, Severity, Tag},
    clock::Timestamp,
    key::Digest,
};

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

fn map<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    map
}

/// What `entry_1_full.hex` says, but for its body.
fn full() -> Entry {
    Entry {
        status: StatusCode::OK,
        flags: Flags::none()
            .with(Flag::AlwaysValidated)
            .with(Flag::NeverStale)
            .with(Flag::ForAll),
        born: START,
        checked: START + Duration::from_secs(30),
        age: Duration::from_millis(1_502),
        lifetime: Duration::from_secs(60),
        while_revalidate: Duration::from_secs(30),
        if_error: Duration::from_secs(3_600),
        kept: Duration::from_secs(600),
        fill_time: Duration::from_millis(42),
        check: Digest::from_bytes(counting(0)),
        shape: 0x0123_4567_89ab_cdef,
        tags: [0x10, 0x20]
            .map(|tag| Tag(counting(tag)))
            .into_iter()
            .collect(),
        headers: map([
            ("content-type", &b"text/plain"[..]),
            ("x-raw", b"\xff"),
            ("x-raw", b""),
        ]),
        trailers: Some(map([("grpc-status", &b"0"[..])])),
    }
}

/// What `entry_1_bare.hex` says.
fn bare() -> Entry {
    Entry {
        status: StatusCode::NOT_FOUND,
        flags: Flags::none(),
        born: START,
        checked: START,
        age: Duration::ZERO,
        lifetime: Duration::ZERO,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        kept: Duration::ZERO,
        fill_time: Duration::ZERO,
        check: Digest::from_bytes([0xff; 16]),
        shape: 0,
        tags: Tags::default(),
        headers: HeaderMap::new(),
        trailers: None,
    }
}

fn head() -> Head {
    Head {
        check: Digest::from_bytes(counting(0)),
        generation: START,
        softly_purged: START + Duration::from_micros(1),
        headers: vec![
            HeaderName::from_static("accept-encoding"),
            HeaderName::from_static("x-color"),
        ],
        parts: vec!["role".into()],
    }
}

fn stamp() -> StampRecord {
    StampRecord {
        severity: Severity::Soft,
        floor: START,
        other: START - Duration::from_secs(1),
    }
}

fn journal() -> Journal {
    let purge = |tag, severity, seconds| Purge {
        tag: Tag(counting(tag)),
        severity,
        at: START + Duration::from_secs(seconds),
    };
    Journal {
        created: Some(Version::from_u64(START.as_micros())),
        sequence: 7,
        complete_since: START + Duration::from_micros(1),
        max_life: DAY,
        purges: vec![
            purge(0x10, Severity::Hard, 1),
            purge(0x20, Severity::Soft, 2),
        ],
    }
}

fn new_journal() -> Journal {
    Journal::empty(DAY)
}

/// Each golden file and what it says.
fn all() -> Vec<(&'static str, Record)> {
    let entry = |entry, body: &'static str| Record::Entry {
        entry,
        body: Bytes::from_static(body.as_bytes()),
    };
    vec![
        (
            include_str!("golden/entry_1_full.hex"),
            entry(full(), "hello"),
        ),
        (include_str!("golden/entry_1_bare.hex"), entry(bare(), "")),
        (include_str!("golden/head_1.hex"), Record::Head(head())),
        (include_str!("golden/tombstone_1.hex"), Record::Tombstone),
        (
            include_str!("golden/lease_1_filling.hex"),
            Record::Lease(Lease::Filling(counting(0xa0))),
        ),
        (
            include_str!("golden/lease_1_pass.hex"),
            Record::Lease(Lease::Pass(3)),
        ),
        (include_str!("golden/stamp_1.hex"), Record::Stamp(stamp())),
        (
            include_str!("golden/journal_1.hex"),
            Record::Journal(journal()),
        ),
        (
            include_str!("golden/journal_1_new.hex"),
            Record::Journal(new_journal()),
        ),
    ]
}

fn encode(record: &Record) -> Bytes {
    record.encode().unwrap()
}

fn is_entry(record: &Record) -> bool {
    matches!(record, Record::Entry { .. })
}

fn decoded_entry(stored: &Bytes) -> (Entry, Bytes) {
    match Record::decode(stored.clone()) {
        Ok(Record::Entry { entry, body }) => (entry, body),
        other => panic!("{other:?} is no entry"),
    }
}

#[test]
fn what_format_1_has_stored_is_read() {
    for (hex, record) in all() {
        assert_eq!(Record::decode(golden(hex)), Ok(record));
    }
}

#[test]
fn records_are_stored_in_format_1() {
    for (hex, record) in all() {
        assert_eq!(encode(&record), golden(hex), "{record:?}");
    }
}

#[test]
fn no_part_of_a_record_is_a_record_but_for_the_end_of_a_body() {
    for (hex, record) in all() {
        let stored = golden(hex);
        let body_len = match &record {
            Record::Entry { body, .. } => body.len(),
            _ => 0,
        };
        for end in 0..stored.len() - body_len {
            let part = Record::decode(stored.slice(..end));
            assert_eq!(part, Err(Unreadable::Corrupt), "{end} bytes of {record:?}");
        }
    }
}

#[test]
fn what_follows_a_record_is_refused_unless_it_is_a_body() {
    for (hex, record) in all() {
        let longer = Bytes::from([&golden(hex)[..], &[0]].concat());
        let is_read = Record::decode(longer).is_ok();
        let may_be_longer = is_entry(&record) || record == Record::Tombstone;
        assert_eq!(is_read, may_be_longer, "{record:?}");
    }
}

#[test]
fn another_format_or_kind_is_told_from_damage() {
    for (hex, record) in all() {
        let mut later = golden(hex).to_vec();
        later[1] = 2;
        let later = Record::decode(later.into());
        if record == Record::Tombstone {
            assert_eq!(later, Ok(Record::Tombstone));
        } else {
            assert_eq!(later, Err(Unreadable::Format), "{record:?}");
        }
    }
    let unknown = Bytes::from_static(b"q\x01");
    assert_eq!(Record::decode(unknown), Err(Unreadable::Format));
}

#[test]
fn a_response_with_an_unknown_flag_is_not_used() {
    let stored = encode(&all()[1].1);
    for bit in 0..15 {
        let mut changed = stored.to_vec();
        changed[2..4].copy_from_slice(&(1_u16 << bit).to_be_bytes());
        let changed = Record::decode(changed.into());
        let is_known = bit < 7;
        assert_eq!(changed.is_ok(), is_known, "bit {bit}");
        if !is_known {
            assert_eq!(changed, Err(Unreadable::Format));
        }
    }
}

#[test]
fn a_record_with_any_byte_changed_is_refused_or_says_just_that() {
    for (hex, record) in all() {
        let stored = golden(hex);
        for position in 2..stored.len() {
            for change in 1..=0xff {
                let mut changed = stored.to_vec();
                changed[position] ^= change;
                if let Ok(read) = Record::decode(Bytes::from(changed.clone())) {
                    assert_eq!(encode(&read), changed, "byte {position} of {record:?}");
                }
            }
        }
    }
}

#[test]
fn lines_of_one_name_apart_from_each_other_are_read() {
    let mut stored = encode(&all()[1].1).to_vec();
    stored.pop();
    stored.extend_from_slice(b"\x03\x01a\x011\x01b\x012\x01a\x013");
    let (entry, body) = decoded_entry(&stored.into());
    let lines = [("a", &b"1"[..]), ("a", b"3"), ("b", b"2")];
    assert_eq!(entry.headers, map(lines));
    assert!(body.is_empty());
}

#[test]
fn what_is_no_header_or_status_is_refused() {
    let with = |headers: &[u8]| {
        let mut stored = encode(&all()[1].1).to_vec();
        stored.pop();
        stored.extend_from_slice(headers);
        Record::decode(stored.into()).is_ok()
    };
    assert!(with(b"\x01\x01a\x01b"));
    for name in [&b"A"[..], b"a b", b"a\0", b"\xff", b"", b":"] {
        let len = [u8::try_from(name.len()).unwrap()];
        assert!(
            !with(&[b"\x01", &len[..], name, b"\x01b"].concat()),
            "{name:?}"
        );
    }
    for value in *b"\n\r\0\x7f" {
        assert!(!with(&[b"\x01\x01a\x01", &[value][..]].concat()), "{value}");
    }
    for status in [0, 99, 1000, u16::MAX] {
        let mut stored = encode(&all()[1].1).to_vec();
        stored[4..6].copy_from_slice(&u16::to_be_bytes(status));
        assert!(Record::decode(stored.into()).is_err(), "{status}");
    }
}

#[test]
fn counts_and_lengths_that_lie_allocate_nothing() {
    let entry = encode(&all()[1].1);
    let largest: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let lies = [
        [&entry[..entry.len() - 2], largest].concat(),
        [&entry[..entry.len() - 1], largest].concat(),
        [&entry[..entry.len() - 1], b"\x01", largest, b"a"].concat(),
        [&encode(&all()[2].1)[..26], largest].concat(),
        [&encode(&all()[8].1)[..34], largest].concat(),
    ];
    for lie in lies {
        // A buffer that has been cloned before allocates nothing when it is split.
        let lie = Bytes::from(lie);
        let _shared = lie.clone();
        let used = allocation_counter::measure(|| {
            assert_eq!(Record::decode(lie.clone()), Err(Unreadable::Corrupt));
        });
        // A map for one header that is said to come, at most.
        assert!(used.bytes_max < 512, "{used:?}");
    }
}

#[test]
fn a_header_map_that_might_not_hold_all_fields_is_neither_written_nor_read() {
    let with = |len: usize| {
        let names = (0..len).map(|number| format!("h{number}"));
        let names: Vec<_> = names.collect();
        Entry {
            headers: map(names.iter().map(|name| (name.as_str(), &b""[..]))),
            ..bare()
        }
    };
    let stored = with(MAX_FIELDS).encode(&[]).unwrap();
    assert_eq!(decoded_entry(&stored).0.headers.len(), MAX_FIELDS);
    assert_eq!(with(MAX_FIELDS + 1).encode(&[]), None);

    let mut stored = bare().encode(&[]).unwrap().to_vec();
    stored.pop();
    stored.extend_from_slice(&[0x81, 0x20]); // 4097
    stored.extend_from_slice(&b"\x01a\x00".repeat(MAX_FIELDS + 1));
    assert_eq!(Record::decode(stored.into()), Err(Unreadable::Corrupt));
}

#[test]
fn names_of_a_head_out_of_order_or_twice_are_damage() {
    for names in [["b", "a"], ["a", "a"]] {
        let header = |name: &str| name.parse().unwrap();
        let headers = Head {
            headers: names.into_iter().map(header).collect(),
            ..head()
        };
        assert_eq!(Record::decode(headers.encode()), Err(Unreadable::Corrupt));
        let parts = Head {
            parts: names.into_iter().map(Into::into).collect(),
            ..head()
        };
        assert_eq!(Record::decode(parts.encode()), Err(Unreadable::Corrupt));
    }
}

#[test]
fn body_and_values_are_slices_of_what_is_stored() {
    let stored = golden(include_str!("golden/entry_1_full.hex"));
    let all = stored.as_ptr_range();
    let (entry, body) = decoded_entry(&stored);
    assert!(all.contains(&body.as_ptr()));
    assert!(all.contains(&entry.headers["content-type"].as_bytes().as_ptr()));
}

#[test]
fn a_body_in_chunks_is_stored_as_one() {
    let chunks = ["he", "", "llo"].map(|chunk| Bytes::from_static(chunk.as_bytes()));
    let whole = [Bytes::from_static(b"hello")];
    assert_eq!(full().encode(&chunks), full().encode(&whole));
}

#[test]
fn a_response_is_written_with_one_allocation_of_the_right_size() {
    let entry = usual();
    let chunks = vec![Bytes::from_static(&[b'x'; 500]); 3];
    let mut len = 0;
    let used = allocation_counter::measure(|| {
        len = entry.encode(&chunks).map_or(0, |stored| stored.len());
    });
    assert_eq!(used.count_total, 1);
    assert_eq!(used.bytes_total, u64::try_from(len).unwrap());
}

#[test]
fn other_records_are_written_with_one_allocation() {
    for (_, record) in all() {
        let used = allocation_counter::measure(|| drop(record.encode()));
        let expected = u64::from(record != Record::Tombstone);
        assert_eq!(used.count_total, expected, "{record:?}");
    }
}

/// The map itself takes two (its index and its fields), each name that the `http` crate does not
/// know another, and the tags one.
#[test]
fn a_response_of_eight_headers_is_read_with_four_allocations() {
    let stored = usual().encode(&[Bytes::from_static(b"{}")]).unwrap();
    let _shared = stored.clone();
    let used = allocation_counter::measure(|| {
        let record = Record::decode(stored.clone());
        assert!(record.is_ok());
    });
    assert_eq!(usual().headers.len(), 8);
    assert_eq!(used.count_total, 4);
}

/// 100 bytes and 16 a tag, at most, in any entry that the layer stores.
#[test]
fn what_is_stored_besides_headers_tags_and_body_is_at_most_100_bytes() {
    let most = Entry {
        // A day's refreshes, ages of 68 years, and windows as long.
        checked: START + DAY,
        age: Duration::from_secs(1 << 31),
        lifetime: Duration::from_secs(1 << 31),
        while_revalidate: Duration::from_secs(1 << 31),
        if_error: Duration::from_secs(1 << 31),
        kept: Duration::from_secs(1 << 31),
        fill_time: DAY,
        ..usual()
    };
    let text_len = |entry: &Entry| -> usize {
        let lines = entry.headers.iter();
        lines
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum()
    };
    let overhead = |entry: &Entry| {
        let stored = entry.encode(&[]).unwrap().len();
        stored - text_len(entry) - 16 * entry.tags.as_slice().len()
    };
    assert!(overhead(&most) <= 100, "{}", overhead(&most));
    assert_eq!(overhead(&usual()), 76);
    assert_eq!(usual().encode(&[]).unwrap().len(), 323);
}

#[test]
fn a_journal_of_64_purges_takes_less_than_two_kilobytes() {
    let purges = vec![journal().purges[0]; 64];
    let journal = Journal {
        purges,
        ..journal()
    };
    assert_eq!(journal.encode().len(), 1_635);
}

#[test]
fn flags_are_told_apart() {
    let flags = Flags::none()
        .with(Flag::ForAll)
        .with_if(Flag::Coalescable, true)
        .with_if(Flag::NeverStale, false);
    assert!(flags.has(Flag::ForAll) && flags.has(Flag::Coalescable));
    assert!(!flags.has(Flag::NeverStale) && !flags.has(Flag::SoftlyPurged));
    assert_eq!(format!("{flags:?}"), "{ForAll, Coalescable}");
}

#[test]
fn nothing_that_a_user_wrote_is_shown() {
    for (_, record) in all() {
        let shown = format!("{record:?}");
        for text in ["text/plain", "hello"] {
            assert!(!shown.contains(text), "{text} in {shown}");
        }
    }
}

/// A page of an API with three tags, as responses are.
fn usual() -> Entry {
    Entry {
        tags: (0..3).map(|tag| Tag([tag; 16])).collect(),
        headers: map([
            ("content-type", &b"application/json"[..]),
            ("content-length", b"1500"),
            ("date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
            ("cache-control", b"public, max-age=60"),
            ("etag", b"\"3f0b6cc85f3e4d2c\""),
            ("vary", b"accept-encoding"),
            ("content-encoding", b"gzip"),
            ("x-request-id", b"9a571e8c7d9c2b11"),
        ]),
        trailers: None,
        ..full()
    }
}

fn header_maps() -> impl Strategy<Value = HeaderMap> {
    let value = vec(
        prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xff_u8],
        0..200,
    );
    vec(("[a-e]|x-[a-z0-9_.-]{0,150}|etag|vary", value), 0..6).prop_map(|fields| {
        let fields = fields.iter();
        map(fields.map(|(name, value)| (name.as_str(), value.as_slice())))
    })
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![0..100_u64, any::<u64>()].prop_map(Duration::from_millis)
}

fn times() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

prop_compose! {
    fn entries()(
        status in 100..1000_u16,
        bits in 0..128_u16,
        (born, checked) in (times(), times()),
        times in proptest::array::uniform6(durations()),
        check: [u8; 16],
        shape: u64,
        tags in vec(any::<[u8; 16]>(), 0..8),
        headers in header_maps(),
        trailers in option::of(header_maps()),
    ) -> Entry {
        let [age, lifetime, while_revalidate, if_error, kept, fill_time] = times;
        Entry {
            status: StatusCode::from_u16(status).unwrap(),
            flags: Flags::from_bits(bits).unwrap(),
            born,
            checked,
            age,
            lifetime,
            while_revalidate,
            if_error,
            kept,
            fill_time,
            check: Digest::from_bytes(check),
            shape,
            tags: tags.into_iter().map(Tag).collect(),
            headers,
            trailers,
        }
    }
}

fn severities() -> impl Strategy<Value = Severity> {
    prop_oneof![Just(Severity::Hard), Just(Severity::Soft)]
}

prop_compose! {
    fn journals()(
        created in option::of(1..=u64::MAX),
        sequence: u64,
        complete_since in times(),
        max_life in durations(),
        purges in vec((any::<[u8; 16]>(), severities(), times()), 0..66),
    ) -> Journal {
        let purges = purges.into_iter();
        Journal {
            created: created.map(Version::from_u64),
            sequence,
            complete_since,
            max_life,
            purges: purges
                .map(|(tag, severity, at)| Purge { tag: Tag(tag), severity, at })
                .collect(),
        }
    }
}

prop_compose! {
    fn heads()(
        check: [u8; 16],
        generation in times(),
        softly_purged in times(),
        headers in proptest::collection::btree_set("[a-z0-9-]{1,150}", 0..10),
        parts in proptest::collection::btree_set(any::<String>(), 0..10),
    ) -> Head {
        Head {
            check: Digest::from_bytes(check),
            generation,
            softly_purged,
            headers: headers.iter().map(|name| name.parse().unwrap()).collect(),
            parts: parts.into_iter().map(Into::into).collect(),
        }
    }
}

fn records() -> impl Strategy<Value = Record> {
    let body = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        8 => (entries(), body).prop_map(|(entry, body)| Record::Entry { entry, body }),
        2 => heads().prop_map(Record::Head),
        2 => journals().prop_map(Record::Journal),
        1 => (severities(), times(), times()).prop_map(|(severity, floor, other)| {
            Record::Stamp(StampRecord { severity, floor, other })
        }),
        1 => any::<[u8; 16]>().prop_map(|token| Record::Lease(Lease::Filling(token))),
        1 => any::<u8>().prop_map(|reason| Record::Lease(Lease::Pass(reason))),
        1 => Just(Record::Tombstone),
    ]
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(record in records()) {
        prop_assert_eq!(Record::decode(encode(&record)), Ok(record));
    }

    #[test]
    fn a_record_has_one_form_only(
        record in records(),
        position in any::<Index>(),
        byte: u8,
    ) {
        let mut stored = encode(&record).to_vec();
        let position = position.index(stored.len());
        stored[position] = byte;
        if let Ok(read) = Record::decode(Bytes::from(stored.clone())) {
            let again = encode(&read);
            prop_assert_eq!(Record::decode(again.clone()), Ok(read.clone()));
            match read {
                Record::Tombstone => {}
                // A changed name may have made two lines of one name, which are written together.
                Record::Entry { .. } => prop_assert_eq!(again.len(), stored.len()),
                _ => prop_assert_eq!(again, stored),
            }
        }
    }

    #[test]
    fn nothing_that_is_stored_panics(
        kind in prop_oneof![Just(b'e'), Just(b'h'), Just(b'l'), Just(b's'), Just(b'j')],
        stored in vec(any::<u8>(), 0..200),
    ) {
        let stored = [&[kind, FORMAT][..], &stored].concat();
        let _ = Record::decode(stored.into());
    }

    #[test]
    fn an_entry_takes_other_headers_and_numbers_around_the_same_body(
        entry in entries(),
        other in entries(),
        body in vec(any::<u8>(), 0..300),
    ) {
        let stored = entry.encode(&[Bytes::from(body.clone())]).unwrap();
        let (read, kept) = decoded_entry(&stored);
        let updated = Entry { headers: other.headers, checked: other.checked, ..read };
        let stored = updated.encode(std::slice::from_ref(&kept)).unwrap();
        prop_assert_eq!(decoded_entry(&stored), (updated, Bytes::from(body)));
    }
}

const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const DAY: Duration = Duration::from_secs(86_400);
