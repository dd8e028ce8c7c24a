//! Which sizes of batches, sessions and threads suit a model on this machine: measured, not guessed.

use std::path::Path;
use std::time::{Duration, Instant};

use bulkhead_registry::Batching;

use super::backend::{Backend, BackendError};
use super::layout::Layout;
use super::model::INLINE_BELOW;
use super::onnx::{OnnxSession, SessionOptions};
use super::trial::{HANDOVER, Learned, Trial, gathered};
use super::watch::Watch;
use super::{Engine, Sizing, Source, external};
use crate::clock;
use crate::tensor::Tensor;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// A request may take so long when the model has as much to do as it can.
    pub latency: Duration,
    /// Rows of one run at most.
    pub max_rows: usize,
    /// A CUDA device; none for the CPU.
    pub cuda: Option<i32>,
    /// What the manifest says of axes and padding.
    pub batching: Batching,
}

/// How a model runs with so many sessions and threads, in batches of so many rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Sessions.
    pub instances: usize,
    /// Threads of each.
    pub threads: usize,
    /// Of one run.
    pub rows: usize,
    /// The median run, while all sessions are busy.
    pub run: Duration,
    /// Over all sessions.
    pub rows_per_second: f64,
}

impl Measured {
    /// What a request waits for at worst, when the queue holds no more than the next batch: the run before, and its own.
    #[must_use]
    pub fn latency(&self) -> Duration {
        2 * self.run
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The settings to take.
    pub best: Measured,
    /// The best without batches.
    pub unbatched: Measured,
    /// Why no requests can share a run, where they can't.
    pub why_not: Option<String>,
}

impl Tuned {
    /// How many times as much the best settings answer as the best without batches.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.best.rows_per_second / self.unbatched.rows_per_second
    }
}

/// Batches that gain less than this are not worth the wait for company. Arbitrary; above what a busy machine makes up.
const WORTHWHILE: f64 = 1.4;

/// Of two settings that answer about as much, the one with smaller batches is taken.
const ABOUT_AS_MUCH: f64 = 0.93;

/// Each setting is measured for so long, and for so many runs of each session at least.
const WINDOW: Duration = Duration::from_millis(300);
const RUNS: usize = 5;

/// A larger batch that answers less than this share of the best so far is the last that is tried.
const FALLING: f64 = 0.7;

/// So often the winner and what it won against are measured again, of which the best counts.
const CONFIRMED: usize = 2;

impl Engine {
    /// Measures a model; `seen` is told of each setting. Blocks for as long as that takes, some seconds at least.
    ///
    /// # Errors
    /// Where the model can't be loaded, can't be run on made-up inputs, or no setting keeps to the latency.
    pub fn tune(&self, artifact: &Path, wish: &Wish, mut seen: impl FnMut(&Measured)) -> Result<Tuned, BackendError> {
        external::check_file(artifact)?;
        let mut measured: Vec<Measured> = Vec::new();
        let mut why_not = None;
        for sizing in sizings(self.cores) {
            let mut sessions = self.sessions(artifact, wish, sizing)?;
            let learned = self.learn(&mut sessions[0], wish)?;
            let row = learned.row.ok_or_else(|| {
                BackendError::Refused(
                    "the model can't be run on made-up inputs, so that it can't be measured: its graph asks for more than its signature says"
                        .to_owned(),
                )
            })?;
            let layout = match learned.layout {
                Some(Ok(layout)) => {
                    why_not = None;
                    Some(layout)
                }
                Some(Err(why)) => {
                    why_not = Some(why);
                    None
                }
                None => None,
            };
            let mut best = 0.0;
            let mut rows = 1;
            while rows <= if layout.is_some() { wish.max_rows.max(1) } else { 1 } {
                let batch = batch(&sessions[0], layout.as_ref(), &row, rows)?;
                let (run, rate) = measure(&mut sessions, &batch)?;
                let one = Measured { instances: sizing.instances, threads: sizing.threads, rows, run, rows_per_second: rate * rows as f64 };
                seen(&one);
                measured.push(one);
                if one.latency() > wish.latency || one.rows_per_second < FALLING * best {
                    break;
                }
                best = one.rows_per_second.max(best);
                rows *= 2;
            }
        }
        let inline = wish.cuda.is_none() && !wish.batching.preserve_ordering && wish.batching.max_queue_delay_microseconds == 0;
        let tuned = choose(&measured, wish.latency, why_not, inline)?;
        if tuned.best.rows == 1 {
            return Ok(tuned);
        }
        // A machine whose pace changed in between makes a winner of what is none: both are measured once more, in turn.
        let mut pair = [tuned.unbatched, tuned.best].map(|one| Measured { rows_per_second: 0.0, ..one });
        for _ in 0..CONFIRMED {
            for one in &mut pair {
                let again = self.again(artifact, wish, one)?;
                if again.rows_per_second > one.rows_per_second {
                    *one = again;
                }
            }
        }
        // Whether they keep to the latency was seen before.
        choose(&pair, Duration::MAX, tuned.why_not, inline)
    }

