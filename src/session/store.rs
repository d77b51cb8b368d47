//! What a session asks of the backend: to read it, to write it, to end it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    SessionError,
    expiry::{LastHeard, ServerClock, read_at},
    record::{Content, Ending, Record},
    token::{Handle, Token},
};
use crate::{
    backend::{
        BackendErrorKind, Call, Entry, ErasedKeyValue, GetOptions, Precondition, Put, PutOptions,
        Result as BackendResult, Version,
    },
    clock::{Monotonic, Timestamp, monotonic_now},
    key::{Digester, Key, KeyParts, Kind},
};

/// The sessions of one family in a backend.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) backend: Arc<dyn ErasedKeyValue>,
    pub(super) digester: Digester,
    pub(super) family: Arc<str>,
    /// What time it is there.
    heard: Arc<LastHeard>,
}

/// A session as it stands in the store.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) handle: Handle,
    pub(super) record: Arc<Record>,
    pub(super) version: Version,
    pub(super) clock: ServerClock,
}

/// What a token stands for.
#[derive(Debug)]
pub(super) enum Found {
    /// A session, of which it is the secret or, for a while after a rotation, was.
    Session(Stored, Via),
    /// One that ended or was given another secret a moment ago. The answer that tells the client
    /// may still be on its way.
    Gone,
    /// One whose secret was replaced long ago, and whose new one has been used.
    Reused,
    /// None.
    Nothing,
}

/// By which of its secrets a request came to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Current,
    /// The one before the last rotation.
    Previous,
}

/// What stands under a key, and when.
pub(super) struct Reading {
    content: Content,
    version: Version,
    clock: ServerClock,
}

impl Store {
    pub(super) fn new(backend: Arc<dyn ErasedKeyValue>, family: &Arc<str>) -> Self {
        Self {
            backend,
            digester: Digester::default(),
            family: Arc::clone(family),
            heard: Arc::default(),
        }
    }

    /// Looks up what a token stands for.
    pub(super) async fn find(&self, token: &Token) -> Result<Found, SessionError> {
        let Some(reading) = self.read(&token.handle).await? else {
            return Ok(Found::Nothing);
        };
        Ok(match reading.into_session(token.handle) {
            Some(stored) => stored.known_by(token),
            None => Found::Gone,
        })
    }

    /// Reads what stands under a handle.
    pub(super) async fn read(&self, handle: &Handle) -> Result<Option<Reading>, SessionError> {
        let asked = monotonic_now();
        let known = self.time_at(asked);
        let options = match known {
            Some(_) => GetOptions::new(),
            None => GetOptions::new().with_expiry(),
        };
        let backend = Arc::clone(&self.backend);
        let Some(entry) = backend.get(self.key(handle), options).await? else {
            return Ok(None);
        };
        let reading = Reading::new(entry, asked, known)?;
        if known.is_none() {
            self.heard.note(reading.clock);
        }
        Ok(Some(reading))
    }

    /// What time it is at the backend, if that is known without asking; rather a little late, so that
    /// sessions end a little early.
    ///
    /// A clock of this process's own may be one that a test moves.
    fn time_at(&self, moment: Monotonic) -> Option<Timestamp> {
        if !self.backend.is_remote() {
            return None;
        }
        Some(self.heard.at(moment)? + self.backend.clock_skew())
    }

    /// Writes a record if what was read, or nothing, is still there.
    pub(super) async fn put(
        &self,
        handle: &Handle,
        value: Bytes,
        ttl: Duration,
        precondition: Precondition,
    ) -> BackendResult<(Put, Monotonic)> {
        let asked = monotonic_now();
        let backend = Arc::clone(&self.backend);
        let options = PutOptions::new(ttl).with_precondition(precondition);
        let put = backend.put(self.key(handle), value, options).await?;
        let then = match &put {
            Put::Stored(version) => version.written_at(),
            Put::Conflict { now, .. } => *now,
        };
        self.heard.note(ServerClock::new(then, asked));
        Ok((put, asked))
    }

