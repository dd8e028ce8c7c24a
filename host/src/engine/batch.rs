//! Which of the waiting requests run next: a pure function of the queue, the limits and the time.
//!
//! What is dropped here never costs a run: requests whose caller has gone, and those whose time is up. Requests are looked
//! at only until a batch is full; what is dead behind it is found when its turn comes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What the decision needs of a waiting request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// When it came.
    pub(super) since: Instant,
    /// When it must be answered.
    pub(super) deadline: Instant,
    /// When it is refused unless it runs: at its deadline, or sooner where its time in the queue is bounded.
    pub(super) refused: Instant,
    /// Its caller no longer waits.
    pub(super) cancelled: bool,
    /// Rows that it adds to a batch.
    pub(super) rows: usize,
    /// Only requests of the same class merge: equal shapes per row, and equal tensors that rows have in common. None runs
    /// alone.
    pub(super) class: Option<u64>,
}

/// Bounds of a batch.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Rows of a batch; up to 1 runs each request alone.
    pub(super) max_rows: usize,
    /// Numbers of rows, rising, of which a batch should have one; empty where any will do.
    pub(super) preferred: Vec<usize>,
    /// How long a request may wait for others to join; zero takes what is there.
    pub(super) max_delay: Duration,
}

/// What to do now. Kept from one decision to the next, so that it allocates nothing while one class of requests waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Places of requests to run together, in the order in which they came.
    pub(super) run: Vec<usize>,
    /// Places of requests whose time is up.
    pub(super) expired: Vec<usize>,
    /// Places of requests whose caller has gone.
    pub(super) cancelled: Vec<usize>,
    /// Nothing runs yet: look again then, or when another request comes.
    pub(super) wait_until: Option<Instant>,
}

impl Waiting {
    /// Until when it may wait for company: who has little time spends no more than half of it on that.
    fn until(&self, limits: &Limits) -> Instant {
        self.since + limits.max_delay.min(self.deadline.min(self.refused).saturating_duration_since(self.since) / 2)
    }
}

impl Plan {
    /// Forms the next batch: the first live request, and those of its class that fit behind it. While these wait for
    /// company, others that need none, or have had their time of it, go first.
    pub(super) fn form(&mut self, waiting: impl IntoIterator<Item = Waiting> + Clone, limits: &Limits, now: Instant) {
        self.run.clear();
        self.expired.clear();
        self.cancelled.clear();
        self.wait_until = None;
        let mut forming: Option<Forming> = None;
        // Somebody waits that will not join.
        let mut others = false;
        for (at, entry) in waiting.clone().into_iter().enumerate() {
            if entry.cancelled {
                self.cancelled.push(at);
                continue;
            }
            if entry.deadline <= now {
                self.expired.push(at);
                continue;
            }
            let batch = forming.get_or_insert_with(|| Forming::of(entry, limits));
            if entry.class != batch.class {
                others = true;
                continue;
            }
            if batch.takes(&entry, limits, self.run.len()) {
                self.run.push(at);
            }
            if batch.is_closed(limits) {
                break;
            }
        }
        let Some(batch) = forming else { return };
        if batch.goes(limits, now) {
            self.run.truncate(batch.size(self.run.len(), now));
            return;
        }
        self.run.clear();
        self.wait_until = Some(batch.until);
        if others {
            self.other(waiting, batch.class, limits, now);
        }
    }

    /// The first batch of another class that is complete or has had its time of waiting, if there is one.
    fn other(&mut self, waiting: impl IntoIterator<Item = Waiting>, head: Option<u64>, limits: &Limits, now: Instant) {
        let mut batches: Vec<(Forming, Vec<usize>)> = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        for (at, entry) in waiting.into_iter().enumerate() {
            if entry.class == head || entry.cancelled || entry.deadline <= now {
                continue;
            }
            let Some(class) = entry.class else {
                // Merges with nobody, and waits for nobody.
                self.run.push(at);
                self.wait_until = None;
                return;
            };
            let place = *places.entry(class).or_insert_with(|| {
                batches.push((Forming::of(entry, limits), Vec::new()));
                batches.len() - 1
            });
            let (batch, members) = &mut batches[place];
            if (members.is_empty() || !batch.is_closed(limits)) && batch.takes(&entry, limits, members.len()) {
                members.push(at);
            }
        }
        let ready = batches.iter_mut().find(|(batch, _)| batch.goes(limits, now));
        if let Some((batch, members)) = ready {
            members.truncate(batch.size(members.len(), now));
            self.run.append(members);
            self.wait_until = None;
        } else {
            self.wait_until = batches.iter().map(|(batch, _)| batch.until).chain(self.wait_until).min();
        }
    }
}

