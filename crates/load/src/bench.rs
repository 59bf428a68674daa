//! One run, or a search over many.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::LocalSet;

use crate::{
    Order, RateSearch, Report, Scenario, Schedule,
    crowd::leave,
    net::Target,
    pacer::Pacer,
    recorder::Recorder,
    report::{LatencyBound, Run, heading, line},
    scenarios::{RunContext, RunningScenario, prepare},
};

/// How long what is under way at the end of a run may take.
const DRAIN: Duration = Duration::from_secs(5);
/// The quiet between two steps of a search.
const SETTLE: Duration = Duration::from_millis(300);
/// How exact a capacity is, as a part of it.
const PRECISION: f64 = 0.05;
/// The most steps of a search: it ends with any server.
const MOST_STEPS: u32 = 40;
/// The generator is the limit when it takes more than this part of a core. It is also the limit
/// when it begins its units late by more than that part of their latency.
const MOST_CPU: f64 = 0.9;
const MOST_LATE_US: u64 = 2_000;
const MOST_LATE_PART: u64 = 4;
/// How many tasks run before the runtime polls the network.
const EVENT_INTERVAL: u32 = 31;

/// Does what is ordered, on this thread, and returns what it found. It reports its progress to
/// `note`, a line each. It ends by itself. Errors are for people.
pub fn run(order: &Order, note: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    order.check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .context("no runtime")?;
    LocalSet::new().block_on(&runtime, Box::pin(conduct(order, note)))
}

async fn conduct(order: &Order, note: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    let target = Rc::new(Target::find(&order.url, order.foreign).await?);
    let recorder = Rc::new(Recorder::new(order.scenario.series()));
    let context = RunContext {
        target: Rc::clone(&target),
        recorder: Rc::clone(&recorder),
        padding: "x".repeat(order.bytes).into(),
        batch: order.batch,
    };
    let scenario = prepare(order, context, note).await?;
    let mut bench = Bench { order, scenario: &*scenario, recorder: &recorder, pacer: Pacer::new()?, step: 0 };
    let outcome = match order.bound {
        Some(bound) => bench.search(bound, note).await,
        None => bench.once(note).await,
    };
    scenario.clear();
    leave(&target, &scenario.members()).await;
    outcome
}

struct Bench<'a> {
    order: &'a Order,
    scenario: &'a dyn RunningScenario,
    recorder: &'a Recorder,
    pacer: Pacer,
    step: u64,
}

impl Bench<'_> {
    async fn once(&mut self, note: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
        let (warm_up, time) = (self.order.warm_up.as_secs(), self.order.time.as_secs());
        note(&format!(
            "{} per second for {warm_up} s that aren't counted and {time} s that are",
            self.order.rate
        ));
        let run = self.run(self.order.rate, DRAIN).await?;
        Ok(self.report(vec![run], None, None))
    }

    async fn search(&mut self, bound: Duration, note: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
        let bound = LatencyBound { p99_us: crate::number::micros(bound) };
        let drain =
            DRAIN.min(Duration::from_micros(bound.p99_us).saturating_mul(10)).max(Duration::from_secs(1));
        let mut search = RateSearch::new(self.order.rate, Order::MOST_RATE, PRECISION);
        let (mut runs, mut best): (Vec<Run>, Option<(f64, f64)>) = (Vec::new(), None);
        note(&heading());
        while let Some(rate) =
            search.rate().filter(|_| runs.len() < usize::try_from(MOST_STEPS).unwrap_or(usize::MAX))
        {
            let mut run = self.run(rate, drain).await?;
            let kept = run.main().is_some_and(|it| it.holds(bound));
            run.kept = Some(kept);
            if kept && best.is_none_or(|it| it.0 < rate) {
                best = run.main().map(|it| (rate, it.offered_per_second));
            }
            note(&line(&run));
            search.record(kept);
            runs.push(run);
            tokio::time::sleep(SETTLE).await;
        }
        Ok(self.report(runs, Some(bound), best.map(|it| it.1)))
    }

    /// One rate: warm-up, the time that counts, and what is still under way then.
    async fn run(&mut self, rate: f64, drain: Duration) -> anyhow::Result<Run> {
        let Order { warm_up, time, arrivals, seed, .. } = *self.order;
        let begun = Instant::now();
        let until = warm_up + time;
        self.recorder.open(begun + warm_up, time);
        let seed = seed.wrapping_add(self.step);
        self.step = self.step.wrapping_add(1);
        let mut cpu = None;
        for offset in Schedule::new(arrivals, rate, until, seed) {
            let at = begun + offset;
            self.pacer.until(at).await?;
            if offset >= warm_up {
                cpu.get_or_insert_with(cpu_time);
            }
            self.recorder.late(at, Instant::now());
            self.scenario.begin(at);
        }
        self.pacer.until(begun + until).await?;
        let cpu = cpu.map_or(Duration::ZERO, |it| cpu_time().saturating_sub(it));
        let end = Instant::now() + drain;
        while self.recorder.outstanding() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.scenario.clear();
        let window = self.recorder.close().context("nothing was recorded")?;
        let late = window.lateness().summary();
        let (series, timeline) = window.result(self.order.scenario.series());
        let generator_cpu = (cpu.as_secs_f64() / time.as_secs_f64() * 1_000.0).round() / 1_000.0;
        let latency = series.first().map_or(0, |it| it.latency.p99_us);
        let generator_is_limit = generator_cpu > MOST_CPU || is_late(late.p99_us, latency);
        let seconds = time.as_secs();
        Ok(Run { rate, seconds, series, timeline, late, generator_cpu, generator_is_limit, kept: None })
    }

    fn report(&self, runs: Vec<Run>, search: Option<LatencyBound>, capacity: Option<f64>) -> Report {
        let order = self.order;
        Report {
            scenario: order.scenario,
            url: order.url.clone(),
            arrivals: order.arrivals,
            seed: order.seed,
            players: order.players,
            unit: order.scenario.unit(),
            search,
            capacity_per_second: capacity,
            warnings: warnings(order.scenario, &runs),
            runs,
        }
    }
}

