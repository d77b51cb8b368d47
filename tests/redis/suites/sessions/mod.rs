//! Sessions on real servers: their promises where clocks, networks and other processes are real.

mod app;
mod expiry;
mod life;
mod outages;
mod parallel;
mod peer;
mod replies;
mod stored;
mod trips;

use libtest_mimic::Trial;

pub(crate) use self::peer::obey_if_asked;
use self::{
    expiry::{
        an_unused_session_ends_and_a_used_one_lives, no_use_carries_a_session_over_its_deadline,
    },
    life::{a_session_lives, sessions_of_a_cluster_are_on_all_nodes},
    outages::{
        a_forgotten_script_costs_no_session_anything, a_full_server_keeps_and_ends_sessions,
        a_hung_server_is_an_outage_only_where_sessions_are_used,
        a_killed_server_loses_sessions_and_removes_no_cookie,
        a_write_that_a_paused_server_may_make_is_reported,
        an_outage_at_a_commit_or_a_logout_keeps_the_cookie,
    },
    parallel::{
        a_login_never_outlives_a_logout_everywhere_of_another_process,
        a_save_never_brings_back_what_another_process_ended, thirty_two_writers_at_once_all_save,
        two_processes_count_exactly, two_processes_write_different_attributes_and_lose_nothing,
    },
    replies::{
        a_delayed_answer_is_known_by_its_mark, nothing_is_lost_or_made_twice_when_connections_break,
    },
    stored::{
        a_save_after_the_tombstone_is_gone_stores_nothing,
        a_stored_session_is_as_large_as_documented,
        every_key_has_a_time_to_live_and_tells_no_secret,
    },
    trips::{
        a_login_with_an_index_is_five_round_trips,
        a_logout_everywhere_is_two_round_trips_and_three_a_session,
        a_request_makes_no_more_round_trips_than_it_must,
        a_slide_puts_a_session_back_on_its_users_list, most_reads_are_one_command,
        reading_writes_once_in_touch_every,
    },
};
use crate::{
    servers::{Servers, Topology},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    let mut trials = trials!(bed, "sessions":
        Cluster::sessions_of_a_cluster_are_on_all_nodes
        Standalone::a_request_makes_no_more_round_trips_than_it_must
        Standalone::a_login_with_an_index_is_five_round_trips
        Standalone::most_reads_are_one_command
        Standalone::a_logout_everywhere_is_two_round_trips_and_three_a_session
        Standalone::reading_writes_once_in_touch_every
        Standalone::a_slide_puts_a_session_back_on_its_users_list
        Standalone::every_key_has_a_time_to_live_and_tells_no_secret
        Standalone::a_save_after_the_tombstone_is_gone_stores_nothing
        Standalone::a_stored_session_is_as_large_as_documented
        Standalone::two_processes_write_different_attributes_and_lose_nothing
        Standalone::two_processes_count_exactly
        Standalone::a_save_never_brings_back_what_another_process_ended
        Standalone::a_login_never_outlives_a_logout_everywhere_of_another_process
        Standalone::thirty_two_writers_at_once_all_save
        Standalone::a_hung_server_is_an_outage_only_where_sessions_are_used
        Standalone::an_outage_at_a_commit_or_a_logout_keeps_the_cookie
        Standalone::a_write_that_a_paused_server_may_make_is_reported
        Standalone::a_killed_server_loses_sessions_and_removes_no_cookie
        Standalone::a_full_server_keeps_and_ends_sessions
        Standalone::a_forgotten_script_costs_no_session_anything
        Standalone::a_delayed_answer_is_known_by_its_mark
        Standalone::nothing_is_lost_or_made_twice_when_connections_break
        Standalone::an_unused_session_ends_and_a_used_one_lives
        Standalone::no_use_carries_a_session_over_its_deadline
    );
    trials.extend(Topology::ALL.map(|topology| {
        let life = async move |servers: &Servers| a_session_lives(servers, topology).await;
        bed.trial(topology, "sessions::a_session_lives", life)
    }));
    trials
}