/// A batch of one class while its members are collected.
#[derive(Debug, Clone, Copy)]
struct Forming {
    class: Option<u64>,
    rows: usize,
    /// Until when all members may wait for company.
    until: Instant,
    /// How many of the members make the best of the preferred numbers of rows so far.
    preferred: Option<usize>,
    /// Somebody of the class found no room.
    is_full: bool,
    /// Requests wait for company at all.
    waits: bool,
}

impl Forming {
    fn of(first: Waiting, limits: &Limits) -> Self {
        Self { class: first.class, rows: 0, until: first.until(limits), preferred: None, is_full: false, waits: !limits.max_delay.is_zero() }
    }

    /// Counts a request behind so many `members`; false where there is no room for it.
    fn takes(&mut self, entry: &Waiting, limits: &Limits, members: usize) -> bool {
        if members > 0 {
            let rows = self.rows + entry.rows;
            // Beyond all preferred numbers none will be met any more.
            if self.preferred.is_none() && limits.preferred.last().is_some_and(|last| rows > *last) {
                self.preferred = Some(members);
            }
            if rows > limits.max_rows {
                self.is_full = true;
                return false;
            }
        }
        self.rows += entry.rows;
        self.until = self.until.min(entry.until(limits));
        if limits.preferred.contains(&self.rows) {
            self.preferred = Some(members + 1);
        }
        true
    }

    /// Nobody else fits.
    fn is_closed(&self, limits: &Limits) -> bool {
        self.rows >= limits.max_rows || self.class.is_none()
    }

    /// It runs now.
    fn goes(&self, limits: &Limits, now: Instant) -> bool {
        self.preferred.is_some() || self.is_full || self.is_closed(limits) || self.until <= now
    }