    /// Measures one setting once more.
    fn again(&self, artifact: &Path, wish: &Wish, one: &Measured) -> Result<Measured, BackendError> {
        let mut sessions = self.sessions(artifact, wish, Sizing { instances: one.instances, threads: one.threads })?;
        let learned = self.learn(&mut sessions[0], wish)?;
        let row = learned.row.unwrap_or_default();
        let layout = learned.layout.and_then(Result::ok);
        let batch = batch(&sessions[0], layout.as_ref().filter(|_| one.rows > 1), &row, one.rows)?;
        let (run, rate) = measure(&mut sessions, &batch)?;
        Ok(Measured { run, rows_per_second: rate * one.rows as f64, ..*one })
    }

    fn sessions(&self, artifact: &Path, wish: &Wish, sizing: Sizing) -> Result<Vec<OnnxSession>, BackendError> {
        (0..sizing.instances)
            .map(|_| self.onnx.session(Source::File(artifact), SessionOptions { threads: sizing.threads, cuda: wish.cuda }))
            .collect()
    }

    fn learn(&self, session: &mut OnnxSession, wish: &Wish) -> Result<Learned, BackendError> {
        let watch = Watch::new(session.stop()?);
        let signature = session.signature().clone();
        let batching = Batching { max_batch_size: u32::try_from(wish.max_rows).unwrap_or(u32::MAX), ..wish.batching.clone() };
        Trial { session, watch: &watch, signature: &signature, batching: &batching }.run()
    }
}

/// One session with all cores, two with half of them each, and so on.
fn sizings(cores: usize) -> impl Iterator<Item = Sizing> {
    std::iter::successors(Some(1), |instances| Some(instances * 2))
        .take_while(move |instances| *instances <= cores)
        .map(move |instances| Sizing { instances, threads: (cores / instances).max(1) })
}

fn batch(session: &OnnxSession, layout: Option<&Layout>, row: &[Tensor], rows: usize) -> Result<Vec<Tensor>, BackendError> {
    match layout {
        Some(layout) => gathered(layout, session.signature(), &vec![row; rows]).map_err(BackendError::Refused),
        None => Ok(row.to_vec()),
    }
}

/// The median run, and runs a second over all sessions, all of them busy.
fn measure(sessions: &mut [OnnxSession], batch: &[Tensor]) -> Result<(Duration, f64), BackendError> {
    for session in &mut *sessions {
        let stop = session.stop()?;
        session.run(batch, &stop, &mut |_| Ok(()))?;
    }
    let began = clock::now();
    let outcomes: Vec<Result<Vec<Duration>, BackendError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = sessions.iter_mut().map(|session| scope.spawn(move || runs(session, batch, began))).collect();
        let ended = |_| Err(BackendError::Refused("a measurement broke off".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(ended)).collect()
    });
    let mut all: Vec<Duration> = Vec::new();
    for outcome in outcomes {
        all.extend(outcome?);
    }
    all.sort_unstable();
    let median = all[all.len() / 2];
    // Of the median, which passes over what else the machine does.
    Ok((median, sessions.len() as f64 / median.as_secs_f64()))
}

