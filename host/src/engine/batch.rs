//! Which of the waiting requests run next: a pure function of the queue, the limits and the time.
//!
//! What is dropped here never costs a run: requests whose caller has gone, and those whose time is up. Requests are looked
//! at only until a batch is full; what is dead behind it is found when its turn comes.

use std::time::{Duration, Instant};

/// What the decision needs of a waiting request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// When it came.
    pub(super) since: Instant,
    /// When it must be answered.
    pub(super) deadline: Instant,
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
    /// Rows that a batch should have, in rising order; the last of them, or `max_rows`, where there is none.
    pub(super) preferred: Vec<usize>,
    /// How long the oldest request may wait for others to join; zero takes what is there.
    pub(super) max_delay: Duration,
}

/// What to do now. Kept from one decision to the next, so that it allocates nothing.
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

impl Plan {
    /// Forms the next batch: the first live request, and those of its class that fit behind it. While these wait for
    /// company, others that need none go first.
    pub(super) fn form(&mut self, waiting: impl IntoIterator<Item = Waiting> + Clone, limits: &Limits, now: Instant) {
        self.run.clear();
        self.expired.clear();
        self.cancelled.clear();
        self.wait_until = None;
        let mut rows = 0;
        let mut first: Option<Waiting> = None;
        // How many of the requests make the largest preferred batch.
        let mut preferred = 0;
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
            match first {
                None => first = Some(entry),
                Some(first) => {
                    if entry.class != first.class || rows + entry.rows > limits.max_rows {
                        others |= entry.class != first.class;
                        continue;
                    }
                }
            }
            self.run.push(at);
            rows += entry.rows;
            if limits.preferred.contains(&rows) {
                preferred = self.run.len();
            }
            if rows >= limits.max_rows || entry.class.is_none() {
                return;
            }
        }
        let Some(first) = first else { return };
        if preferred > 0 {
            self.run.truncate(preferred);
            return;
        }
        // Who has little time spends no more than half of it on company.
        let until = first.since + limits.max_delay.min(first.deadline.saturating_duration_since(first.since) / 2);
        if until <= now {
            return;
        }
        self.run.clear();
        if others {
            self.complete(waiting, first.class, limits, now);
        }
        if self.run.is_empty() {
            self.wait_until = Some(until);
        }
    }

    /// The first batch of another class that is complete, if there is one: of a request that merges with nobody, or of as
    /// many rows as a batch should have.
    fn complete(&mut self, waiting: impl IntoIterator<Item = Waiting>, head: Option<u64>, limits: &Limits, now: Instant) {
        let mut batches: Vec<(Option<u64>, usize, Vec<usize>)> = Vec::new();
        for (at, entry) in waiting.into_iter().enumerate() {
            if entry.class == head || entry.cancelled || entry.deadline <= now {
                continue;
            }
            let place = batches.iter().position(|(class, ..)| *class == entry.class && class.is_some()).unwrap_or_else(|| {
                batches.push((entry.class, 0, Vec::new()));
                batches.len() - 1
            });
            let (class, rows, members) = &mut batches[place];
            if !members.is_empty() && *rows + entry.rows > limits.max_rows {
                continue;
            }
            *rows += entry.rows;
            members.push(at);
            if class.is_none() || *rows >= limits.max_rows || limits.preferred.contains(rows) {
                self.run.append(members);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(start: Instant, since_ms: u32, deadline_ms: u32, rows: usize, class: u64) -> Waiting {
        Waiting { since: start + MS * since_ms, deadline: start + MS * deadline_ms, cancelled: false, rows, class: Some(class) }
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
            ("full beats preferred", vec![old, same, same], 3, &[2], 0, plan(&[0, 1, 2], &[], &[], None)),
        ] {
            let limits = Limits { max_rows, preferred: preferred.to_vec(), max_delay: MS * delay_ms };
            let mut formed = Plan::default();
            formed.form(waiting, &limits, start + MS * 5);
            assert_eq!(formed, expected, "{name}");
        }
    }
}