    /// Ends a session, whoever writes it at the same time.
    ///
    /// A tombstone keeps whoever still has it from taking it for one that never was. A store that
    /// is full takes none, but lets the record go.
    pub(super) async fn end(&self, handle: &Handle, ending: Ending) -> Result<(), SessionError> {
        let ended = until_answered(|| {
            let backend = Arc::clone(&self.backend);
            backend.put(self.key(handle), ending.tombstone(), PutOptions::new(LATE))
        });
        match ended.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == BackendErrorKind::Rejected => {
                let backend = Arc::clone(&self.backend);
                backend.delete(self.key(handle), Precondition::Any).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn key(&self, handle: &Handle) -> Key {
        let parts = KeyParts::new()
            .with(&self.family)
            .with(handle.as_bytes().as_slice());
        Key::new(Kind::SESSION, self.digester.digest(&parts))
    }
}

impl Reading {
    fn new(entry: Entry, asked: Monotonic, known: Option<Timestamp>) -> Result<Self, SessionError> {
        let content = Content::decode(entry.value)?;
        let ttl = match &content {
            Content::Session(record) => record.head.ttl,
            Content::Ended => LATE,
        };
        let told = entry
            .expires_in
            .map(|left| read_at(entry.version, ttl, left));
        let then = known.or(told).unwrap_or_default();
        let then = then.max(entry.version.written_at());
        Ok(Self {
            content,
            version: entry.version,
            clock: ServerClock::new(then, asked),
        })
    }

    /// What a refused write told, and the time with it.
    pub(super) fn told(entry: Entry, clock: ServerClock) -> Result<Self, SessionError> {
        Ok(Self {
            content: Content::decode(entry.value)?,
            version: entry.version,
            clock,
        })
    }

    /// The session that stands under this handle, unless it was ended.
    pub(super) fn into_session(self, handle: Handle) -> Option<Stored> {
        match self.content {
            Content::Session(record) => Some(Stored {
                handle,
                record,
                version: self.version,
                clock: self.clock,
            }),
            Content::Ended => None,
        }
    }
}

impl Stored {
    /// A record that a call has just written, which was sent at `asked`.
    pub(super) fn written(
        handle: Handle,
        record: Record,
        version: Version,
        asked: Monotonic,
    ) -> Self {
        Self {
            handle,
            record: Arc::new(record),
            version,
            clock: ServerClock::new(version.written_at(), asked),
        }
    }

    /// When the session ends whatever happens.
    pub(super) fn deadline(&self) -> Timestamp {
        self.record.head.deadline(self.version)
    }

    /// Whether that was before now, though the store still has it.
    pub(super) fn is_over(&self) -> bool {
        self.clock.now() >= self.deadline()
    }

    /// Whether the token that found it is its token.
    fn known_by(self, token: &Token) -> Found {
        let head = &self.record.head;
        let digest = token.secret.digest();
        let is_current = digest == head.digest;
        let is_previous = digest == head.previous;
        let now = self.clock.now();
        if now >= self.deadline() {
            return Found::Nothing;
        }
        if is_current {
            return Found::Session(self, Via::Current);
        }
        if is_previous && now < head.previous_until {
            return Found::Session(self, Via::Previous);
        }
        if now < head.rotated.max(head.previous_until) + LATE {
            return Found::Gone;
        }
        if is_previous && head.is_new_secret_used {
            return Found::Reused;
        }
        Found::Nothing
    }

    /// Who is logged in.
    pub(super) fn user(&self) -> Option<&str> {
        let user = self.record.user.as_deref()?;
        str::from_utf8(user).ok()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Sends what may be applied twice, and again while its answer does not come.
pub(super) async fn until_answered<T>(mut send: impl FnMut() -> Call<T>) -> BackendResult<T> {
    let mut tries = 1;
    loop {
        match send().await {
            Err(error) if error.may_have_applied() && tries < MAX_TRIES => tries += 1,
            answered => return answered,
        }
    }
}

/// How long a request may be under way with a token that has ended, and still be told so instead of
/// being given a new session; as long lives a tombstone.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// How often a write is sent whose answer does not come.
pub(super) const MAX_TRIES: u32 = 3;

#[cfg(test)]
mod tests {
    use crate::{
        backend::MemoryBackend,
        clock::Clock as _,
        testing::{FaultBackend, ManualClock},
    };

    use super::{
        super::{SessionErrorKind, SessionRule, commit::new_record, csrf::CsrfSeed, token::Secret},
        *,
    };

    /// What a token is told.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Told {
        Live,
        Grace,
        Gone,
        Reused,
        Nothing,
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000) + Duration::from_secs(seconds)
    }

    /// A session, and what its tokens are told at a certain second; it began at 0 and lives for a day.
    struct Bench {
        record: Record,
        handle: Handle,
        current: Secret,
        previous: Secret,
        stranger: Secret,
    }

    impl Bench {
        fn new() -> Self {
            let rule = SessionRule::new("web").unwrap();
            let current = Secret::random().unwrap();
            let seed = CsrfSeed::random().unwrap();
            let mut record = new_record(current.digest(), 1, seed, rule.family());
            record.head.born = Some(at(0));
            Self {
                record,
                handle: Handle::random().unwrap(),
                current,
                previous: Secret::random().unwrap(),
                stranger: Secret::random().unwrap(),
            }
        }

        /// A rotation at second 1000, before which the other secret was the session's.
        fn rotated(is_used: bool, previous_until: u64) -> Self {
            let mut bench = Self::new();
            let head = &mut bench.record.head;
            head.previous = bench.previous.digest();
            head.rotated = at(1_000);
            head.previous_until = at(previous_until);
            head.is_new_secret_used = is_used;
            bench
        }

        /// A login or a renewal at second 1000.
        fn renewed() -> Self {
            let mut bench = Self::rotated(false, 0);
            bench.record.head.previous_until = Timestamp::default();
            bench
        }

        /// What the current secret, the one before and another one are told.
        fn told(&self, seconds: u64) -> [Told; 3] {
            [self.current, self.previous, self.stranger].map(|secret| {
                let stored = Stored {
                    handle: self.handle,
                    record: Arc::new(self.record.clone()),
                    version: Version::from_u64(at(1_000).as_micros()),
                    clock: ServerClock::new(at(seconds), monotonic_now()),
                };
                let token = Token {
                    handle: self.handle,
                    secret,
                };
                match stored.known_by(&token) {
                    Found::Session(_, Via::Current) => Told::Live,
                    Found::Session(_, Via::Previous) => Told::Grace,
                    Found::Gone => Told::Gone,
                    Found::Reused => Told::Reused,
                    Found::Nothing => Told::Nothing,
                }
            })
        }
    }

    use Told::{Gone, Grace, Live, Nothing, Reused};

    #[tokio::test(start_paused = true)]
    async fn a_session_that_never_had_another_secret_is_nothing_to_others() {
        let new = Bench::new();
        for seconds in [0, 30, 86_399] {
            assert_eq!(new.told(seconds), [Live, Nothing, Nothing], "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_its_deadline_a_session_is_nothing_to_all() {
        for bench in [Bench::new(), Bench::rotated(true, 86_390), Bench::renewed()] {
            assert_eq!(bench.told(86_399)[0], Live);
            for seconds in [86_400, 86_401] {
                assert_eq!(bench.told(seconds), [Nothing; 3]);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_a_session_that_is_not_born_yet_follows_from_its_record() {
        let mut bench = Bench::new();
        bench.record.head.born = None;
        assert_eq!(bench.told(87_399)[0], Live);
        assert_eq!(bench.told(87_400)[0], Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_rotation_the_secret_before_is_good_for_its_time_then_late_then_reused() {
        let rotated = Bench::rotated(true, 1_030);
        for (seconds, previous, stranger) in [
            (1_000, Grace, Gone),
            (1_029, Grace, Gone),
            (1_030, Gone, Gone),
            (1_089, Gone, Gone),
            (1_090, Reused, Nothing),
            (9_000, Reused, Nothing),
        ] {
            assert_eq!(
                rotated.told(seconds),
                [Live, previous, stranger],
                "{seconds}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_whose_successor_was_never_used_is_a_lost_answer_and_no_theft() {
        let rotated = Bench::rotated(false, 1_600);
        for (seconds, previous) in [
            (1_599, Grace),
            (1_600, Gone),
            (1_659, Gone),
            (1_660, Nothing),
        ] {
            assert_eq!(rotated.told(seconds)[1], previous, "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_login_the_secret_before_is_dead_at_once_and_late_for_a_minute() {
        let renewed = Bench::renewed();
        for (seconds, others) in [(1_000, Gone), (1_059, Gone), (1_060, Nothing)] {
            assert_eq!(renewed.told(seconds), [Live, others, others], "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_while_the_answer_is_under_way() {
        let rotated = Bench::rotated(true, 1_030);
        let asked = monotonic_now();
        tokio::time::advance(Duration::from_secs(5)).await;
        let stored = Stored {
            handle: rotated.handle,
            record: Arc::new(rotated.record.clone()),
            version: Version::from_u64(at(1_000).as_micros()),
            clock: ServerClock::new(at(1_026), asked),
        };
        let token = Token {
            handle: rotated.handle,
            secret: rotated.previous,
        };
        assert!(matches!(stored.known_by(&token), Found::Gone));
    }

    #[test]
    fn a_session_that_this_version_cannot_read_is_an_error() {
        let entry =
            |bytes: &'static [u8]| Entry::new(Bytes::from_static(bytes), Version::from_u64(1));
        for bytes in [&b"s\x02later"[..], b"s\x01short", b""] {
            let error = Reading::new(entry(bytes), monotonic_now(), None)
                .err()
                .unwrap();
            assert_eq!(error.kind(), SessionErrorKind::Unreadable);
        }
        let ended = Reading::new(entry(b"x\x01\x01"), monotonic_now(), None).unwrap();
        assert!(ended.into_session(Handle::random().unwrap()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_record_has_left_tells_the_time() {
        let bench = Bench::new();
        let version = Version::from_u64(at(1_000).as_micros());
        let ttl = bench.record.head.ttl;
        let entry = Entry::new(bench.record.encode(), version);
        let entry = entry.with_expires_in(ttl.checked_sub(Duration::from_secs(7)).unwrap());
        let reading = Reading::new(entry, monotonic_now(), None).unwrap();
        assert_eq!(reading.clock.now(), at(1_007));
    }

    /// A store whose backend is as good as on another machine, and whose clock is moved by the test.
    fn afar() -> (Store, ManualClock) {
        let clock = ManualClock::new();
        let memory = MemoryBackend::new().with_clock(clock.clone());
        let remote = FaultBackend::new(memory).seen_as_remote();
        (Store::new(Arc::new(remote), &"web".into()), clock)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tombstone_tells_the_time_of_its_reading_and_not_of_its_writing() {
        let (store, clock) = afar();
        let handle = Handle::random().unwrap();
        store.end(&handle, Ending::Destroyed).await.unwrap();
        tokio::time::advance(Duration::from_secs(50)).await;
        clock.advance(Duration::from_secs(50));
        let reading = store.read(&handle).await.unwrap().unwrap();
        assert_eq!(reading.clock.now(), clock.now());
        assert_eq!(store.time_at(monotonic_now()), Some(clock.now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_is_ahead_after_a_step_back_moves_no_other_sessions_time() {
        let (store, clock) = afar();
        let [ahead, other] = [(); 2].map(|()| Handle::random().unwrap());
        store.end(&ahead, Ending::Destroyed).await.unwrap();
        clock.set(clock.now() - Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(1)).await;
        // Refused, it tells the time; written, a version that is none.
        let never = Precondition::Matches(Version::from_u64(1));
        let tombstone = Ending::Destroyed.tombstone();
        let refused = store.put(&other, tombstone, LATE, never).await.unwrap();
        assert!(matches!(refused, (Put::Conflict { .. }, _)));
        store.end(&ahead, Ending::Destroyed).await.unwrap();
        assert_eq!(store.time_at(monotonic_now()), Some(clock.now()));
    }
}
