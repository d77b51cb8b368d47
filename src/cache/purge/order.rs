//! What a request to purge asks for.

use http::Uri;
use serde_json::{Map, Value, json};

/// What is to be purged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) tags: Vec<String>,
    pub(super) urls: Vec<Uri>,
    pub(super) all: bool,
    pub(super) soft: bool,
}

impl Order {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that repeat nothing of it.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Err("the body is no JSON object".into());
        };
        let mut order = Self::default();
        for (name, value) in members {
            match &*name {
                "tags" => order.tags = texts("tags", value)?,
                "urls" => order.urls = urls(&texts("urls", value)?)?,
                "all" => order.all = truth("all", &value)?,
                "soft" => order.soft = truth("soft", &value)?,
                _ => return Err("write \"tags\", \"urls\", \"all\" and \"soft\" only".into()),
            }
        }
        if !order.all && order.tags.is_empty() && order.urls.is_empty() {
            return Err("write \"tags\" or \"urls\", or \"all\": true".into());
        }
        Ok(order)
    }

    pub(super) fn to_json(&self) -> Value {
        let urls: Vec<_> = self.urls.iter().map(Uri::to_string).collect();
        let mut done = Map::new();
        if self.all {
            done.insert("all".into(), true.into());
        }
        if !self.tags.is_empty() {
            done.insert("tags".into(), json!(self.tags));
        }
        if !urls.is_empty() {
            done.insert("urls".into(), json!(urls));
        }
        json!({ "purged": done, "soft": self.soft })
    }
}

fn truth(name: &str, value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("\"{name}\" is neither true nor false"))
}

fn texts(name: &str, value: Value) -> Result<Vec<String>, String> {
    let problem = || format!("\"{name}\" is no array of strings");
    let Value::Array(values) = value else {
        return Err(problem());
    };
    let texts = values.into_iter().map(|value| match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        Value::String(_) => Err(format!("\"{name}\" has an empty string")),
        _ => Err(problem()),
    });
    texts.collect()
}

fn urls(texts: &[String]) -> Result<Vec<Uri>, String> {
    let urls = texts.iter().enumerate().map(|(index, text)| {
        text.parse()
            .map_err(|_| format!("\"urls\", number {}: no URL", index + 1))
    });
    urls.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_urls_and_everything_are_read() {
        let body = br#"{"tags":["a","b c"],"urls":["http://h/?q"],"all":true,"soft":true}"#;
        let order = Order {
            tags: vec!["a".into(), "b c".into()],
            urls: vec![Uri::from_static("http://h/?q")],
            all: true,
            soft: true,
        };
        assert_eq!(Order::read(body), Ok(order.clone()));
        let done =
            r#"{"purged":{"all":true,"tags":["a","b c"],"urls":["http://h/?q"]},"soft":true}"#;
        assert_eq!(order.to_json().to_string(), done);
    }

    #[test]
    fn what_was_done_names_only_what_was_asked() {
        let order = Order::read(br#"{"tags":["a"]}"#).unwrap();
        let done = r#"{"purged":{"tags":["a"]},"soft":false}"#;
        assert_eq!(order.to_json().to_string(), done);
    }

    #[test]
    fn what_is_not_understood_is_refused_as_a_whole() {
        for body in [
            "",
            "[]",
            "{",
            "{}",
            r#"{"soft":true}"#,
            r#"{"all":false}"#,
            r#"{"all":1}"#,
            r#"{"tags":[]}"#,
            r#"{"tags":"a"}"#,
            r#"{"tags":["a",1]}"#,
            r#"{"tags":["a",""]}"#,
            r#"{"urls":["http://h/ /"]}"#,
            r#"{"tags":["a"],"tag":["b"]}"#,
            r#"{"tags":["a"]} x"#,
        ] {
            assert!(Order::read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_problem_repeats_nothing_of_the_body() {
        for body in [
            r#"{"secret":1}"#,
            r#"{"urls":["secret secret"]}"#,
            r#"{"all":"secret"}"#,
        ] {
            let problem = Order::read(body.as_bytes()).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
