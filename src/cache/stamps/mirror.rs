//! What a process knows of purges.

use std::time::Duration;

use hashlink::LinkedHashMap;

use super::{
    backend_time::BackendTime,
    journal::Journal,
    stamp::{Purge, Severity, StampState, Tag},
    tag_map::TagMap,
};
use crate::{
    backend::Version,
    clock::{Monotonic, Timestamp},
};

/// A process's copy of the stamps: every one after some time, and of older ones those that
/// were asked for.
///
/// All times of purges are raised by the skew between the backend's clocks before they are compared,
/// and a tie counts as purged: an extra miss.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Mirror {
    skew: Duration,
    /// The tag of all responses.
    everything: Tag,
    time: BackendTime,
    /// The last state of the journal that is known here.
    last: Option<Known>,
    /// What the journal said, or this process purged: all that is later than `since`.
    told: TagMap,
    /// What was read from stamps: all that there is of these tags, up to when it was read and from
    /// there on.
    fetched: TagMap,
    since: Timestamp,
    /// Rises with `since`, and whenever something fetched may be incomplete.
    epoch: u64,
    generation: u64,
    /// How often something may have been missed.
    gaps: u64,
    /// The last poll that was answered was sent then.
    polled: Option<Monotonic>,
    /// Tags whose purge may or may not have happened, and until when that matters.
    doubted: LinkedHashMap<Tag, Doubted>,
    doubts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Doubted {
    until: Monotonic,
    /// The latest purge for which it is doubted.
    doubt: u64,
}

/// Which purge of a tag is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Doubt {
    number: u64,
    /// Whether the tag was in doubt before, for another purge.
    is_further: bool,
}

/// A state of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    version: Version,
    created: Option<Version>,
    sequence: u64,
    newest: Option<Purge>,
    /// Calls that are sent after this cannot show an earlier state.
    learned: Monotonic,
}

/// What purges mean for a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) enum Verdict {
    /// Nothing.
    Valid,
    /// It is stale since then.
    Soft {
        /// When it was purged.
        since: Timestamp,
    },
    /// It is gone.
    Purged,
    /// The stamps of these tags must be read first.
    Unknown(Vec<Tag>),
}

/// What was known when stamps began to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Ticket(u64);

/// What is known of one tag.
enum Finding {
    Complete(StampState),
    Incomplete(StampState),
}

impl Mirror {
    /// A mirror that knows nothing, of a backend whose clocks are so far apart at most. It keeps
    /// the stamps of so many tags that it is told of, and of as many that were fetched.
    pub(in crate::cache) fn new(skew: Duration, everything: Tag, capacity: usize) -> Self {
        Self {
            skew,
            everything,
            time: BackendTime::default(),
            last: None,
            told: TagMap::new(capacity),
            fetched: TagMap::new(capacity),
            since: Timestamp::default(),
            epoch: 0,
            generation: 0,
            gaps: 0,
            polled: None,
            doubted: LinkedHashMap::new(),
            doubts: 0,
        }
    }

    /// What purges mean for a response that was born and last checked at these times.
    pub(in crate::cache) fn verdict(
        &self,
        at: Monotonic,
        born: Timestamp,
        checked: Timestamp,
        tags: &[Tag],
    ) -> Verdict {
        self.verdict_with(&[], at, born, checked, tags)
    }

    /// The same, where these stamps were read for it, after the response was. With the stamps of
    /// all its tags and of everything this is the verdict that asks nobody else.
    pub(in crate::cache) fn verdict_with(
        &self,
        read: &[(Tag, StampState)],
        at: Monotonic,
        born: Timestamp,
        checked: Timestamp,
        tags: &[Tag],
    ) -> Verdict {
        if self.time.is_ahead(at, checked.max(born), self.skew) {
            return Verdict::Purged;
        }
        let mut soft = Timestamp::default();
        let mut is_complete = true;
        for tag in tags.iter().chain([&self.everything]) {
            let state = match self.find(read, at, born, tag) {
                Finding::Complete(state) => state,
                Finding::Incomplete(state) => {
                    is_complete = false;
                    state
                }
            };
            if self.covers(state.hard, born) {
                return Verdict::Purged;
            }
            if self.covers(state.soft, checked) {
                soft = soft.max(state.soft);
            }
        }
        if !is_complete {
            return Verdict::Unknown(self.missing(read, at, born, tags));
        }
        if soft > Timestamp::default() {
            return Verdict::Soft { since: soft };
        }
        Verdict::Valid
    }

