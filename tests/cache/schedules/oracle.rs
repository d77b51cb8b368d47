//! What was seen of a schedule, against what is promised: a function for each promise.

use std::{collections::BTreeMap, time::Duration};

use tower_stash::cache::{Coalescing, OutcomeKind};

use super::{
    Verdict,
    origin::{Failed, Made},
    schedule::{Ends, Who},
    stage::{Answer, Answered, Purged, Seen},
};

/// Kinds of things that were seen, and how often.
pub(crate) type Sights = BTreeMap<String, usize>;

/// What of all that was seen must not be; or else what kinds of things were seen.
pub(super) fn look(seen: &Seen) -> Verdict<Sights> {
    for answer in &seen.answers {
        let said = |why: String| format!("{why}\n{answer:?}");
        seen.is_whole(answer).map_err(said)?;
        seen.is_for_whom_it_is(answer).map_err(said)?;
        seen.is_not_purged(answer).map_err(said)?;
        seen.is_in_time(answer).map_err(said)?;
    }
    seen.everybody_is_answered()?;
    seen.is_cached_in_quiet()?;
    seen.leaves_nothing()?;
    Ok(seen.sights())
}

impl Seen {
    /// (a) Each answer is one that the handler made for that URL, all of it.
    fn is_whole(&self, answer: &Answer) -> Verdict {
        let Ok(answered) = &answer.what else {
            let made_an_error =
                |made: &Made| made.request == answer.request && made.behaviour.ends == Ends::Error;
            let is_its = self.made.iter().any(made_an_error);
            return ensure(is_its, "whole: an error that the handler did not make");
        };
        if answer.is_post && answered.status == 204 {
            return Ok(());
        }
        let made = self.made_of(answered)?;
        let ends = made.behaviour.ends;
        let is_failure = ends == Ends::Unavailable;
        ensure(
            answered.status == if is_failure { 503 } else { 200 },
            "whole: another status than the handler's",
        )?;
        ensure(
            made.page == answer.getting.page,
            "whole: it is of another page",
        )?;
        if let Some(language) = &made.language {
            ensure(
                language == answer.getting.language,
                "whole: it is in another language",
            )?;
        }
        if is_failure {
            return ensure(made.request == answer.request, "whole: another's failure");
        }
        if made.request == answer.request && ends == Ends::BrokenBody {
            return ensure(
                answered.is_broken,
                "whole: it broke off, and nobody said so",
            );
        }
        ensure(!answered.is_broken, "whole: it broke off")?;
        ensure(answered.body == made.body, "whole: the body is another one")
    }

    /// (b) Nobody gets what was made for another.
    fn is_for_whom_it_is(&self, answer: &Answer) -> Verdict {
        let Some(made) = self.stored(answer)? else {
            return Ok(());
        };
        ensure(!made.is_for_one(), "private: it was made for another")?;
        let is_allowed = answer.getting.who != Who::Authorized || made.is_public;
        ensure(is_allowed, "private: not for requests with Authorization")
    }

    /// (c) What was purged is not used any more.
    fn is_not_purged(&self, answer: &Answer) -> Verdict {
        let Ok(answered) = &answer.what else {
            return Ok(());
        };
        if answer.is_post || answered.call.is_none() {
            return Ok(());
        }
        let made = self.made_of(answered)?;
        for purged in self.purges.iter().filter(|purged| !purged.is_soft) {
            let Some(valid) = purged.versions[made.page] else {
                continue;
            };
            let is_heeded = self.is_heeded(purged, answer)
                || (made.request != answer.request && self.is_heeded_in_use(purged, answer));
            if is_heeded && made.version < valid {
                let wrong = "purged: it is older than what was purged";
                return Err(format!("{wrong}, version {} of {purged:?}", made.version));
            }
        }
        for write in &self.writes {
            let post = self
                .answers
                .iter()
                .find(|other| other.request == write.request);
            // One that nobody waited for may go unheeded.
            let Some(post) = post else { continue };
            let is_here = post.getting.instance == answer.getting.instance;
            let until = if is_here && self.set_back_is_none() {
                post.head.at
            } else if self.schedule.is_faultless() {
                post.head.at + MAX_AGE
            } else {
                post.head.at + RETRIED + self.schedule.set_back()
            };
            let is_heeded = post.head < answer.sent && until < answer.sent.at + EQUAL;
            let is_its = post.getting.page == made.page;
            if is_heeded && is_its && made.version < write.version {
                return Err(format!("written: it is older than the write {write:?}"));
            }
        }
        Ok(())
    }

