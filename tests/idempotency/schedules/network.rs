//! The way to the store, on which calls are lost, late, or answered to nobody.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tower_stash::{
    backend::{
        BackendError, BackendErrorKind, Entry, GetOptions, KeyValue, Precondition, Put, PutOptions,
        Result, Version,
    },
    key::Key,
};

use super::{
    instance::Life,
    ledger::{Ledger, short},
    record::{Owner, Stored},
    schedule::{Fate, Tampering},
    time::now,
};

tokio::task_local! {
    /// Which request the task is of.
    pub(super) static REQUEST: usize;
}

/// The store, and what was done to it.
#[derive(Debug)]
pub(super) struct Network<B> {
    backend: B,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// What is under way does not arrive any more.
    is_cut: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    key: Option<Key>,
    owners: HashMap<Owner, usize>,
    puts: HashMap<usize, usize>,
    other_calls: HashMap<usize, usize>,
    down_until: Option<Instant>,
    history: History,
}

/// All that changed the record.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) writes: Vec<Write>,
    pub(super) removals: Vec<Removal>,
}

/// A put that was stored.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) at: Instant,
    pub(super) version: u64,
    pub(super) precondition: Precondition,
    /// Whose it is.
    pub(super) request: usize,
    pub(super) record: Stored,
}

/// A record that was removed.
#[derive(Clone, Debug)]
pub(super) struct Removal {
    pub(super) version: u64,
    pub(super) is_by_hand: bool,
}

/// The calls of an instance.
#[derive(Clone, Debug)]
pub(super) struct Line<B> {
    network: Arc<Network<B>>,
    instance: usize,
    life: Arc<Life>,
}

impl<B: KeyValue> Network<B> {
    pub(super) fn new(backend: B, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            ledger,
            state: Mutex::default(),
            is_cut: AtomicBool::new(false),
        })
    }

    pub(super) fn line(self: &Arc<Self>, instance: usize, life: &Arc<Life>) -> Line<B> {
        Line {
            network: Arc::clone(self),
            instance,
            life: Arc::clone(life),
        }
    }

    /// Nobody reaches the store for so long.
    pub(super) fn go_down(&self, time: Duration) {
        self.state.lock().unwrap().down_until = Some(now() + time);
    }

    /// What is under way is lost, and from now on all goes well.
    pub(super) fn calm_down(&self) {
        self.is_cut.store(true, SeqCst);
        self.state.lock().unwrap().down_until = None;
    }

    pub(super) fn history(&self) -> History {
        self.state.lock().unwrap().history.clone()
    }

    /// The record is lost, whatever it is.
    pub(super) async fn lose_record(&self) {
        let key = self.state.lock().unwrap().key.clone();
        let Some(key) = key else { return };
        let found = self.backend.get(&key, GetOptions::new()).await.unwrap();
        if let Some(found) = found {
            let condition = Precondition::Matches(found.version);
            let is_gone = self.backend.delete(&key, condition).await.unwrap();
            self.removed(is_gone, found.version, true);
        }
    }

    async fn put(
        &self,
        request: usize,
        key: Key,
        value: Bytes,
        options: PutOptions,
    ) -> Result<Put> {
        let record = Stored::read(value.clone());
        let said = format!(
            "r{request} puts {}{}{} if {}",
            record.state,
            record.attempt,
            if record.flags & 1 == 0 {
                " unstarted"
            } else {
                ""
            },
            match options.precondition {
                Precondition::Matches(version) => short(version.as_u64()),
                other => format!("{other:?}"),
            }
        );
        let put = self.backend.put(&key, self.tampered(value), options).await;
        match &put {
            Ok(Put::Stored(version)) => {
                self.note(&format!("{said}: stored {}", short(version.as_u64())));
                let mut state = self.state.lock().unwrap();
                state.key = Some(key);
                state.history.writes.push(Write {
                    at: now(),
                    version: version.as_u64(),
                    precondition: options.precondition,
                    request,
                    record,
                });
            }
            Ok(Put::Conflict { current, .. }) => {
                let there = current.clone().map(|entry| {
                    let version = short(entry.version.as_u64());
                    let record = Stored::read(entry.value);
                    let of = self.request_of(record.owner);
                    format!("{version} {}{} of r{of}", record.state, record.attempt)
                });
                self.note(&format!("{said}: conflict, {there:?}"));
            }
            Err(error) => self.note(&format!("{said}: {error}")),
        }
        put
    }

    async fn delete(&self, key: Key, condition: Precondition) -> Result<bool> {
        let found = self.backend.get(&key, GetOptions::new()).await?;
        let is_gone = self.backend.delete(&key, condition).await?;
        match (condition, found) {
            (Precondition::Matches(version), _) => self.removed(is_gone, version, false),
            (_, Some(found)) => self.removed(is_gone, found.version, false),
            _ => {}
        }
        Ok(is_gone)
    }

    fn removed(&self, is_gone: bool, version: Version, is_by_hand: bool) {
        if is_gone {
            let how = if is_by_hand { "is lost" } else { "is deleted" };
            self.note(&format!("{} {how}", short(version.as_u64())));
            self.state.lock().unwrap().history.removals.push(Removal {
                version: version.as_u64(),
                is_by_hand,
            });
        }
    }

    fn tampered(&self, value: Bytes) -> Bytes {
        match self.ledger.schedule.tampering {
            Tampering::None => value,
            Tampering::ForgetsNever => {
                let mut value = value.to_vec();
                value[Stored::FLAGS_AT] &= !Stored::NEVER;
                value.into()
            }
        }
    }

    fn is_down(&self) -> bool {
        let down_until = self.state.lock().unwrap().down_until;
        down_until.is_some_and(|until| now() < until)
    }

    /// Whose claim it is: that of the task that made the first call with it.
    fn request_of(&self, owner: Owner) -> usize {
        let mut state = self.state.lock().unwrap();
        let asking = REQUEST.try_with(|request| *request).ok();
        let known = state.owners.get(&owner).copied();
        let request = known.or(asking).expect("who claims is a request");
        state.owners.insert(owner, request);
        request
    }

    fn fate_of_put(&self, request: usize) -> Fate {
        let mut state = self.state.lock().unwrap();
        let number = state.puts.entry(request).or_default();
        *number += 1;
        let fates = &self.ledger.schedule.requests[request].puts;
        fates.get(*number - 1).copied().unwrap_or(AT_ONCE)
    }

    fn fate_of_other(&self, instance: usize) -> Fate {
        let mut state = self.state.lock().unwrap();
        let number = state.other_calls.entry(instance).or_default();
        *number += 1;
        let fates = &self.ledger.schedule.other_calls[instance];
        fates.get(*number - 1).copied().unwrap_or(AT_ONCE)
    }

    fn note(&self, line: &str) {
        self.ledger.note(line);
    }
}