    /// How many of the members run: up to a preferred number of rows, or all of them once they have waited enough.
    fn size(&self, members: usize, now: Instant) -> usize {
        match self.preferred {
            Some(preferred) if self.until > now || !self.waits => preferred,
            _ => members,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(start: Instant, since_ms: u32, deadline_ms: u32, rows: usize, class: u64) -> Waiting {
        let deadline = start + MS * deadline_ms;
        Waiting { since: start + MS * since_ms, deadline, refused: deadline, cancelled: false, rows, class: Some(class) }
    }

    #[test]
    fn batches_form_from_what_waits() {
        let start = Instant::now();
        let gone = Waiting { cancelled: true, ..at(start, 0, 100, 1, 7) };
        let lone = Waiting { class: None, ..at(start, 0, 100, 1, 7) };
        let (old, same, other, late, wide) =
            (at(start, 0, 100, 1, 7), at(start, 1, 100, 1, 7), at(start, 1, 100, 1, 8), at(start, 0, 2, 1, 7), at(start, 1, 100, 4, 7));
        let plan = |run: &[usize], expired: &[usize], cancelled: &[usize], wait: Option<u32>| Plan {
            run: run.to_vec(),
            expired: expired.to_vec(),
            cancelled: cancelled.to_vec(),
            wait_until: wait.map(|ms| start + MS * ms),
        };
        for (name, waiting, max_rows, preferred, delay_ms, expected) in [
            ("nothing", vec![], 4, &[][..], 0, plan(&[], &[], &[], None)),
            ("alone", vec![old, same], 1, &[], 0, plan(&[0], &[], &[], None)),
            ("together", vec![old, same], 4, &[], 0, plan(&[0, 1], &[], &[], None)),
            ("of one class", vec![old, other, same], 4, &[], 0, plan(&[0, 2], &[], &[], None)),
            ("what merges with nobody", vec![lone, lone, old], 4, &[], 0, plan(&[0], &[], &[], None)),
            ("what merges with nobody waits for nobody", vec![lone], 4, &[], 20, plan(&[0], &[], &[], None)),
            ("as many as fit", vec![old, same, same, same], 3, &[], 0, plan(&[0, 1, 2], &[], &[], None)),
            ("a wide one stays behind", vec![old, wide, same], 4, &[], 0, plan(&[0, 2], &[], &[], None)),
            ("wider than the limit runs alone", vec![wide, same], 2, &[], 0, plan(&[0], &[], &[], None)),
            ("the dead are dropped", vec![gone, late, old], 4, &[], 0, plan(&[2], &[1], &[0], None)),
            ("only the dead", vec![gone, late], 4, &[], 50, plan(&[], &[1], &[0], None)),
            ("the dead behind a full batch wait for their turn", vec![old, gone, late], 1, &[], 0, plan(&[0], &[], &[], None)),
            ("waits for others", vec![old], 4, &[], 20, plan(&[], &[], &[], Some(20))),
            ("a full one does not wait", vec![old, same], 2, &[], 20, plan(&[0, 1], &[], &[], None)),
            ("one that merges with nobody goes first", vec![old, lone], 4, &[], 20, plan(&[1], &[], &[], None)),
            ("others that are full go before who waits", vec![old, other, other], 2, &[], 20, plan(&[1, 2], &[], &[], None)),
            ("others that are not full wait too", vec![old, other], 4, &[], 20, plan(&[], &[], &[], Some(20))),
            ("has waited enough", vec![old], 4, &[], 5, plan(&[0], &[], &[], None)),
            ("never beyond half of its time", vec![at(start, 0, 20, 1, 7)], 4, &[], 50, plan(&[], &[], &[], Some(10))),
            ("the largest preferred size", vec![old, same, same, same, same], 8, &[2, 4], 0, plan(&[0, 1, 2, 3], &[], &[], None)),
            ("a preferred size does not wait", vec![old, same], 8, &[2, 4], 20, plan(&[0, 1], &[], &[], None)),
            ("waits for a preferred size", vec![old, same], 8, &[4], 20, plan(&[], &[], &[], Some(20))),
            ("what there is where no preferred size can be had", vec![old, same, same], 8, &[4], 0, plan(&[0, 1, 2], &[], &[], None)),
            ("preferred beats full", vec![old, same, same], 3, &[2], 0, plan(&[0, 1], &[], &[], None)),
            ("all of them once they have waited enough", vec![old, same, same], 8, &[2], 5, plan(&[0, 1, 2], &[], &[], None)),
            ("beyond all preferred sizes", vec![same, wide], 8, &[4], 20, plan(&[0], &[], &[], None)),
            ("who has less time ends the waiting", vec![old, at(start, 1, 13, 1, 7)], 4, &[], 20, plan(&[], &[], &[], Some(7))),
            ("of another class, too", vec![old, at(start, 1, 13, 1, 8)], 4, &[], 20, plan(&[], &[], &[], Some(7))),
            ("and goes first", vec![old, same, at(start, 1, 9, 1, 8)], 4, &[], 20, plan(&[2], &[], &[], None)),
            ("nor beyond half of its time in the queue", vec![Waiting { refused: start + MS * 12, ..old }], 4, &[], 50, plan(&[], &[], &[], Some(6))),
            ("who finds no room ends it", vec![old, wide], 4, &[], 20, plan(&[0], &[], &[], None)),
            ("an older one of a lower priority has waited for both", vec![same, old], 4, &[], 5, plan(&[0, 1], &[], &[], None)),
        ] {
            let limits = Limits { max_rows, preferred: preferred.to_vec(), max_delay: MS * delay_ms };
            let mut formed = Plan::default();
            formed.form(waiting, &limits, start + MS * 5);
            assert_eq!(formed, expected, "{name}");
        }
    }
}
