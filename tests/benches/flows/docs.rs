//! The figures in the documentation.

use anyhow::Context as _;
use omgservers_tests::root;

use crate::report::Report;

const BEGIN: &str = "<!-- figures: written by `make bench` -->";
const END: &str = "<!-- end of figures -->";

/// Replaces the section between the marks.
pub(crate) fn write(report: &Report) -> anyhow::Result<()> {
    let file = root().join("docs/benchmarks.md");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).context("docs/benchmarks.md has no mark for the begin")?;
    let (_, after) = rest.split_once(END).context("docs/benchmarks.md has no mark for the end")?;
    let text = format!("{before}{BEGIN}\n\n{}\n{END}{after}", report.markdown());
    Ok(std::fs::write(&file, text)?)
}