/// Whether the 99th percentile of a latency is the generator's own, both µs.
const fn is_late(late: u64, latency: u64) -> bool {
    late > MOST_LATE_US && late > latency / MOST_LATE_PART
}

/// What this thread has taken of its core.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// What makes the figures doubtful.
fn warnings(scenario: Scenario, runs: &[Run]) -> Vec<String> {
    let mut warnings = Vec::new();
    // Of a search only what decided it: steps above the capacity overload everything.
    let judged = runs.iter().filter(|it| it.kept != Some(false));
    let highest = judged.max_by(|one, other| one.rate.total_cmp(&other.rate));
    if let Some(run) = highest.or(runs.last()).filter(|it| it.generator_is_limit) {
        warnings.push(format!(
            "at {:.0} per second the generator itself was late ({} ms at the p99) or busy ({:.0} % of a core): latencies \
             are partly its own. Let it run on another machine, or ask for less",
            run.rate,
            crate::report::millis(run.late.p99_us),
            run.generator_cpu * 100.0
        ));
    }
    let limited = runs.iter().filter_map(Run::main).flat_map(|it| it.failed_by_kind.keys());
    if limited.clone().any(|it| it.starts_with("429 ") && scenario == Scenario::SignUp) {
        warnings.push(
            "the backend limits requests without a token by address: set OMGSERVERS__LIMITS__ENABLED=false for a bench"
                .to_owned(),
        );
    }
    let main = runs.first().and_then(Run::main);
    if let [_only] = runs
        && let Some(main) = main.filter(|it| it.achieved_per_second < 0.95 * it.offered_per_second)
    {
        warnings.push(format!(
            "the backend didn't keep up: {:.0} of {:.0} per second; latencies grow with the length of the run",
            main.achieved_per_second, main.offered_per_second
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        order::tests::order,
        report::tests::{run, series},
    };

    #[test]
    fn a_generator_that_was_late_is_reported() {
        let late = |kept| Run { generator_is_limit: true, ..run(100.0, series(100.0, 100.0, 1, 0), kept) };
        assert!(warnings(Scenario::Stream, &[late(None)])[0].contains("the generator itself"));
        let good = run(100.0, series(100.0, 100.0, 1, 0), Some(true));
        assert!(warnings(Scenario::Stream, &[late(Some(true))])[0].contains("the generator itself"));
        assert!(
            warnings(Scenario::Stream, &[late(Some(false)), good]).is_empty(),
            "overload decides nothing"
        );
    }

    #[test]
    fn a_backend_that_is_much_slower_than_the_generator_is_the_limit() {
        assert!(is_late(15_000, 20_000) && is_late(2_001, 0));
        assert!(!is_late(15_000, 700_000) && !is_late(1_900, 2_000));
    }

    #[test]
    fn limits_and_a_backend_that_is_too_slow_are_reported() {
        let limited = run(100.0, series(100.0, 100.0, 1, 5), None);
        assert!(warnings(Scenario::SignUp, &[limited])[0].contains("OMGSERVERS__LIMITS__ENABLED"));
        let slow = run(100.0, series(100.0, 80.0, 1, 0), None);
        assert!(warnings(Scenario::Stream, &[slow])[0].contains("80 of 100"));
    }

    #[test]
    fn an_order_that_cant_be_done_reaches_nobody() {
        let refused = super::run(&Order { players: 0, ..order(Scenario::Empty) }, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("players"), "{refused}");
    }
}
