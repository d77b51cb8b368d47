//! The idempotency layer on real servers: its promises where clocks, networks and other processes
//! are real.
//!
//! No test steps the server's clock back: a real server has the machine's. The schedules do so in
//! memory.

mod app;
mod instance;
mod life;
mod trips;

use libtest_mimic::Trial;

pub(crate) use self::instance::serve_if_asked;
use self::{
    life::{a_key_lives, a_stored_answer_is_as_large_as_documented},
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
