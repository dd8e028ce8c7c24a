//! Whose turn it is: what tenants share is given to them by their weights, in the order of what each has had.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Tenant, weights};

/// Tenants that wait for nothing are forgotten once there are so many; until then who has had more than others still owes it.
/// Arbitrary.
const REMEMBERED: usize = 64;

/// What waits for a turn, of several tenants: start-time fair queueing (Goyal, Vin and Cheng, 1996). Of one tenant, what came
/// first goes first; a tenant that comes after a pause begins with what the others have had by then, so that nobody saves up.
pub struct FairQueue<T> {
    lines: Vec<Line<T>>,
    /// What who had its turn last had had before.
    now: u64,
    waiting: usize,
}

struct Line<T> {
    tenant: Arc<Tenant>,
    /// Nanoseconds that it has had, as one of the usual weight.
    had: u64,
    /// Turns that it has just now.
    running: usize,
    waiting: VecDeque<T>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), now: 0, waiting: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Puts something at the end of its tenant's line.
    pub fn push(&mut self, tenant: &Arc<Tenant>, item: T) {
        let now = self.now;
        let line = self.line(tenant);
        if line.waiting.is_empty() {
            line.had = line.had.max(now);
        }
        line.waiting.push_back(item);
        self.waiting += 1;
    }

    /// Takes what has its turn: the first in the line of who has had least.
    pub fn pop(&mut self) -> Option<T> {
        self.pop_if(|_, _, _| true, |_| true).map(|(_, item)| item)
    }

    /// The same among those who `may`, as who they are, by the turns that they have, and what they want; none where that does not
    /// `fit`.
    pub(crate) fn pop_if(&mut self, may: impl Fn(&Arc<Tenant>, usize, &T) -> bool, fits: impl FnOnce(&T) -> bool) -> Option<(Arc<Tenant>, T)> {
        let has_turn = |line: &&mut Line<T>| line.waiting.front().is_some_and(|first| may(&line.tenant, line.running, first));
        let next = self.lines.iter_mut().filter(has_turn).min_by_key(|line| line.had)?;
        if !next.waiting.front().is_some_and(fits) {
            return None;
        }
        self.now = self.now.max(next.had);
        self.waiting -= 1;
        Some((Arc::clone(&next.tenant), next.waiting.pop_front()?))
    }

    /// A tenant's turn begins.
    pub fn begin(&mut self, tenant: &Arc<Tenant>) {
        self.line(tenant).running += 1;
    }

    /// A tenant's turn ends, which lasted so long.
    pub fn end(&mut self, tenant: &Arc<Tenant>, ran: Duration) {
        self.line(tenant).running -= 1;
        self.charge(tenant, ran);
    }

    /// Turns that a tenant has just now.
    pub fn running(&mut self, tenant: &Arc<Tenant>) -> usize {
        self.line(tenant).running
    }

    /// The weights among which is divided what all want: of those who have turns.
    pub(crate) fn weights(&self) -> u64 {
        weights(self.lines.iter().map(|line| (line.running > 0, &*line.tenant)))
    }

    /// Whether a tenant has had more than the one that has had least of those who wait.
    pub fn is_ahead(&mut self, tenant: &Arc<Tenant>) -> bool {
        let Some(least) = self.lines.iter().filter(|line| !line.waiting.is_empty()).map(|line| line.had).min() else { return false };
        let now = self.now;
        self.line(tenant).had.max(now) > least
    }

    /// Takes out what waits and is no longer wanted.
    pub fn remove(&mut self, tenant: &Arc<Tenant>, is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let line = self.line(tenant);
        let at = line.waiting.iter().position(is_it)?;
        let item = line.waiting.remove(at);
        self.waiting -= 1;
        item
    }

    /// Says how long a tenant's turn lasted.
    pub fn charge(&mut self, tenant: &Arc<Tenant>, ran: Duration) {
        let now = self.now;
        let line = self.line(tenant);
        let ran = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        line.had = line.had.max(now).saturating_add(ran.saturating_mul(u64::from(Tenant::WEIGHT)) / u64::from(tenant.weight()));
    }

    fn line(&mut self, tenant: &Arc<Tenant>) -> &mut Line<T> {
        let found = self.lines.iter().position(|line| Arc::ptr_eq(&line.tenant, tenant));
        let at = found.unwrap_or_else(|| {
            if self.lines.len() >= REMEMBERED {
                self.lines.retain(|line| line.running > 0 || !line.waiting.is_empty());
            }
            self.lines.push(Line { tenant: Arc::clone(tenant), had: self.now, running: 0, waiting: VecDeque::new() });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_registry::{Quotas, TenantRecord};

    use super::super::Tenants;
    use super::*;

    const TURN: Duration = Duration::from_millis(1);

    fn tenant(tenants: &Tenants, name: &str, weight: u32) -> Arc<Tenant> {
        let quotas = Quotas { weight: Some(weight), ..Quotas::default() };
        tenants.say(&TenantRecord {
            tenant: name.parse().unwrap(),
            trusted: false,
            disabled: false,
            require_signatures: false,
            quotas,
            created_at: 0,
            updated_at: 0,
        });
        tenants.tenant(&name.parse().unwrap())
    }

    /// Has so many turns of one millisecond each; whoever had one wants the next.
    fn turns(queue: &mut FairQueue<Arc<Tenant>>, count: usize) -> Vec<Arc<Tenant>> {
        let turn = |_| {
            let tenant = queue.pop().unwrap();
            queue.charge(&tenant, TURN);
            queue.push(&tenant, Arc::clone(&tenant));
            tenant
        };
        (0..count).map(turn).collect()
    }

    #[test]
    fn a_crowd_of_one_gets_no_more_than_one_of_another() {
        let tenants = Tenants::new(Quotas::default(), 1);
        let (crowd, lone) = (tenant(&tenants, "crowd", 100), tenant(&tenants, "lone", 100));
        let mut queue = FairQueue::default();
        for _ in 0..50 {
            queue.push(&crowd, Arc::clone(&crowd));
        }
        // What it had alone is nobody's loss,
        assert!(turns(&mut queue, 100).iter().all(|had| Arc::ptr_eq(had, &crowd)));
        queue.push(&lone, Arc::clone(&lone));
        // and from then on they take turns, however many wait.
        let had = turns(&mut queue, 100);
        let lone = had.iter().filter(|had| Arc::ptr_eq(had, &lone)).count();
        assert!((49..=51).contains(&lone), "{lone}");
    }

    #[test]
    fn weights_divide() {
        let tenants = Tenants::new(Quotas::default(), 1);
        let (heavy, light) = (tenant(&tenants, "heavy", 300), tenant(&tenants, "light", 100));
        let mut queue = FairQueue::default();
        for tenant in [&heavy, &light] {
            queue.push(tenant, Arc::clone(tenant));
        }
        let heavy = turns(&mut queue, 400).iter().filter(|had| Arc::ptr_eq(had, &heavy)).count();
        assert!((299..=301).contains(&heavy), "{heavy}");
    }

    #[test]
    fn nobody_saves_up_and_who_left_owes() {
        let tenants = Tenants::new(Quotas::default(), 1);
        let (busy, idle) = (tenant(&tenants, "busy", 100), tenant(&tenants, "idle", 100));
        let mut queue = FairQueue::default();
        queue.push(&idle, Arc::clone(&idle));
        assert!(Arc::ptr_eq(&queue.pop().unwrap(), &idle));
        queue.push(&busy, Arc::clone(&busy));
        turns(&mut queue, 1000);
        // A second of pause is no second of credit.
        queue.push(&idle, Arc::clone(&idle));
        let had = turns(&mut queue, 10).iter().filter(|had| Arc::ptr_eq(had, &idle)).count();
        assert!((4..=6).contains(&had), "{had}");
        // Who goes away and comes again still has had what it had.
        queue.charge(&busy, TURN * 100);
        queue.remove(&busy, |_| true).unwrap();
        queue.push(&busy, Arc::clone(&busy));
        assert!(turns(&mut queue, 50).iter().all(|had| Arc::ptr_eq(had, &idle)));
    }

    #[test]
    fn what_is_taken_out_has_no_turn() {
        let tenants = Tenants::new(Quotas::default(), 1);
        let one = tenant(&tenants, "one", 100);
        let mut queue = FairQueue::default();
        for item in 0..3 {
            queue.push(&one, item);
        }
        assert_eq!(queue.remove(&one, |item| *item == 1), Some(1));
        assert_eq!(queue.remove(&one, |item| *item == 1), None);
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(0), Some(2), None));
        assert!(queue.is_empty());
    }
}