    /// To be taken before stamps are read, for [`learn`](Self::learn).
    pub(in crate::cache) fn ticket(&self) -> Ticket {
        Ticket(self.epoch)
    }

    /// A stamp was read. It is remembered, unless something happened meanwhile that may have passed
    /// it by; whoever read it judges by [`verdict_with`](Self::verdict_with) in either case.
    pub(in crate::cache) fn learn(&mut self, ticket: Ticket, tag: Tag, state: StampState) {
        self.time.saw(state.latest());
        if self.doubted.contains_key(&tag) {
            // It may be in no journal.
            self.tell(tag, state);
        } else if ticket.0 == self.epoch {
            self.fetched.merge(tag, state);
        }
    }

    /// A poll was answered: the journal as it stands in the store, and the backend's time.
    pub(in crate::cache) fn polled(
        &mut self,
        sent: Monotonic,
        received: Monotonic,
        now: Timestamp,
        version: Version,
        journal: Journal,
    ) {
        self.time.sample(sent, received, now);
        self.wrote(sent, received, version, journal);
    }

    /// A poll was answered with the journal of this version. If that is the one which is known here,
    /// only the time is news, and this has learned it; else the journal is to be read.
    pub(in crate::cache) fn polled_again(
        &mut self,
        sent: Monotonic,
        received: Monotonic,
        now: Timestamp,
        version: Version,
    ) -> bool {
        if self
            .last
            .as_ref()
            .is_none_or(|last| last.version != version)
        {
            return false;
        }
        self.time.sample(sent, received, now);
        self.polled = self.polled.max(Some(sent));
        true
    }

    /// This process wrote the journal. That shows its state as a poll does, but not the time: the
    /// version may be ahead of a clock that was set back.
    pub(in crate::cache) fn wrote(
        &mut self,
        sent: Monotonic,
        received: Monotonic,
        version: Version,
        journal: Journal,
    ) {
        let journal = journal.written_as(version);
        match &self.last {
            Some(last) if last.is(version, &journal) => {}
            Some(last) if version <= last.version && sent < last.learned => {}
            Some(last) if version <= last.version => self.regress(received, version, &journal),
            _ => self.adopt(received, version, &journal),
        }
        self.polled = self.polled.max(Some(sent));
    }

    /// A message told of a state of the journal, now or long ago.
    pub(in crate::cache) fn heard(&mut self, at: Monotonic, version: Version, journal: Journal) {
        let is_news = self.last.as_ref().is_none_or(|last| version > last.version);
        if is_news {
            let journal = journal.written_as(version);
            self.adopt(at, version, &journal);
        }
    }

    /// This process purged a tag: its stamp is written.
    pub(in crate::cache) fn enter(&mut self, purge: Purge) {
        self.time.saw(purge.at);
        self.tell(purge.tag, StampState::of(purge.severity, purge.at));
    }

    /// A purge of this tag begins, or failed, or nobody knows: its stamp is read at each use until
    /// then, or until it is [settled](Self::settle).
    pub(in crate::cache) fn doubt(&mut self, tag: Tag, until: Monotonic) -> Doubt {
        self.doubts = self.doubts.saturating_add(1);
        let number = self.doubts;
        let doubted = Doubted {
            until,
            doubt: number,
        };
        let is_further = self.doubted.remove(&tag).is_some();
        self.doubted.insert(tag, doubted);
        if self.doubted.len() > DOUBTED {
            // The one that leaves is read at least once more.
            self.doubted.pop_front();
            self.fetched.clear();
            self.raise_since(self.time.floor(until));
        }
        Doubt { number, is_further }
    }

