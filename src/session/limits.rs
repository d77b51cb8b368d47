//! How much a session may hold.

use super::{
    SessionError, SessionErrorKind,
    names::LABEL,
    record::{Attributes, Record},
};

/// Whether a session may hold these: at most 64, and so much that their record can be stored whoever
/// logs in with it.
pub(super) fn check_attributes(attributes: &Attributes) -> Result<(), SessionError> {
    check(attributes, LONGEST_REST + attributes.encoded_len())
}

/// Whether this may be stored: at most 64 attributes, and 64 KiB.
pub(super) fn check_record(record: &Record) -> Result<(), SessionError> {
    check(&record.attributes, record.encoded_len())
}

fn check(attributes: &Attributes, bytes: usize) -> Result<(), SessionError> {
    // A label is none of the program's attributes.
    let count = attributes.iter().filter(|(name, _)| *name != LABEL).count();
    if count <= MAX_ATTRIBUTES && bytes <= MAX_BYTES {
        Ok(())
    } else {
        Err(SessionErrorKind::TooLarge.into())
    }
}

const MAX_ATTRIBUTES: usize = 64;
const MAX_BYTES: usize = 64 * 1_024;

/// What a record has beside a program's attributes, at its longest: the head, a user and a label.
const LONGEST_REST: usize = 2 * 1_024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{
        super::{
            SessionRule, commit::new_record, csrf::CsrfSeed, json, record::Value,
            token::SecretDigest,
        },
        *,
    };

    fn raw(length: usize) -> Value {
        Value {
            codec: super::super::record::Codec::Raw,
            bytes: vec![0; length].into(),
        }
    }

    fn many(count: usize) -> Attributes {
        let mut attributes = Attributes::default();
        for number in 0..count {
            attributes.set(&number.to_string(), raw(1));
        }
        attributes
    }

    /// What fits in beside one more name.
    fn largest() -> Attributes {
        let mut attributes = Attributes::default();
        attributes.set("a", raw(0));
        let room = MAX_BYTES - LONGEST_REST - attributes.encoded_len();
        attributes.set("a", raw(room));
        attributes
    }

    fn kind(checked: Result<(), SessionError>) -> Option<SessionErrorKind> {
        checked.err().map(|error| error.kind())
    }

    #[test]
    fn sixty_four_attributes_fit_and_one_more_does_not() {
        assert_eq!(kind(check_attributes(&many(64))), None);
        let too_many = check_attributes(&many(65));
        assert_eq!(kind(too_many), Some(SessionErrorKind::TooLarge));
    }

    #[test]
    fn a_label_takes_no_attributes_place() {
        let mut labelled = many(64);
        labelled.set(LABEL, raw(1));
        assert_eq!(kind(check_attributes(&labelled)), None);
    }

    #[test]
    fn one_byte_more_than_fits_does_not() {
        assert_eq!(kind(check_attributes(&largest())), None);
        let mut larger = largest();
        let length = larger.get("a").unwrap().bytes.len();
        larger.set("a", raw(length + 1));
        let too_large = check_attributes(&larger);
        assert_eq!(kind(too_large), Some(SessionErrorKind::TooLarge));
    }

    #[test]
    fn what_fits_can_be_stored_with_the_longest_user_and_label() {
        let rule = SessionRule::new("web").unwrap();
        let seed = CsrfSeed::from_bytes([0; 16]);
        let mut record = new_record(SecretDigest::NONE, 1, seed, rule.family());
        record.attributes = largest();
        record.user = Some(Bytes::from(vec![b'u'; 256]));
        let label = "\0".repeat(200);
        record.attributes.set(LABEL, json::write(&label).unwrap());
        assert_eq!(kind(check_record(&record)), None);
    }

    #[test]
    fn no_record_above_64_kib_is_stored() {
        let rule = SessionRule::new("web").unwrap();
        let seed = CsrfSeed::from_bytes([0; 16]);
        let mut record = new_record(SecretDigest::NONE, 1, seed, rule.family());
        record.attributes.set("a", raw(0));
        let room = MAX_BYTES - record.encode().len();
        record.attributes.set("a", raw(room));
        assert_eq!(record.encode().len(), 65_536);
        assert_eq!(kind(check_record(&record)), None);
        record.attributes.set("a", raw(room + 1));
        let too_large = check_record(&record);
        assert_eq!(kind(too_large), Some(SessionErrorKind::TooLarge));
    }
}
