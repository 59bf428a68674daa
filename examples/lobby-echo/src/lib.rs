#![doc = include_str!("../README.md")]

pub mod direct;
mod dispatcher;
mod lobby;
mod log;

use std::time::Duration;

use omgservers_client::{Runtime, api::Problem};
use serde_json::json;

pub use lobby::{Lobby, Next};
pub use log::log;

/// How long an exchange waits: well below the time after which a silent runtime counts as dead.
const WAIT: Duration = Duration::from_secs(10);

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A player asked for it: exit code 0.
    Quit,
    /// A player asked for a crash: exit code 7.
    Crash,
    /// A player asked for all memory and there was enough: exit code 8.
    Unkilled,
}

impl End {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Quit => 0,
            Self::Crash => 7,
            Self::Unkilled => 8,
        }
    }
}

/// Serves until a player ends it or the backend refuses the runtime.
pub async fn serve(mut runtime: Runtime) -> Result<End, Problem> {
    let mut lobby = Lobby::default();
    let mut room = None;
    log("started", &json!({"runtime": runtime.id(), "qualifier": runtime.qualifier()}));
    loop {
        let exchanged = runtime.exchange(WAIT).await?;
        for rejected in exchanged.rejected {
            log("rejected", &rejected.command);
        }
        for command in exchanged.commands {
            match lobby.handle(command, &mut runtime)? {
                Next::GoOn => {}
                Next::Meet => {
                    room.get_or_insert_with(|| tokio::spawn(dispatcher::echo(runtime.open_dispatcher())));
                }
                Next::Quit => {
                    // Queued messages still go out.
                    runtime.exchange(Duration::ZERO).await?;
                    return Ok(End::Quit);
                }
                Next::Crash => return Ok(End::Crash),
                Next::TakeMemory => {
                    take_memory();
                    return Ok(End::Unkilled);
                }
                Next::Hang => std::future::pending().await,
            }
        }
    }
}

/// Takes 4 GiB: more than a game server gets, and few enough that a machine without limits survives
/// it.
fn take_memory() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for _ in 0..256 {
        // Ones, so that every page is really there.
        taken.push(vec![1; 16 << 20]);
    }
    log("unkilled", &json!({"megabytes": taken.len() * 16}));
}