    /// The purge for which the tag was in doubt has happened, and was [entered](Self::enter).
    ///
    /// That settles all that began before it, as it is no earlier than they; but a soft one does not
    /// settle a hard one. What began after it may be later.
    pub(in crate::cache) fn settle(&mut self, tag: &Tag, doubt: Doubt, severity: Severity) {
        let is_latest = self
            .doubted
            .get(tag)
            .is_some_and(|doubted| doubted.doubt == doubt.number);
        let settles_all = severity == Severity::Hard || !doubt.is_further;
        if is_latest && settles_all {
            self.doubted.remove(tag);
        }
    }

    /// Forgets doubts that are over.
    pub(in crate::cache) fn tidy(&mut self, at: Monotonic) {
        self.doubted.retain(|_, doubted| at < doubted.until);
    }

    /// Copies of responses that were made under an earlier generation are void.
    pub(in crate::cache) fn generation(&self) -> u64 {
        self.generation
    }

    /// How often this process may have missed a purge, of a URL too.
    pub(in crate::cache) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Makes copies void, as after a purge of a URL by this process.
    pub(in crate::cache) fn begin_generation(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// Whether a poll was sent at most so long ago and answered.
    pub(in crate::cache) fn is_current(&self, at: Monotonic, max_age: Duration) -> bool {
        self.polled
            .is_some_and(|sent| at.saturating_duration_since(sent) <= max_age)
    }

    /// Whether a poll was sent after this and answered.
    pub(in crate::cache) fn is_later_than(&self, at: Monotonic) -> bool {
        self.polled.is_some_and(|sent| sent > at)
    }

    /// What is known of the backend's clock.
    pub(in crate::cache) fn time(&self) -> &BackendTime {
        &self.time
    }

    fn find(
        &self,
        read: &[(Tag, StampState)],
        at: Monotonic,
        born: Timestamp,
        tag: &Tag,
    ) -> Finding {
        let mut state = self.told.find(tag).unwrap_or_default();
        if let Some((_, found)) = read.iter().find(|(read, _)| read == tag) {
            state.merge(*found);
            return Finding::Complete(state);
        }
        if !self.doubted.is_empty()
            && self
                .doubted
                .get(tag)
                .is_some_and(|doubted| at < doubted.until)
        {
            return Finding::Incomplete(state);
        }
        if self.knows_all_after(born) {
            return Finding::Complete(state);
        }
        match self.fetched.find(tag) {
            Some(fetched) => {
                state.merge(fetched);
                Finding::Complete(state)
            }
            None => Finding::Incomplete(state),
        }
    }

    fn missing(
        &self,
        read: &[(Tag, StampState)],
        at: Monotonic,
        born: Timestamp,
        tags: &[Tag],
    ) -> Vec<Tag> {
        let tags = tags.iter().chain([&self.everything]).copied();
        tags.filter(|tag| matches!(self.find(read, at, born, tag), Finding::Incomplete(_)))
            .collect()
    }

    /// Whether a purge at this time, if there was one, is no earlier than that.
    fn covers(&self, purged: Timestamp, time: Timestamp) -> bool {
        purged > Timestamp::default() && purged + self.skew >= time
    }

    fn knows_all_after(&self, born: Timestamp) -> bool {
        self.last.is_some() && born > self.since + self.skew
    }

    fn adopt(&mut self, at: Monotonic, version: Version, journal: &Journal) {
        let follows = self
            .last
            .as_ref()
            .is_some_and(|last| last.leads_to(journal));
        if !follows {
            self.begin_anew(journal.complete_since);
        }
        self.take(at, version, journal);
    }

    /// The store shows an earlier state than before: it lost writes, or its clock was set back.
    /// What was purged in the part that is lost is known only to those who saw it.
    fn regress(&mut self, at: Monotonic, version: Version, journal: &Journal) {
        self.begin_anew(journal.complete_since.max(self.time.floor(at)));
        self.take(at, version, journal);
    }

    fn begin_anew(&mut self, since: Timestamp) {
        self.fetched.clear();
        self.raise_since(since);
        self.begin_generation();
        self.gaps = self.gaps.saturating_add(1);
    }

    fn take(&mut self, at: Monotonic, version: Version, journal: &Journal) {
        self.time.saw(version.written_at());
        for purge in &journal.purges {
            self.enter(*purge);
        }
        self.last = Some(Known {
            version,
            created: journal.created,
            sequence: journal.sequence,
            newest: journal.purges.last().copied(),
            learned: at,
        });
    }

    fn tell(&mut self, tag: Tag, state: StampState) {
        // Lest it be forgotten there when it leaves here.
        self.fetched.merge_known(&tag, state);
        if let Some((_, evicted)) = self.told.merge(tag, state) {
            self.raise_since(evicted.latest());
        }
    }

    fn raise_since(&mut self, since: Timestamp) {
        self.since = self.since.max(since);
        self.epoch = self.epoch.saturating_add(1);
    }
}

impl Known {
    fn is(&self, version: Version, journal: &Journal) -> bool {
        self.version == version
            && self.created == journal.created
            && self.sequence == journal.sequence
            && self.newest == journal.purges.last().copied()
    }

