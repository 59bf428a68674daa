//! Tells what happens and how long it took.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

/// Numbers the steps.
#[derive(Default)]
pub(crate) struct Steps {
    number: usize,
}

impl Steps {
    /// Tells a step, waits for it, tells its time.
    pub(crate) async fn step<T>(
        &mut self,
        title: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.number += 1;
        let mut out = io::stdout();
        write!(out, "{:>3}  {title:<56} ", self.number)?;
        out.flush()?;
        let begun = Instant::now();
        let outcome = work.await;
        let time = duration(begun.elapsed());
        writeln!(out, "{time:>8}{}", if outcome.is_ok() { "" } else { "  FAILED" })?;
        outcome
    }

    /// Tells more about the last step.
    pub(crate) fn note(&self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout();
        for line in text.lines() {
            writeln!(out, "       {line}")?;
        }
        Ok(())
    }
}

fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(duration(Duration::from_micros(12_900)), "12 ms");
        assert_eq!(duration(Duration::from_millis(2_149)), "2.1 s");
    }
}
