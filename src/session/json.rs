//! Values as JSON.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    SessionError, SessionErrorKind,
    record::{Codec, Value},
};

pub(super) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Value, SessionError> {
    let bytes = serde_json::to_vec(value).map_err(|error| SessionError::json(&error))?;
    Ok(Value {
        codec: Codec::Json,
        bytes: bytes.into(),
    })
}

pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, SessionError> {
    match value.codec {
        Codec::Json => {
            serde_json::from_slice(&value.bytes).map_err(|error| SessionError::json(&error))
        }
        Codec::Raw => Err(SessionErrorKind::Json.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn kind<T>(result: Result<T, SessionError>) -> Option<SessionErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let value = write(&("text", 1.5, Some(vec![u64::MAX]), None::<()>)).unwrap();
        assert_eq!(
            &value.bytes[..],
            br#"["text",1.5,[18446744073709551615],null]"#
        );
        let read: (String, f64, Option<Vec<u64>>, Option<()>) = read(&value).unwrap();
        assert_eq!(read, ("text".into(), 1.5, Some(vec![u64::MAX]), None));
    }

    #[test]
    fn what_json_cannot_say_is_an_error() {
        let by_pair = HashMap::from([((1, 2), 3)]);
        assert_eq!(kind(write(&by_pair)), Some(SessionErrorKind::Json));
    }

    #[test]
    fn the_error_of_another_type_does_not_show_the_value() {
        let value = write("hunter2").unwrap();
        let error = read::<u32>(&value).unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Json);
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_no_json_is_not_read_as_such() {
        let mut value = write(&1).unwrap();
        value.codec = Codec::Raw;
        assert_eq!(kind(read::<u32>(&value)), Some(SessionErrorKind::Json));
    }
}
