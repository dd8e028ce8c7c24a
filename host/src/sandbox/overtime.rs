//! Guests that take long, on threads of their own.
//!
//! A guest begins on the thread that its request came in on: going to another one and back costs more than most guests take.
//! One that is still there after a tick or two goes on elsewhere, and the next one of its kind begins there. The threads for
//! these yield to those that requests come in on, by the system's own scheduler, which interrupts anything at any moment. What
//! is long shares them by the tenants' weights, a tick at a time. While several tenants have requests one of the threads rests,
//! so that there is a processor which requests need not share: beside a nice thread the system does not look for a better one.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_task::Runnable;
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use crate::aside::yield_to_requests;
use crate::clock::{self, nanos};
use crate::tenants::{FairQueue, Tenant};

/// A guest that took this long goes on elsewhere at its next tick. Moving it costs some tens of microseconds.
const LONG: Duration = Duration::from_millis(1);

/// Guests whose mean is under this begin where their requests come in again; apart from [`LONG`] so that they don't swing.
const SHORT: Duration = Duration::from_micros(500);

/// A guest's call with everything that it takes, and how long it ran so far; its waits don't count.
pub(super) struct Guest<T> {
    call: Pin<Box<dyn Future<Output = T> + Send>>,
    ran: Duration,
}

impl<T> Guest<T> {
    /// Not begun yet.
    pub(super) fn new(call: impl Future<Output = T> + Send + 'static) -> Self {
        Self { call: Box::pin(call), ran: Duration::ZERO }
    }
}

impl<T> Future for Guest<T> {
    type Output = (T, Duration);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let began = clock::now();
        let polled = self.call.as_mut().poll(context);
        self.ran += began.elapsed();
        polled.map(|outcome| (outcome, self.ran))
    }
}

thread_local! {
    /// The epoch reached the guest that this thread runs, since it was last asked.
    static TICKED: Cell<bool> = const { Cell::new(false) };
}

/// Says that a tick has reached the guest that runs on this thread, which yields now.
pub(super) fn ticked() {
    TICKED.set(true);
}

/// How long guests of one kind take.
#[derive(Default)]
pub(super) struct Pace {
    /// The mean of their calls, in nanoseconds of their own.
    mean: AtomicU64,
    is_long: AtomicBool,
}

impl Pace {
    fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }

    /// One of them took so long. Two that end at once may forget one of them: it is a mean.
    fn took(&self, ran: Duration) {
        let mean = self.mean.load(Ordering::Relaxed);
        let mean = mean - mean / 8 + nanos(ran.min(8 * LONG)) / 8;
        self.mean.store(mean, Ordering::Relaxed);
        if mean < nanos(SHORT) && self.is_long() {
            self.is_long.store(false, Ordering::Relaxed);
        }
    }

    /// One of them is long, and not over yet.
    fn grows_long(&self) {
        self.mean.fetch_max(nanos(LONG), Ordering::Relaxed);
        self.is_long.store(true, Ordering::Relaxed);
    }
}

/// The threads; they end when this is dropped.
pub(super) struct Overtime(Arc<Shared>);

struct Shared {
    threads: usize,
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    waiting: FairQueue<Runnable<Job>>,
    running: usize,
    /// Tenants share the host, as it was when something last came or went.
    is_shared: bool,
    stopped: bool,
}

/// What is known of a guest on these threads.
struct Job {
    tenant: Arc<Tenant>,
    /// What it waits for is looked after there.
    runtime: Handle,
}

impl Overtime {
    /// Starts so many threads.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let this = Self(Arc::new(Shared { threads, state: Mutex::default(), ready: Condvar::new() }));
        for _ in 0..threads {
            let shared = Arc::clone(&this.0);
            std::thread::Builder::new().name("bulkhead-guests".to_owned()).spawn(move || {
                yield_to_requests();
                shared.work();
            })?;
        }
        Ok(this)
    }

    /// Runs a guest to its end: on this thread if guests of its pace are short and so is this one, or else on one of those
    /// here. Dropping this ends the guest, at its next tick at the latest. None where the host stops.
    pub(super) async fn run<T: Send + 'static>(&self, tenant: &Arc<Tenant>, pace: &Pace, mut guest: Guest<T>) -> Option<T> {
        if !pace.is_long() {
            let here = std::future::poll_fn(|context| {
                TICKED.set(false);
                match Pin::new(&mut guest).poll(context) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending if guest.ran >= LONG && TICKED.get() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            });
            if let Some((outcome, ran)) = here.await {
                pace.took(ran);
                return Some(outcome);
            }
            pace.grows_long();
        }
        let job = Job { tenant: Arc::clone(tenant), runtime: Handle::current() };
        let shared = Arc::clone(&self.0);
        let schedule = move |runnable: Runnable<Job>| shared.push(runnable);
        let (runnable, task) = async_task::Builder::new().propagate_panic(true).metadata(job).spawn(|_| guest, schedule);
        runnable.schedule();
        let (outcome, ran) = task.fallible().await?;
        pace.took(ran);
        Some(outcome)
    }
}

