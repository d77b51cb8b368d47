//! What was seen of a schedule, against what is promised: a function for each promise.

mod answers;
mod record;
mod runs;

use std::collections::BTreeMap;

use tower_stash::idempotency::StorePolicy;

use super::{
    Verdict,
    ledger::{Run, short},
    network::Write,
    schedule::{Ends, RuleShape, Sending},
    stage::{Answer, Answered, Seen, What},
};

/// What of all that was seen must not be; or else what kinds of things were seen.
pub(super) fn look(seen: &Seen) -> Verdict<Sights> {
    let story = Story::of(seen)?;
    let mut verdicts = vec![
        story.one_start_for_each_fence(),
        story.nobody_gets_another_request_s_answer(),
        story.fences_rise(),
        story.each_write_may_follow_the_one_before(),
        story.who_was_refused_did_not_run(),
        story.everybody_is_answered(),
        story.a_clean_request_settles(),
        story.results_are_recorded(),
    ];
    // A record that is lost is as one that never was.
    if !seen.schedule.loses_records() {
        verdicts.extend([
            story.no_two_at_a_time(),
            story.what_was_begun_is_not_forgotten(),
            story.one_result(),
            story.attempts_rise(),
            story.never_is_once(),
        ]);
    }
    let wrong: Vec<_> = verdicts.into_iter().filter_map(Verdict::err).collect();
    if wrong.is_empty() {
        Ok(story.sights())
    } else {
        Err(wrong.join("\n"))
    }
}

/// Kinds of things that were seen, and how often.
pub(crate) type Sights = BTreeMap<String, usize>;

/// What was seen, in order.
struct Story<'a> {
    seen: &'a Seen,
    /// All writes, by version.
    writes: Vec<&'a Write>,
    /// Which life of the key each of them is in: one ends when its record is lost, or its time is over.
    lives: Vec<usize>,
    /// By fence.
    runs: Vec<&'a Run>,
}

/// What an end says of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Final,
    Retryable,
    NotExecuted,
}

impl<'a> Story<'a> {
    fn of(seen: &'a Seen) -> Verdict<Self> {
        let mut writes: Vec<_> = seen.history.writes.iter().collect();
        writes.sort_by_key(|write| write.version);
        let mut runs: Vec<_> = seen.runs.iter().collect();
        runs.sort_by_key(|run| run.fence);
        let mut story = Self {
            seen,
            writes,
            lives: Vec::new(),
            runs,
        };
        story.lives = story.count_lives()?;
        Ok(story)
    }

    fn sights(&self) -> Sights {
        let answers = self.seen.answers.iter().map(|answer| match &answer.what {
            What::Result(result) if result.is_unrecorded => "an unrecorded answer".into(),
            What::Result(result) if result.is_replay => "a replay".into(),
            What::Result(_) => "an answer".into(),
            What::Problem(_, word) => word.clone(),
            What::Error => "an error".into(),
        });
        let runs = self.runs.iter().map(|run| match run.attempt {
            1 => "a first attempt".into(),
            2 => "a second attempt".into(),
            _ => "a later attempt".into(),
        });
        let lives = self.lives.windows(2).filter(|pair| pair[0] != pair[1]);
        let lives = lives.map(|_| "a new life".into());
        let mut sights = Sights::new();
        for sight in answers.chain(runs).chain(lives) {
            *sights.entry(sight).or_default() += 1;
        }
        let zombies = self.runs.iter().filter(|run| {
            run.ended.is_some_and(|ended| {
                self.runs
                    .iter()
                    .any(|other| other.fence > run.fence && other.began < ended)
            })
        });
        sights.insert("a handler that ends late".into(), zombies.count());
        sights
    }

    // === What is asked above ===

    fn results(&self) -> impl Iterator<Item = (&'a Answer, &'a Answered)> {
        self.seen
            .answers
            .iter()
            .filter_map(|answer| match &answer.what {
                What::Result(result) => Some((answer, result)),
                _ => None,
            })
    }

    fn run_of(&self, result: &Answered) -> Verdict<&'a Run> {
        let run = self.runs.iter().find(|run| run.fence == result.fence);
        run.copied()
            .ok_or_else(|| "an answer that nobody gave".into())
    }

    /// The write that brought the run's fence in.
    fn claim_of(&self, run: &Run) -> Option<&'a Write> {
        let mut writes = self.writes.iter();
        let claimed = writes.find(|write| write.version == run.fence && write.record.epoch == 0);
        claimed.copied()
    }

    fn life_of(&self, run: &Run) -> usize {
        let place = self
            .writes
            .iter()
            .position(|write| write.version == run.fence);
        place.map_or(0, |place| self.lives[place])
    }

    fn meaning(&self, run: &Run) -> Meaning {
        let rule = self.rule(run.request);
        match self.sending(run.request).ends {
            // Who was stopped before did not say so.
            Ends::NotExecuted(_) if run.ended.is_some() => Meaning::NotExecuted,
            Ends::Status(status) if !is_final(rule, status) => Meaning::Retryable,
            Ends::BrokenBody | Ends::Error | Ends::Panic if !rule.is_never() => Meaning::Retryable,
            _ => Meaning::Final,
        }
    }

    fn sending(&self, request: usize) -> &'a Sending {
        &self.seen.schedule.requests[request]
    }

    fn body(&self, request: usize) -> &'static str {
        self.sending(request).body
    }

    fn rule(&self, request: usize) -> &'a RuleShape {
        &self.seen.schedule.rules[self.sending(request).instance]
    }
}

fn name(write: &Write) -> String {
    let Write {
        record,
        request,
        version,
        ..
    } = write;
    format!(
        "{}{} of r{request}, {}",
        record.state,
        record.attempt,
        short(*version)
    )
}

fn is_final(rule: &RuleShape, status: u16) -> bool {
    match rule.store {
        StorePolicy::Executed => true,
        StorePolicy::SuccessOnly => status < 400,
        StorePolicy::Settled => status < 500 && status != 429,
        unknown => panic!("no oracle for {unknown:?}"),
    }
}

fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
