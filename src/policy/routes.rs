//! Rules by method and path.

use http::{Method, request::Parts};

use super::{
    Policy,
    asked_uri::asked_uri,
    path_form::{AxumRoute, PathForm},
    pattern::Pattern,
};
use crate::error::ConfigError;

/// Rules by method and path, in axum's syntax: `/users/{id}` takes one segment, `/api/{*rest}` all
/// that is left, and `{{` is a brace itself.
///
/// ```
/// use tower_stash::policy::{Policy, Routes};
///
/// let limits = Routes::new()
///     .post("/login", "strict")
///     .get("/users/{id}", "reading")
///     .any("/api/{*rest}", "general")
///     .grpc("/shop.Orders/Place", "orders");
/// limits.check()?;
///
/// let (request, ()) = http::Request::post("/login").body(()).unwrap().into_parts();
/// assert_eq!(limits.rule(&request), Some("strict"));
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
///
/// # Which rule
///
/// Of all rules whose method and pattern cover a request, the one with the most specific pattern:
/// as in axum's router, literal text goes before `{id}`, and that before `{*rest}`. Of two with the
/// same pattern, the one for the method goes before the one for [`any`](Self::any). Unlike in a
/// router, a pattern that has no rule for the method hides no wider one: next to the rules above,
/// `.post("/api/orders", ..)` leaves `GET /api/orders` with the rule of `/api/{*rest}`.
///
/// A [`get`](Self::get) rule covers HEAD too, as axum's handlers for GET answer it.
///
/// # Which path
///
/// The whole path that the client asked for: within an axum router also where `nest` has taken the
/// prefix away, so a pattern does not depend on where the layer stands (feature `axum`). Elsewhere
/// it is the path of the request's URI. A path that was rewritten inside of an axum router, before
/// it came to the layer, is read besides. Only if all that happened is that the beginning was taken
/// away it is not, since that is what `nest` does.
///
/// Where axum has chosen a route
/// ([`MatchedPath`](https://docs.rs/axum/0.8/axum/extract/struct.MatchedPath.html)), a pattern
/// covers the request also if it covers that route, as `/users/{id}` and `/api/{*rest}` do
/// `/users/{user_id}` and `/api/users/{id}`.
///
/// # Which spelling
///
/// A client may percent-encode what needs no encoding (`/%6Cogin`), write a slash as `%2F`, double
/// it, put `.` between two, or add one at the end; what of that reaches a handler depends on the
/// router. Letters of another case are another path, as in axum, and `..` is not resolved.
///
/// * **Axum has chosen a route without `{*name}`.** Its choice is final. If that very route has a
///   rule, whatever its parameters are called, this is the rule; a more specific pattern goes
///   before it only if it covers the path as axum reads it, byte for byte, which axum would have
///   followed were it a route too. So no spelling leads from `/render/{name}` to a laxer rule of
///   the routes `/render/{name}/{part}` or `/render/preview`.
/// * **Such a route has no rule of its own.** Patterns are compared with the path as the handler
///   gets it: divided as axum divides it, then decoded. So a rule for `/auth/login` holds for
///   `/auth/l%6Fgin` where the route is `/auth/{action}`.
/// * **Axum has chosen `/{*name}` or nothing**, or there is no axum, or the layer stands around
///   the router. Something else will read the path, so all counts that it may read: decoded, and
///   with encoded slashes as slashes and without empty and `.` segments. The most specific rule of
///   any reading holds.
///
/// Hence: give every route a rule of its own, or none to its neighbours; and put the layer on the
/// router ([`Router::layer`](https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer)), not
/// around it. A rule for a part of a route that has a rule itself (`/users/me` under `/users/{id}`)
/// holds for the plain spelling only: where it is the stricter one, make it a route. And where a
/// rule that is more specific than another one is laxer, `{*name}` or a service behind a proxy
/// cannot tell them apart for certain.
///
/// A slash at the end of a pattern counts for nothing, and `/api/{*rest}`
/// covers `/api` and `/api/` too.
///
/// # Cost
///
/// The patterns are compared one after another, the most specific first, without allocating: meant
/// for tens of rules.
#[derive(Clone, Debug)]
pub struct Routes<R> {
    /// The one to prefer comes first.
    routes: Vec<Route<R>>,
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
struct Route<R> {
    /// All methods, if none.
    method: Option<Method>,
    pattern: Pattern,
    text: String,
    rule: R,
}

impl<R> Routes<R> {
    /// No rules yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            routes: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// This rule for GET, and for HEAD unless [`head`](Self::head) gives it another.
    #[must_use]
    pub fn get(self, pattern: &str, rule: R) -> Self {
        self.on(Method::GET, pattern, rule)
    }

