//! The protocol: what is stored, and what a request does about each answer of the backend.

/// What a rule does about a claim whose owner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Recovery {
    ReExecute,
    Withhold,
    Answer,
    /// The pair that cannot be written: it answers without a record, and runs again.
    AnswerAndReExecute,
}

/// What the protocol does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    LeaseIgnored,
    LeaseNeverOver,
    TakeOverByAny,
    RenewByAny,
    CompleteByAny,
    FailByAny,
    DeleteByAny,
    CompleteOnNothingByAny,
    FingerprintUncheckedInClaim,
    FingerprintUncheckedInConflict,
    ZombieSendsItsOwn,
    TimeOutReadAsStored,
    TimeOutReadAsAcquired,
    AttemptReset,
    RenewalBlindToState,
    NeverNotInRecord,
    StartNotAwaited,
    NeverBornStarted,
    /// A clean-up removes what it took over, and with it the number of attempts.
    CleanUpDeletesWhatItTookOver,
    /// So does a handler that did nothing.
    NotExecutedDeletesWhatItTookOver,
    /// And one of whose puts where nothing was may yet arrive.
    NotExecutedDeletesAfterSilence,
    /// Who fails to delete does not look why.
    DeletesOnce,
    /// A failure is not written where nothing is.
    FailureOnNothingIsDone,
    /// An operator's answer bears the token of the claim that it ends.
    SettlesAsTheOwner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    InProgress,
    /// With the result of this one.
    Completed(usize),
    Failed,
}

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Record {
    pub(crate) state: State,
    pub(crate) owner: usize,
    pub(crate) fingerprint: u8,
    /// Zero is "this version".
    pub(crate) epoch: u8,
    pub(crate) attempt: u8,
    pub(crate) started: bool,
    pub(crate) never: bool,
}

/// A record, as a conflict tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) version: u8,
    pub(crate) lease_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Precondition {
    Any,
    Absent,
    Matches(u8),
}

/// A put, or a delete if it writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Call {
    pub(crate) writes: Option<Record>,
    pub(crate) precondition: Precondition,
}

/// Who asks, and under which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Me {
    pub(crate) token: usize,
    pub(crate) fingerprint: u8,
    pub(crate) recovery: Recovery,
}

/// What an owner knows of its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub(crate) epoch: u8,
    pub(crate) version: u8,
    pub(crate) attempt: u8,
    pub(crate) started: bool,
    /// A put of it where nothing was has not been answered, and may yet arrive.
    pub(crate) is_followed: bool,
}

/// What an owner's write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Purpose {
    Renew,
    Start,
    Complete,
    Fail,
    Release,
}

/// What a conflict means for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnClaim {
    Ours(Claim),
    Put(Call),
    Replay(usize),
    Mismatch,
    Busy,
    Unknown,
}

/// What a conflict means for an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// The same once more, by this.
    Again(Precondition),
    Done,
    Lost(Lost),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// They have another fingerprint: what became of this one is not known.
    Unknown,
    Replay(usize),
    /// They are at work, or failed.
    Await,
    Failed,
}

impl Recovery {
    pub(crate) const fn is_never(self) -> bool {
        matches!(self, Self::Withhold | Self::Answer)
    }

    /// Whether an answer may leave that is not recorded.
    pub(crate) const fn answers_unrecorded(self) -> bool {
        matches!(self, Self::Answer | Self::AnswerAndReExecute)
    }
}

impl Me {
    /// The first put of a claim.
    pub(crate) fn claim(self, change: Change) -> Call {
        Call {
            writes: Some(self.in_progress(1, change)),
            precondition: Precondition::Absent,
        }
    }

    fn in_progress(self, attempt: u8, change: Change) -> Record {
        Record {
            state: State::InProgress,
            owner: self.token,
            fingerprint: self.fingerprint,
            epoch: 0,
            attempt,
            started: !self.recovery.is_never() || change == Change::NeverBornStarted,
            never: self.recovery.is_never() && change != Change::NeverNotInRecord,
        }
    }

