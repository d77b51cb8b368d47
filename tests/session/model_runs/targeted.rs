//! Orders that a random search meets too seldom, each in words.

use std::time::Duration;

use tower_stash::{backend::MemoryBackend, session::SessionErrorKind};

use crate::model::{
    driver::{Release, Virtual, runtime},
    program::{FamilyShape, Op, Request, Step, TokenChoice, Work},
    request::{Answer, Log},
    stepped::TaskId,
    world::World,
};

/// A script that must keep every promise, step by step.
struct Play(World<MemoryBackend, Virtual>);

impl Play {
    fn new(family: FamilyShape) -> Self {
        let time = Virtual::default();
        let backend = MemoryBackend::new().with_clock(time.0.clone());
        Self(World::new(backend, time, family))
    }

    fn holds(&self, outcome: Result<(), String>) {
        if let Err(error) = outcome {
            panic!("{}", self.0.report(&error));
        }
    }

    /// A request with a token that was issued, counted from the newest back, up to its first call.
    async fn begin(&mut self, token: TokenChoice, ops: &[Op]) -> TaskId {
        self.work(Request::new(token, ops).into()).await
    }

    async fn work(&mut self, work: Work) -> TaskId {
        let begun = self.0.begin(work).await;
        self.holds(begun.as_ref().map(|_| ()).map_err(Clone::clone));
        begun.unwrap()
    }

    /// The same, to its end.
    async fn run(&mut self, token: TokenChoice, ops: &[Op]) -> Log {
        let task = self.begin(token, ops).await;
        self.end(task).await
    }

    async fn end(&mut self, task: TaskId) -> Log {
        let ended = self.0.finish_one(task).await;
        self.holds(ended);
        self.0.log(task)
    }

    /// Answers the next call of a task.
    async fn answer(&mut self, task: TaskId) {
        self.release(task, Release::Answer).await;
    }

    async fn release(&mut self, task: TaskId, how: Release) {
        let released = self.0.release_of(task, how).await;
        self.holds(released);
    }

    async fn pass(&mut self, seconds: u64) {
        let passed = self.0.pass(Duration::from_secs(seconds)).await;
        self.holds(passed);
    }

    async fn deliver_all(&mut self) {
        for _ in 0..8 {
            let delivered = self.0.step(Step::Deliver(0)).await;
            self.holds(delivered);
        }
    }

    async fn finish(&mut self) {
        let finished = self.0.finish().await;
        self.holds(finished);
    }
}

fn status(log: &Log) -> u16 {
    log.response.as_ref().expect("it has answered").status
}

fn cookies(log: &Log) -> usize {
    log.response
        .as_ref()
        .expect("it has answered")
        .cookies
        .len()
}

const NEW: TokenChoice = TokenChoice::None;
const NEWEST: TokenChoice = TokenChoice::Issued(0);
const BEFORE: TokenChoice = TokenChoice::Issued(1);

fn play(script: impl AsyncFnOnce(&mut Play)) {
    play_in(FamilyShape::default(), script);
}

fn play_in(family: FamilyShape, script: impl AsyncFnOnce(&mut Play)) {
    runtime().block_on(async {
        let mut play = Play::new(family);
        script(&mut play).await;
        play.finish().await;
    });
}

const ROTATING: FamilyShape = FamilyShape {
    rotates: true,
    most: None,
};

// === Commits ===

#[test]
fn a_lost_answer_that_the_trail_has_forgotten_is_indeterminate() {
    for forgotten in [false, true] {
        play(async |play| {
            play.run(NEW, &[Op::Incr("n", 1)]).await;
            let counting = play.begin(NEWEST, &[Op::Incr("n", 1)]).await;
            play.answer(counting).await;
            play.release(counting, Release::LoseReply).await;
            for _ in 0..if forgotten { 9 } else { 6 } {
                play.run(NEWEST, &[Op::Insert("a")]).await;
            }
            let log = play.end(counting).await;
            let expected = if forgotten {
                Err(SessionErrorKind::Indeterminate)
            } else {
                Ok(Answer::Number(2))
            };
            assert_eq!(log.results, [expected]);
        });
    }
}

#[test]
fn a_lost_answer_of_a_write_that_was_lost_too_is_written_once() {
    play(async |play| {
        play.run(NEW, &[Op::Incr("n", 1)]).await;
        let counting = play.begin(NEWEST, &[Op::Incr("n", 1)]).await;
        play.answer(counting).await;
        play.release(counting, Release::LoseCall).await;
        let log = play.end(counting).await;
        assert_eq!(log.results, [Ok(Answer::Number(2))]);
        play.deliver_all().await;
    });
}

