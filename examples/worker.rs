//! Jobs that are done once, though their queue delivers them more often and workers die; and a
//! nightly report that one instance makes.
//!
//! ```sh
//! cargo run --example worker --features full
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example worker --features full
//! ```
//!
//! Workers are threads here, each with a runtime of its own, so that one of them can die, or stand
//! still, as a process would.

use std::{
    collections::{BTreeSet, VecDeque},
    env,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rusqlite::{Connection, params};
use tokio::{
    runtime::{self, Handle},
    time::{sleep, timeout},
};
use tower_stash::{
    ConfigError,
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    idempotency::{Execution, IdempotencyRule, Idempotent, LeaseError, Leases, Recovery, RunError},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = match env::var("REDIS_URL") {
        Ok(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        Err(_) => AnyBackend::new(MemoryBackend::new()),
    };
    send_invoices(&backend).await?;
    make_report(&backend).await
}

// === Jobs ===

async fn send_invoices(backend: &AnyBackend) -> Result<(), Box<dyn Error>> {
    let queue = Queue::with_jobs(["ada", "bob", "eve", "zoe"]);
    let mails = MailProvider::default();
    // The first worker dies half a second after it began.
    let first = Worker::new("1", backend, &queue, &mails)?;
    let dead = in_a_process(async move { _ = timeout(HALF_A_SECOND, first.run()).await });
    sleep(HALF_A_SECOND / 10).await;
    let second = Worker::new("2", backend, &queue, &mails)?;
    let third = Worker::new("3", backend, &queue, &mails)?;
    tokio::join!(second.run(), third.run());
    dead.join().ok();
    let (taken, sent) = (lock(&queue.state).taken, lock(&mails.sent).len());
    println!("{taken} deliveries of 4 jobs, and {sent} mails\n");
    Ok(())
}

struct Worker {
    name: &'static str,
    queue: Queue,
    mails: MailProvider,
    invoices: Idempotent,
}

impl Worker {
    fn new(
        name: &'static str,
        backend: &AnyBackend,
        queue: &Queue,
        mails: &MailProvider,
    ) -> Result<Self, ConfigError> {
        // An orphan may run again: the mail provider knows its key.
        let rule = IdempotencyRule::new("invoices", Recovery::ReExecute)?
            .with_lease(Duration::from_secs(1))?;
        Ok(Self {
            name,
            queue: queue.clone(),
            mails: mails.clone(),
            invoices: Idempotent::new(backend.clone(), rule)?,
        })
    }

    /// Works until all jobs are done.
    async fn run(self) {
        while !self.queue.is_done() {
            match self.queue.take() {
                Some(job) => self.work(job).await,
                None => sleep(Duration::from_millis(50)).await,
            }
        }
        self.invoices.drain(Duration::from_secs(10)).await;
    }

    async fn work(&self, job: Job) {
        let (name, customer) = (self.name, job.customer);
        let mails = self.mails.clone();
        let done = self.invoices.run(
            job.id.as_str(),
            customer, // what is to be done: another customer under this id would be a mistake
            async move |run| send_invoice(&run, customer, &mails).await,
        );
        match done.await {
            Ok(done) => {
                let how = if done.is_replay() { "was" } else { "is" };
                let invoice = String::from_utf8_lossy(&done.into_result()).into_owned();
                println!("worker {name}: {customer}'s invoice {how} sent: {invoice}");
                self.queue.acknowledge(&job);
            }
            // Somebody is at work on it, or was when it died.
            Err(RunError::Busy(left)) => {
                println!("worker {name}: somebody has {customer}'s job, for {left:?} at least");
                self.queue.deliver_again(job, left);
            }
            Err(error @ (RunError::Mismatch | RunError::OutcomeUnknown)) => {
                println!("worker {name}: for a person to look at: {customer}'s job: {error}");
                self.queue.acknowledge(&job);
            }
            Err(error) => {
                println!("worker {name}: {customer}'s job, again later: {error}");
                self.queue.deliver_again(job, HALF_A_SECOND);
            }
        }
    }
}

/// What a job is about; says the number of the invoice.
async fn send_invoice(
    run: &Execution,
    customer: &'static str,
    mails: &MailProvider,
) -> Result<String, Away> {
    if customer == "eve" && run.attempt() == 1 {
        return Err(Away);
    }
    // The same in every attempt, so that there is one mail.
    let invoice = mails.send(&run.downstream_key("mail"));
    sleep(HALF_A_SECOND / 2 * 3).await;
    Ok(format!("no. {invoice}, attempt {}", run.attempt()))
}

#[derive(Debug)]
struct Away;

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mail provider is away")
    }
}

/// Another company, which has idempotency keys of its own.
#[derive(Clone, Default)]
struct MailProvider {
    sent: Arc<Mutex<Vec<String>>>,
}