    /// This rule for HEAD.
    #[must_use]
    pub fn head(self, pattern: &str, rule: R) -> Self {
        self.on(Method::HEAD, pattern, rule)
    }

    /// This rule for POST.
    #[must_use]
    pub fn post(self, pattern: &str, rule: R) -> Self {
        self.on(Method::POST, pattern, rule)
    }

    /// This rule for PUT.
    #[must_use]
    pub fn put(self, pattern: &str, rule: R) -> Self {
        self.on(Method::PUT, pattern, rule)
    }

    /// This rule for PATCH.
    #[must_use]
    pub fn patch(self, pattern: &str, rule: R) -> Self {
        self.on(Method::PATCH, pattern, rule)
    }

    /// This rule for DELETE.
    #[must_use]
    pub fn delete(self, pattern: &str, rule: R) -> Self {
        self.on(Method::DELETE, pattern, rule)
    }

    /// This rule for OPTIONS.
    #[must_use]
    pub fn options(self, pattern: &str, rule: R) -> Self {
        self.on(Method::OPTIONS, pattern, rule)
    }

    /// This rule for a method; GET includes HEAD as in [`get`](Self::get).
    #[must_use]
    pub fn on(self, method: Method, pattern: &str, rule: R) -> Self {
        self.add(Some(method), pattern, rule)
    }

    /// This rule for every method that has none of its own on this pattern.
    #[must_use]
    pub fn any(self, pattern: &str, rule: R) -> Self {
        self.add(None, pattern, rule)
    }

    /// This rule for a gRPC method, `"/pkg.Service/Method"`, or for all methods of a service,
    /// `"/pkg.Service/{method}"`.
    ///
    /// It covers every HTTP method, because tonic's services do not look at it.
    #[must_use]
    pub fn grpc(mut self, path: &str, rule: R) -> Self {
        let mut names = path.split('/').skip(1);
        let two_names = names.next().is_some_and(|name| !name.is_empty())
            && names.next().is_some_and(|name| !name.is_empty())
            && names.next().is_none();
        if !two_names {
            self.problems.push(format!(
                "route \"{path}\": a gRPC path names a service and a method; write \
                 \"/pkg.Service/Method\", or \"/pkg.Service/{{method}}\" for the whole service"
            ));
            return self;
        }
        self.add(None, path, rule)
    }

    fn add(mut self, method: Option<Method>, text: &str, rule: R) -> Self {
        let pattern = match Pattern::parse(text) {
            Ok(pattern) => pattern,
            Err(advice) => {
                self.problems.push(format!("route \"{text}\": {advice}"));
                return self;
            }
        };
        let twin = |route: &&Route<R>| route.method == method && route.pattern == pattern;
        if let Some(other) = self.routes.iter().find(twin) {
            let method = method.as_ref().map_or("any method", Method::as_str);
            self.problems.push(format!(
                "route \"{text}\": there is a rule for {method} on \"{}\" already, which covers the \
                 same paths; write one of them",
                other.text
            ));
            return self;
        }
        self.routes.push(Route {
            method,
            pattern,
            text: text.to_owned(),
            rule,
        });
        self.routes
            .sort_by_cached_key(|route| (route.pattern.precedence(), route.method_precedence()));
        self
    }
}

impl<R> Default for Routes<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Clone + Send + Sync + 'static> Policy<R> for Routes<R> {
    fn rule(&self, parts: &Parts) -> Option<R> {
        let readings = self.readings(parts);
        self.routes_for(&parts.method)
            .find(|route| readings.any(|form| route.pattern.covers(form)))
            .map(|route| route.rule.clone())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.routes.is_empty() && self.problems.is_empty() {
            return Err(ConfigError::new(
                "these routes name no path, so no request would have a rule; write e.g. \
                 .get(\"/path\", rule), or leave the layer out",
            ));
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::new(self.problems.join("\n")))
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&R)) {
        for route in &self.routes {
            visit(&route.rule);
        }
    }
}

