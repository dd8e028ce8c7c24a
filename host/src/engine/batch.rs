//! Which of the waiting requests run next: a pure function of the queue, the limits and the time.
//!
//! Requests merge only where the engine is told to (`max_rows` above 1); until it is, each batch is one request. What
//! is dropped here never costs a run: requests whose caller has gone, and those whose time is up.

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
    /// Only requests of the same class merge: equal datatypes and shapes per row.
    pub(super) class: u64,
}

/// Bounds of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Rows of a batch; 1 runs each request alone.
    pub(super) max_rows: usize,
    /// How long the oldest request may wait for others to join; zero takes what is there.
    pub(super) max_delay: Duration,
}

/// What to do now.
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

/// Forms the next batch: the oldest live request, and those of its class that fit behind it.
#[must_use]
pub(super) fn form<'a>(waiting: impl IntoIterator<Item = &'a Waiting>, limits: Limits, now: Instant) -> Plan {
    let mut plan = Plan::default();
    let mut rows = 0;
    let mut first: Option<&Waiting> = None;
    let mut full = false;
    for (at, entry) in waiting.into_iter().enumerate() {
        if entry.cancelled {
            plan.cancelled.push(at);
        } else if entry.deadline <= now {
            plan.expired.push(at);
        } else if full {
            continue;
        } else if let Some(first) = first {
            if entry.class == first.class && rows + entry.rows <= limits.max_rows {
                plan.run.push(at);
                rows += entry.rows;
            }
        } else {
            first = Some(entry);
            plan.run.push(at);
            rows = entry.rows;
        }
        full = rows >= limits.max_rows;
    }
    if let Some(first) = first
        && !full
    {
        let until = (first.since + limits.max_delay).min(first.deadline);
        if until > now {
            plan.run.clear();
            plan.wait_until = Some(until);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(start: Instant, since_ms: u32, deadline_ms: u32, rows: usize, class: u64) -> Waiting {
        Waiting { since: start + MS * since_ms, deadline: start + MS * deadline_ms, cancelled: false, rows, class }
    }

    #[test]
    fn batches_form_from_what_waits() {
        let start = Instant::now();
        let gone = Waiting { cancelled: true, ..at(start, 0, 100, 1, 7) };
        let (old, same, other, late, wide) =
            (at(start, 0, 100, 1, 7), at(start, 1, 100, 1, 7), at(start, 1, 100, 1, 8), at(start, 0, 2, 1, 7), at(start, 1, 100, 4, 7));
        let plan = |run: &[usize], expired: &[usize], cancelled: &[usize], wait: Option<u32>| Plan {
            run: run.to_vec(),
            expired: expired.to_vec(),
            cancelled: cancelled.to_vec(),
            wait_until: wait.map(|ms| start + MS * ms),
        };
        for (name, waiting, max_rows, delay_ms, expected) in [
            ("nothing", vec![], 4, 0, plan(&[], &[], &[], None)),
            ("alone", vec![old, same], 1, 0, plan(&[0], &[], &[], None)),
            ("together", vec![old, same], 4, 0, plan(&[0, 1], &[], &[], None)),
            ("of one class", vec![old, other, same], 4, 0, plan(&[0, 2], &[], &[], None)),
            ("as many as fit", vec![old, same, same, same], 3, 0, plan(&[0, 1, 2], &[], &[], None)),
            ("a wide one stays behind", vec![old, wide, same], 4, 0, plan(&[0, 2], &[], &[], None)),
            ("wider than the limit runs alone", vec![wide, same], 2, 0, plan(&[0], &[], &[], None)),
            ("the dead are dropped", vec![gone, late, old], 4, 0, plan(&[2], &[1], &[0], None)),
            ("only the dead", vec![gone, late], 4, 50, plan(&[], &[1], &[0], None)),
            ("the dead behind a full batch", vec![old, gone, late], 1, 0, plan(&[0], &[2], &[1], None)),
            ("waits for others", vec![old], 4, 20, plan(&[], &[], &[], Some(20))),
            ("a full one does not wait", vec![old, same], 2, 20, plan(&[0, 1], &[], &[], None)),
            ("has waited enough", vec![old], 4, 5, plan(&[0], &[], &[], None)),
            ("never past its deadline", vec![at(start, 0, 10, 1, 7)], 4, 50, plan(&[], &[], &[], Some(10))),
        ] {
            let limits = Limits { max_rows, max_delay: MS * delay_ms };
            assert_eq!(form(&waiting, limits, start + MS * 5), expected, "{name}");
        }
    }
}