impl<B: KeyValue> Line<B> {
    /// Makes a call of this name, of which this becomes.
    async fn call<T, F>(
        &self,
        name: String,
        fate: impl FnOnce(&Network<B>) -> Fate,
        call: impl FnOnce(Arc<Network<B>>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send,
    {
        self.life.awake().await;
        let network = Arc::clone(&self.network);
        let is_calm = network.is_cut.load(SeqCst);
        let fate = if is_calm { AT_ONCE } else { fate(&network) };
        if !matches!(fate, Fate::Pass(..)) {
            network.note(&format!("{name} meets {fate:?}"));
        }
        let (there, back, disconnects) = match fate {
            Fate::Refuse => return Err(refused()),
            Fate::LoseCall => (None, None, false),
            Fate::Pass(there, back) => (Some(there), Some(back), false),
            Fate::LoseReply(travel) | Fate::LostAndLate(travel) => (Some(travel), None, true),
            Fate::Late(travel) => (Some(travel), Some(Duration::ZERO), false),
        };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let Some(there) = there else {
                // The caller waits until it has no patience left.
                sleep(network.ledger.schedule.pace.patience * 2).await;
                return drop(answer);
            };
            sleep(there).await;
            if network.is_cut.load(SeqCst) != is_calm {
                return;
            }
            let result = if network.is_down() {
                Err(BackendError::new(
                    BackendErrorKind::Unavailable,
                    "reach the store",
                ))
            } else {
                call(network).await
            };
            if let Some(back) = back {
                sleep(back).await;
                _ = answer.send(result);
            }
        });
        let result = if matches!(fate, Fate::LostAndLate(_)) {
            Err(lost())
        } else {
            let pace = self.network.ledger.schedule.pace;
            // A slow machine is no fault of the store's.
            let patience = if is_calm {
                pace.patience + pace.slack * 20
            } else {
                pace.patience
            };
            match timeout(patience, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) if disconnects => Err(lost()),
                _ => Err(BackendError::new(
                    BackendErrorKind::TimedOut,
                    "hear in time",
                )),
            }
        };
        self.life.awake().await;
        result
    }
}

impl<B: KeyValue> KeyValue for Line<B> {
    async fn get(&self, key: &Key, options: GetOptions) -> Result<Option<Entry>> {
        let (key, instance) = (key.clone(), self.instance);
        self.call(
            format!("i{instance} get"),
            |network| network.fate_of_other(instance),
            move |network| async move { network.backend.get(&key, options).await },
        )
        .await
    }

    async fn put(&self, key: &Key, value: Bytes, options: PutOptions) -> Result<Put> {
        let owner = Stored::read(value.clone()).owner;
        let request = self.network.request_of(owner);
        let key = key.clone();
        self.call(
            format!("r{request} put"),
            |network| network.fate_of_put(request),
            move |network| async move { network.put(request, key, value, options).await },
        )
        .await
    }

    async fn delete(&self, key: &Key, condition: Precondition) -> Result<bool> {
        let (key, instance) = (key.clone(), self.instance);
        self.call(
            format!("i{instance} delete"),
            |network| network.fate_of_other(instance),
            move |network| async move { network.delete(key, condition).await },
        )
        .await
    }

    async fn touch(&self, _: &Key, _: Duration, _: Precondition) -> Result<bool> {
        panic!("no record is touched")
    }

    fn clock_skew(&self) -> Duration {
        self.network.backend.clock_skew()
    }

    fn is_remote(&self) -> bool {
        self.network.backend.is_remote()
    }
}

fn lost() -> BackendError {
    BackendError::new(BackendErrorKind::Disconnected, "hear the answer")
}

fn refused() -> BackendError {
    BackendError::new(BackendErrorKind::Rejected, "find room")
}

const AT_ONCE: Fate = Fate::Pass(Duration::from_millis(1), Duration::from_millis(1));
