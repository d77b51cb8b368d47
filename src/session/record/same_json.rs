//! Whether two values say the same.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Whether two JSON texts differ in the order of their fields at most.
///
/// Numbers and strings are compared as they are written: reading a number may round it, and two that
/// are rounded to one are not the same. What a serializer writes of the same value is of one length
/// whatever the order, so most of what differs is told without reading it.
pub(super) fn is_same_json(one: &[u8], other: &[u8]) -> bool {
    let raw = |text| serde_json::from_slice::<&RawValue>(text).ok();
    one.len() == other.len()
        && match (raw(one), raw(other)) {
            (Some(one), Some(other)) => is_same(one, other, DEEPEST),
            _ => false,
        }
}

fn is_same(one: &RawValue, other: &RawValue, depth: u32) -> bool {
    if one.get() == other.get() {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let is_same = |(one, other): (&&RawValue, &&RawValue)| is_same(one, other, depth);
    if let (Some(one), Some(other)) = (fields(one), fields(other)) {
        one.keys().eq(other.keys()) && one.values().zip(other.values()).all(is_same)
    } else if let (Some(one), Some(other)) = (items(one), items(other)) {
        one.len() == other.len() && one.iter().zip(&other).all(is_same)
    } else {
        false
    }
}

fn fields(json: &RawValue) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(json.get()).ok()
}

fn items(json: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json.get()).ok()
}

/// Each level is read again by the one above; what is deeper counts as changed.
const DEEPEST: u32 = 32;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn is_same(one: &str, other: &str) -> bool {
        is_same_json(one.as_bytes(), other.as_bytes())
    }

    #[test]
    fn fields_may_come_in_any_order_at_every_level() {
        assert!(is_same(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#));
        assert!(is_same(
            r#"[{"a":[{"x":1,"y":2}],"b":2}]"#,
            r#"[{"b":2,"a":[{"y":2,"x":1}]}]"#
        ));
    }

    #[test]
    fn what_differs_is_not_the_same() {
        for (one, other) in [
            ("1", "2"),
            ("[1,2]", "[2,1]"),
            ("[1,22]", "[11,2]"),
            (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"c":2}"#),
            (r#"{"a":[]}"#, r#"{"a":{}}"#),
            (r#"{"a":[1],"b":[1,1]}"#, r#"{"a":[1,1],"b":[1]}"#),
            (r#""ab""#, r#""ba""#),
            ("tru", "nul"),
            ("", ""),
        ] {
            assert!(!is_same(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn numbers_that_would_be_rounded_to_one_are_two() {
        assert!(!is_same(
            &u128::MAX.to_string(),
            &(u128::MAX - 1).to_string()
        ));
        assert!(!is_same("0.10000000000000001", "0.10000000000000002"));
    }

    #[test]
    fn what_is_too_deep_counts_as_changed_and_overflows_no_stack() {
        let nested = |leaf: &str| format!("{}{leaf}{}", "[".repeat(30_000), "]".repeat(30_000));
        assert!(!is_same(
            &nested(r#"{"a":1,"b":2}"#),
            &nested(r#"{"b":2,"a":1}"#)
        ));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| Value::from(number + 0.0)),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same value with the fields of its objects in whatever order a hash map has.
    fn shuffled(value: &Value) -> String {
        match value {
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(shuffled).collect();
                format!("[{}]", items.join(","))
            }
            Value::Object(fields) => {
                let fields: HashMap<_, _> = fields.iter().collect();
                let fields: Vec<_> = fields
                    .into_iter()
                    .map(|(name, value)| format!("{}:{}", json!(name), shuffled(value)))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
            leaf => leaf.to_string(),
        }
    }

    proptest! {
        #[test]
        fn a_value_is_the_same_in_any_order(value in any_json()) {
            prop_assert!(is_same(&shuffled(&value), &value.to_string()));
        }

        #[test]
        fn values_that_differ_are_not_the_same(one in any_json(), other in any_json()) {
            prop_assert_eq!(is_same(&shuffled(&one), &other.to_string()), one == other);
        }

        #[test]
        fn no_bytes_make_it_panic(one in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            is_same_json(&one, &other);
        }
    }
}