#[test]
fn a_login_whose_answer_is_lost_is_done_and_not_stale() {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        let login = play
            .begin(NEWEST, &[Op::Get("a"), Op::BeginLogin("ada"), Op::Login])
            .await;
        for _ in 0..4 {
            play.answer(login).await;
        }
        play.release(login, Release::LoseReply).await;
        let log = play.end(login).await;
        assert_eq!((status(&log), cookies(&log)), (200, 1));
    });
}

#[test]
fn a_write_at_once_that_meets_its_own_mark_under_a_login_stays_before_the_login() {
    play(async |play| {
        play.run(NEW, &[Op::Incr("n", 1)]).await;
        let slow = [Op::Incr("n", 1), Op::User, Op::Insert("a")];
        let slow = play.begin(NEWEST, &slow).await;
        play.answer(slow).await;
        play.release(slow, Release::LoseReply).await;
        play.run(NEWEST, &[Op::BeginLogin("ada"), Op::Login]).await;
        let log = play.end(slow).await;
        assert_eq!(
            log.results[..2],
            [Ok(Answer::Number(2)), Ok(Answer::User(None))]
        );
        assert_eq!(status(&log), 401);
    });
}

#[test]
fn a_write_that_meets_a_login_or_an_end_is_lost_with_its_session() {
    let ends = [
        &[Op::BeginLogin("ada"), Op::Login][..],
        &[Op::Renew],
        &[Op::Destroy],
    ];
    for end in ends {
        play(async |play| {
            play.run(NEW, &[Op::Insert("a")]).await;
            let slow = play.begin(NEWEST, &[Op::Insert("b")]).await;
            play.answer(slow).await;
            play.run(NEWEST, end).await;
            let log = play.end(slow).await;
            assert_eq!((status(&log), cookies(&log)), (401, 0));
        });
    }
}

#[test]
fn a_strict_commit_is_refused_if_anyone_wrote_since_the_load() {
    for (others, expected) in [(&[Op::Insert("a")][..], 409), (&[Op::Get("a")], 200)] {
        play(async |play| {
            play.run(NEW, &[Op::Insert("a")]).await;
            let mut strict = Request::new(NEWEST, [Op::Insert("b")]);
            strict.route.is_strict = true;
            let strict = play.work(strict.into()).await;
            play.answer(strict).await;
            // What only moves its end is no commit.
            play.pass(61).await;
            play.run(NEWEST, others).await;
            let log = play.end(strict).await;
            assert_eq!(status(&log), expected);
        });
    }
}

#[test]
fn nothing_of_a_handler_that_failed_is_written_but_what_it_wrote_at_once() {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a"), Op::Incr("n", 1)]).await;
        let ops = [
            Op::Incr("n", 1),
            Op::Insert("b"),
            Op::BeginLogin("ada"),
            Op::Login,
        ];
        let mut failing = Request::new(NEWEST, ops);
        failing.status = 500;
        let failing = play.work(failing.into()).await;
        assert_eq!(cookies(&play.end(failing).await), 0);
        let log = play
            .run(NEWEST, &[Op::Get("b"), Op::User, Op::Incr("n", 1)])
            .await;
        let expected = [Answer::Value(None), Answer::User(None), Answer::Number(3)];
        assert_eq!(log.results, expected.map(Ok));
    });
}

#[test]
fn nothing_comes_back_when_even_the_tombstone_is_gone() {
    for op in [Op::Insert("b"), Op::Incr("n", 1), Op::Get("a")] {
        play(async |play| {
            play.run(NEW, &[Op::Insert("a"), Op::Incr("n", 1)]).await;
            // A slide is due as well.
            play.pass(61).await;
            let slow = play.begin(NEWEST, &[op]).await;
            play.answer(slow).await;
            play.run(NEWEST, &[Op::Destroy]).await;
            play.pass(61).await;
            play.end(slow).await;
            let log = play.run(NEWEST, &[Op::Get("a")]).await;
            assert_eq!(log.results, [Ok(Answer::Value(None))]);
        });
    }
}

#[test]
fn of_a_session_that_ended_a_moment_ago_nothing_is_begun_by_an_ordinary_write() {
    for (seconds, expected) in [(0, (401, 0)), (58, (401, 0)), (61, (200, 1))] {
        play(async |play| {
            play.run(NEW, &[Op::Insert("a")]).await;
            play.run(NEWEST, &[Op::Destroy]).await;
            play.pass(seconds).await;
            let log = play.run(NEWEST, &[Op::Insert("b")]).await;
            assert_eq!((status(&log), cookies(&log)), expected, "after {seconds} s");
        });
    }
}