impl<R> Routes<R> {
    /// What a pattern may cover to cover the request; see "Which path".
    fn readings<'a>(&self, parts: &'a Parts) -> Readings<'a> {
        let asked = asked_uri(parts).path();
        let rewritten = rewritten_path(parts, asked);
        let route = matched_route(parts).map(AxumRoute::new);
        let Some(final_route) = route.filter(|route| !route.takes_rest()) else {
            return Readings {
                asked: PathForm::all(asked),
                rewritten: rewritten.map_or([None; 3], PathForm::all),
                route: route.map(PathForm::Route),
            };
        };
        let has_own_rule = self
            .routes_for(&parts.method)
            .any(|own| own.pattern.is_route(final_route));
        let form = if has_own_rule {
            PathForm::Plain
        } else {
            PathForm::decoded
        };
        Readings {
            asked: [Some(form(asked)), None, None],
            rewritten: [rewritten.map(form), None, None],
            route: route.map(PathForm::Route),
        }
    }

    fn routes_for<'a>(&'a self, method: &'a Method) -> impl Iterator<Item = &'a Route<R>> {
        self.routes.iter().filter(|route| route.takes(method))
    }
}

/// The forms of the paths and of the route that count for a request.
#[derive(Debug)]
struct Readings<'a> {
    asked: [Option<PathForm<'a>>; 3],
    rewritten: [Option<PathForm<'a>>; 3],
    route: Option<PathForm<'a>>,
}

impl Readings<'_> {
    fn any(&self, covers: impl Fn(PathForm<'_>) -> bool) -> bool {
        let any_of =
            |forms: &[Option<PathForm<'_>>]| forms.iter().flatten().any(|form| covers(*form));
        any_of(&self.asked) || any_of(&self.rewritten) || self.route.is_some_and(&covers)
    }
}

impl<R> Route<R> {
    fn takes(&self, method: &Method) -> bool {
        match &self.method {
            None => true,
            Some(own) => own == method || (*own == Method::GET && *method == Method::HEAD),
        }
    }

    /// Lower goes first on one pattern: a rule for HEAD before the one for GET, which covers HEAD.
    fn method_precedence(&self) -> u8 {
        match &self.method {
            Some(method) if *method == Method::HEAD => 0,
            Some(_) => 1,
            None => 2,
        }
    }
}

/// The path that something between axum's outermost router and here put in its place. What `nest`
/// leaves of a path is none: its end, or "/" for nothing.
fn rewritten_path<'a>(parts: &'a Parts, asked: &str) -> Option<&'a str> {
    let path = parts.uri.path();
    let is_nested = path == "/" || asked.ends_with(path);
    (!is_nested).then_some(path)
}

#[cfg(feature = "axum")]
fn matched_route(parts: &Parts) -> Option<&str> {
    let matched = parts.extensions.get::<axum::extract::MatchedPath>();
    matched.map(axum::extract::MatchedPath::as_str)
}

