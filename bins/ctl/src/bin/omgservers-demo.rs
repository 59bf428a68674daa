//! `omgservers-demo`.

use std::process::ExitCode;

use clap::Parser as _;
use omgservers_ctl::{Demo, demonstrate, report};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match demonstrate(&Demo::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", report(&error, false));
            ExitCode::FAILURE
        }
    }
}
