//! Policies of several kinds together.

use std::sync::Arc;

use http::{Method, request::Parts};
use tower_stash::{
    ConfigError,
    policy::{Policy, Routes, from_extension},
};

use crate::{parts, request};

/// A rule of a layer, which is a policy of itself.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    name: &'static str,
    subject: Option<String>,
}

impl Rule {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            subject: None,
        }
    }
}

impl Policy<Rule> for Rule {
    fn rule(&self, _: &Parts) -> Option<Rule> {
        Some(self.clone())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::new("a rule has a name"));
        }
        Ok(())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&Rule)) {
        visit(self);
    }
}

fn name(policy: &dyn Policy<Rule>, parts: &Parts) -> Option<&'static str> {
    policy.rule(parts).map(|rule| rule.name)
}

#[test]
fn rules_routes_closures_and_extensions_combine() {
    let policy = Routes::new()
        .post("/login", Rule::new("login"))
        .or(from_extension::<Rule>())
        .or(|parts: &Parts| (parts.method == Method::PUT).then(|| Rule::new("put")))
        .or(Box::new(Routes::new().any("/a", Rule::new("a"))) as Box<dyn Policy<Rule>>)
        .or(Arc::new(Rule::new("all")));

    assert_eq!(
        name(&policy, &parts(request("POST", "/login"))),
        Some("login")
    );
    assert_eq!(name(&policy, &parts(request("PUT", "/login"))), Some("put"));
    assert_eq!(name(&policy, &parts(request("GET", "/a"))), Some("a"));
    assert_eq!(name(&policy, &parts(request("GET", "/"))), Some("all"));
    let mut marked = parts(request("GET", "/"));
    marked.extensions.insert(Rule::new("marked"));
    assert_eq!(name(&policy, &marked), Some("marked"));

    let shared: Arc<dyn Policy<Rule>> = Arc::new(policy);
    let mut names = Vec::new();
    shared.each_rule(&mut |rule| names.push(rule.name));
    assert_eq!(names, ["login", "a", "all"]);
    assert!(shared.check().is_ok());
}

#[test]
fn a_mistake_in_any_of_several_policies_is_reported() {
    let good = || Routes::new().any("/a", Rule::new("a"));
    assert!(good().or(Rule::new("")).check().is_err());
    assert!(good().or(good().any("b", Rule::new("b"))).check().is_err());
    assert!(Rule::new("").or(good()).check().is_err());
    assert!(good().or(good()).check().is_ok());
}

#[test]
fn policies_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Arc<dyn Policy<Rule>>>();
    shared::<Routes<Rule>>();
}
