//! What was seen of a schedule, against what is promised: a function for each promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tower_stash::backend::Precondition;

use super::{
    Verdict,
    ledger::{Run, short},
    network::Write,
    record::Stored,
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

    fn count_lives(&self) -> Verdict<Vec<usize>> {
        let mut life = 0;
        let mut lives = vec![0];
        for pair in self.writes.windows(2) {
            if pair[1].precondition == Precondition::Absent {
                let removals = &self.seen.history.removals;
                match removals
                    .iter()
                    .find(|removal| removal.version == pair[0].version)
                {
                    Some(removal) if removal.is_by_hand => life += 1,
                    Some(_) => {}
                    None => {
                        self.was_kept_long_enough(pair[0], pair[1])?;
                        life += 1;
                    }
                }
            }
            lives.push(life);
        }
        Ok(lives)
    }

    fn was_kept_long_enough(&self, gone: &Write, next: &Write) -> Verdict {
        // By the store's clock, which may be set back, or by when that was heard of.
        let by_the_store = Duration::from_micros(next.version - gone.version);
        let kept = by_the_store.max(next.at.saturating_duration_since(gone.at));
        let kept = kept + self.seen.schedule.pace.slack;
        claim(kept >= self.rule(gone.request).retention, || {
            format!("{} is kept for {kept:?} only", self.name(gone))
        })
    }

    /// S1.
    fn one_start_for_each_fence(&self) -> Verdict {
        for pair in self.runs.windows(2) {
            claim(pair[0].fence != pair[1].fence, || {
                let (one, other) = (pair[0].request, pair[1].request);
                format!("S1: r{one} and r{other} start with one fence")
            })?;
        }
        for run in &self.runs {
            let claimed = self.claim_of(run);
            claim(
                claimed.is_some_and(|write| write.request == run.request),
                || {
                    format!(
                        "S1: r{} runs with a fence that no claim of its own has",
                        run.request
                    )
                },
            )?;
        }
        Ok(())
    }

    /// S2.
    fn no_two_at_a_time(&self) -> Verdict {
        match &self.seen.overlap {
            Some(overlap) => Err(format!("S2: {overlap}")),
            None => Ok(()),
        }
    }

    /// S3, S5 and S6, of the record: what is there after a write, if not after a gap.
    fn each_write_may_follow_the_one_before(&self) -> Verdict {
        for pair in self.writes.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let (old, new) = (&before.record, &after.record);
            let removals = &self.seen.history.removals;
            let is_gone = removals
                .iter()
                .any(|removal| removal.version == before.version);
            if is_gone || after.precondition == Precondition::Absent {
                continue;
            }
            let name = || format!("{} is replaced by {}", self.name(before), self.name(after));
            claim(old.state != 'C', || format!("S3: {}", name()))?;
            claim(old.fingerprint == new.fingerprint, || {
                format!("S4: {}", name())
            })?;
            if old.owner == new.owner {
                let is_same = old.epoch(before.version) == new.epoch(after.version);
                claim(is_same && old.state == 'P', || format!("S5: {}", name()))?;
            } else {
                let is_claim = new.state == 'P' && new.epoch == 0;
                let is_next = new.attempt == old.attempt + 1;
                claim(is_claim && is_next, || format!("S6: {}", name()))?;
            }
        }
        Ok(())
    }

    /// S6, of the record: it is removed only if nothing was done.
    fn what_was_begun_is_not_forgotten(&self) -> Verdict {
        for removal in &self.seen.history.removals {
            let removed = self
                .writes
                .iter()
                .find(|write| write.version == removal.version);
            let Some(removed) = removed else {
                return Err("something is removed that nobody wrote".into());
            };
            let fence = removed.record.epoch(removed.version);
            let mut runs = self.runs.iter().filter(|run| run.fence == fence);
            let nothing_was_done = runs.all(|run| self.meaning(run) == Meaning::NotExecuted);
            let is_first = removed.record.state == 'P' && removed.record.attempt == 1;
            claim(nothing_was_done && is_first, || {
                format!("S6: {} is removed, whose handler began", self.name(removed))
            })?;
        }
        Ok(())
    }

    /// S3, of the answers: what leaves is recorded, or of a rule that lets it leave all the same.
    fn results_are_recorded(&self) -> Verdict {
        for (answer, result) in self.results() {
            let name = format!("the answer of r{}", answer.request);
            let run = self.run_of(result)?;
            let is_own = run.request == answer.request;
            if result.is_unrecorded {
                let may_leave = self.rule(answer.request).answers_unrecorded();
                claim(is_own && may_leave, || {
                    format!("S3: {name} leaves unrecorded")
                })?;
                continue;
            }
            if self.meaning(run) != Meaning::Final {
                claim(is_own && !result.is_replay, || {
                    format!("S3: {name} was to be tried again, and is given to another")
                })?;
                continue;
            }
            claim(is_own || result.is_replay, || {
                format!("{name} is no replay, and another's")
            })?;
            let mut completed = self.writes.iter().filter(|write| {
                let record = &write.record;
                record.state == 'C' && record.epoch(write.version) == result.fence
            });
            let recorded = completed.find(|write| write.at <= answer.at);
            let Some(recorded) = recorded else {
                return Err(format!("S3: {name} leaves, and is not recorded"));
            };
            let stored = recorded.record.answer();
            let fence = stored.headers.iter().find(|(name, _)| name == "x-fence");
            let is_whole = !recorded.record.has(Stored::NOT_REPLAYABLE);
            let is_same = if is_whole {
                stored.status == result.status
                    && stored.body == result.body
                    && fence.is_some_and(|(_, fence)| *fence == result.fence.to_string().as_bytes())
            } else {
                stored.status == result.status && is_own && !result.is_replay
            };
            claim(is_same, || {
                format!("S3: {name} is not what is recorded: {stored:?}")
            })?;
        }
        Ok(())
    }

    /// S3: in each life of a key at most one answer leaves.
    fn one_result(&self) -> Verdict {
        let mut results = BTreeMap::<usize, &Answered>::new();
        for (answer, result) in self.results() {
            let run = self.run_of(result)?;
            if self.meaning(run) != Meaning::Final {
                continue;
            }
            let first = results.entry(self.life_of(run)).or_insert(result);
            let is_same = first.fence == result.fence
                && first.status == result.status
                && first.body == result.body;
            claim(is_same, || {
                let one = short(first.fence);
                format!(
                    "S3: r{} gets another answer than that of {one}",
                    answer.request
                )
            })?;
        }
        Ok(())
    }

    /// S4.
    fn nobody_gets_another_request_s_answer(&self) -> Verdict {
        for (answer, result) in self.results() {
            let run = self.run_of(result)?;
            let (asked, given) = (self.body(answer.request), self.body(run.request));
            claim(asked == given, || {
                format!("S4: r{} asks for {asked} and gets {given}", answer.request)
            })?;
        }
        for answer in &self.seen.answers {
            let What::Problem(_, word) = &answer.what else {
                continue;
            };
            let asked = self.body(answer.request);
            let mut earlier = self.writes.iter().filter(|write| write.at <= answer.at);
            let is_of_such = match word.as_str() {
                "key-reused" => earlier.any(|write| self.body(write.request) != asked),
                "in-progress" | "not-replayable" => {
                    earlier.any(|write| self.body(write.request) == asked)
                }
                _ => continue,
            };
            claim(is_of_such, || {
                format!("S4: r{} is told {word}, for {asked}", answer.request)
            })?;
        }
        Ok(())
    }

    /// S5.
    fn fences_rise(&self) -> Verdict {
        for run in &self.runs {
            for later in &self.runs {
                let answer = self
                    .seen
                    .answers
                    .iter()
                    .find(|a| a.request == later.request);
                let is_later = answer.is_some_and(|answer| answer.sent > run.began);
                claim(!is_later || later.fence > run.fence, || {
                    format!(
                        "S5: r{} has a fence below that of r{}",
                        later.request, run.request
                    )
                })?;
            }
        }
        Ok(())
    }

    /// S6.
    fn attempts_rise(&self) -> Verdict {
        for (place, run) in self.runs.iter().enumerate() {
            let before = self.runs.iter().take(place);
            for earlier in before.filter(|earlier| self.life_of(earlier) == self.life_of(run)) {
                let did_nothing = self.meaning(earlier) == Meaning::NotExecuted;
                claim(did_nothing || earlier.attempt < run.attempt, || {
                    let (one, other) = (earlier.request, run.request);
                    format!("S6: r{other} is not told that r{one} ran")
                })?;
            }
        }
        Ok(())
    }

    /// S7.
    fn never_is_once(&self) -> Verdict {
        for (place, run) in self.runs.iter().enumerate() {
            let before = self.runs.iter().take(place);
            let before = before.filter(|earlier| self.life_of(earlier) == self.life_of(run));
            let before: Vec<_> = before.collect();
            let forbids = before
                .iter()
                .filter(|earlier| self.rule(earlier.request).is_never());
            let last = before.last().filter(|_| self.rule(run.request).is_never());
            for earlier in forbids.chain(last) {
                let may_run_again = self.meaning(earlier) != Meaning::Final
                    && earlier.ended.is_some_and(|ended| ended <= run.began);
                claim(may_run_again, || {
                    let (one, other) = (earlier.request, run.request);
                    format!("S7: r{other} runs after r{one}")
                })?;
            }
        }
        Ok(())
    }

    /// Who is told that it was not processed may send it again.
    fn who_was_refused_did_not_run(&self) -> Verdict {
        let refused = self.seen.answers.iter().filter(|answer| {
            matches!(&answer.what, What::Problem(_, word) if word == "unavailable" || word == "key-reused")
        });
        let refused: BTreeSet<_> = refused.map(|answer| answer.request).collect();
        let ran = self.runs.iter().find(|run| refused.contains(&run.request));
        claim(ran.is_none(), || {
            format!("it was refused, and runs: {:?}", ran.map(|run| run.request))
        })
    }

    fn everybody_is_answered(&self) -> Verdict {
        let waiting = &self.seen.unanswered;
        claim(waiting.is_empty(), || {
            format!("L1: requests {waiting:?} wait for ever")
        })
    }

    /// L1 and L2.
    fn a_clean_request_settles(&self) -> Verdict {
        for request in self.seen.before_doom..self.seen.schedule.requests.len() {
            let answer = self
                .seen
                .answers
                .iter()
                .find(|answer| answer.request == request);
            let is_settled = answer.is_some_and(|answer| {
                !matches!(&answer.what, What::Problem(_, word) if word == "in-progress" || word == "unavailable")
            });
            claim(is_settled, || {
                let got = answer.map(|answer| &answer.what);
                format!("L1: after all are dead, r{request} gets {got:?}")
            })?;
        }
        Ok(())
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

    fn name(&self, write: &Write) -> String {
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
}

fn is_final(rule: &RuleShape, status: u16) -> bool {
    use tower_stash::idempotency::StorePolicy;
    match rule.store {
        StorePolicy::Executed => true,
        StorePolicy::SuccessOnly => status < 400,
        StorePolicy::Settled => status < 500 && status != 429,
    }
}

fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
