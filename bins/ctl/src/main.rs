//! `omgctl`.

use std::process::ExitCode;

use clap::Parser as _;
use omgservers_ctl::{Cli, report, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    match run(cli, &mut std::io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", report(&error, json));
            ExitCode::FAILURE
        }
    }
}
