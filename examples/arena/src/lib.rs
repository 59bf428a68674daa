#![doc = include_str!("../README.md")]

pub mod direct;
pub mod duel;
pub mod lobby;
mod log;
pub mod requests;
pub mod rules;

use std::{future::pending, time::Duration};

use omgservers_client::{
    Command, DispatcherConnection, DispatcherEvent, Frame, Runtime,
    api::{ClientId, Problem, RuntimeQualifier, interchange::RuntimeConfig},
    direct::Verifier,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval},
};

pub use crate::log::log;
use crate::{
    direct::{Datagram, Direct},
    duel::{Act, Duel},
    lobby::Lobby,
    requests::{GameRequest, exchange},
};

/// How often players get what may be lost: the clock, by UDP the state.
const TICK: Duration = Duration::from_millis(200);

/// The developer's own configuration, `user_data` of the version.
#[derive(Debug, Default, Deserialize)]
struct UserData {
    /// Names of modes whose players connect by UDP.
    #[serde(default)]
    udp: Vec<String>,
}

/// Serves until the match is over or the backend refuses the runtime. `verifier` is there when the
/// version names ports.
pub async fn serve(runtime: Runtime, verifier: Option<Verifier>) -> Result<(), Problem> {
    log("started", &json!({"runtime": runtime.id(), "qualifier": runtime.qualifier()}));
    let (requests, queued) = unbounded_channel();
    let (sender, commands) = unbounded_channel();
    if runtime.qualifier() == RuntimeQualifier::Lobby {
        let lobby = Lobby::new(runtime.id());
        let (served, ()) =
            tokio::join!(exchange(runtime, queued, sender), serve_lobby(lobby, requests, commands));
        return served;
    }
    let room = runtime.open_dispatcher();
    // Players come as soon as the match has polled: it listens before that, though it may be of
    // another mode.
    let direct = match verifier {
        Some(verifier) => listen(verifier).await,
        None => None,
    };
    let arena =
        Arena { duel: Duel::default(), requests: Some(requests), room, direct, began: Instant::now() };
    let (served, ()) = tokio::join!(exchange(runtime, queued, sender), arena.serve(commands));
    served
}

async fn serve_lobby(
    mut lobby: Lobby,
    requests: UnboundedSender<GameRequest>,
    mut commands: UnboundedReceiver<Command>,
) {
    while let Some(command) = commands.recv().await {
        for request in lobby.handle(command) {
            // The exchange that is gone has told why.
            let _gone = requests.send(request);
        }
    }
}

/// A match with its connections.
struct Arena {
    duel: Duel,
    /// `None` once the match is over.
    requests: Option<UnboundedSender<GameRequest>>,
    room: DispatcherConnection,
    direct: Option<Direct>,
    began: Instant,
}

impl Arena {
    async fn serve(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A room that is refused for good is logged once, and not requested again.
        let mut has_room = true;
        while self.requests.is_some() {
            let acts = tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Init { config }) => self.init(&config),
                    Some(command) => self.command(command),
                    // The exchange has ended, and with it the match.
                    None => return,
                },
                event = self.room.next(), if has_room => match event {
                    Ok(event) => self.room_event(event),
                    Err(problem) => {
                        log("no room", &json!(problem.sentence()));
                        has_room = false;
                        Vec::new()
                    }
                },
                datagram = next(&mut self.direct) => self.datagram(datagram),
                _ = tick.tick() => self.tick(),
            };
            self.act(acts);
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn init(&mut self, config: &RuntimeConfig) -> Vec<Act> {
        let mode = config.match_config.as_ref().map_or("", |it| it.mode.as_str());
        let user_data = config.version_config.user_data.as_ref();
        let user_data = user_data.and_then(|it| serde_json::from_str::<UserData>(it.get()).ok());
        let wanted = user_data.unwrap_or_default().udp.iter().any(|it| it == mode);
        self.direct = self.direct.take().filter(|_| wanted);
        log("init", &json!({"mode": mode, "udp": self.direct.is_some()}));
        self.duel = Duel::new(self.direct.is_some());
        Vec::new()
    }

    fn command(&mut self, command: Command) -> Vec<Act> {
        match command {
            Command::AddClient(joined) => {
                log("joined", &json!({"client": joined.client_id, "group": joined.group_name}));
                self.duel.join(&joined, self.now())
            }
            Command::DeleteClient { client_id } => {
                log("left", &json!({"client": client_id}));
                self.duel.leave(client_id)
            }
            // By way of the mailbox one may play too, slowly.
            Command::HandleMessage { client_id, message } => {
                self.duel.handle(client_id, message.get(), self.now())
            }
            other => {
                log("ignored", &json!(format!("{other:?}")));
                Vec::new()
            }
        }
    }

    fn room_event(&mut self, event: DispatcherEvent) -> Vec<Act> {
        match event {
            DispatcherEvent::Frame { client_id, frame: Frame::Text(text) } => {
                self.duel.handle(client_id, &text, self.now())
            }
            // What was shown while it was closed is shown again.
            DispatcherEvent::Opened => self.duel.state().map(Act::Show).into_iter().collect(),
            DispatcherEvent::Lost { reason } => {
                log("room lost", &json!(reason));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn datagram(&mut self, datagram: Datagram) -> Vec<Act> {
        match datagram {
            Datagram::Connected(client) => self.duel.ready(client, self.now()),
            Datagram::Received(client, text) => self.duel.handle(client, &text, self.now()),
        }
    }

    fn tick(&mut self) -> Vec<Act> {
        let acts = self.duel.wake(self.now());
        match (&self.direct, self.duel.state(), self.duel.clock(self.now())) {
            (Some(direct), Some(state), _) => direct.show(&state),
            (None, _, Some(clock)) => {
                // The next one is as good.
                let _lost = self.room.broadcast_unreliable(clock.as_slice());
            }
            _ => {}
        }
        acts
    }

    fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Request(request) => {
                    if let Some(requests) = &self.requests {
                        let _gone = requests.send(request);
                    }
                }
                Act::Show(text) => {
                    log("state", &serde_json::from_str::<Value>(&text).unwrap_or_default());
                    self.show(text);
                }
                Act::Send(client, text) => self.send_to(client, text),
                Act::Over => {
                    log("over", &json!({}));
                    self.requests = None;
                }
            }
        }
    }

    fn show(&self, text: String) {
        match &self.direct {
            Some(direct) => direct.show(&text),
            // It is shown again when the room opens.
            None => drop(self.room.broadcast_unreliable(text)),
        }
    }

    fn send_to(&self, client: ClientId, text: String) {
        match &self.direct {
            Some(direct) => direct.send_to(client, &text),
            None => drop(self.room.send_unreliable(client, text)),
        }
    }
}

async fn listen(verifier: Verifier) -> Option<Direct> {
    match Direct::listen(verifier).await {
        Ok(direct) => Some(direct),
        Err(error) => {
            log("no direct connections", &json!(error.to_string()));
            None
        }
    }
}

/// The next datagram; never one where players don't connect directly.
async fn next(direct: &mut Option<Direct>) -> Datagram {
    match direct {
        Some(direct) => direct.next().await,
        None => pending().await,
    }
}
