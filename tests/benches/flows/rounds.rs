//! Alternating rounds of ours and of a baseline.

use std::time::Duration;

use crate::{load::Outcome, process};

/// How many, and how long each is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) time: Duration,
}

/// One of two that are compared: its process, and what loads it for so long.
pub(crate) struct Side<F> {
    pub(crate) process: u32,
    pub(crate) load: F,
}

/// What rounds have brought: medians.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared {
    pub(crate) ours: Sample,
    pub(crate) baseline: Sample,
    /// Ours in parts of the baseline.
    pub(crate) throughput: f64,
    /// The same of the 99th percentile of time.
    pub(crate) p99: f64,
}

/// One round, or the medians of several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    /// Microseconds.
    pub(crate) p99: f64,
    /// Microseconds of a core that the server's process took for one unit.
    pub(crate) cpu: f64,
}

impl Rounds {
    /// Compares ours with a baseline. Blocks.
    pub(crate) fn compare(
        self,
        what: &str,
        mut ours: Side<impl FnMut(Duration) -> anyhow::Result<Outcome>>,
        mut baseline: Side<impl FnMut(Duration) -> anyhow::Result<Outcome>>,
    ) -> anyhow::Result<Compared> {
        // Both warm, and not counted.
        (baseline.load)(Duration::from_secs(1))?;
        (ours.load)(Duration::from_secs(1))?;
        let mut pairs = Vec::with_capacity(self.count);
        for round in 1..=self.count {
            let (theirs, our) = (self.round(&mut baseline)?, self.round(&mut ours)?);
            eprintln!(
                "{what}, round {round}: {:.0} per s, baseline {:.0}; p99 {:.2} ms, baseline {:.2}; µs of a core {:.1}, baseline {:.1}",
                our.per_second,
                theirs.per_second,
                our.p99 / 1e3,
                theirs.p99 / 1e3,
                our.cpu,
                theirs.cpu
            );
            pairs.push((our, theirs));
        }
        let of = |read: &dyn Fn(&(Sample, Sample)) -> f64| median(pairs.iter().map(read));
        let sample = |side: &dyn Fn(&(Sample, Sample)) -> Sample| Sample {
            per_second: of(&|it| side(it).per_second),
            p50: of(&|it| side(it).p50),
            p99: of(&|it| side(it).p99),
            cpu: of(&|it| side(it).cpu),
        };
        Ok(Compared {
            ours: sample(&|it| it.0),
            baseline: sample(&|it| it.1),
            throughput: of(&|it| it.0.per_second / it.1.per_second),
            p99: of(&|it| it.0.p99 / it.1.p99),
        })
    }

    /// Rounds of one that is compared with nothing: medians. Blocks.
    pub(crate) fn alone(
        self,
        what: &str,
        mut side: Side<impl FnMut(Duration) -> anyhow::Result<Outcome>>,
    ) -> anyhow::Result<Sample> {
        (side.load)(Duration::from_secs(1))?;
        let mut samples = Vec::with_capacity(self.count);
        for round in 1..=self.count {
            let sample = self.round(&mut side)?;
            eprintln!(
                "{what}, round {round}: {:.0} per s; µs of a core {:.2}",
                sample.per_second, sample.cpu
            );
            samples.push(sample);
        }
        let of = |read: &dyn Fn(&Sample) -> f64| median(samples.iter().map(read));
        Ok(Sample {
            per_second: of(&|it| it.per_second),
            p50: of(&|it| it.p50),
            p99: of(&|it| it.p99),
            cpu: of(&|it| it.cpu),
        })
    }

    fn round(
        self,
        side: &mut Side<impl FnMut(Duration) -> anyhow::Result<Outcome>>,
    ) -> anyhow::Result<Sample> {
        let before = process::cpu_time(side.process)?;
        let sample = (side.load)(self.time)?;
        let cpu = process::cpu_time(side.process)?.saturating_sub(before);
        let micros = |it: Duration| it.as_secs_f64() * 1e6;
        Ok(Sample {
            per_second: sample.per_second,
            p50: micros(sample.p50),
            p99: micros(sample.p99),
            cpu: micros(cpu) / f64::from(sample.all.max(1)),
        })
    }
}

/// The one in the middle; not a number if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 50)
}

/// The one that `100 - part` of a hundred exceed; not a number if there are none.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, part: usize) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() * part).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
