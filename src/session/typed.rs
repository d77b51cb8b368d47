//! A session as a type of the program's own.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value as Json};

use super::{
    Session, SessionError, SessionErrorKind, json,
    names::{check_name, is_reserved},
    record::{Attributes, Codec},
    state::State,
};

impl<M> Session<M> {
    /// The session as a struct: each field is the attribute of its name.
    ///
    /// Attributes that are no field of it are left alone, so several types can share a session. A
    /// field whose attribute is missing needs `#[serde(default)]` or is an `Option`.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tower_stash::session::{Session, SessionError};
    ///
    /// #[derive(Default, Deserialize, Serialize)]
    /// #[serde(default)]
    /// struct Shop {
    ///     cart: Vec<u64>,
    ///     currency: Option<String>,
    /// }
    ///
    /// async fn add(session: Session) -> Result<String, SessionError> {
    ///     let mut shop: Shop = session.typed().await?;
    ///     shop.cart.push(4711);
    ///     session.set_typed(&shop).await?; // writes `cart`, and nothing else
    ///     Ok(format!("{} in your cart", shop.cart.len()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Json`](SessionErrorKind::Json) if the session is no `T`.
    pub async fn typed<T: DeserializeOwned>(&self) -> Result<T, SessionError> {
        self.visit().load().await?;
        let attributes = self.visit().read(State::attributes);
        read(&attributes)
    }

    /// Sets the attributes that are this struct's fields and differ from what
    /// [`typed`](Self::typed) gives, and removes those that it leaves out; others stay. A field that
    /// is the default of an attribute which is not there is not written.
    ///
    /// Two requests that change different fields lose nothing to each other; what is inside of a
    /// field is one value.
    ///
    /// # Errors
    ///
    /// [`Json`](SessionErrorKind::Json) if it is not a struct or map with names for keys; those of
    /// [`insert`](Self::insert), and then nothing changes.
    pub async fn set_typed<T>(&self, value: &T) -> Result<(), SessionError>
    where
        T: Serialize + DeserializeOwned,
    {
        let fields = fields(value)?;
        for name in fields.keys() {
            check_name(name)?;
        }
        self.visit().load().await?;
        let attributes = self.visit().read(State::attributes);
        // What the type makes of what is there now; to all else it has nothing to say.
        let known = read::<T>(&attributes).and_then(|known| self::fields(&known));
        let known = known.unwrap_or_default();
        self.visit().write_with_cookie(|state| {
            let before = state.delta.clone();
            for name in known.keys() {
                if !fields.contains_key(name) {
                    state.delta.remove(name);
                }
            }
            for (name, field) in &fields {
                if known.get(name) == Some(field) {
                    continue;
                }
                if let Err(error) = json::write(field).and_then(|field| state.set(name, field)) {
                    state.delta = before;
                    return Err(error);
                }
            }
            Ok(())
        })
    }
}

fn read<T: DeserializeOwned>(attributes: &Attributes) -> Result<T, SessionError> {
    let mut object = Map::new();
    for (name, value) in attributes.iter() {
        if value.codec == Codec::Json && !is_reserved(name) {
            object.insert(name.to_owned(), json::read(value)?);
        }
    }
    serde_json::from_value(Json::Object(object)).map_err(|error| SessionError::json(&error))
}

fn fields<T: Serialize>(value: &T) -> Result<Map<String, Json>, SessionError> {
    match serde_json::to_value(value) {
        Ok(Json::Object(fields)) => Ok(fields),
        Ok(_) => Err(SessionErrorKind::Json.into()),
        Err(error) => Err(SessionError::json(&error)),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{super::record::Value, *};

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Shop {
        cart: Vec<u64>,
        currency: Option<String>,
    }

    fn attributes(values: &[(&str, Json)]) -> Attributes {
        let mut attributes = Attributes::default();
        for (name, value) in values {
            attributes.set(name, json::write(value).unwrap());
        }
        attributes
    }

    fn kind<T>(result: Result<T, SessionError>) -> Option<SessionErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn each_field_is_the_attribute_of_its_name() {
        let attributes = attributes(&[("cart", 4711.into()), ("cart", vec![1, 2].into())]);
        let shop: Shop = read(&attributes).unwrap();
        assert_eq!(
            shop,
            Shop {
                cart: vec![1, 2],
                currency: None
            }
        );
    }

    #[test]
    fn what_is_no_field_does_not_matter() {
        let mut attributes = attributes(&[
            ("cart", vec![1].into()),
            ("other", "text".into()),
            ("~label", "Firefox".into()),
        ]);
        let raw = Value {
            codec: Codec::Raw,
            bytes: vec![0xff].into(),
        };
        attributes.set("raw", raw);
        assert_eq!(read::<Shop>(&attributes).unwrap().cart, [1]);
        let all: Map<String, Json> = read(&attributes).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["cart", "other"]);
    }

    #[test]
    fn a_field_that_is_missing_or_of_another_type_is_an_error() {
        assert_eq!(
            kind(read::<Shop>(&Attributes::default())),
            Some(SessionErrorKind::Json)
        );
        let text = attributes(&[("cart", "text".into())]);
        assert_eq!(kind(read::<Shop>(&text)), Some(SessionErrorKind::Json));
    }

    #[test]
    fn only_what_has_named_fields_can_be_a_session() {
        let shop = Shop {
            cart: vec![],
            currency: None,
        };
        let names: Vec<_> = fields(&shop).unwrap().keys().cloned().collect();
        assert_eq!(names, ["cart", "currency"]);
        assert_eq!(kind(fields(&[1, 2])), Some(SessionErrorKind::Json));
        assert_eq!(kind(fields(&"text")), Some(SessionErrorKind::Json));
        assert_eq!(kind(fields(&u128::MAX)), Some(SessionErrorKind::Json));
    }
}
