//! The cases, and what each change of the protocol breaks.

use crate::{
    breaks, holds,
    promises::{
        ALL_ANSWERED, ALL_BEGUN, ATTEMPTS_RISE, DONE_IS_DONE, EPOCHS_RISE, EXCLUSION, IMMUTABLE,
        KNOWN_STAYS_KNOWN, LOST, MISMATCH, ONCE_UNDER_NEVER, ONE_ANSWER, ONE_START, OWN_ANSWER,
        RECOGNISED, SETTLES, TAKEN_OVER, UNAVAILABLE, UNKNOWN, UNKNOWN_HAS_CAUSE, UNRECORDED,
        ZOMBIE_REPLAYS,
    },
    protocol::{
        Change,
        Recovery::{self, Answer, AnswerAndReExecute, ReExecute, Withhold},
    },
    world::{Budget, Case},
};

fn re_executing() -> Case {
    let reaches = &[
        ALL_ANSWERED,
        RECOGNISED,
        TAKEN_OVER,
        ALL_BEGUN,
        UNAVAILABLE,
        LOST,
        ZOMBIE_REPLAYS,
    ];
    case(&[(ReExecute, 1), (ReExecute, 1)], reaches)
}

/// Both kinds of Never; what the one withholds the other sends.
fn never_again() -> Case {
    let reaches = &[
        ALL_ANSWERED,
        RECOGNISED,
        TAKEN_OVER,
        ALL_BEGUN,
        UNAVAILABLE,
        UNKNOWN,
        UNRECORDED,
    ];
    case(&[(Answer, 1), (Withhold, 1)], reaches)
}

fn two_rules() -> Case {
    let reaches = &[
        ALL_ANSWERED,
        RECOGNISED,
        TAKEN_OVER,
        ALL_BEGUN,
        UNKNOWN,
        UNRECORDED,
    ];
    case(&[(ReExecute, 1), (Answer, 1)], reaches)
}

fn two_fingerprints() -> Case {
    case(&[(ReExecute, 1), (ReExecute, 2)], &[ALL_BEGUN, MISMATCH])
}

/// A renewal is under way while the owner writes something else, which no owner does.
fn overlapping() -> Case {
    Case {
        overlaps: true,
        budget: Budget {
            time_outs: 1,
            ..FULL
        },
        ..case(&[(ReExecute, 1), (ReExecute, 1)], &[ALL_ANSWERED])
    }
}

/// An operator answers what nobody knows.
fn settled_by_an_operator() -> Case {
    Case {
        budget: Budget {
            time_outs: 1,
            settlements: 1,
            ..FULL
        },
        ..case(&[(Withhold, 1), (Withhold, 1)], &[ALL_ANSWERED, UNKNOWN])
    }
}

fn three_requests(recoveries: [Recovery; 3], time_outs: u8) -> Case {
    let requests = recoveries.map(|recovery| (recovery, 1));
    Case {
        budget: Budget {
            time_outs,
            ..Budget::default()
        },
        ..case(&requests, &[ALL_ANSWERED, ALL_BEGUN, TAKEN_OVER])
    }
}

/// What a write left may be gone, though it was confirmed: of what is promised S1, S4 and L1 are left.
fn losing(recovery: Recovery) -> Case {
    Case {
        budget: Budget {
            time_outs: 1,
            failovers: 1,
            ..Budget::default()
        },
        ..case(&[(recovery, 1), (recovery, 2), (recovery, 1)], &[MISMATCH])
    }
}

/// Two requests get answers that are not recorded, and run again.
fn forbidden() -> Case {
    case(&[(AnswerAndReExecute, 1), (AnswerAndReExecute, 1)], &[])
}

fn case(requests: &[(Recovery, u8)], reaches: &'static [&'static str]) -> Case {
    Case {
        change: Change::Nothing,
        requests: requests.to_vec(),
        budget: FULL,
        overlaps: false,
        reaches,
    }
}

#[test]
fn re_executed_work_has_one_answer() {
    holds(re_executing());
}

#[test]
fn under_never_a_handler_begins_once() {
    holds(never_again());
}

#[test]
fn two_rules_on_one_key_keep_what_both_promise() {
    holds(two_rules());
}

#[test]
fn nobody_gets_the_answer_of_another_request() {
    holds(two_fingerprints());
}

#[test]
fn a_renewal_beside_another_write_harms_nothing() {
    holds(overlapping());
}

#[test]
fn an_operator_answers_once_and_for_all() {
    holds(settled_by_an_operator());
}

#[test]
fn three_requests_keep_all_promises() {
    holds(three_requests([ReExecute; 3], 1));
    holds(three_requests([Answer; 3], 1));
    holds(three_requests([ReExecute, Answer, Answer], 1));
}

