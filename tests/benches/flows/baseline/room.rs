//! A room of WebSockets without any rule. A player's frames go to the game server as they are. The
//! game server's frames go as they are to the player whose id stands at a fixed offset.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload, Query},
};
use actix_ws::{Message, MessageStream, Session};
use futures_util::StreamExt as _;
use serde::Deserialize;

/// Where it is opened, by a player with `?client=<id>`.
pub(crate) const ROOM: &str = "/room";
/// Where the player's id begins in a frame of the game server.
const ID: usize = r#"{"clients":[""#.len();

/// The open connections.
#[derive(Default)]
pub(super) struct Room {
    runtime: RwLock<Option<Session>>,
    players: RwLock<HashMap<u64, Session>>,
}

impl Room {
    fn player(&self, client: u64) -> Option<Session> {
        self.players.read().unwrap_or_else(PoisonError::into_inner).get(&client).cloned()
    }
}

#[derive(Deserialize)]
pub(super) struct Who {
    client: Option<u64>,
}

pub(super) async fn open(
    request: HttpRequest,
    payload: Payload,
    room: Data<Room>,
    who: Query<Who>,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, session, messages) = actix_ws::handle(&request, payload)?;
    match who.client {
        Some(client) => {
            room.players.write().unwrap_or_else(PoisonError::into_inner).insert(client, session);
            let runtime = room.runtime.read().unwrap_or_else(PoisonError::into_inner).clone();
            actix_web::rt::spawn(player(messages, runtime));
        }
        None => {
            *room.runtime.write().unwrap_or_else(PoisonError::into_inner) = Some(session);
            actix_web::rt::spawn(runtime(messages, room));
        }
    }
    Ok(response)
}

async fn player(mut messages: MessageStream, runtime: Option<Session>) {
    let Some(mut runtime) = runtime else { return };
    while let Some(Ok(message)) = messages.next().await {
        if let Message::Text(text) = message
            && runtime.text(text).await.is_err()
        {
            return;
        }
    }
}

async fn runtime(mut messages: MessageStream, room: Data<Room>) {
    while let Some(Ok(message)) = messages.next().await {
        let Message::Text(text) = message else { continue };
        let id = text.get(ID..).and_then(|it| it.split('"').next()).and_then(|it| it.parse().ok());
        if let Some(mut player) = id.and_then(|it| room.player(it)) {
            let _gone = player.text(text).await;
        }
    }
}
