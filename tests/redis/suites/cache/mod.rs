//! The cache layer on real servers: what it costs there, and what two instances see of each other.

mod outages;
mod site;
mod together;
mod trips;

use libtest_mimic::Trial;

use self::{
    outages::{a_full_server_stores_nothing_and_fails_nothing, a_killed_server_is_done_without},
    together::{
        a_record_that_nobody_can_read_is_replaced, instances_share_what_is_stored_and_purged,
        two_hundred_at_once_on_two_instances_are_one_call,
        what_one_instance_purges_the_other_stops_using,
        what_was_purged_stays_so_when_all_is_flushed,
    },
    trips::{
        a_purge_is_three_round_trips_and_of_a_url_two,
        a_request_makes_no_more_round_trips_than_it_must, every_key_ends,
        there_are_two_polls_a_second, what_is_stored_of_a_response_is_little_more_than_its_body,
    },
};
use crate::{
    servers::{Servers, Topology},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    let mut trials = trials!(bed, "cache":
        Standalone::a_request_makes_no_more_round_trips_than_it_must
        Standalone::a_purge_is_three_round_trips_and_of_a_url_two
        Standalone::there_are_two_polls_a_second
        Standalone::every_key_ends
        Standalone::what_is_stored_of_a_response_is_little_more_than_its_body
        Standalone::what_one_instance_purges_the_other_stops_using
        Standalone::two_hundred_at_once_on_two_instances_are_one_call
        Standalone::what_was_purged_stays_so_when_all_is_flushed
        Standalone::a_record_that_nobody_can_read_is_replaced
        Standalone::a_killed_server_is_done_without
        Standalone::a_full_server_stores_nothing_and_fails_nothing
    );
    for topology in Topology::ALL {
        let shares = async move |servers: &Servers| {
            instances_share_what_is_stored_and_purged(servers, topology).await
        };
        let name = "cache::instances_share_what_is_stored_and_purged";
        trials.push(bed.trial(topology, name, shares));
    }
    trials
}
