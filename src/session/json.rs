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
