//! What is promised of the handlers' runs.

use super::{Meaning, Story, Verdict, claim};

impl Story<'_> {
    /// S1.
    pub(super) fn one_start_for_each_fence(&self) -> Verdict {
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
    pub(super) fn no_two_at_a_time(&self) -> Verdict {
        match &self.seen.overlap {
            Some(overlap) => Err(format!("S2: {overlap}")),
            None => Ok(()),
        }
    }

    /// S5.
    pub(super) fn fences_rise(&self) -> Verdict {
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
    pub(super) fn attempts_rise(&self) -> Verdict {
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

    /// S7: where either rule says never, each run before has said that it may be again.
    pub(super) fn never_is_once(&self) -> Verdict {
        for (place, run) in self.runs.iter().enumerate() {
            let before = self.runs.iter().take(place);
            let before = before.filter(|earlier| self.life_of(earlier) == self.life_of(run));
            for earlier in before {
                let rules = [self.rule(earlier.request), self.rule(run.request)];
                if !rules.iter().any(|rule| rule.is_never()) {
                    continue;
                }
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
}
