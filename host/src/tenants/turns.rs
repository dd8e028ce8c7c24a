//! Turns of requests on the threads that serve them, and of runs on those that models have.
//!
//! The runtime runs what is ready in the order in which it became so: a crowd's requests would all go before one of another
//! tenant that comes after them. So while several tenants have requests, each that is ready to go on first asks here. Of each
//! tenant one may at once, unless it has had more than those who wait; others wait for their turn, which goes to whoever has had
//! least. What waits does so outside the runtime's queue, so what comes in is looked at soon; those of a crowd may leave a
//! processor idle meanwhile, which is what whoever comes next finds. While there is one tenant alone, nothing is put off.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{FairQueue, Tenant};
use crate::clock;

/// Tenants share for so long after requests of two of them have met. Arbitrary: a pause of it is none of a flood.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// All turns.
pub struct Turns {
    /// Beyond the first of each tenant, so many go on at one time.
    at_once: usize,
    /// The tenant that is alone just now, only to be compared with: none where several share. Its turns are not even counted.
    alone: AtomicPtr<Tenant>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: FairQueue<Arc<Ticket>>,
    /// Whose request was the last that asked.
    last: Option<Arc<Tenant>>,
    shared_until: Option<Instant>,
}

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A request that waits for its turn.
struct Ticket {
    tenant: Arc<Tenant>,
    is_next: AtomicBool,
    has_looked: AtomicBool,
    waker: Mutex<Waker>,
}

/// A request that asks for its turns; none is left behind when it is dropped.
struct Asking<'t> {
    turns: &'t Turns,
    tenant: &'t Arc<Tenant>,
    ticket: Option<Arc<Ticket>>,
    /// Once it is its turn, what came in meanwhile is looked at first: by the runtime, of which a thread of a model knows none.
    looks: bool,
}

/// A turn: until this is dropped.
pub struct Turn<'t> {
    turns: &'t Turns,
    tenant: &'t Arc<Tenant>,
    /// None where turns are not counted.
    since: Option<Instant>,
}

impl Turns {
    /// On so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { at_once: threads.max(1), alone: AtomicPtr::default(), state: Mutex::default() }
    }

    /// Does a request's work, each time that it is ready to go on in its tenant's turn.
    pub async fn in_turn<T>(&self, tenant: &Arc<Tenant>, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        let mut asking = Asking { turns: self, tenant, ticket: None, looks: true };
        poll_fn(|context| {
            let turn = std::task::ready!(asking.poll(context));
            let polled = work.as_mut().poll(context);
            drop(turn);
            polled
        })
        .await
    }

    /// Waits, on this thread, for its tenant's turn.
    pub fn take<'t>(&'t self, tenant: &'t Arc<Tenant>) -> Turn<'t> {
        let waker = Waker::from(Arc::new(Parked(std::thread::current())));
        let mut asking = Asking { turns: self, tenant, ticket: None, looks: false };
        loop {
            if let Poll::Ready(turn) = asking.poll(&mut Context::from_waker(&waker)) {
                return turn;
            }
            std::thread::park();
        }
    }

    /// Ends a turn, and gives it to whoever has the next.
    fn end(&self, tenant: &Arc<Tenant>, ran: Duration) {
        let mut state = self.state.lock();
        state.running -= 1;
        state.waiting.end(tenant, ran);
        let given = state.give_out(self.at_once);
        drop(state);
        wake(given);
    }
}

impl State {
    /// Whether tenants share just now.
    fn is_shared(&mut self, tenant: &Arc<Tenant>, now: Instant) -> bool {
        match &self.last {
            Some(last) if Arc::ptr_eq(last, tenant) => {}
            last => {
                if last.is_some() {
                    self.shared_until = Some(now + SHARED_FOR);
                    tenant.sharing.goes_on(now, SHARED_FOR);
                }
                self.last = Some(Arc::clone(tenant));
            }
        }
        if self.shared_until.is_some_and(|until| now >= until) && self.waiting.is_empty() {
            self.shared_until = None;
        }
        self.shared_until.is_some()
    }

