//! What is stored for a session, read byte by byte as the format says.

use std::collections::BTreeMap;

use super::Verdict;

/// The value of a session's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Record(Box<Record>),
    Tombstone,
}

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) flags: u16,
    /// In milliseconds.
    pub(crate) ttl: u64,
    /// In microseconds; 0 is the record's own version.
    pub(crate) born: u64,
    /// In milliseconds.
    pub(crate) life: u64,
    pub(crate) generation: u64,
    /// In microseconds.
    pub(crate) rotated: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) previous: [u8; 32],
    /// In microseconds; 0 when the previous secret is dead.
    pub(crate) previous_until: u64,
    pub(crate) seed: [u8; 16],
    pub(crate) trail: [u64; 8],
    pub(crate) user: String,
    pub(crate) attributes: Attributes,
}

/// Values as JSON, by name.
pub(crate) type Attributes = BTreeMap<String, i64>;

impl Stored {
    pub(crate) fn read(bytes: &[u8]) -> Verdict<Self> {
        let mut left = Reader(bytes);
        match (left.byte()?, left.byte()?) {
            (b's', 1) => {
                let record = Record::read(&mut left)?;
                left.is_empty()?;
                Ok(Self::Record(Box::new(record)))
            }
            (b'x', 1) => {
                left.byte()?;
                left.is_empty()?;
                Ok(Self::Tombstone)
            }
            other => Err(format!("a value that begins with {other:?}")),
        }
    }
}

impl Record {
    /// Whether the new secret was used.
    pub(crate) const USED: u16 = 1;

    fn read(left: &mut Reader<'_>) -> Verdict<Self> {
        let mut record = Self {
            flags: u16::from_be_bytes(left.array()?),
            ttl: left.number()?,
            born: left.number()?,
            life: left.number()?,
            generation: left.number()?,
            rotated: left.number()?,
            digest: left.array()?,
            previous: left.array()?,
            previous_until: left.number()?,
            seed: left.array()?,
            trail: [0; 8],
            user: String::new(),
            attributes: Attributes::new(),
        };
        for nonce in &mut record.trail {
            *nonce = left.number()?;
        }
        let length = u16::from_be_bytes(left.array()?);
        record.user = left.text(length.into())?;
        for _ in 0..u16::from_be_bytes(left.array()?) {
            let length = left.byte()?;
            let name = left.text(length.into())?;
            if left.byte()? != 0 {
                return Err(format!("{name} is not JSON"));
            }
            let length = u32::from_be_bytes(left.array()?) as usize;
            let value = left.text(length)?;
            let value = value.parse().map_err(|_| format!("{name} is {value}"))?;
            if record.attributes.insert(name.clone(), value).is_some() {
                return Err(format!("{name} is there twice"));
            }
        }
        Ok(record)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Verdict<&'a [u8]> {
        let (taken, left) = self
            .0
            .split_at_checked(length)
            .ok_or("a value that ends early")?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Verdict<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "a short value".to_owned())
    }

    fn byte(&mut self) -> Verdict<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Verdict<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self, length: usize) -> Verdict<String> {
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|error| error.to_string())
    }

    fn is_empty(&self) -> Verdict {
        match self.0 {
            [] => Ok(()),
            rest => Err(format!("{} bytes too many", rest.len())),
        }
    }
}
