//! `omgctl bench`: how much a backend takes.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, TypedValueParser as _},
};
use omgservers_load::{Arrivals, Order, Scenario, StageRefs, report::svg};

use crate::args::Options;

/// Where a backend of one's own is.
const HERE: &str = "http://127.0.0.1:8080";

/// Load a backend and report how long it takes: the sample game must be deployed where the players
/// go.
///
/// Players, messages and sign-ups begin at planned moments, which don't depend on the backend, and
/// their latency counts from there. The report is a table, JSON with --json, and a picture with
/// --svg. docs/load.md says how to read it.
///
/// A bench makes accounts that stay, and takes the backend to its limit: by default it goes to this
/// machine only.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What is done again and again.
    #[arg(value_enum)]
    scenario: ScenarioArg,
    /// The tenant, by id or alias; `sign-up` needs none.
    tenant: Option<String>,
    /// The project, by id or alias.
    #[arg(requires = "tenant")]
    project: Option<String>,
    /// The stage, by id or alias, with examples/lobby-echo deployed.
    #[arg(requires = "project")]
    stage: Option<String>,
    /// Units that begin per second: round trips, sign-ups, broadcasts, or players of a day. With
    /// --find the first rate to try.
    #[arg(long, value_name = "PER SECOND")]
    rate: Option<f64>,
    /// Seconds that are counted; with --find at each rate.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Seconds before, which aren't counted.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
    /// Search the highest rate that is kept up with and keeps the bound of --p99.
    #[arg(long, requires = "p99")]
    find: bool,
    /// Milliseconds that 99 of 100 units may take.
    #[arg(long, value_name = "MS", requires = "find", value_parser = milliseconds)]
    p99: Option<Duration>,
    /// Players, or connections for `sign-up`; for `day` the most at the same time [default: as the
    /// scenario wants].
    #[arg(long)]
    players: Option<u32>,
    /// How beginnings are spread.
    #[arg(long, default_value = "poisson", value_parser = arrivals())]
    arrivals: Arrivals,
    /// What they are drawn from: the same seed is the same plan.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages that one unit of `interchange` and `stream` says at once.
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Bytes that each message has more than it needs.
    #[arg(long, default_value_t = 0)]
    bytes: usize,
    /// Mode that some players of a `day` ask a match for; its containers are started by the
    /// backend.
    #[arg(long)]
    mode: Option<String>,
    /// Write a picture of the result to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Load a backend on another machine: it is yours, and nobody plays on it.
    #[arg(long)]
    i_own_this_server: bool,
}

/// A scenario on the command line.
#[derive(Debug, Clone, Copy)]
struct ScenarioArg(Scenario);

impl ValueEnum for ScenarioArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [ScenarioArg; 7] = {
            let [a, b, c, d, e, f, g] = Scenario::ALL;
            [
                ScenarioArg(a),
                ScenarioArg(b),
                ScenarioArg(c),
                ScenarioArg(d),
                ScenarioArg(e),
                ScenarioArg(f),
                ScenarioArg(g),
            ]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            Scenario::SignUp => "New players: an account and a token",
            Scenario::Empty => "An interchange that brings nothing and takes nothing",
            Scenario::Interchange => "A message to the game server and back, by requests",
            Scenario::Stream => "The same over the player stream",
            Scenario::Dispatcher => "The same over the dispatcher",
            Scenario::Broadcast => "A message that the game server tells everybody in the lobby",
            Scenario::Day => "Players who come, talk, idle, are matched and leave",
        };
        Some(PossibleValue::new(self.0.as_str()).help(help))
    }
}

fn arrivals() -> impl clap::builder::TypedValueParser<Value = Arrivals> {
    clap::builder::PossibleValuesParser::new(["poisson", "constant"])
        .map(|it| if it == "constant" { Arrivals::Constant } else { Arrivals::Poisson })
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_none| "a number of milliseconds".to_owned())?;
    Duration::try_from_secs_f64(number / 1_000.0).map_err(|error| error.to_string())
}

impl BenchArgs {
    fn order(self, url: String) -> Order {
        let ScenarioArg(scenario) = self.scenario;
        let stage_refs = match (self.tenant, self.project, self.stage) {
            (Some(tenant), Some(project), Some(stage)) => Some(StageRefs { tenant, project, stage }),
            _ => None,
        };
        Order {
            url,
            foreign: self.i_own_this_server,
            scenario,
            stage_refs,
            players: self.players.unwrap_or_else(|| scenario.players()),
            arrivals: self.arrivals,
            seed: self.seed,
            rate: self.rate.unwrap_or_else(|| scenario.rate()),
            time: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(self.warm_up),
            bytes: self.bytes,
            batch: self.batch,
            bound: self.p99,
            mode: self.mode,
        }
    }
}

/// Carries it out; progress goes to the standard error output.
pub(crate) async fn run(
    options: &Options,
    args: BenchArgs,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let url = options.url.as_deref().unwrap_or(HERE).trim_end_matches('/').to_owned();
    let picture = args.svg.clone();
    let order = args.order(url);
    let work = move || omgservers_load::run(&order, &mut |line| eprintln!("{line}"));
    // It has a thread of its own, which nothing else makes late.
    let report = tokio::task::spawn_blocking(work).await.context("the bench broke off")??;
    if let Some(file) = picture {
        fs::write(&file, svg(&report)?).with_context(|| format!("{} can't be written", file.display()))?;
    }
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{Cli, cli::Command};

    fn order(args: &[&str]) -> Result<Order, clap::Error> {
        let cli = Cli::try_parse_from([&["omgctl", "bench"], args].concat())?;
        let Command::Bench(args) = cli.command else { panic!("not a bench") };
        Ok(args.order(HERE.to_owned()))
    }

    #[test]
    fn every_scenario_has_a_name_and_can_be_done() {
        for scenario in Scenario::ALL {
            let named = order(&[scenario.as_str(), "acme", "game", "main"]).unwrap();
            assert_eq!(named.scenario, scenario);
            named.check().unwrap();
        }
        order(&["sign-up"]).unwrap().check().unwrap();
        assert!(order(&["stream"]).unwrap().check().is_err());
    }

    #[test]
    fn a_search_needs_its_bound_and_a_bound_its_search() {
        let search =
            order(&["empty", "a", "b", "c", "--find", "--p99", "2.5", "--arrivals", "constant"]).unwrap();
        assert_eq!((search.bound, search.arrivals), (Some(Duration::from_micros(2_500)), Arrivals::Constant));
        assert!(order(&["empty", "a", "b", "c", "--find"]).is_err());
        assert!(order(&["empty", "a", "b", "c", "--p99", "2"]).is_err());
        assert!(order(&["empty", "a", "b", "c", "--find", "--p99", "-2"]).is_err());
    }

    #[test]
    fn without_a_word_it_stays_on_this_machine() {
        assert!(!order(&["sign-up"]).unwrap().foreign);
        assert!(order(&["sign-up", "--i-own-this-server"]).unwrap().foreign);
        assert!(order(&["sign-up", "--seconds", "3601"]).is_err());
    }
}
