//! Reading replies, without copying what is in them.

use bytes::Bytes;
use fred::types::Resp3Frame;

use crate::backend::{BackendError, BackendErrorKind, Result};

/// A reply that is not an error, to be read as what the command promises.
pub(super) struct Reply {
    frame: Resp3Frame,
    attempted: &'static str,
}

impl Reply {
    /// This reply to what was attempted.
    pub(super) fn new(attempted: &'static str, frame: Resp3Frame) -> Self {
        Self { frame, attempted }
    }

    /// Whether there is nothing: `nil`, or `false` of a script.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(
            self.frame,
            Resp3Frame::Null | Resp3Frame::Boolean { data: false, .. }
        )
    }

    /// Whether it is an array.
    pub(super) fn is_array(&self) -> bool {
        matches!(self.frame, Resp3Frame::Array { .. })
    }

    /// A string of bytes.
    pub(super) fn bytes(self) -> Result<Bytes> {
        match self.frame {
            Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Ok(data),
            _ => Err(self.unexpected()),
        }
    }

    /// An integer, as such or in decimal.
    pub(super) fn integer(self) -> Result<i64> {
        match &self.frame {
            Resp3Frame::Number { data, .. } => Some(*data),
            Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => {
                str::from_utf8(data).ok().and_then(|text| text.parse().ok())
            }
            _ => None,
        }
        .ok_or_else(|| self.unexpected())
    }

    /// An integer that cannot be negative.
    pub(super) fn unsigned(self) -> Result<u64> {
        let attempted = self.attempted;
        u64::try_from(self.integer()?).map_err(|_| unexpected(attempted))
    }

    /// An array, item by item.
    pub(super) fn items(self) -> Result<Items> {
        match self.frame {
            Resp3Frame::Array { data, .. } => Ok(Items {
                frames: data.into_iter(),
                attempted: self.attempted,
            }),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> BackendError {
        unexpected(self.attempted)
    }
}

/// What is left of an array.
pub(super) struct Items {
    frames: std::vec::IntoIter<Resp3Frame>,
    attempted: &'static str,
}

impl Items {
    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.len() == 0
    }

    /// The next item, which must be there.
    pub(super) fn next(&mut self) -> Result<Reply> {
        self.frames
            .next()
            .map(|frame| Reply::new(self.attempted, frame))
            .ok_or_else(|| unexpected(self.attempted))
    }
}

/// The error for a reply of another shape than the command's.
pub(super) fn unexpected(attempted: &'static str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Corrupt,
        format!("{attempted}: Redis answered in a form that nobody asked for"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(frame: Resp3Frame) -> Reply {
        Reply::new("test", frame)
    }

    fn number(data: i64) -> Resp3Frame {
        Resp3Frame::Number {
            data,
            attributes: None,
        }
    }

    fn blob(data: &'static [u8]) -> Resp3Frame {
        Resp3Frame::BlobString {
            data: Bytes::from_static(data),
            attributes: None,
        }
    }

    fn array(data: Vec<Resp3Frame>) -> Resp3Frame {
        Resp3Frame::Array {
            data,
            attributes: None,
        }
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> BackendErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn an_integer_is_read_as_such_and_in_decimal() {
        assert_eq!(reply(number(-1)).integer().unwrap(), -1);
        assert_eq!(
            reply(blob(b"1763703445000000")).integer().unwrap(),
            1_763_703_445_000_000
        );
    }

    #[test]
    fn what_cannot_be_read_is_corrupt() {
        assert_eq!(
            kind(reply(blob(b"1e15")).integer()),
            BackendErrorKind::Corrupt
        );
        assert_eq!(
            kind(reply(number(-1)).unsigned()),
            BackendErrorKind::Corrupt
        );
        assert_eq!(kind(reply(number(1)).bytes()), BackendErrorKind::Corrupt);
        assert_eq!(
            kind(reply(Resp3Frame::Null).items().map(|_| ())),
            BackendErrorKind::Corrupt
        );
    }

    #[test]
    fn an_array_that_ends_early_is_corrupt() {
        let mut items = reply(array(vec![number(1)])).items().unwrap();
        assert_eq!(items.next().unwrap().integer().unwrap(), 1);
        assert!(items.is_empty());
        assert_eq!(kind(items.next().map(|_| ())), BackendErrorKind::Corrupt);
    }

    #[test]
    fn bytes_are_not_copied() {
        let Resp3Frame::BlobString { data, .. } = blob(b"value") else {
            unreachable!()
        };
        let read = reply(Resp3Frame::BlobString {
            data: data.clone(),
            attributes: None,
        })
        .bytes()
        .unwrap();
        assert_eq!(read.as_ptr(), data.as_ptr());
    }

    #[test]
    fn nil_and_false_are_nothing_and_zero_is_something() {
        assert!(reply(Resp3Frame::Null).is_nothing());
        assert!(
            reply(Resp3Frame::Boolean {
                data: false,
                attributes: None
            })
            .is_nothing()
        );
        assert!(!reply(number(0)).is_nothing());
    }
}
