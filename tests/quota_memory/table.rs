//! The table in the documentation of `Quota`, a test for each row: the bound is kept by a client
//! that takes whatever it can get, and it is reached.

use std::time::Duration;

use tower_stash::{
    backend::{Acquire, Quota, Take},
    clock::{Clock as _, Timestamp},
};

use crate::memory::{MILLISECOND, Memory, request};

#[test]
fn row_log() {
    let row = Row::of(Quota::log(N, WINDOW));
    assert_eq!(row.most_in_any_window(), N);
    assert_eq!(row.sustained_over(100 * WINDOW), 100 * N);
    row.is_full_again_after(W);
}

#[test]
fn row_buckets() {
    let row = Row::of(Quota::buckets(N, WINDOW, 20));
    assert_eq!(row.most_in_any_window(), N);
    assert_eq!(row.sustained_over(105 * WINDOW), 100 * N);
    row.is_full_again_after(W + W / 20);
}

#[test]
fn row_token_bucket() {
    let row = Row::of(Quota::token_bucket(N, WINDOW));
    assert_eq!(row.most_in_any_window(), 2 * N - 1);
    assert_eq!(row.sustained_over(100 * WINDOW), N + 100 * N - 1);
    row.is_full_again_after(W);

    let burst = 25;
    let row = Row::of(Quota::token_bucket(N, WINDOW).with_burst(burst));
    assert_eq!(
        row.most_in_any_window(),
        burst + N - 1,
        "and one more a millisecond later"
    );
    row.is_full_again_after(burst * W / N);
}

#[test]
fn row_counter() {
    let row = Row::of(Quota::counter(N, WINDOW));
    assert_eq!(row.most_after(W - 1), 2 * N - 1);
    assert!(row.most_in_any_window() < 2 * N);
    assert!(row.sustained_over(100 * WINDOW) <= 101 * N);
    row.is_full_again_after(2 * W);
}

#[test]
fn row_fixed() {
    let row = Row::of(Quota::fixed(N, WINDOW));
    let rest = N - 1;
    assert_eq!(row.take(1), 1);
    row.pass(W - 1);
    assert_eq!(row.take(N), rest);
    row.pass(1);
    assert_eq!(row.take(N), N, "{} in two milliseconds", 2 * N - 1);
    assert_eq!(row.sustained_over(100 * WINDOW), 100 * N);
    row.is_full_again_after(W);
}

#[test]
fn row_fixed_aligned() {
    let row = Row::of(Quota::fixed_aligned(N, WINDOW));
    row.pass(W - 1);
    assert_eq!(row.take(N + 1), N);
    row.pass(1);
    assert_eq!(row.take(N + 1), N, "at once at an edge");
    assert_eq!(row.sustained_over(100 * WINDOW), 100 * N);
    row.is_full_again_after(W);
}

/// A limit on a backend of its own, at the edge of a window.
struct Row {
    memory: Memory,
    request: Acquire,
}

impl Row {
    fn of(quota: Quota) -> Self {
        let memory = Memory::new();
        memory.clock.set(Timestamp::from_millis(1_700_000_000 * W));
        let request = request(&[quota]).with_take(Take::UpTo);
        Self { memory, request }
    }

    fn take(&self, most: u64) -> u64 {
        self.memory
            .acquire(&self.request.clone().with_cost(most))
            .taken
    }

    fn pass(&self, millis: u64) {
        self.memory.clock.advance(Duration::from_millis(millis));
    }

    /// Takes all there is in each millisecond of some windows, and gives the most of any window.
    fn most_in_any_window(&self) -> u64 {
        self.greedy(5 * W)
    }

    /// The same, beginning so many milliseconds into a window.
    fn most_after(&self, millis: u64) -> u64 {
        self.wait_for_an_edge();
        self.pass(millis);
        self.greedy(2 * W)
    }

    fn greedy(&self, millis: u64) -> u64 {
        let mut taken: Vec<u64> = Vec::new();
        for _ in 0..millis {
            taken.push(self.take(10 * N));
            self.pass(1);
        }
        let window = usize::try_from(W).expect("a short window");
        taken
            .windows(window)
            .map(|window| window.iter().sum())
            .max()
            .unwrap_or(0)
    }

    /// How much is taken in this time, from a limit that is full at an edge.
    fn sustained_over(&self, time: Duration) -> u64 {
        self.wait_for_an_edge();
        let end = self.memory.clock.now() + time;
        let mut sum = 0;
        while self.memory.clock.now() < end {
            sum += self.take(10 * N);
            self.pass(5);
        }
        sum
    }

    /// Takes everything at an edge: so long, and no shorter, must it be left alone.
    fn is_full_again_after(&self, millis: u64) {
        self.wait_for_an_edge();
        let all = self.take(10 * N);
        self.pass(millis - 1);
        assert!(self.memory.look(&self.request).limits[0].reset.is_some());
        self.memory.clock.advance(MILLISECOND);
        let seen = self.memory.look(&self.request).limits[0];
        assert_eq!((seen.remaining, seen.reset), (all, None));
    }

    /// Waits until it is full, and an aligned window begins.
    fn wait_for_an_edge(&self) {
        self.pass(5 * W);
        let elapsed = self.memory.clock.now().as_millis() % W;
        self.pass(W - elapsed);
    }
}

const N: u64 = 10;

/// The window in milliseconds.
const W: u64 = 1_000;

const WINDOW: Duration = Duration::from_millis(W);