    fn is_heeded(&self, purged: &Purged, answer: &Answer) -> bool {
        if purged.instance == answer.getting.instance || self.schedule.is_strict {
            return purged.done < answer.sent;
        }
        purged.done.at + MAX_AGE < answer.sent.at
    }

    /// The same for one who came before the purge, and was given what was stored after it.
    fn is_heeded_in_use(&self, purged: &Purged, answer: &Answer) -> bool {
        let is_here = purged.instance == answer.getting.instance || self.schedule.is_strict;
        let heeded_after = if is_here { Duration::ZERO } else { MAX_AGE };
        purged.done.at + heeded_after + LOOK < answer.head.at
    }

    fn set_back_is_none(&self) -> bool {
        self.schedule.set_back().is_zero()
    }

    /// (d) Nobody waits longer than the handler takes and a little.
    fn is_in_time(&self, answer: &Answer) -> Verdict {
        // Its own, and those that others made meanwhile and it waited for.
        let meanwhile = self.made.iter().filter(|made| {
            made.page == answer.getting.page
                && made.began.at <= answer.head.at
                && made.began.at + made.behaviour.takes >= answer.sent.at
        });
        let handled: Duration = meanwhile.map(|made| made.behaviour.takes).sum();
        let waited = (answer.head.at - answer.sent.at).saturating_sub(handled);
        let is_in_time = waited <= LONGEST_WAIT;
        ensure(
            is_in_time,
            &format!("time: it took {waited:?} besides the handler"),
        )
    }

    fn everybody_is_answered(&self) -> Verdict {
        let unanswered = &self.unanswered;
        let all = unanswered.is_empty();
        ensure(
            all,
            &format!("answers: none for the requests {unanswered:?}"),
        )
    }

    /// (e) When all is quiet there is about one call for each time that a response is fresh.
    fn is_cached_in_quiet(&self) -> Verdict {
        let each = match self.schedule.coalescing {
            Coalescing::Fleet => 1,
            _ => 2,
        };
        let most = 2 * each;
        let calls = self.quiet_calls;
        ensure(
            calls <= most,
            &format!("quiet: {calls} calls, which is more than {most}"),
        )
    }

    /// (f) Nothing goes on, and nothing stays for ever.
    fn leaves_nothing(&self) -> Verdict {
        let left = self.tasks_left;
        ensure(left == 0, &format!("rest: {left} tasks are left"))?;
        let life = self.longest_life;
        ensure(
            life <= LONGEST_LIFE,
            &format!("rest: something lives {life:?}"),
        )
    }

    /// The call that made what came from the store, or was another's.
    fn stored(&self, answer: &Answer) -> Verdict<Option<&Made>> {
        let Ok(answered) = &answer.what else {
            return Ok(None);
        };
        if answer.is_post {
            return Ok(None);
        }
        let made = self.made_of(answered)?;
        Ok((made.request != answer.request).then_some(made))
    }

    fn made_of(&self, answered: &Answered) -> Verdict<&Made> {
        let made = answered.call.and_then(|call| self.made.get(call));
        made.ok_or_else(|| "whole: nobody made it".into())
    }

    fn sights(&self) -> Sights {
        let mut sights = Sights::new();
        let troubled = self
            .answers
            .iter()
            .filter(|answer| answer.request < self.first_quiet);
        for answer in troubled {
            let sight = match &answer.what {
                Ok(answered) => answered.kind.map_or("none", OutcomeKind::as_str),
                Err(Failed) => "an error",
            };
            *sights.entry(sight.into()).or_default() += 1;
        }
        let calls = self
            .made
            .iter()
            .filter(|made| made.request < self.first_quiet);
        *sights.entry("a call".into()).or_default() += calls.count();
        *sights.entry("a purge".into()).or_default() += self.purges.len();
        *sights.entry("a write".into()).or_default() += self.writes.len();
        sights
    }
}

fn ensure(is_so: bool, otherwise: &str) -> Verdict {
    if is_so { Ok(()) } else { Err(otherwise.into()) }
}

/// How late an instance may heed another's purges.
const MAX_AGE: Duration = Duration::from_secs(2);

/// How long the purge of a write is tried again, and a little.
const RETRIED: Duration = Duration::from_secs(36);

/// How long an answer takes from the store, from when it was last asked what was purged.
const LOOK: Duration = Duration::from_millis(500);

const EQUAL: Duration = Duration::from_nanos(1);

/// Three seconds for another's fetch, and a few calls to the backend.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Of stamps.
const LONGEST_LIFE: Duration = Duration::from_secs(26 * 3_600);
