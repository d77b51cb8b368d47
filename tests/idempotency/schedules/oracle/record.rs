//! What is promised of the record.

use std::time::Duration;

use tower_stash::backend::Precondition;

use super::{Meaning, Story, Verdict, claim, name};
use crate::schedules::network::Write;

impl Story<'_> {
    /// Which life of the key each write is in.
    pub(super) fn count_lives(&self) -> Verdict<Vec<usize>> {
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
            format!("{} is kept for {kept:?} only", name(gone))
        })
    }

    /// S3, S5 and S6, of the record: what is there after a write, if not after a gap.
    pub(super) fn each_write_may_follow_the_one_before(&self) -> Verdict {
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
            let words = || format!("{} is replaced by {}", name(before), name(after));
            claim(old.state != 'C', || format!("S3: {}", words()))?;
            claim(old.fingerprint == new.fingerprint, || {
                format!("S4: {}", words())
            })?;
            if old.owner == new.owner {
                let epoch = old.epoch(before.version);
                // A claim that was not heard of may be made anew, as long as nothing has begun.
                let has_begun = self.runs.iter().any(|run| run.fence == epoch);
                let is_same = epoch == new.epoch(after.version) || (new.epoch == 0 && !has_begun);
                claim(is_same && old.state == 'P', || format!("S5: {}", words()))?;
            } else {
                let is_claim = new.state == 'P' && new.epoch == 0;
                let is_next = new.attempt == old.attempt + 1;
                claim(is_claim && is_next, || format!("S6: {}", words()))?;
            }
        }
        Ok(())
    }

    /// S6, of the record: it is removed only if nothing was done.
    pub(super) fn what_was_begun_is_not_forgotten(&self) -> Verdict {
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
                format!("S6: {} is removed, whose handler began", name(removed))
            })?;
        }
        Ok(())
    }
}
