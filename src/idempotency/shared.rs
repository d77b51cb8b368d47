//! What services and runs share.

use std::{fmt, sync::Arc};

use http::{Response, request::Parts};

use super::{
    answer::{ResponseBody, StoredAnswer},
    engine::{Renewals, Store},
    problem::Problem,
    protocol::Record,
    rooms::Rooms,
    rule::IdempotencyRule,
    tracker::Tracker,
};
use crate::{
    backend::{Breaker, KeyValue},
    key::{Digester, Key, KeyParts, Kind},
    policy::{Policy, Subject, SubjectId},
    respond::Respond,
};

/// What runs under claims share; cheap to clone.
#[derive(Clone)]
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) rooms: Arc<Rooms>,
    pub(super) renewals: Arc<Renewals>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) digester: Digester,
}

/// What all services of a layer share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) core: Core,
    pub(super) policy: Arc<dyn Policy<IdempotencyRule>>,
    pub(super) scope: Subject,
    /// What the types of problems begin with.
    pub(super) problem_base: Arc<str>,
}

impl Core {
    pub(super) fn new(backend: impl KeyValue) -> Self {
        Self {
            store: Store::new(Arc::new(Breaker::new(backend))),
            rooms: Arc::new(Rooms::new()),
            renewals: Arc::default(),
            tracker: Tracker::new(),
            digester: Digester::default(),
        }
    }
}

impl Shared {
    /// Whose key it is; `None` if the request does not tell.
    pub(super) fn scope(&self, request: &Parts) -> Option<KeyParts> {
        self.scope.identify(request).as_ref().map(http_scope)
    }

    /// Where what becomes of a request with this key is stored.
    pub(super) fn key(&self, scope: &KeyParts, key: &str) -> Key {
        let mut parts = scope.clone();
        parts.push(key);
        Key::new(Kind::EXECUTION, self.core.digester.digest(&parts))
    }

    /// The stored answer, or why it cannot be given.
    pub(super) fn replay<B>(
        &self,
        key: &Key,
        record: &Record,
        rule: &IdempotencyRule,
    ) -> Result<Response<ResponseBody<B>>, Problem> {
        if record.flags.is_unknown {
            return Err(Problem::OutcomeUnknown);
        }
        let answer = self.core.store.sealing.open(key, record);
        let Some(stored) = answer.and_then(StoredAnswer::decode) else {
            return Err(Problem::RecordUnreadable);
        };
        if record.flags.is_not_replayable {
            return Err(Problem::not_replayable(&stored));
        }
        let (mut head, replay) = stored.into_response().into_parts();
        if let Some(rewrite) = &rule.shape().on_replay {
            rewrite(&mut head);
        }
        Ok(Response::from_parts(head, replay.into_body()))
    }

    /// What a request with this head is told that gets no answer of a handler.
    pub(super) fn rejection<B, R: Respond<B>>(
        &self,
        problem: Problem,
        rule: &IdempotencyRule,
        respond: &R,
        request: &Parts,
    ) -> Response<ResponseBody<B>> {
        let rejection = problem.rejection(rule, &self.problem_base);
        rejection.answer(respond, request).map(ResponseBody::passed)
    }

    /// The rule of this name, if it is known without a request.
    pub(super) fn rule_named(&self, name: &[u8]) -> Option<IdempotencyRule> {
        let mut found = None;
        self.policy.each_rule(&mut |rule| {
            if rule.name().as_bytes() == name {
                found.get_or_insert_with(|| rule.clone());
            }
        });
        found
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Whose key it is, as key and fingerprint want it.
pub(super) fn http_scope(subject: &SubjectId) -> KeyParts {
    let mut scope = KeyParts::new().with(GROUP);
    subject.append_to_key(&mut scope);
    scope
}

/// Keys of requests, as against those of [`Idempotent`](super::Idempotent).
const GROUP: &str = "http";
