//! The process: as PID 1 of its container it has to handle SIGTERM itself, or a stop takes the
//! whole grace.

use std::process::ExitCode;

use omgservers_client::{Runtime, direct::Verifier, problems::ENVIRONMENT};
use omgservers_lobby_echo::{direct, log, serve};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            log("failed", &error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let served = async {
        let (runtime, verifier) = (Runtime::from_env()?, Verifier::from_env()?);
        if let Some(verifier) = verifier {
            tokio::spawn(async move {
                if let Err(error) = direct::listen(verifier).await {
                    log("no direct connections", &error.to_string());
                }
            });
        }
        serve(runtime).await
    };
    let outcome = tokio::select! {
        outcome = served => outcome,
        _ = terminate.recv() => {
            log("terminated", &json!({}));
            return ExitCode::SUCCESS;
        }
    };
    match outcome {
        Ok(end) => {
            log("ended", &json!({"code": end.code()}));
            ExitCode::from(end.code())
        }
        Err(problem) => {
            log("refused", &json!({"code": problem.code(), "detail": problem.sentence()}));
            ExitCode::from(if problem.is(ENVIRONMENT) { 1 } else { 4 })
        }
    }
}