/// Run by scripts/stress.
#[test]
#[ignore = "takes a minute"]
fn three_requests_keep_all_promises_when_two_calls_time_out() {
    holds(three_requests([ReExecute; 3], 2));
    holds(three_requests([Answer; 3], 2));
    holds(three_requests([ReExecute, Answer, Answer], 2));
}

#[test]
fn a_failover_mixes_no_fingerprints_and_gives_no_epoch_twice() {
    holds(losing(ReExecute));
    holds(losing(Answer));
}

#[test]
fn a_lease_that_nobody_heeds_excludes_nobody() {
    breaks(Change::LeaseIgnored.of(re_executing()), EXCLUSION);
}

#[test]
fn a_lease_that_is_never_over_wedges_the_key() {
    breaks(Change::LeaseNeverOver.of(re_executing()), SETTLES);
}

#[test]
fn writes_by_any_write_over_answers() {
    breaks(Change::TakeOverByAny.of(re_executing()), IMMUTABLE);
    breaks(Change::RenewByAny.of(re_executing()), IMMUTABLE);
    breaks(Change::CompleteByAny.of(re_executing()), IMMUTABLE);
    breaks(Change::FailByAny.of(re_executing()), IMMUTABLE);
    breaks(Change::DeleteByAny.of(re_executing()), IMMUTABLE);
    breaks(Change::CompleteOnNothingByAny.of(re_executing()), EXCLUSION);
}

#[test]
fn fingerprints_are_compared_by_claims_and_by_owners() {
    let claims = Change::FingerprintUncheckedInClaim;
    breaks(claims.of(two_fingerprints()), OWN_ANSWER);
    let owners = Change::FingerprintUncheckedInConflict;
    breaks(owners.of(two_fingerprints()), OWN_ANSWER);
}

#[test]
fn a_zombie_does_not_send_its_own_answer() {
    breaks(Change::ZombieSendsItsOwn.of(re_executing()), ONE_ANSWER);
}

#[test]
fn a_time_out_is_neither_stored_nor_acquired() {
    breaks(Change::TimeOutReadAsStored.of(re_executing()), ONE_ANSWER);
    let change = Change::TimeOutReadAsAcquired;
    breaks(change.of(re_executing()), EXCLUSION);
    breaks(change.of(re_executing()), EPOCHS_RISE);
    breaks(change.of(losing(ReExecute)), ONE_START);
}

#[test]
fn attempts_are_counted() {
    breaks(Change::AttemptReset.of(re_executing()), ATTEMPTS_RISE);
}

#[test]
fn a_renewal_looks_at_the_state() {
    breaks(Change::RenewalBlindToState.of(overlapping()), IMMUTABLE);
}

#[test]
fn that_nothing_runs_again_is_in_the_record() {
    breaks(Change::NeverNotInRecord.of(two_rules()), ONCE_UNDER_NEVER);
}

#[test]
fn a_start_is_awaited() {
    breaks(Change::StartNotAwaited.of(never_again()), ONCE_UNDER_NEVER);
}

#[test]
fn a_claim_under_never_is_not_born_started() {
    breaks(
        Change::NeverBornStarted.of(never_again()),
        UNKNOWN_HAS_CAUSE,
    );
}

#[test]
fn answering_unrecorded_and_running_again_do_not_go_together() {
    breaks(forbidden(), ONE_ANSWER);
}

#[test]
fn what_was_taken_over_is_not_deleted() {
    let three = three_requests([ReExecute; 3], 2);
    breaks(
        Change::CleanUpDeletesWhatItTookOver.of(three.clone()),
        ATTEMPTS_RISE,
    );
    breaks(
        Change::NotExecutedDeletesWhatItTookOver.of(three),
        ATTEMPTS_RISE,
    );
}

#[test]
fn what_may_arrive_late_finds_the_place_taken() {
    let change = Change::NotExecutedDeletesAfterSilence;
    breaks(change.of(never_again()), KNOWN_STAYS_KNOWN);
    breaks(change.of(two_rules()), KNOWN_STAYS_KNOWN);
    let change = Change::FailureOnNothingIsDone;
    breaks(change.of(never_again()), KNOWN_STAYS_KNOWN);
}

#[test]
fn a_delete_that_finds_another_version_looks_whose_it_is() {
    breaks(Change::DeletesOnce.of(never_again()), KNOWN_STAYS_KNOWN);
}

#[test]
fn the_answer_of_an_operator_is_not_taken_for_the_owner_s() {
    let case = settled_by_an_operator();
    breaks(Change::SettlesAsTheOwner.of(case), DONE_IS_DONE);
}

impl Change {
    fn of(self, case: Case) -> Case {
        Case {
            change: self,
            ..case
        }
    }
}

const FULL: Budget = Budget {
    time_outs: 2,
    renewals: 1,
    ends: 1,
    failovers: 0,
    settlements: 0,
};
