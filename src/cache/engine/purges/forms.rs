//! Purges as they are stored, and as they are reckoned with.

use bytes::Bytes;

use crate::{
    backend::Version,
    cache::{
        record,
        stamps::{self, Severity, StampRecord, StampState, Tag},
    },
    clock::Timestamp,
};

pub(super) fn encode_journal(journal: &stamps::Journal) -> Bytes {
    let purges = journal.purges.iter().map(|purge| record::Purge {
        tag: purge.tag.0,
        kind: kind(purge.severity),
        at: purge.at,
    });
    let journal = record::Journal {
        created: journal.created.map(Version::written_at),
        sequence: journal.sequence,
        complete_since: journal.complete_since,
        max_life: journal.max_life,
        purges: purges.collect(),
    };
    journal.encode()
}

pub(super) fn journal(journal: &record::Journal) -> stamps::Journal {
    let purges = journal.purges.iter().map(|purge| stamps::Purge {
        tag: Tag(purge.tag),
        severity: severity(purge.kind),
        at: purge.at,
    });
    let created = journal.created;
    stamps::Journal {
        created: created.map(|created| Version::from_u64(created.as_micros())),
        sequence: journal.sequence,
        complete_since: journal.complete_since,
        max_life: journal.max_life,
        purges: purges.collect(),
    }
}

pub(super) fn encode_stamp(stamp: &StampRecord) -> Bytes {
    let stamp = record::Stamp {
        kind: kind(stamp.severity),
        floor: stamp.floor,
        other: Some(stamp.other).filter(|other| *other > Timestamp::default()),
    };
    stamp.encode()
}

pub(super) fn stamp_state(stamp: &record::Stamp, version: Version) -> StampState {
    let stamp = StampRecord {
        severity: severity(stamp.kind),
        floor: stamp.floor,
        other: stamp.other.unwrap_or_default(),
    };
    stamp.state(version)
}

fn kind(severity: Severity) -> record::PurgeKind {
    match severity {
        Severity::Hard => record::PurgeKind::Hard,
        Severity::Soft => record::PurgeKind::Soft,
    }
}

fn severity(kind: record::PurgeKind) -> Severity {
    match kind {
        record::PurgeKind::Hard => Severity::Hard,
        record::PurgeKind::Soft => Severity::Soft,
    }
}