#[cfg(not(feature = "axum"))]
fn matched_route(_: &Parts) -> Option<&str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Routes<&'static str>;

    fn rule(routes: &Names, method: &str, path: &str) -> Option<&'static str> {
        let request = http::Request::builder().method(method).uri(path);
        routes.rule(&request.body(()).unwrap().into_parts().0)
    }

    fn problem(routes: &Names) -> String {
        routes.check().unwrap_err().to_string()
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let routes = Routes::new()
            .any("/{*rest}", "all")
            .any("/users/{id}", "one")
            .any("/users/me", "me")
            .any("/users/x{id}", "x");
        assert_eq!(rule(&routes, "GET", "/users/me"), Some("me"));
        assert_eq!(rule(&routes, "GET", "/users/%6De"), Some("me"));
        assert_eq!(rule(&routes, "GET", "/users/x7"), Some("x"));
        assert_eq!(rule(&routes, "GET", "/users/7"), Some("one"));
        assert_eq!(rule(&routes, "GET", "/users/7/posts"), Some("all"));
    }

    #[test]
    fn a_rule_for_the_method_goes_before_the_one_for_any() {
        let routes = Routes::new().any("/a", "any").post("/a", "post");
        assert_eq!(rule(&routes, "POST", "/a"), Some("post"));
        assert_eq!(rule(&routes, "PUT", "/a"), Some("any"));
        assert_eq!(rule(&routes, "QUERY", "/a"), Some("any"));
    }

    #[test]
    fn a_rule_for_one_method_does_not_free_the_others_from_a_wider_rule() {
        let routes = Routes::new()
            .post("/api/orders", "orders")
            .any("/api/{*rest}", "api");
        assert_eq!(rule(&routes, "GET", "/api/orders"), Some("api"));
        assert_eq!(rule(&routes, "POST", "/api/orders"), Some("orders"));
    }

    #[test]
    fn head_is_covered_by_get_unless_it_has_a_rule() {
        let routes = Routes::new()
            .get("/a", "get")
            .any("/a", "any")
            .get("/b", "get")
            .head("/b", "head");
        assert_eq!(rule(&routes, "HEAD", "/a"), Some("get"));
        assert_eq!(rule(&routes, "HEAD", "/b"), Some("head"));
        assert_eq!(rule(&routes, "GET", "/b"), Some("get"));
    }

    #[test]
    fn a_trailing_slash_does_not_lead_to_a_wider_rule() {
        let routes = Routes::new()
            .any("/{*rest}", "lenient")
            .post("/login", "strict");
        for path in ["/login/", "//login", "/%6Cogin", "/login?next=/"] {
            assert_eq!(rule(&routes, "POST", path), Some("strict"), "{path}");
        }
        assert_eq!(rule(&routes, "POST", "/LOGIN"), Some("lenient"));
    }

    #[test]
    fn a_grpc_rule_covers_a_method_or_a_service_by_every_http_method() {
        let routes = Routes::new()
            .grpc("/shop.Orders/Place", "place")
            .grpc("/shop.Orders/{method}", "orders");
        assert_eq!(rule(&routes, "POST", "/shop.Orders/Place"), Some("place"));
        assert_eq!(rule(&routes, "GET", "/shop.Orders/Place"), Some("place"));
        assert_eq!(rule(&routes, "POST", "/shop.Orders/List"), Some("orders"));
        assert_eq!(rule(&routes, "POST", "/shop.Other/List"), None);
    }

    #[test]
    fn every_mistake_is_reported_with_what_to_write() {
        let routes = Routes::new()
            .post("login", "a")
            .get("/users/{id}", "b")
            .get("/users/{name}", "c")
            .grpc("shop.Orders", "d");
        let problem = problem(&routes);
        assert!(problem.contains("write \"/login\""), "{problem}");
        assert!(problem.contains("a rule for GET on \"/users/{id}\""));
        assert!(problem.contains("write \"/pkg.Service/Method\""));
        assert_eq!(problem.lines().count(), 3);
    }

    #[test]
    fn one_pattern_may_have_a_rule_for_each_method() {
        let routes = Routes::new()
            .get("/a", "get")
            .post("/a", "post")
            .any("/a", "any");
        assert!(routes.check().is_ok());
        let mut seen = Vec::new();
        routes.each_rule(&mut |rule| seen.push(*rule));
        assert_eq!(seen, ["get", "post", "any"]);
    }
}