#[test]
fn a_full_store_lets_go_of_what_it_cannot_mark_as_ended() {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        let ending = play.begin(NEWEST, &[Op::Destroy]).await;
        play.answer(ending).await;
        play.release(ending, Release::Refuse).await;
        let log = play.end(ending).await;
        assert_eq!(log.results, [Ok(Answer::Done)]);
    });
}

// === Time ===

#[test]
fn a_session_that_is_used_all_the_time_ends_all_the_same() {
    for op in [Op::Get("a"), Op::Insert("a")] {
        play(async |play| {
            play.run(NEW, &[Op::Insert("a")]).await;
            for _ in 0..11 {
                play.pass(300).await;
                let log = play.run(NEWEST, &[op, Op::Get("a")]).await;
                assert!(!matches!(log.results[1], Ok(Answer::Value(None))));
            }
            play.pass(301).await;
            let log = play.run(NEWEST, &[Op::Get("a")]).await;
            assert_eq!(log.results, [Ok(Answer::Value(None))]);
        });
    }
}

#[test]
fn a_write_that_is_under_way_for_long_does_not_lengthen_a_life() {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        for _ in 0..8 {
            play.pass(420).await;
            play.run(NEWEST, &[Op::Insert("a")]).await;
        }
        // Four minutes are left; this one comes three minutes late.
        let late = play.begin(NEWEST, &[Op::Insert("b")]).await;
        play.answer(late).await;
        play.pass(180).await;
        play.end(late).await;
        play.pass(90).await;
        let log = play.run(NEWEST, &[Op::Get("a")]).await;
        assert_eq!(log.results, [Ok(Answer::Value(None))]);
    });
}

#[test]
fn a_slide_waits_until_it_gains_enough() {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        play.pass(58).await;
        play.run(NEWEST, &[Op::Get("a")]).await;
        play.pass(2).await;
        play.run(NEWEST, &[Op::Get("a")]).await;
        play.run(NEWEST, &[Op::Get("a")]).await;
    });
}

#[test]
fn a_ticket_is_good_for_a_quarter_of_an_hour() {
    for (seconds, expected) in [(14 * 60, 200), (15 * 60, 401)] {
        play(async |play| {
            play.run(NEW, &[Op::BeginLogin("ada")]).await;
            play.pass(seconds).await;
            let log = play.run(NEW, &[Op::Login]).await;
            assert_eq!(status(&log), expected);
        });
    }
}

// === Secrets ===

#[test]
fn of_two_rotations_at_once_one_wins_and_the_other_still_writes() {
    play_in(ROTATING, async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        play.pass(301).await;
        let one = play.begin(NEWEST, &[Op::Insert("b")]).await;
        let other = play.begin(NEWEST, &[Op::Insert("c")]).await;
        for task in [one, other] {
            play.answer(task).await;
        }
        let log = play.end(one).await;
        assert_eq!((status(&log), cookies(&log)), (200, 1));
        let log = play.end(other).await;
        assert_eq!((status(&log), cookies(&log)), (200, 0));
        let log = play.run(NEWEST, &[Op::Get("b"), Op::Get("c")]).await;
        assert!(
            log.results
                .iter()
                .all(|read| !matches!(read, Ok(Answer::Value(None))))
        );
    });
}

#[test]
fn a_secret_works_for_half_a_minute_after_the_first_use_of_the_next_one() {
    for (seconds, works) in [(28, true), (31, false)] {
        play_in(ROTATING, async |play| {
            play.run(NEW, &[Op::Insert("a")]).await;
            play.pass(301).await;
            play.run(NEWEST, &[Op::Get("a")]).await;
            // Nobody has used the new one: the one before works for long, and replaces nothing.
            play.pass(200).await;
            let log = play.run(BEFORE, &[Op::Get("a")]).await;
            assert_eq!((log.results.len(), cookies(&log)), (1, 0));
            assert_ne!(log.results, [Ok(Answer::Value(None))]);
            play.run(NEWEST, &[Op::Get("a")]).await;
            play.pass(seconds).await;
            let log = play.run(BEFORE, &[Op::Get("a")]).await;
            assert_eq!(log.results != [Ok(Answer::Value(None))], works);
        });
    }
}