    /// What is to be done about what is there.
    pub(crate) fn on_claim(self, found: Option<Entry>, change: Change) -> OnClaim {
        let Some(entry) = found else {
            return OnClaim::Put(self.claim(change));
        };
        let there = entry.record;
        let over = match change {
            Change::LeaseIgnored => true,
            Change::LeaseNeverOver => false,
            _ => entry.lease_over,
        };
        if there.fingerprint != self.fingerprint && change != Change::FingerprintUncheckedInClaim {
            return OnClaim::Mismatch;
        }
        match there.state {
            State::Completed(whose) => OnClaim::Replay(whose),
            State::InProgress if there.owner == self.token => OnClaim::Ours(Claim {
                epoch: entry.epoch(),
                version: entry.version,
                attempt: there.attempt,
                started: there.started,
                is_followed: false,
            }),
            State::InProgress if !over => OnClaim::Busy,
            State::InProgress if there.started && (there.never || self.recovery.is_never()) => {
                OnClaim::Unknown
            }
            State::InProgress | State::Failed => OnClaim::Put(Call {
                writes: Some(self.in_progress(
                    match change {
                        Change::AttemptReset => 1,
                        _ => there.attempt + 1,
                    },
                    change,
                )),
                precondition: match change {
                    Change::TakeOverByAny => Precondition::Any,
                    _ => Precondition::Matches(entry.version),
                },
            }),
        }
    }

    /// What an owner writes.
    pub(crate) fn write(self, claim: Claim, purpose: Purpose, change: Change) -> Call {
        let state = match purpose {
            Purpose::Renew | Purpose::Start => State::InProgress,
            Purpose::Complete => State::Completed(self.token),
            Purpose::Fail | Purpose::Release => State::Failed,
        };
        let record = Record {
            state,
            epoch: claim.epoch,
            started: claim.started || purpose == Purpose::Start,
            ..self.in_progress(claim.attempt, change)
        };
        let is_first = claim.attempt == 1 || change == Change::NotExecutedDeletesWhatItTookOver;
        let leaves_nothing = !claim.is_followed || change == Change::NotExecutedDeletesAfterSilence;
        let deletes = purpose == Purpose::Release && is_first && leaves_nothing;
        let by_any = matches!(
            (purpose, change),
            (Purpose::Renew, Change::RenewByAny)
                | (Purpose::Complete, Change::CompleteByAny)
                | (Purpose::Fail, Change::FailByAny)
                | (Purpose::Release, Change::DeleteByAny)
        );
        Call {
            writes: (!deletes).then_some(record),
            precondition: if by_any {
                Precondition::Any
            } else {
                Precondition::Matches(claim.version)
            },
        }
    }

    /// What an owner does about what is there instead of its last write.
    pub(crate) fn on_conflict(
        self,
        purpose: Purpose,
        found: Option<Entry>,
        change: Change,
    ) -> OnConflict {
        let Some(entry) = found else {
            return match purpose {
                Purpose::Fail | Purpose::Release if change == Change::FailureOnNothingIsDone => {
                    OnConflict::Done
                }
                Purpose::Complete if change == Change::CompleteOnNothingByAny => {
                    OnConflict::Again(Precondition::Any)
                }
                _ => OnConflict::Again(Precondition::Absent),
            };
        };
        let there = entry.record;
        if there.owner == self.token {
            return match there.state {
                State::InProgress if purpose == Purpose::Start && there.started => OnConflict::Done,
                State::InProgress => OnConflict::Again(Precondition::Matches(entry.version)),
                _ if purpose == Purpose::Renew && change == Change::RenewalBlindToState => {
                    OnConflict::Again(Precondition::Matches(entry.version))
                }
                State::Completed(_) | State::Failed => OnConflict::Done,
            };
        }
        let other = there.fingerprint != self.fingerprint
            && change != Change::FingerprintUncheckedInConflict;
        OnConflict::Lost(match there.state {
            _ if other => Lost::Unknown,
            State::Completed(whose) => Lost::Replay(whose),
            State::InProgress => Lost::Await,
            State::Failed => Lost::Failed,
        })
    }

    /// How a request that was told 503 takes back a claim of its own that it finds.
    pub(crate) fn clean_up(self, found: Option<Entry>, change: Change) -> Option<Call> {
        let entry = found.filter(|entry| {
            entry.record.owner == self.token && entry.record.state == State::InProgress
        })?;
        let deletes = entry.record.attempt == 1 || change == Change::CleanUpDeletesWhatItTookOver;
        Some(Call {
            writes: (!deletes).then_some(Record {
                state: State::Failed,
                epoch: entry.epoch(),
                ..entry.record
            }),
            precondition: Precondition::Matches(entry.version),
        })
    }
}

impl Entry {
    /// The version of the write that brought the owner in.
    pub(crate) const fn epoch(&self) -> u8 {
        match self.record.epoch {
            0 => self.version,
            epoch => epoch,
        }
    }
}
