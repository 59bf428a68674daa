//! What happens to units of load in a window of time.
//!
//! A unit belongs to the window that its *intended* beginning lies in, and its latency counts from
//! there. A unit that waits for a slow server is late from the moment at which it should have
//! begun.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    latency::Latencies,
    number::{count, float},
    report::{Second, Series},
};

/// Which of a scenario's series something belongs to: its place in the list of names, 0 is the main
/// one.
pub(crate) type SeriesIndex = usize;

/// Records into the window that is open.
pub(crate) struct Recorder {
    names: &'static [&'static str],
    window: RefCell<Option<RecordedWindow>>,
}

/// What was recorded in a window.
pub(crate) struct RecordedWindow {
    from: Instant,
    until: Instant,
    series: Vec<Recorded>,
    /// From the intended to the real beginning.
    late: Latencies,
    timeline: Timeline,
}

#[derive(Default)]
struct Recorded {
    latencies: Latencies,
    begun: u64,
    /// Done while the window was open, whenever begun.
    completed: u64,
    failed: BTreeMap<String, u64>,
    failures: u64,
}

/// The main series by second.
#[derive(Default)]
struct Timeline {
    seconds: Vec<Second>,
    current: Latencies,
}

impl Recorder {
    pub(crate) fn new(names: &'static [&'static str]) -> Self {
        Self { names, window: RefCell::new(None) }
    }

    /// Opens a window of so long from `from` on; what was recorded before is gone.
    pub(crate) fn open(&self, from: Instant, length: Duration) {
        let series = self.names.iter().map(|_| Recorded::default()).collect();
        let (late, timeline) = (Latencies::new(), Timeline::default());
        *self.window.borrow_mut() =
            Some(RecordedWindow { from, until: from + length, series, late, timeline });
    }

    /// Closes the window and hands it over.
    pub(crate) fn close(&self) -> Option<RecordedWindow> {
        self.window.borrow_mut().take()
    }

    /// A unit that should begin at `at` is begun, in so many parts.
    pub(crate) fn begun(&self, series: SeriesIndex, at: Instant, parts: u64) {
        self.of(series, at, |it| it.begun += parts);
    }

    /// How late the generator itself is.
    pub(crate) fn late(&self, at: Instant, now: Instant) {
        if let Some(window) = self.window.borrow_mut().as_mut().filter(|it| it.holds(at)) {
            window.late.record(now.saturating_duration_since(at));
        }
    }

    /// A part of the unit of `at` is complete.
    pub(crate) fn done(&self, series: SeriesIndex, at: Instant) {
        let now = Instant::now();
        let latency = now.saturating_duration_since(at);
        let mut open = self.window.borrow_mut();
        let Some(window) = open.as_mut() else { return };
        if window.holds(now) {
            if let Some(recorded) = window.series.get_mut(series) {
                recorded.completed += 1;
            }
            if series == 0 {
                let second = now.saturating_duration_since(window.from).as_secs();
                window.timeline.record(second, latency);
            }
        }
        if window.holds(at)
            && let Some(recorded) = window.series.get_mut(series)
        {
            recorded.latencies.record(latency);
        }
    }

    /// A part of the unit of `at` won't be complete.
    pub(crate) fn failed(&self, series: SeriesIndex, at: Instant, kind: &str) {
        self.of(series, at, |recorded| {
            recorded.failures += 1;
            match recorded.failed.get_mut(kind) {
                Some(count) => *count += 1,
                None => {
                    recorded.failed.insert(kind.to_owned(), 1);
                }
            }
        });
    }

    /// How many parts of this window aren't settled.
    pub(crate) fn outstanding(&self) -> u64 {
        let open = self.window.borrow();
        open.iter().flat_map(|it| &it.series).map(Recorded::unsettled).sum()
    }

    fn of(&self, series: SeriesIndex, at: Instant, change: impl FnOnce(&mut Recorded)) {
        let mut open = self.window.borrow_mut();
        if let Some(window) = open.as_mut().filter(|it| it.holds(at))
            && let Some(recorded) = window.series.get_mut(series)
        {
            change(recorded);
        }
    }
}

impl RecordedWindow {
    fn holds(&self, at: Instant) -> bool {
        self.from <= at && at < self.until
    }

    /// How late the generator itself was.
    pub(crate) fn lateness(&self) -> &Latencies {
        &self.late
    }

