//! The process: as PID 1 of its container it has to handle SIGTERM itself, or a stop takes the
//! whole grace.

use std::process::ExitCode;

use omgservers_arena::{log, serve};
use omgservers_client::{Runtime, direct::Verifier, problems::ENVIRONMENT};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            log("failed", &json!(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let served = async { serve(Runtime::from_env()?, Verifier::from_env()?).await };
    let outcome = tokio::select! {
        outcome = served => outcome,
        _ = terminate.recv() => {
            log("terminated", &json!({}));
            return ExitCode::SUCCESS;
        }
    };
    match outcome {
        Ok(()) => {
            log("ended", &json!({}));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            log("refused", &json!({"code": problem.code(), "detail": problem.sentence()}));
            ExitCode::from(if problem.is(ENVIRONMENT) { 1 } else { 4 })
        }
    }
}
