//! What is promised of the answers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Meaning, Story, Verdict, claim};
use crate::schedules::{
    ledger::short,
    record::Stored,
    stage::{Answered, What},
};

impl Story<'_> {
    /// S3, of the answers: what leaves is recorded, or of a rule that lets it leave all the same.
    pub(super) fn results_are_recorded(&self) -> Verdict {
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
    pub(super) fn one_result(&self) -> Verdict {
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
    pub(super) fn nobody_gets_another_request_s_answer(&self) -> Verdict {
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

    /// Who is told that it was not processed may send it again.
    pub(super) fn who_was_refused_did_not_run(&self) -> Verdict {
        let refused = self.seen.answers.iter().filter(|answer| {
            matches!(&answer.what, What::Problem(_, word) if word == "unavailable" || word == "key-reused")
        });
        let refused: BTreeSet<_> = refused.map(|answer| answer.request).collect();
        let ran = self.runs.iter().find(|run| refused.contains(&run.request));
        claim(ran.is_none(), || {
            format!("it was refused, and runs: {:?}", ran.map(|run| run.request))
        })
    }

    pub(super) fn everybody_is_answered(&self) -> Verdict {
        let waiting = &self.seen.unanswered;
        claim(waiting.is_empty(), || {
            format!("L1: requests {waiting:?} wait for ever")
        })
    }

    /// L1 and L2.
    pub(super) fn a_clean_request_settles(&self) -> Verdict {
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
}