    /// Whether a later journal tells of all purges that were added to this one. The newest one that
    /// was known must be the same there: after a failover another may have got its number.
    fn leads_to(&self, journal: &Journal) -> bool {
        if self.created != journal.created || journal.sequence < self.sequence {
            return false;
        }
        if self.sequence == 0 {
            return journal.reaches_back_to() == 0;
        }
        self.newest.is_some() && journal.purge(self.sequence) == self.newest.as_ref()
    }
}

/// How many tags may be in doubt.
const DOUBTED: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::stamps::Severity, clock::monotonic_now};

    const ALL: Tag = Tag([0; 16]);
    const TAG: Tag = Tag([1; 16]);
    const LIFE: Duration = Duration::from_secs(60);

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn hard(tag: Tag, micros: u64) -> Purge {
        Purge {
            tag,
            severity: Severity::Hard,
            at: at(micros),
        }
    }

    fn empty() -> Journal {
        Journal::empty(LIFE).written_as(Version::from_u64(100))
    }

    /// A mirror that knows all since 100.
    fn mirror_with_room_for(capacity: usize) -> (Mirror, Monotonic) {
        let start = monotonic_now();
        let mut mirror = Mirror::new(Duration::ZERO, ALL, capacity);
        mirror.polled(start, start, at(100), Version::from_u64(100), empty());
        (mirror, start)
    }

    fn mirror() -> (Mirror, Monotonic) {
        mirror_with_room_for(8)
    }

    fn verdict(mirror: &Mirror, now: Monotonic, born: u64) -> Verdict {
        mirror.verdict(now, at(born), at(born), &[TAG])
    }

    #[test]
    fn a_mirror_that_never_polled_knows_nothing() {
        let mirror = Mirror::new(Duration::ZERO, ALL, 8);
        let now = monotonic_now();
        assert_eq!(verdict(&mirror, now, 50), Verdict::Unknown(vec![TAG, ALL]));
        assert!(!mirror.is_current(now, Duration::MAX));
    }

    #[test]
    fn a_poll_that_shows_the_same_version_needs_no_journal() {
        let (mut mirror, now) = mirror();
        let later = now + Duration::from_secs(1);
        assert!(!mirror.polled_again(later, later, at(200), Version::from_u64(150)));
        assert!(!mirror.is_current(later, Duration::ZERO));
        assert!(mirror.polled_again(later, later, at(200), Version::from_u64(100)));
        assert!(mirror.is_current(later, Duration::ZERO));
        assert_eq!(mirror.time().at_least(later), Some(at(200)));
    }

    #[test]
    fn what_is_younger_than_the_journal_needs_no_stamp() {
        let (mirror, now) = mirror();
        assert_eq!(verdict(&mirror, now, 101), Verdict::Valid);
        assert_eq!(verdict(&mirror, now, 100), Verdict::Unknown(vec![TAG, ALL]));
    }

    #[test]
    fn that_there_is_no_stamp_is_remembered() {
        let (mut mirror, now) = mirror();
        for tag in [TAG, ALL] {
            mirror.learn(mirror.ticket(), tag, StampState::default());
        }
        assert_eq!(verdict(&mirror, now, 50), Verdict::Valid);
    }

    #[test]
    fn a_purge_of_everything_concerns_every_tag() {
        let (mut mirror, now) = mirror();
        mirror.enter(hard(ALL, 150));
        assert_eq!(verdict(&mirror, now, 150), Verdict::Purged);
        assert_eq!(verdict(&mirror, now, 151), Verdict::Valid);
    }

    #[test]
    fn a_soft_purge_concerns_what_was_not_checked_since() {
        let (mut mirror, now) = mirror();
        let soft = Purge {
            severity: Severity::Soft,
            ..hard(TAG, 150)
        };
        mirror.enter(soft);
        let since = Verdict::Soft { since: at(150) };
        assert_eq!(verdict(&mirror, now, 150), since);
        let checked = mirror.verdict(now, at(120), at(151), &[TAG]);
        assert_eq!(checked, Verdict::Valid);
    }

    #[test]
    fn skew_widens_every_purge() {
        let start = monotonic_now();
        let mut mirror = Mirror::new(Duration::from_micros(10), ALL, 8);
        mirror.polled(start, start, at(100), Version::from_u64(100), empty());
        mirror.enter(hard(TAG, 150));
        assert_eq!(verdict(&mirror, start, 160), Verdict::Purged);
        assert_eq!(verdict(&mirror, start, 161), Verdict::Valid);
        let unknown = mirror.verdict(start, at(110), at(110), &[]);
        assert_eq!(unknown, Verdict::Unknown(vec![ALL]));
    }

    #[test]
    fn a_journal_that_does_not_reach_back_begins_a_generation() {
        let (mut mirror, now) = mirror();
        let purges: Vec<_> = (200..300).map(|micros| hard(TAG, micros)).collect();
        let before = mirror.generation();
        mirror.heard(now, Version::from_u64(300), empty().with(&purges));
        assert!(mirror.generation() > before);
        let born = mirror.verdict(now, at(230), at(230), &[Tag([2; 16])]);
        assert_eq!(born, Verdict::Unknown(vec![Tag([2; 16]), ALL]));
    }

    #[test]
    fn what_was_read_before_a_gap_is_forgotten() {
        let (mut mirror, now) = mirror();
        let before = mirror.ticket();
        mirror.learn(before, TAG, StampState::default());
        mirror.learn(before, ALL, StampState::default());
        let other = Tag([2; 16]);
        let purges: Vec<_> = (200..300).map(|micros| hard(other, micros)).collect();
        mirror.heard(now, Version::from_u64(300), empty().with(&purges));
        assert_eq!(verdict(&mirror, now, 50), Verdict::Unknown(vec![TAG, ALL]));
        // Nor is it learned from an answer that was under way.
        mirror.learn(before, TAG, StampState::default());
        assert_eq!(verdict(&mirror, now, 50), Verdict::Unknown(vec![TAG, ALL]));
    }

    #[test]
    fn an_older_message_changes_nothing() {
        let (mut mirror, now) = mirror();
        let newer = empty().with(&[hard(TAG, 200)]);
        mirror.heard(now, Version::from_u64(200), newer);
        let before = mirror.clone();
        mirror.heard(now, Version::from_u64(100), empty());
        assert_eq!(mirror, before);
    }

    #[test]
    fn another_purge_under_a_known_number_is_noticed() {
        let (mut mirror, now) = mirror();
        let known = empty().with(&[hard(TAG, 200)]);
        mirror.heard(now, Version::from_u64(200), known);
        let before = mirror.generation();
        let fork = empty().with(&[hard(ALL, 190), hard(TAG, 210)]);
        mirror.heard(now, Version::from_u64(210), fork);
        assert!(mirror.generation() > before);
        assert_eq!(verdict(&mirror, now, 190), Verdict::Purged);
    }

    #[test]
    fn a_store_that_lost_writes_is_noticed() {
        let (mut mirror, now) = mirror();
        let known = empty().with(&[hard(TAG, 200)]);
        mirror.heard(now, Version::from_u64(200), known);
        let before = mirror.generation();
        let later = now + Duration::from_micros(500);
        mirror.polled(later, later, at(600), Version::from_u64(100), empty());
        assert!(mirror.generation() > before);
        let other = mirror.verdict(later, at(180), at(180), &[Tag([2; 16])]);
        assert!(matches!(other, Verdict::Unknown(_)));
        assert_eq!(verdict(&mirror, later, 200), Verdict::Purged);
    }

    #[test]
    fn a_poll_that_was_overtaken_is_no_loss() {
        let (mut mirror, now) = mirror();
        let later = now + Duration::from_micros(5);
        let known = empty().with(&[hard(TAG, 200)]);
        mirror.heard(later, Version::from_u64(200), known);
        let before = mirror.generation();
        mirror.polled(now, later, at(150), Version::from_u64(100), empty());
        assert_eq!(mirror.generation(), before);
    }

    #[test]
    fn a_stamp_that_leaves_makes_older_responses_unknown() {
        let (mut mirror, now) = mirror_with_room_for(1);
        mirror.enter(hard(TAG, 150));
        mirror.enter(hard(Tag([2; 16]), 160));
        assert_eq!(verdict(&mirror, now, 140), Verdict::Unknown(vec![TAG, ALL]));
        assert_eq!(verdict(&mirror, now, 151), Verdict::Valid);
    }

    #[test]
    fn a_stamp_that_leaves_is_kept_where_the_tag_was_read() {
        let (mut mirror, now) = mirror_with_room_for(2);
        mirror.learn(mirror.ticket(), TAG, StampState::default());
        mirror.learn(mirror.ticket(), ALL, StampState::default());
        for (tag, micros) in [(1, 150), (2, 160), (3, 170)] {
            mirror.enter(hard(Tag([tag; 16]), micros));
        }
        assert_eq!(verdict(&mirror, now, 140), Verdict::Purged);
    }

    #[test]
    fn a_doubted_tag_is_read_at_each_use_until_the_doubt_is_over() {
        let (mut mirror, now) = mirror();
        let until = now + Duration::from_secs(30);
        mirror.doubt(TAG, until);
        assert_eq!(verdict(&mirror, now, 150), Verdict::Unknown(vec![TAG]));
        mirror.learn(mirror.ticket(), TAG, StampState::default());
        assert_eq!(verdict(&mirror, now, 150), Verdict::Unknown(vec![TAG]));
        let none = [(TAG, StampState::default())];
        let judged = mirror.verdict_with(&none, now, at(150), at(150), &[TAG]);
        assert_eq!(judged, Verdict::Valid);
        assert_eq!(verdict(&mirror, until, 150), Verdict::Valid);
    }

    #[test]
    fn a_doubted_stamp_that_was_found_is_kept() {
        let (mut mirror, now) = mirror();
        let until = now + Duration::from_secs(30);
        mirror.doubt(TAG, until);
        let found = StampState::of(Severity::Hard, at(150));
        mirror.learn(mirror.ticket(), TAG, found);
        assert_eq!(verdict(&mirror, until, 150), Verdict::Purged);
    }

    #[test]
    fn what_is_ahead_of_the_clock_is_gone() {
        let (mirror, now) = mirror();
        assert_eq!(verdict(&mirror, now, 10_000_000), Verdict::Purged);
    }

    #[test]
    fn a_poll_counts_from_when_it_was_sent() {
        let (mut mirror, now) = mirror();
        let received = now + Duration::from_secs(2);
        let sent = now + Duration::from_secs(1);
        mirror.polled(sent, received, at(200), Version::from_u64(100), empty());
        assert!(mirror.is_current(received, Duration::from_secs(1)));
        assert!(!mirror.is_current(received, Duration::from_millis(999)));
    }
}
