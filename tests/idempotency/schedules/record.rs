//! Stored records, read by a second reading of their format.

use bytes::{Buf, Bytes};

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// `P`, `C` or `F`.
    pub(super) state: char,
    pub(super) flags: u8,
    pub(super) attempt: u32,
    /// Zero: the version of this very write.
    pub(super) epoch: u64,
    pub(super) owner: Owner,
    pub(super) fingerprint: [u8; 32],
    pub(super) payload: Bytes,
}

pub(super) type Owner = [u8; 16];

/// What a record that is completed says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Bytes,
}

impl Stored {
    pub(super) const NEVER: u8 = 2;
    pub(super) const NOT_REPLAYABLE: u8 = 4;

    /// Where the flags are.
    pub(super) const FLAGS_AT: usize = 3;

    pub(super) fn read(mut bytes: Bytes) -> Self {
        assert_eq!(bytes.split_to(2), "i\x01");
        let state = char::from(bytes.get_u8());
        let flags = bytes.get_u8();
        let (attempt, epoch) = (bytes.get_u32(), bytes.get_u64());
        bytes.advance(4 + 8);
        let owner = array(&mut bytes);
        let fingerprint = array(&mut bytes);
        let rule = usize::from(bytes.get_u8());
        bytes.advance(rule);
        Self {
            state,
            flags,
            attempt,
            epoch,
            owner,
            fingerprint,
            payload: bytes,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The fence, if this was written as that version.
    pub(super) fn epoch(&self, version: u64) -> u64 {
        if self.epoch == 0 { version } else { self.epoch }
    }

    pub(super) fn answer(&self) -> StoredAnswer {
        let mut payload = self.payload.clone();
        let status = payload.get_u16();
        let count = payload.get_u16();
        let headers = (0..count).map(|_| {
            let name = usize::from(payload.get_u16());
            let name = String::from_utf8(payload.split_to(name).to_vec()).unwrap();
            let value = usize::try_from(payload.get_u32()).unwrap();
            (name, payload.split_to(value).to_vec())
        });
        let headers = headers.collect();
        assert_eq!(payload.get_u8(), 0, "no handler here has trailers");
        StoredAnswer {
            status,
            headers,
            body: payload,
        }
    }
}

fn array<const N: usize>(bytes: &mut Bytes) -> [u8; N] {
    let mut array = [0; N];
    bytes.copy_to_slice(&mut array);
    array
}