#[test]
fn a_write_at_once_across_a_rotation_is_not_the_first_use_of_the_new_secret() {
    play_in(ROTATING, async |play| {
        play.run(NEW, &[Op::Incr("n", 1)]).await;
        play.pass(301).await;
        let slow = play.begin(NEWEST, &[Op::Incr("n", 1)]).await;
        play.answer(slow).await;
        play.run(NEWEST, &[Op::Get("a")]).await;
        play.end(slow).await;
        play.pass(120).await;
        let log = play.run(BEFORE, &[Op::Incr("n", 1)]).await;
        assert_eq!(log.results, [Ok(Answer::Number(3))]);
    });
}

#[test]
fn another_users_login_takes_nothing_from_the_session_before() {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a"), Op::BeginLogin("bob"), Op::Login])
            .await;
        play.run(NEWEST, &[Op::BeginLogin("ada"), Op::Login]).await;
        let log = play.run(NEWEST, &[Op::Get("a"), Op::User]).await;
        let ada = Answer::User(Some("ada".into()));
        assert_eq!(log.results, [Ok(Answer::Value(None)), Ok(ada)]);
        let log = play.run(BEFORE, &[Op::Get("a")]).await;
        assert_eq!(log.results, [Ok(Answer::Value(None))]);
    });
}

#[test]
fn a_route_that_does_not_slide_keeps_no_session_alive_by_its_rotations() {
    play_in(ROTATING, async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        for seconds in [310, 310] {
            play.pass(seconds).await;
            let mut polling = Request::new(NEWEST, [Op::Get("a")]);
            polling.route.does_not_slide = true;
            let polling = play.work(polling.into()).await;
            play.end(polling).await;
        }
        let log = play.run(NEWEST, &[Op::Get("a")]).await;
        assert_eq!(log.results, [Ok(Answer::Value(None))]);
    });
}

// === Users ===

/// In every order of their calls; the tombstone goes before the login's last write, or does not.
#[test]
fn a_login_and_the_end_of_all_sessions_meet_in_every_order() {
    for (token, drawn) in [(NEW, true), (NEWEST, true), (NEWEST, false), (NEW, false)] {
        for pause in [0, 61] {
            for order in 0..1 << 6 {
                meet(token, drawn, pause, order);
            }
        }
    }
}

/// Bits tell who goes first between the login's calls.
fn meet(token: TokenChoice, drawn: bool, pause: u64, order: u32) {
    play(async |play| {
        play.run(NEW, &[Op::Insert("a")]).await;
        let login = if drawn {
            play.run(NEW, &[Op::BeginLogin("ada")]).await;
            play.begin(token, &[Op::Get("a"), Op::Login]).await
        } else {
            play.begin(token, &[Op::BeginLogin("ada"), Op::Login]).await
        };
        let mut end = None;
        for bit in 0..6 {
            if order >> bit & 1 == 0 {
                play.next(login).await;
            } else {
                let end = match end {
                    Some(end) => end,
                    None => *end.insert(play.work(Work::DestroyAll("ada")).await),
                };
                play.next(end).await;
                play.next(end).await;
            }
        }
        if let Some(end) = end {
            play.end(end).await;
        }
        if pause > 0 {
            play.pass(pause).await;
        }
        play.end(login).await;
    });
}

impl Play {
    /// Answers the next call of a task, if it makes one.
    async fn next(&mut self, task: TaskId) {
        if self.0.is_waiting(task) {
            self.answer(task).await;
        }
    }
}

#[test]
fn nobody_ends_a_session_of_another_user() {
    play(async |play| {
        play.run(NEW, &[Op::BeginLogin("ada"), Op::Login]).await;
        for (user, ended) in [("bob", false), ("ada", true)] {
            let log = play.run(NEWEST, &[Op::EndAs(user)]).await;
            assert_eq!(log.results, [Ok(Answer::Ended(ended))]);
        }
    });
}

#[test]
fn the_oldest_session_makes_room_for_a_new_one() {
    let family = FamilyShape {
        rotates: false,
        most: Some(2),
    };
    play_in(family, async |play| {
        for _ in 0..3 {
            play.run(NEW, &[Op::Insert("a"), Op::BeginLogin("ada"), Op::Login])
                .await;
        }
        for (token, is_there) in [(0, true), (1, true), (2, false)] {
            let log = play.run(TokenChoice::Issued(token), &[Op::Get("a")]).await;
            assert_eq!(
                log.results != [Ok(Answer::Value(None))],
                is_there,
                "{token}"
            );
        }
    });
}