impl Drop for Overtime {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.state.lock();
            state.stopped = true;
            std::mem::take(&mut state.waiting)
        };
        // Without the lock: a guest's end may wake others.
        drop(left);
        self.0.ready.notify_all();
    }
}

impl Shared {
    fn push(&self, runnable: Runnable<Job>) {
        let tenant = Arc::clone(&runnable.metadata().tenant);
        let mut state = self.state.lock();
        if !state.stopped {
            state.is_shared = tenant.shares();
            state.waiting.push(&tenant, runnable);
            let has_room = self.has_room(&state);
            drop(state);
            if has_room {
                self.ready.notify_one();
            }
        }
    }

    /// Something waits, and one more thread may run it.
    fn has_room(&self, state: &State) -> bool {
        let at_once = if state.is_shared { (self.threads - 1).max(1) } else { self.threads };
        !state.waiting.is_empty() && state.running < at_once
    }

    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return;
            }
            let next = if self.has_room(&state) { state.waiting.pop() } else { None };
            let Some(runnable) = next else {
                self.ready.wait(&mut state);
                continue;
            };
            state.running += 1;
            let has_room = self.has_room(&state);
            drop(state);
            if has_room {
                // For one that rested until now.
                self.ready.notify_one();
            }
            let (tenant, ran) = run(runnable);
            state = self.state.lock();
            state.running -= 1;
            state.is_shared = tenant.shares();
            state.waiting.charge(&tenant, ran);
        }
    }
}