    /// The series with their names, and the main one by second.
    pub(crate) fn result(self, names: &[&'static str]) -> (Vec<Series>, Vec<Second>) {
        let seconds = (self.until - self.from).as_secs_f64();
        let series = names.iter().zip(self.series).map(|(name, it)| it.series(name, seconds)).collect();
        (series, self.timeline.end(self.until - self.from))
    }
}

impl Recorded {
    fn unsettled(&self) -> u64 {
        self.begun.saturating_sub(self.latencies.count() + self.failures)
    }

    /// What was begun and neither done nor refused wasn't over when the window was closed.
    fn series(mut self, name: &'static str, seconds: f64) -> Series {
        let silent = self.unsettled();
        if silent > 0 {
            self.failed.insert("not over at the end".to_owned(), silent);
        }
        let per_second = |count: u64| (float(count) / seconds * 10.0).round() / 10.0;
        Series {
            name,
            begun: self.begun,
            offered_per_second: per_second(self.begun),
            achieved_per_second: per_second(self.completed),
            latency: self.latencies.summary(),
            failed: self.failures + silent,
            failed_by_kind: self.failed,
            curve: self.latencies.curve(),
        }
    }
}

impl Timeline {
    fn record(&mut self, second: u64, latency: Duration) {
        self.advance(second);
        self.current.record(latency);
    }

    /// Time goes on: seconds without anything are there, too.
    fn advance(&mut self, second: u64) {
        while second > self.second() {
            let summary = self.current.summary();
            self.seconds.push(Second {
                count: summary.count,
                p50_us: summary.p50_us,
                p99_us: summary.p99_us,
            });
            self.current.clear();
        }
    }

    fn second(&self) -> u64 {
        count(self.seconds.len())
    }

    fn end(mut self, length: Duration) -> Vec<Second> {
        // A window has whole seconds; at least one.
        self.advance(length.as_secs().max(1));
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["main", "other"];

    fn ago(millis: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_millis(millis)).unwrap()
    }

    #[test]
    fn latency_counts_from_the_intended_beginning() {
        let recorder = Recorder::new(NAMES);
        recorder.open(ago(500), Duration::from_secs(10));
        let at = ago(300);
        recorder.begun(0, at, 1);
        recorder.done(0, at);
        let (series, seconds) = recorder.close().unwrap().result(NAMES);
        assert!((300_000..400_000).contains(&series[0].latency.p50_us), "{:?}", series[0].latency);
        assert_eq!((series[0].begun, series[0].failed), (1, 0));
        assert_eq!((seconds.len(), seconds[0].count), (10, 1));
    }

    #[test]
    fn what_began_in_the_warm_up_has_no_latency() {
        let recorder = Recorder::new(NAMES);
        recorder.open(ago(100), Duration::from_secs(1));
        let before = ago(200);
        recorder.begun(0, before, 1);
        recorder.done(0, before);
        recorder.failed(0, before, "kind");
        assert_eq!(recorder.outstanding(), 0);
        let (series, _) = recorder.close().unwrap().result(NAMES);
        assert_eq!((series[0].begun, series[0].latency.count, series[0].failed), (0, 0, 0));
        assert!(series[0].achieved_per_second > 0.0, "but it was served in this window");
    }

    #[test]
    fn what_is_neither_done_nor_refused_was_not_over_at_the_end() {
        let recorder = Recorder::new(NAMES);
        recorder.open(ago(100), Duration::from_secs(1));
        let at = ago(50);
        recorder.begun(0, at, 5);
        recorder.done(0, at);
        recorder.failed(0, at, "429 a.b");
        recorder.failed(0, at, "429 a.b");
        assert_eq!(recorder.outstanding(), 2);
        let (series, _) = recorder.close().unwrap().result(NAMES);
        let kinds: Vec<_> = series[0].failed_by_kind.iter().map(|it| (it.0.as_str(), *it.1)).collect();
        assert_eq!(kinds, [("429 a.b", 2), ("not over at the end", 2)]);
        assert_eq!(series[0].failed, 4);
        assert_eq!(series[1].begun, 0);
    }

    #[test]
    fn without_a_window_nothing_is_recorded() {
        let recorder = Recorder::new(NAMES);
        recorder.begun(0, ago(1), 1);
        recorder.done(0, ago(1));
        assert_eq!(recorder.outstanding(), 0);
        assert!(recorder.close().is_none());
    }
}
