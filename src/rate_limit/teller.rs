//! What a response says about limits.

use http::{HeaderMap, Response, header::ORIGIN, request, response};

use super::{HeaderStyle, engine::Answer, rejection};
use crate::respond::{Rejection, Respond};

/// Tells the sender of one request where its limits stand.
#[derive(Clone, Copy)]
pub(super) struct Teller {
    style: HeaderStyle,
    /// Whether the request came from a page of another origin, perhaps.
    has_origin: bool,
}

impl Teller {
    pub(super) fn new(style: HeaderStyle, request: &request::Parts) -> Self {
        Self {
            style,
            has_origin: request.headers.contains_key(ORIGIN),
        }
    }

    /// Appends where the limits of these rules stand, as far as it is known.
    pub(super) fn tell<'a>(
        self,
        headers: &mut HeaderMap,
        answers: impl IntoIterator<Item = &'a Answer>,
    ) {
        for answer in answers {
            if let Some(decision) = answer.told() {
                self.style
                    .append(headers, &answer.question.limits, decision);
                self.expose(headers);
            }
        }
    }

    /// The same on the response of a service, which another layer may have answered.
    ///
    /// Where there is room for one limit, and that layer denied the request, it is its own.
    pub(super) fn tell_around<'a>(
        self,
        head: &mut response::Parts,
        answers: impl IntoIterator<Item = &'a Answer>,
    ) {
        let rejection = head.extensions.get::<Rejection>();
        let is_denied = rejection.is_some_and(rejection::is_of_limits);
        if !is_denied || !self.style.is_full(&head.headers) {
            self.tell(&mut head.headers, answers);
        }
    }

    /// The response to a request that was denied.
    pub(super) fn denial<B>(
        self,
        answer: &Answer,
        respond: &impl Respond<B>,
        request: &request::Parts,
    ) -> Response<B> {
        let mut response = answer.rejection().answer(respond, request);
        self.tell(response.headers_mut(), [answer]);
        self.expose(response.headers_mut());
        response
    }

    fn expose(self, headers: &mut HeaderMap) {
        if self.has_origin {
            self.style.expose(headers);
        }
    }
}