/// Runs a guest until it yields, waits or ends.
fn run(runnable: Runnable<Job>) -> (Arc<Tenant>, Duration) {
    let Job { tenant, runtime } = runnable.metadata();
    let (tenant, runtime) = (Arc::clone(tenant), runtime.clone());
    let _entered = runtime.enter();
    let began = clock::now();
    runnable.run();
    (tenant, began.elapsed())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread::{self, ThreadId};

    use super::*;
    use crate::tenants::Tenants;

    fn tenant(name: &str) -> Arc<Tenant> {
        Tenants::new(bulkhead_registry::Quotas::default(), 1).tenant(&name.parse().unwrap())
    }

    /// Runs for so long, with a tick every millisecond, and says on which thread it ended.
    async fn busy(long: Duration) -> ThreadId {
        let began = clock::now();
        while began.elapsed() < long {
            let tick = clock::now();
            while tick.elapsed() < Duration::from_millis(1).min(long) {
                std::hint::spin_loop();
            }
            ticked();
            tokio::task::yield_now().await;
        }
        thread::current().id()
    }

    #[tokio::test]
    async fn what_is_long_goes_elsewhere_and_what_is_short_stays() {
        let (overtime, tenant, here) = (Overtime::start(1).unwrap(), tenant("a"), thread::current().id());
        let (long, short) = (Pace::default(), Pace::default());
        let run = async |pace: &Pace, ms| overtime.run(&tenant, pace, Guest::new(busy(Duration::from_micros(ms)))).await.unwrap();
        assert_eq!(run(&short, 0).await, here);
        assert_ne!(run(&long, 20_000).await, here);
        // It is remembered, of these alone,
        assert_ne!(run(&long, 0).await, here);
        assert_eq!(run(&short, 0).await, here);
        // until they have been short for a while.
        let mut back = 0..1000;
        while run(&long, 0).await != here {
            back.next().expect("it comes back");
        }
    }

    #[tokio::test]
    async fn waits_are_not_long() {
        let (overtime, tenant, here) = (Overtime::start(1).unwrap(), tenant("a"), thread::current().id());
        let guest = || {
            Guest::new(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                ticked();
                tokio::task::yield_now().await;
                thread::current().id()
            })
        };
        // Where this thread itself had to wait for a processor it does look long.
        let mut tries = 0..20;
        while overtime.run(&tenant, &Pace::default(), guest()).await != Some(here) {
            tries.next().expect("one that is not moved");
        }
    }

    #[tokio::test]
    async fn who_is_dropped_ends_and_gives_its_thread_to_others() {
        let (overtime, tenant) = (Overtime::start(1).unwrap(), tenant("a"));
        let pace = Pace::default();
        let endless = overtime.run(&tenant, &pace, Guest::new(busy(Duration::from_secs(3600))));
        assert!(tokio::time::timeout(Duration::from_millis(50), endless).await.is_err());
        let other = Pace::default();
        other.grows_long();
        overtime.run(&tenant, &other, Guest::new(busy(Duration::ZERO))).await.unwrap();
    }

    /// How many of so many guests run at once on two threads, at most.
    async fn at_once(tenants: &Tenants, crowd: usize) -> usize {
        let (overtime, tenant) = (Arc::new(Overtime::start(2).unwrap()), tenants.tenant(&"a".parse().unwrap()));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let guests = (0..crowd).map(|_| {
            let (overtime, tenant, running, most) = (Arc::clone(&overtime), Arc::clone(&tenant), Arc::clone(&running), Arc::clone(&most));
            tokio::spawn(async move {
                let pace = Pace::default();
                pace.grows_long();
                let guest = async move {
                    for _ in 0..20 {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(1));
                        running.fetch_sub(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                    }
                };
                overtime.run(&tenant, &pace, Guest::new(guest)).await.unwrap();
            })
        });
        for guest in guests.collect::<Vec<_>>() {
            guest.await.unwrap();
        }
        most.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn one_thread_rests_while_tenants_share() {
        let tenants = Tenants::new(bulkhead_registry::Quotas::default(), 1);
        assert_eq!(at_once(&tenants, 8).await, 2);
        let turns = crate::tenants::Turns::new(1);
        let meet = async || {
            for name in ["a", "b"] {
                turns.in_turn(&tenants.tenant(&name.parse().unwrap()), std::pin::pin!(async {})).await;
            }
        };
        let go_on_meeting = async {
            loop {
                meet().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        meet().await;
        tokio::select! {
            most = at_once(&tenants, 8) => assert_eq!(most, 1),
            () = go_on_meeting => {}
        }
        // A second later they no longer do.
        while tenants.tenant(&"a".parse().unwrap()).shares() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(at_once(&tenants, 8).await, 2);
    }

    #[tokio::test]
    async fn a_fault_reaches_who_waits_and_nobody_else() {
        let (overtime, tenant, pace) = (Arc::new(Overtime::start(1).unwrap()), tenant("a"), Pace::default());
        pace.grows_long();
        let (to, owner) = (Arc::clone(&overtime), Arc::clone(&tenant));
        let panics = tokio::spawn(async move {
            let pace = Pace::default();
            pace.grows_long();
            to.run(&owner, &pace, Guest::new(async { assert_eq!(1, 2, "a fault") })).await
        });
        assert!(panics.await.unwrap_err().is_panic());
        overtime.run(&tenant, &pace, Guest::new(busy(Duration::ZERO))).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_crowd_leaves_another_tenant_its_share() {
        let (overtime, crowd, lone) = (Arc::new(Overtime::start(1).unwrap()), tenant("crowd"), tenant("lone"));
        let had = Arc::new(AtomicU64::new(0));
        let crowd: Vec<_> = (0..16)
            .map(|_| {
                let (overtime, crowd, had) = (Arc::clone(&overtime), Arc::clone(&crowd), Arc::clone(&had));
                let turns = async move {
                    loop {
                        busy(Duration::from_millis(1)).await;
                        had.fetch_add(1, Ordering::Relaxed);
                    }
                };
                tokio::spawn(async move { overtime.run::<()>(&crowd, &Pace::default(), Guest::new(turns)).await })
            })
            .collect();
        while had.load(Ordering::Relaxed) < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let work = async {
            for _ in 0..40 {
                busy(Duration::from_millis(1)).await;
            }
        };
        let pace = Pace::default();
        pace.grows_long();
        let before = had.load(Ordering::Relaxed);
        overtime.run(&lone, &pace, Guest::new(work)).await.unwrap();
        let meanwhile = had.load(Ordering::Relaxed) - before;
        crowd.iter().for_each(tokio::task::JoinHandle::abort);
        // Forty turns of its own, and about as many of the others': in one line with them it would be six hundred.
        assert!(meanwhile < 120, "{meanwhile}");
    }
}