    fn begin(&mut self, tenant: &Arc<Tenant>) {
        self.running += 1;
        self.waiting.begin(tenant);
    }

    /// Gives out what turns there are, to whom is to be woken without the lock.
    fn give_out(&mut self, at_once: usize) -> Vec<Arc<Ticket>> {
        let mut given = Vec::new();
        while self.running < at_once
            && let Some(ticket) = self.waiting.pop()
        {
            self.begin(&ticket.tenant);
            ticket.is_next.store(true, Ordering::Relaxed);
            given.push(ticket);
        }
        given
    }
}

fn wake(given: Vec<Arc<Ticket>>) {
    for ticket in given {
        let waker = ticket.waker.lock().clone();
        waker.wake();
    }
}

impl<'t> Asking<'t> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Turn<'t>> {
        let (turns, tenant, this) = (self.turns, self.tenant, Arc::as_ptr(self.tenant).cast_mut());
        if self.ticket.is_none() && turns.alone.load(Ordering::Relaxed) == this {
            return Poll::Ready(Turn { turns, tenant, since: None });
        }
        let now = clock::now();
        let since = Some(now);
        let mut state = turns.state.lock();
        let Some(ticket) = &self.ticket else {
            let is_shared = state.is_shared(tenant, now);
            turns.alone.store(if is_shared { std::ptr::null_mut() } else { this }, Ordering::Relaxed);
            let may = !is_shared || state.waiting.running(tenant) == 0 && !state.waiting.is_ahead(tenant);
            if may {
                state.begin(tenant);
                return Poll::Ready(Turn { turns, tenant, since });
            }
            let waker = Mutex::new(context.waker().clone());
            let ticket = Arc::new(Ticket { tenant: Arc::clone(tenant), is_next: AtomicBool::new(false), has_looked: AtomicBool::new(false), waker });
            state.waiting.push(tenant, Arc::clone(&ticket));
            self.ticket = Some(ticket);
            if state.running < turns.at_once {
                // Others that are ready have a chance to ask before this goes on.
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        };
        let given = state.give_out(turns.at_once);
        let is_next = ticket.is_next.load(Ordering::Relaxed);
        if !is_next {
            ticket.waker.lock().clone_from(context.waker());
        }
        drop(state);
        let others = given.into_iter().filter(|given| !Arc::ptr_eq(given, ticket));
        wake(others.collect());
        if !is_next {
            return Poll::Pending;
        }
        if self.looks && !ticket.has_looked.swap(true, Ordering::Relaxed) {
            // Goes to the end of the line, behind what sockets have to say. It is asked again, so this is not kept.
            if pin!(tokio::task::yield_now()).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.ticket = None;
        Poll::Ready(Turn { turns, tenant, since })
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = self.turns.state.lock();
        if ticket.is_next.load(Ordering::Relaxed) {
            drop(state);
            self.turns.end(self.tenant, Duration::ZERO);
        } else {
            state.waiting.remove(self.tenant, |waiting| Arc::ptr_eq(waiting, &ticket));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            self.turns.end(self.tenant, since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use bulkhead_registry::Quotas;

    use super::super::Tenants;
    use super::*;

    fn tenants<const N: usize>(names: [&str; N]) -> [Arc<Tenant>; N] {
        let tenants = Tenants::new(Quotas::default(), 1);
        names.map(|name| tenants.tenant(&name.parse().unwrap()))
    }

    /// Takes the thread for so long, several times.
    async fn work(times: usize, each: Duration) {
        for _ in 0..times {
            std::thread::sleep(each);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_tenant_alone_waits_for_nobody() {
        let (turns, [one]) = (Arc::new(Turns::new(1)), tenants(["one"]));
        let began = AtomicUsize::new(0);
        let all = (0..8).map(|_| {
            let work = async {
                began.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            };
            let (turns, one) = (&turns, &one);
            async move { turns.in_turn(one, pin!(work)).await }
        });
        let all = futures_util::future::join_all(all);
        assert!(tokio::time::timeout(Duration::from_millis(10), all).await.is_err());
        assert_eq!((began.into_inner(), turns.state.lock().running), (8, 0));
    }

    #[tokio::test]
    async fn one_of_another_goes_before_a_crowd() {
        let (turns, [crowd, lone]) = (Arc::new(Turns::new(1)), tenants(["crowd", "lone"]));
        // They have met.
        turns.in_turn(&crowd, pin!(async {})).await;
        turns.in_turn(&lone, pin!(async {})).await;
        let done = Arc::new(AtomicUsize::new(0));
        let crowd: Vec<_> = (0..50)
            .map(|_| {
                let (turns, crowd, done) = (Arc::clone(&turns), Arc::clone(&crowd), Arc::clone(&done));
                tokio::spawn(async move {
                    turns.in_turn(&crowd, pin!(work(1, Duration::from_millis(2)))).await;
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        let (to, before) = (Arc::clone(&turns), Arc::clone(&done));
        // Ready after all of them.
        let lone = tokio::spawn(async move {
            to.in_turn(&lone, pin!(work(1, Duration::from_millis(2)))).await;
            before.load(Ordering::Relaxed)
        });
        let before = lone.await.unwrap();
        assert!(before < 10, "{before} of the crowd went first");
        for task in crowd {
            task.await.unwrap();
        }
        assert_eq!(turns.state.lock().running, 0);
        assert!(turns.state.lock().waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_is_lost_whoever_goes_away() {
        let (turns, all) = (Arc::new(Turns::new(2)), tenants(["a", "b", "c"]));
        let tasks: Vec<_> = (0..600_usize)
            .map(|at| {
                let (turns, tenant) = (Arc::clone(&turns), Arc::clone(&all[at % 3]));
                tokio::spawn(async move {
                    let work = pin!(work(4, Duration::from_micros(50)));
                    let work = turns.in_turn(&tenant, work);
                    // A third of them loses its patience somewhere on the way.
                    let patience = if at % 2 == 0 { Duration::from_micros(at as u64 * 20) } else { Duration::from_secs(60) };
                    tokio::time::timeout(patience, work).await.is_ok()
                })
            })
            .collect();
        for (at, task) in tasks.into_iter().enumerate() {
            let done = task.await.unwrap();
            assert!(done || at % 2 == 0, "{at}");
        }
        assert_eq!(turns.state.lock().running, 0);
        assert!(turns.state.lock().waiting.is_empty());
        assert!(all.iter().all(|tenant| turns.state.lock().waiting.running(tenant) == 0));
    }

    #[test]
    fn threads_of_one_tenant_leave_another_its_share() {
        let (turns, all) = (Turns::new(1), tenants(["crowd", "lone"]));
        let (until, had) = (clock::now() + Duration::from_millis(300), [AtomicUsize::new(0), AtomicUsize::new(0)]);
        std::thread::scope(|scope| {
            for at in [0, 0, 0, 0, 0, 0, 1, 1] {
                let (turns, tenant, had) = (&turns, &all[at], &had[at]);
                scope.spawn(move || {
                    while clock::now() < until {
                        let turn = turns.take(tenant);
                        std::thread::sleep(Duration::from_micros(500));
                        had.fetch_add(1, Ordering::Relaxed);
                        drop(turn);
                    }
                });
            }
        });
        let [crowd, lone] = had.map(AtomicUsize::into_inner);
        // In one line they would be three to one.
        assert!(lone * 2 > crowd && crowd * 2 > lone, "{crowd} and {lone}");
        assert_eq!(turns.state.lock().running, 0);
    }
}
