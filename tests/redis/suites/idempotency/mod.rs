//! The idempotency layer on real servers: its promises where clocks, networks and other processes
//! are real.
//!
//! No test steps the server's clock back: a real server has the machine's. The schedules do so in
//! memory.

mod app;
mod instance;
mod life;
mod network;
mod outages;
mod owners;
mod processes;
mod trips;

use libtest_mimic::Trial;

pub(crate) use self::instance::serve_if_asked;
use self::{
    life::{a_key_lives, a_stored_answer_is_as_large_as_documented},
    network::{
        a_failure_is_recorded_though_its_write_has_an_accident,
        a_key_is_free_again_though_its_release_has_an_accident,
        an_accident_at_a_claim_runs_nothing_twice, an_accident_at_a_renewal_changes_nothing,
        an_accident_at_a_start_runs_nothing_twice,
        an_answer_is_recorded_though_its_write_has_an_accident,
    },
    outages::{
        a_forgotten_script_costs_no_request_anything, a_full_server_replays_and_runs_nothing,
        a_key_whose_slot_moves_is_recorded_where_it_goes,
        a_key_whose_slot_nobody_serves_waits_for_it,
        a_lost_answer_is_another_run_with_a_larger_fence,
        an_answer_that_a_failover_has_lost_is_another_run,
        an_answer_that_cannot_be_recorded_leaves_as_the_rule_says,
        an_owner_puts_back_what_a_failover_has_lost, an_owner_puts_back_what_a_restart_has_lost,
        who_loses_a_claim_in_a_restart_gets_the_answer_of_who_has_it,
    },
    owners::{
        a_stopped_process_loses_only_its_own_keys,
        an_owner_that_was_stopped_for_two_leases_gives_the_recorded_answer,
        two_hundred_at_once_on_two_servers_run_once,
        two_hundred_that_wait_on_two_servers_get_one_answer,
    },
    processes::{
        what_is_killed_is_done_once_per_fence, what_is_killed_never_runs_again_where_it_must_not,
    },
    trips::{
        a_lease_is_renewed_three_times, a_request_makes_no_more_round_trips_than_it_must,
        a_request_whose_key_is_at_work_is_one_round_trip, a_takeover_is_one_round_trip_more,
    },
};
use crate::{
    servers::{Servers, Topology},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    let mut trials = trials!(bed, "idempotency":
        Standalone::a_request_makes_no_more_round_trips_than_it_must
        Standalone::a_request_whose_key_is_at_work_is_one_round_trip
        Standalone::a_takeover_is_one_round_trip_more
        Standalone::a_lease_is_renewed_three_times
        Standalone::an_accident_at_a_claim_runs_nothing_twice
        Standalone::an_accident_at_a_start_runs_nothing_twice
        Standalone::an_accident_at_a_renewal_changes_nothing
        Standalone::an_answer_is_recorded_though_its_write_has_an_accident
        Standalone::a_failure_is_recorded_though_its_write_has_an_accident
        Standalone::a_key_is_free_again_though_its_release_has_an_accident
        Standalone::a_forgotten_script_costs_no_request_anything
        Standalone::an_owner_puts_back_what_a_restart_has_lost
        Standalone::who_loses_a_claim_in_a_restart_gets_the_answer_of_who_has_it
        Standalone::a_lost_answer_is_another_run_with_a_larger_fence
        Sentinel::an_owner_puts_back_what_a_failover_has_lost
        Sentinel::an_answer_that_a_failover_has_lost_is_another_run
        Cluster::a_key_whose_slot_moves_is_recorded_where_it_goes
        Cluster::a_key_whose_slot_nobody_serves_waits_for_it
        Standalone::an_answer_that_cannot_be_recorded_leaves_as_the_rule_says
        Standalone::a_full_server_replays_and_runs_nothing
        Standalone::two_hundred_at_once_on_two_servers_run_once
        Standalone::two_hundred_that_wait_on_two_servers_get_one_answer
        Standalone::an_owner_that_was_stopped_for_two_leases_gives_the_recorded_answer
        Standalone::a_stopped_process_loses_only_its_own_keys
        Standalone::what_is_killed_is_done_once_per_fence
        Standalone::what_is_killed_never_runs_again_where_it_must_not
    );
    for topology in Topology::ALL {
        let life = async move |servers: &Servers| a_key_lives(servers, topology).await;
        trials.push(bed.trial(topology, "idempotency::a_key_lives", life));
        let size = async move |servers: &Servers| {
            a_stored_answer_is_as_large_as_documented(servers, topology).await
        };
        let name = "idempotency::a_stored_answer_is_as_large_as_documented";
        trials.push(bed.trial(topology, name, size));
    }
    trials
}
