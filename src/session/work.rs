//! What is left to do when a request has been answered: decided by the head of its response, without
//! asking the backend.

use http::{StatusCode, response};

use super::{
    commit::is_first_use,
    delta::Delta,
    expiry::gain,
    state::{StagedIdentity, Standing, State},
    store::{Stored, Via},
    users::Ticket,
    visit::Visit,
};
use crate::{grpc, respond::GrpcCode};

/// What is to be done with a session when its request has been answered.
pub(super) enum Work {
    /// Nothing.
    Rest,
    /// Write it as it is, so that it lives on.
    Slide(Stored, Via),
    /// Write it with another secret, which is due.
    Rotate(Stored, Via),
    /// Store a new one.
    Create,
    /// Write what changed.
    Save(Stored, Via, NewSecret),
    /// Bind it, or a new one, to a user.
    LogIn(Ticket),
    /// What changed is lost, for the session ended.
    Lose,
}

/// Whether a session gets a new secret when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewSecret {
    None,
    /// It is due; the one before is good for a while.
    Rotation,
    /// The program asked for it; the one before is dead.
    Renewal,
}

impl Visit {
    /// Decides what is to be done, once the head of the response is there; from now on nothing can
    /// be changed.
    pub(super) fn seal(&self, head: &response::Parts) -> Work {
        let saves = self.saves(head);
        let mut state = self.lock();
        state.is_sealed = true;
        if saves {
            state.forget_what_changes_nothing();
        } else {
            state.delta = Delta::default();
            state.identity = StagedIdentity::Same;
        }
        self.work(&state, saves)
    }

    fn work(&self, state: &State, saves: bool) -> Work {
        let is_changed = !state.delta.is_empty();
        match (&state.standing, &state.identity) {
            (Standing::NotLoaded, _) => Work::Rest,
            (_, StagedIdentity::SignedIn(ticket)) => Work::LogIn(ticket.clone()),
            (Standing::Stored(stored, via), identity) => {
                let (stored, via) = (stored.clone(), *via);
                let is_due = saves && self.is_to_rotate(&stored, via);
                match identity {
                    StagedIdentity::Renewed => Work::Save(stored, via, NewSecret::Renewal),
                    _ if is_due && is_changed => Work::Save(stored, via, NewSecret::Rotation),
                    _ if is_due => Work::Rotate(stored, via),
                    _ if is_changed => Work::Save(stored, via, NewSecret::None),
                    _ if self.is_to_slide(&stored, via) => Work::Slide(stored, via),
                    _ => Work::Rest,
                }
            }
            (_, StagedIdentity::Started) => Work::Create,
            (Standing::Nothing | Standing::Gone, _) if !is_changed => Work::Rest,
            (Standing::Nothing, _) => Work::Create,
            (Standing::Gone, _) => Work::Lose,
        }
    }

    fn saves(&self, head: &response::Parts) -> bool {
        match &self.rule.route().save_if {
            Some(saves) => saves(head),
            None => !is_failure(head),
        }
    }

    /// A request that came with the secret before the last rotation never makes another; nor does
    /// one that is not to keep the session alive, as writing a record does.
    fn is_to_rotate(&self, stored: &Stored, via: Via) -> bool {
        let head = &stored.record.head;
        let made = head.rotated.max(head.born(stored.version));
        let route = self.rule.route();
        via == Via::Current
            && route.sends_cookie
            && route.slides
            && !route.is_read_only
            && self
                .rule
                .family()
                .rotation_every
                .is_some_and(|every| stored.clock.now() - made >= every)
    }

    fn is_to_slide(&self, stored: &Stored, via: Via) -> bool {
        if !self.rule.route().slides {
            return false;
        }
        let head = &stored.record.head;
        if is_first_use(head, via) {
            return true;
        }
        let family = self.rule.family();
        let timeouts = family.timeouts(&stored.record);
        let now = stored.clock.now();
        let ttl = timeouts.idle.min(stored.deadline() - now);
        gain(head, stored.version, ttl, now) >= family.touch_every(timeouts.idle)
    }
}

/// Whether a response says that what its request did is not to be kept: a server's error in HTTP,
/// or in gRPC where its status is in the head.
fn is_failure(head: &response::Parts) -> bool {
    head.status >= StatusCode::INTERNAL_SERVER_ERROR
        || grpc::status(&head.headers).is_some_and(|code| FAILURES.contains(&code))
}

const FAILURES: [GrpcCode; 6] = [
    GrpcCode::UNKNOWN,
    GrpcCode::DEADLINE_EXCEEDED,
    GrpcCode::UNIMPLEMENTED,
    GrpcCode::INTERNAL,
    GrpcCode::UNAVAILABLE,
    GrpcCode::DATA_LOSS,
];