fn runs(session: &mut OnnxSession, batch: &[Tensor], began: Instant) -> Result<Vec<Duration>, BackendError> {
    let stop = session.stop()?;
    let mut runs = Vec::new();
    while runs.len() < RUNS || began.elapsed() < WINDOW {
        let start = clock::now();
        session.run(batch, &stop, &mut |_| Ok(()))?;
        runs.push(start.elapsed());
    }
    Ok(runs)
}

fn choose(measured: &[Measured], latency: Duration, why_not: Option<String>, inline: bool) -> Result<Tuned, BackendError> {
    let best_of = |fits: &dyn Fn(&Measured) -> bool| {
        measured.iter().filter(|one| fits(one)).max_by(|a, b| a.rows_per_second.total_cmp(&b.rows_per_second)).copied()
    };
    let Some(unbatched) = best_of(&|one| one.rows == 1 && one.latency() <= latency) else {
        let shortest = measured.iter().map(|one| one.run).min().unwrap_or_default();
        return Err(BackendError::Refused(format!(
            "no setting keeps to {} ms: the shortest run takes {:.1} ms, and a request may wait for the one before; allow more by --latency-ms",
            latency.as_millis(),
            shortest.as_secs_f64() * 1e3
        )));
    };
    let most = best_of(&|one| one.latency() <= latency).unwrap_or(unbatched);
    let enough = |one: &&Measured| one.latency() <= latency && one.rows_per_second >= ABOUT_AS_MUCH * most.rows_per_second;
    let best = measured.iter().filter(enough).min_by_key(|one| (one.rows, one.instances)).copied().unwrap_or(most);
    let pays = best.rows_per_second >= WORTHWHILE * unbatched.rows_per_second && (!inline || saves(&unbatched, &best));
    Ok(Tuned { best: if pays { best } else { unbatched }, unbatched, why_not })
}

/// Whether batches save more than they cost a model that would run on its callers' threads without them.
fn saves(unbatched: &Measured, best: &Measured) -> bool {
    let cost = |one: &Measured| (one.instances * one.threads) as f64 / one.rows_per_second;
    unbatched.run >= INLINE_BELOW || cost(unbatched) - cost(best) > HANDOVER.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(instances: usize, rows: usize, run_ms: u64, rows_per_second: f64) -> Measured {
        Measured { instances, threads: 1, rows, run: Duration::from_millis(run_ms), rows_per_second }
    }

    #[test]
    fn batches_are_chosen_where_they_pay() {
        let ms = Duration::from_millis;
        let dense = [at(1, 1, 8, 125.0), at(1, 16, 20, 800.0), at(1, 32, 35, 910.0), at(1, 64, 68, 930.0), at(2, 1, 15, 133.0)];
        let tuned = choose(&dense, ms(100), None, true).unwrap();
        assert_eq!((tuned.best.rows, tuned.unbatched.instances), (32, 2), "64 rows take too long, and gain little");
        assert!(tuned.gain() > 6.0);
        assert_eq!(choose(&dense, ms(50), None, true).unwrap().best.rows, 16);
        let convolutions = [at(1, 1, 10, 100.0), at(1, 8, 85, 94.0), at(2, 1, 19, 105.0), at(2, 8, 150, 106.0)];
        let tuned = choose(&convolutions, ms(1000), None, true).unwrap();
        assert_eq!((tuned.best.rows, tuned.best.instances), (1, 2));
        let refused = choose(&convolutions, ms(15), None, true).unwrap_err().to_string();
        assert!(refused.contains("no setting keeps to 15 ms: the shortest run takes 10.0 ms"), "{refused}");
    }

    #[test]
    fn cores_are_divided() {
        let of = |cores| sizings(cores).map(|sizing| (sizing.instances, sizing.threads)).collect::<Vec<_>>();
        assert_eq!(of(1), [(1, 1)]);
        assert_eq!(of(6), [(1, 6), (2, 3), (4, 1)]);
    }
}
