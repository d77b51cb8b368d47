//! What instances tell each other of purges.
//!
//! ```text
//! 'j' | version u64 | journal: its record, written as this version
//! 'u' | version u64 | digest 16: this URL was purged by the write of this version
//! 'w' | version u64 | digest 16: the same, softly
//! ```
//!
//! What is not one of these is ignored: whoever does not hear of a purge reads of it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::{
    backend::Version,
    cache::{
        record::Record,
        stamps::{Journal, Severity},
    },
    key::Digest,
};

/// What was purged, as another instance tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Journal {
        version: Version,
        journal: Journal,
    },
    Url {
        severity: Severity,
        version: Version,
        /// Of the URL's records.
        digest: Digest,
    },
}

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Journal { version, journal } => {
                let record = journal.encode();
                let mut message = BytesMut::with_capacity(HEAD_LEN + record.len());
                message.put_u8(JOURNAL);
                message.put_u64(version.as_u64());
                message.put_slice(&record);
                message.freeze()
            }
            Self::Url {
                severity,
                version,
                digest,
            } => {
                let mut message = BytesMut::with_capacity(HEAD_LEN + Digest::LEN);
                message.put_u8(match severity {
                    Severity::Hard => URL,
                    Severity::Soft => URL_SOFTLY,
                });
                message.put_u64(version.as_u64());
                message.put_slice(digest.as_bytes());
                message.freeze()
            }
        }
    }

    pub(super) fn decode(mut message: Bytes) -> Option<Self> {
        let kind = message.try_get_u8().ok()?;
        let version = Version::from_u64(message.try_get_u64().ok()?);
        let severity = match kind {
            JOURNAL => {
                let Ok(Record::Journal(journal)) = Record::decode(message) else {
                    return None;
                };
                return Some(Self::Journal { version, journal });
            }
            URL => Severity::Hard,
            URL_SOFTLY => Severity::Soft,
            _ => return None,
        };
        Some(Self::Url {
            severity,
            version,
            digest: Digest::from_bytes(message.as_ref().try_into().ok()?),
        })
    }
}

const JOURNAL: u8 = b'j';
const URL: u8 = b'u';
const URL_SOFTLY: u8 = b'w';

/// Of kind and version.
const HEAD_LEN: usize = 9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cache::stamps::{Purge, Tag},
        clock::Timestamp,
    };

    fn messages() -> [Message; 3] {
        let version = Version::from_u64(7);
        let purge = Purge {
            tag: Tag([1; 16]),
            severity: Severity::Hard,
            at: Timestamp::from_micros(9),
        };
        let journal = Journal::empty(Duration::from_secs(1)).written_as(version);
        let journal = journal.with(&[purge]);
        let url = |severity| Message::Url {
            severity,
            version,
            digest: Digest::from_bytes([3; 16]),
        };
        [
            Message::Journal { version, journal },
            url(Severity::Hard),
            url(Severity::Soft),
        ]
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in messages() {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
    }

    #[test]
    fn a_message_of_any_other_length_is_none() {
        for message in messages() {
            let whole = message.encode();
            for len in 0..whole.len() {
                assert_eq!(Message::decode(whole.slice(..len)), None, "{len}");
            }
            let longer = [&whole[..], b"x"].concat();
            assert_eq!(Message::decode(longer.into()), None);
        }
    }

    #[test]
    fn a_message_of_another_kind_is_none() {
        for kind in (0..=255).filter(|kind| !b"juw".contains(kind)) {
            let mut message = vec![kind];
            message.extend([0; 24]);
            assert_eq!(Message::decode(message.into()), None, "{kind}");
        }
    }
}
