//! Stays until it is told to stop. Who runs it reads the credentials from the container's
//! environment and speaks to the backend in its place.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // PID 1 of a container isn't ended by a signal that it doesn't handle.
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}
