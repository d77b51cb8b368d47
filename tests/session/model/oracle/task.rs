//! A task, as far as it is known from outside.

use tower_stash::key::Key;

use super::{
    super::{
        program::{Op, Request, Work},
        record::{Attributes, Record},
        request::{Answer, Log, SharedLog},
    },
    Kind,
};

#[derive(Debug)]
pub(super) struct Task {
    pub(super) work: Work,
    pub(super) log: SharedLog,
    /// The digest of the secret it brought, and the token's place if it was issued.
    pub(super) brought: Option<([u8; 32], Option<usize>)>,
    pub(super) first_value: i64,
    pub(super) began: usize,
    pub(super) began_at: u64,
    pub(super) load: Option<Load>,
    /// The session that it works on, and that as it knows it.
    pub(super) base: Option<(Key, Box<Record>)>,
    pub(super) created: Vec<Key>,
    /// Values of the session that it has seen.
    pub(super) views: Vec<Attributes>,
    pub(super) puts: Vec<Applied>,
    pub(super) faults: usize,
    pub(super) was_refused: bool,
    /// Whether its token may have been good or not, as nobody knows when its question was answered.
    pub(super) is_doubtful: bool,
    /// How many results were looked at, and whether all was.
    pub(super) results: usize,
    pub(super) is_over: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) key: Key,
    pub(super) step: usize,
    pub(super) kind: Kind,
    pub(super) nonce: u64,
    pub(super) record: Option<Box<Record>>,
}

/// What a request's token is, when it is looked up.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) key: Key,
    pub(super) standing: Standing,
    pub(super) step: usize,
    pub(super) was_replaced_recently: bool,
    pub(super) record: Option<Box<Record>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Live,
    Grace,
    /// The session is there, and past its life.
    Late,
    Superseded,
    Wrong,
    Ended,
    Unknown,
}

impl Task {
    pub(super) fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    pub(super) fn request(&self) -> Option<&Request> {
        match &self.work {
            Work::Request(request) => Some(request),
            Work::DestroyAll(_) => None,
        }
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        self.load.as_ref().map(|load| load.standing)
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.standing(), Some(Standing::Live | Standing::Grace))
    }

    /// Operations with what they gave, as far as they went well.
    pub(super) fn done(&self) -> Vec<(usize, Op, Answer)> {
        let ops = self
            .request()
            .map(|request| &request.ops[..])
            .unwrap_or_default();
        let results = self.log().results;
        let done = ops.iter().zip(results).enumerate();
        done.filter_map(|(place, (op, result))| Some((place, *op, result.ok()?)))
            .collect()
    }

    pub(super) fn did(&self, op: Op) -> bool {
        self.done().iter().any(|(_, done, _)| *done == op)
    }

    /// Whether this operation began, however it ended.
    pub(super) fn tried(&self, is: impl Fn(Op) -> bool) -> bool {
        let ops = self
            .request()
            .map(|request| &request.ops[..])
            .unwrap_or_default();
        let log = self.log();
        let began = log.results.len() + usize::from(log.head.is_none());
        ops.iter().take(began).any(|op| is(*op))
    }

    /// Whether an operation leaves the session that it came with: by its end, or by a login over
    /// another user's.
    pub(super) fn leaves(&self, op: Op, answer: &Answer) -> bool {
        let loaded = self.load.as_ref().filter(|_| self.is_live());
        let loaded = loaded.and_then(|load| load.record.as_ref());
        match (op, answer) {
            (Op::Destroy, _) => true,
            (Op::Login, Answer::Used(Some((_, user)))) => {
                loaded.is_some_and(|record| !record.user.is_empty() && record.user != *user)
            }
            _ => false,
        }
    }

    pub(super) fn ticket(&self) -> Option<usize> {
        let done = self.done();
        done.iter().rev().find_map(|(_, _, answer)| match answer {
            Answer::Used(ticket) => ticket.as_ref().map(|(number, _)| *number),
            _ => None,
        })
    }

    /// The user of the session that it works on.
    pub(super) fn user(&self) -> Option<String> {
        let (_, record) = self.base.as_ref()?;
        (!record.user.is_empty()).then(|| record.user.clone())
    }

    pub(super) fn views_of_user(&self, user: &str) -> bool {
        let of_load = self.load.as_ref().and_then(|load| load.record.as_ref());
        let of_base = self.base.as_ref().map(|(_, record)| record);
        user.is_empty()
            || of_load
                .into_iter()
                .chain(of_base)
                .any(|record| record.user == user)
    }

    /// Of which generation the session was when it last read or wrote it.
    pub(super) fn loaded_generation(&self, key: &Key) -> Option<u64> {
        let put = self
            .puts
            .iter()
            .rev()
            .find(|put| put.key == *key && put.record.is_some());
        let put = put.and_then(|put| put.record.as_ref());
        let loaded = self.load.as_ref().filter(|load| load.key == *key);
        let loaded = loaded.and_then(|load| load.record.as_ref());
        put.or(loaded).map(|record| record.generation)
    }

    /// When it last wrote something at once: from there it goes on, as if it had loaded then.
    pub(super) fn adopted_at_step(&self) -> usize {
        let mut puts = self.puts.iter().rev();
        let eager = puts.find(|put| matches!(put.kind, Kind::Eager(_)));
        eager.map_or_else(|| self.loaded_at_step(), |put| put.step)
    }

    pub(super) fn loaded_at_step(&self) -> usize {
        self.load.as_ref().map_or(self.began, |load| load.step)
    }
}

impl Request {
    pub(super) fn looks_up_others(&self) -> bool {
        let looks = |op: &Op| {
            matches!(
                op,
                Op::Login | Op::DestroyOthers | Op::DestroyDevice(_) | Op::EndAs(_)
            )
        };
        self.ops.iter().any(looks)
    }
}