impl MailProvider {
    /// Sends one mail for each key, and says which one it is.
    fn send(&self, key: &str) -> usize {
        let mut sent = lock(&self.sent);
        let known = sent.iter().position(|known| known == key);
        known.unwrap_or_else(|| {
            sent.push(key.to_owned());
            sent.len() - 1
        }) + 1
    }
}

// === A queue, which delivers each job at least once ===

#[derive(Clone)]
struct Job {
    id: String,
    customer: &'static str,
    delivery: u32,
}

#[derive(Clone)]
struct Queue {
    state: Arc<Mutex<State>>,
    runtime: Handle,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    open: BTreeSet<String>,
    taken: usize,
}

impl Queue {
    /// A job for each customer, and every second one at once to two workers.
    fn with_jobs<const N: usize>(customers: [&'static str; N]) -> Self {
        let mut state = State::default();
        for (number, customer) in customers.into_iter().enumerate() {
            let id = format!("{customer}-{}", getrandom::u32().unwrap_or_default());
            state.open.insert(id.clone());
            let copies = number % 2 + 1;
            let job = Job {
                id,
                customer,
                delivery: 0,
            };
            state.waiting.extend(std::iter::repeat_n(job, copies));
        }
        Self {
            state: Arc::new(Mutex::new(state)),
            runtime: Handle::current(),
        }
    }

    fn take(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        let mut job = state.waiting.pop_front()?;
        job.delivery += 1;
        state.taken += 1;
        // Whoever has not acknowledged it by then is taken for dead.
        self.deliver_again(job.clone(), Duration::from_secs(2));
        Some(job)
    }

    fn deliver_again(&self, job: Job, after: Duration) {
        let state = Arc::clone(&self.state);
        self.runtime.spawn(async move {
            sleep(after).await;
            let mut state = lock(&state);
            if state.open.contains(&job.id) {
                state.waiting.push_back(job);
            }
        });
    }

    /// Of one job the first acknowledgement gets lost.
    fn acknowledge(&self, job: &Job) {
        if job.customer != "zoe" || job.delivery > 1 {
            lock(&self.state).open.remove(&job.id);
        }
    }

    fn is_done(&self) -> bool {
        let state = lock(&self.state);
        state.open.is_empty() && state.waiting.is_empty()
    }
}

// === The nightly report ===

/// Two instances want to make it. One has the lease, stands still for too long, and does not know.
async fn make_report(backend: &AnyBackend) -> Result<(), Box<dyn Error>> {
    let reports = Reports::open()?;
    let leases = Leases::new(backend.clone()).with_lease(Duration::from_secs(1))?;

    let (theirs, their_reports) = (leases.clone(), reports.clone());
    let slow = in_a_process(async move {
        let lease = theirs.acquire("nightly-report").await?;
        println!("instance 1 has the lease, and stands still");
        thread::sleep(Duration::from_secs(3)); // garbage, swap, or a laptop that is closed
        let is_written = their_reports.write("by instance 1", lease.fence());
        let is_lost = lease.is_lost();
        println!("instance 1 writes: {is_written}; its lease is lost: {is_lost}");
        Ok::<_, LeaseError>(())
    });

    sleep(HALF_A_SECOND).await;
    if let Err(LeaseError::Held(left)) = leases.acquire("nightly-report").await {
        println!("instance 2 is refused, for {left:?} at least, and waits");
    }
    let lease = leases
        .acquire_within("nightly-report", Duration::from_secs(5))
        .await?;
    let is_written = reports.write("by instance 2", lease.fence());
    println!("instance 2 writes: {is_written}");
    lease.release().await?;

    slow.join().ok();
    println!("the report was made {}", reports.read()?);
    Ok(())
}

#[derive(Clone)]
struct Reports(Arc<Mutex<Connection>>);

impl Reports {
    fn open() -> rusqlite::Result<Self> {
        let database = Connection::open_in_memory()?;
        database.execute_batch(
            "CREATE TABLE reports (day TEXT PRIMARY KEY, body TEXT, fence INTEGER);
             INSERT INTO reports VALUES ('today', '', 0)",
        )?;
        Ok(Self(Arc::new(Mutex::new(database))))
    }

    /// Writes the report, unless somebody has who had the lease later.
    fn write(&self, body: &str, fence: u64) -> bool {
        let changed = lock(&self.0).execute(
            "UPDATE reports SET body = ?1, fence = ?2 WHERE day = 'today' AND fence < ?2",
            params![body, fence.cast_signed()],
        );
        changed == Ok(1)
    }

    fn read(&self) -> rusqlite::Result<String> {
        lock(&self.0).query_row("SELECT body FROM reports", [], |report| report.get(0))
    }
}

// === What stands for processes ===

/// Runs this on a thread and a runtime of its own, with which all ends that it has spawned.
fn in_a_process<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> thread::JoinHandle<Option<T>> {
    thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.ok().map(|runtime| runtime.block_on(work))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);
