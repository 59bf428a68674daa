//! The interchange of players and runtimes: what they send, what waits for them.
//!
//! Free-form values are [`RawValue`]s: they pass through byte for byte. Requests borrow from the
//! body.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use crate::{
    ClientId, EntryId, LobbyId, MatchId, MatchmakerId, RuntimeId, RuntimeQualifier, TenantId, UserId,
    Validate, VersionId,
    config::{ModeConfig, PortProtocol},
    entrypoint::{Field, Fields},
    ids::SenderSeq,
};

/// Longest time that an interchange may wait, milliseconds.
pub const MAX_WAIT_MS: u32 = 25_000;
/// Most messages or commands, and most consumed ids, of one request.
pub const MAX_ENTRIES: usize = 10_000;
/// Most characters of a mode's name.
pub const MAX_MODE: usize = 64;

/// A player's exchange.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlayerInterchangeRequest<'a> {
    /// The session.
    pub client_id: ClientId,
    /// What the player says.
    #[serde(borrow, deserialize_with = "list")]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::protocol::schema::OutgoingMessage>))]
    pub outgoing_messages: Vec<Outgoing<'a>>,
    /// What the player has received.
    #[serde(deserialize_with = "list")]
    pub consumed_messages: Vec<EntryId>,
    /// Milliseconds to wait for something to arrive when nothing waits; 25,000 at most, and
    /// a larger number counts as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

impl Fields for PlayerInterchangeRequest<'_> {
    /// None: a session sends messages through the SDK, not through a command line.
    const FIELDS: &'static [Field] = &[];
}
impl Validate for PlayerInterchangeRequest<'_> {}
impl Fields for RuntimeInterchangeRequest<'_> {
    /// None: a game server sends commands through the SDK, not through a command line.
    const FIELDS: &'static [Field] = &[];
}
impl Validate for RuntimeInterchangeRequest<'_> {}

/// A runtime's exchange.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RuntimeInterchangeRequest<'a> {
    /// What the runtime wants done.
    #[serde(borrow, deserialize_with = "list")]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::protocol::schema::OutgoingCommand>))]
    pub outgoing_commands: Vec<Outgoing<'a>>,
    /// What the runtime has received.
    #[serde(deserialize_with = "list")]
    pub consumed_commands: Vec<EntryId>,
    /// Milliseconds to wait for something to arrive when nothing waits; 25,000 at most, and
    /// a larger number counts as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

/// One message of a player or one command of a runtime.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outgoing<'a> {
    /// The sender's own counter; a repeated one is answered and not delivered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SenderSeq>,
    /// What it is.
    #[serde(borrow)]
    pub qualifier: Cow<'a, str>,
    /// Its fields; `[]`, `null` and nothing stand for no fields.
    #[serde(borrow, default)]
    pub body: Option<&'a RawValue>,
}

/// `null` and a Lua table that was encoded as an empty object are empty lists.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct ListVisitor<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ListVisitor<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MAX_ENTRIES} entries")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == MAX_ENTRIES {
                    return Err(de::Error::invalid_length(MAX_ENTRIES.saturating_add(1), &self));
                }
                items.push(item);
            }
            Ok(items)
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
            match map.next_key::<de::IgnoredAny>()? {
                None => Ok(Vec::new()),
                Some(_) => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
            }
        }
        fn visit_unit<E: de::Error>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }
    }
    deserializer.deserialize_any(ListVisitor(std::marker::PhantomData))
}

/// Qualifiers of messages between players and the backend.
pub mod message {
    /// The only one that a player sends: `{data}`.
    pub const CLIENT_OUTGOING: &str = "CLIENT_OUTGOING_MESSAGE";
    /// First of all: [`ServerWelcome`](super::ServerWelcome).
    pub const SERVER_WELCOME: &str = "SERVER_WELCOME_MESSAGE";
    /// [`MatchmakerAssignment`](super::MatchmakerAssignment).
    pub const MATCHMAKER_ASSIGNMENT: &str = "MATCHMAKER_ASSIGNMENT_MESSAGE";
    /// [`RuntimeAssignment`](super::RuntimeAssignment).
    pub const RUNTIME_ASSIGNMENT: &str = "RUNTIME_ASSIGNMENT_MESSAGE";
    /// [`ConnectionUpgrade`](super::ConnectionUpgrade).
    pub const CONNECTION_UPGRADE: &str = "CONNECTION_UPGRADE_MESSAGE";
    /// [`DisconnectionReason`](super::DisconnectionReason).
    pub const DISCONNECTION_REASON: &str = "DISCONNECTION_REASON_MESSAGE";
    /// [`MatchmakingFailure`](super::MatchmakingFailure).
    pub const MATCHMAKING_FAILURE: &str = "MATCHMAKING_FAILURE_MESSAGE";
    /// `{message}`: what a runtime says.
    pub const SERVER_OUTGOING: &str = "SERVER_OUTGOING_MESSAGE";

    /// Those that only the backend sends.
    pub const FROM_SERVER: &[&str] = &[
        SERVER_WELCOME,
        MATCHMAKER_ASSIGNMENT,
        RUNTIME_ASSIGNMENT,
        CONNECTION_UPGRADE,
        DISCONNECTION_REASON,
        MATCHMAKING_FAILURE,
        SERVER_OUTGOING,
    ];
}

/// Qualifiers of commands between runtimes and the backend.
pub mod command {
    /// To a runtime, first of all: [`InitRuntime`](super::InitRuntime).
    pub const INIT_RUNTIME: &str = "INIT_RUNTIME";
    /// To a lobby: [`AddClient`](super::AddClient).
    pub const ADD_CLIENT: &str = "ADD_CLIENT";
    /// To a match: [`AddClient`](super::AddClient) with a group.
    pub const ADD_MATCH_CLIENT: &str = "ADD_MATCH_CLIENT";
    /// To a runtime: [`ClientRef`](super::ClientRef).
    pub const DELETE_CLIENT: &str = "DELETE_CLIENT";
    /// To a runtime: `{client_id, message}`.
    pub const HANDLE_MESSAGE: &str = "HANDLE_MESSAGE";

    /// From a runtime: [`ToClient`](super::ToClient).
    pub const RESPOND_CLIENT: &str = "RESPOND_CLIENT";
    /// From a runtime: [`SetProfile`](super::SetProfile).
    pub const SET_PROFILE: &str = "SET_PROFILE";
    /// From a runtime: [`ToClients`](super::ToClients).
    pub const MULTICAST_MESSAGE: &str = "MULTICAST_MESSAGE";
    /// From a runtime: [`ToAll`](super::ToAll).
    pub const BROADCAST_MESSAGE: &str = "BROADCAST_MESSAGE";
    /// From a lobby: [`RequestMatchmaking`](super::RequestMatchmaking).
    pub const REQUEST_MATCHMAKING: &str = "REQUEST_MATCHMAKING";
    /// From a lobby: [`ClientRef`](super::ClientRef).
    pub const CANCEL_MATCHMAKING: &str = "CANCEL_MATCHMAKING";
    /// From a runtime: [`ClientRef`](super::ClientRef).
    pub const KICK_CLIENT: &str = "KICK_CLIENT";
    /// From a match: no fields.
    pub const STOP_MATCHMAKING: &str = "STOP_MATCHMAKING";
    /// From a runtime: [`UpgradeConnection`](super::UpgradeConnection).
    pub const UPGRADE_CONNECTION: &str = "UPGRADE_CONNECTION";
}

/// Body of `CLIENT_OUTGOING_MESSAGE`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClientOutgoing<'a> {
    /// Anything.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub data: &'a RawValue,
}

/// Body of `SERVER_WELCOME_MESSAGE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServerWelcome {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The version that the player plays.
    pub version_id: VersionId,
    /// When that version was made.
    #[serde(with = "crate::time")]
    pub version_created: chrono::DateTime<chrono::Utc>,
}

/// Body of `MATCHMAKER_ASSIGNMENT_MESSAGE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MatchmakerAssignment {
    /// The matchmaker.
    pub matchmaker_id: MatchmakerId,
}

/// Body of `RUNTIME_ASSIGNMENT_MESSAGE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RuntimeAssignment {
    /// The runtime that the client is with from now on.
    pub runtime_id: RuntimeId,
    /// Lobby or match.
    pub runtime_qualifier: RuntimeQualifier,
    /// What the runtime is.
    pub runtime_config: RuntimeConfig,
    /// How to connect to it directly, if its version names ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectConnection>,
}

/// How a player connects to a game server without the backend in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DirectConnection {
    /// Host name or address.
    pub address: String,
    /// The published ports.
    pub ports: Vec<DirectPort>,
    /// Proves the client's identity to the game server; short-lived, checked with the key in its
    /// environment.
    pub token: String,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DirectPort {
    /// Its name in the version's configuration.
    pub name: String,
    /// How it is spoken to.
    pub protocol: PortProtocol,
    /// The port on the host.
    pub port: u16,
}

/// What a runtime is. One of the first two is null.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RuntimeConfig {
    /// Set for a lobby.
    pub lobby_config: Option<LobbyRuntimeConfig>,
    /// Set for a match.
    pub match_config: Option<MatchRuntimeConfig>,
    /// What the version says.
    pub version_config: RuntimeVersionConfig,
}

/// Which lobby a runtime is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LobbyRuntimeConfig {
    /// The lobby.
    pub lobby_id: LobbyId,
}

/// Which match a runtime is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MatchRuntimeConfig {
    /// The matchmaker that made it.
    pub matchmaker_id: MatchmakerId,
    /// The match.
    pub match_id: MatchId,
    /// The name of its mode.
    pub mode: String,
}

/// What the version says to runtimes and players. Players get null for `user_data`: it is the
/// server's business.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RuntimeVersionConfig {
    /// The modes.
    pub modes: Vec<ModeConfig>,
    /// The developer's own configuration.
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub user_data: Option<Box<RawValue>>,
}

/// Body of `CONNECTION_UPGRADE_MESSAGE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConnectionUpgrade {
    /// Who may connect.
    pub client_id: ClientId,
    /// Always `DISPATCHER`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub protocol: Cow<'static, str>,
    /// With what.
    pub web_socket_config: WebSocketConfig,
}

/// What a WebSocket is opened with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebSocketConfig {
    /// The token.
    pub ws_token: String,
}

/// Body of `DISCONNECTION_REASON_MESSAGE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DisconnectionReason {
    /// Why the session ends.
    pub reason: Reason,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The client wasn't heard of for too long.
    ClientInactivity,
    /// What it was connected to is gone.
    InternalFailure,
    /// A lobby sent it away.
    ClientKicked,
}

/// Body of `MATCHMAKING_FAILURE_MESSAGE`: a ticket or its request ended without a match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MatchmakingFailure {
    /// The mode that was asked for.
    pub mode: String,
    /// Why.
    pub reason: MatchmakingFailureReason,
    /// The same for people.
    pub detail: String,
}

/// Why a ticket or its request ended without a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MatchmakingFailureReason {
    /// The version has no such mode.
    UnknownMode,
    /// The request doesn't fulfil what the mode's rules ask for.
    Refused,
    /// Too many wait already.
    QueueFull,
    /// Nobody fitting came in time.
    Timeout,
    /// The player, its lobby, or a member of its party took it back.
    Cancelled,
    /// Another request of the same client took its place.
    Replaced,
    /// The lobby or the deployment went away.
    InternalFailure,
}

/// Body of `INIT_RUNTIME`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InitRuntime {
    /// What the runtime is.
    pub runtime_config: RuntimeConfig,
}

/// Body of `ADD_CLIENT` and `ADD_MATCH_CLIENT`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AddClient {
    /// The player.
    pub user_id: UserId,
    /// The session.
    pub client_id: ClientId,
    /// The group of the match; absent in a lobby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_name: Option<String>,
    /// The player's profile in the stage; `{}` at first.
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub profile: Box<RawValue>,
}

/// Body of `DELETE_CLIENT` and `KICK_CLIENT`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClientRef {
    /// The session.
    pub client_id: ClientId,
}

/// Body of `RESPOND_CLIENT`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ToClient<'a> {
    /// The session.
    pub client_id: ClientId,
    /// Anything.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub message: &'a RawValue,
}

/// Body of `MULTICAST_MESSAGE`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ToClients<'a> {
    /// The sessions.
    #[serde(alias = "client", deserialize_with = "one_or_more")]
    pub clients: Vec<ClientId>,
    /// Anything.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub message: &'a RawValue,
}

/// Under its documented name `client` a single id is accepted too.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ClientId>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    if raw.get().starts_with(['[', '{', 'n']) {
        list(raw).map_err(de::Error::custom)
    } else {
        serde_json::from_str(raw.get()).map(|it| vec![it]).map_err(de::Error::custom)
    }
}

/// Body of `BROADCAST_MESSAGE`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ToAll<'a> {
    /// Anything.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub message: &'a RawValue,
}

/// Body of `SET_PROFILE`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SetProfile<'a> {
    /// The session whose player it is about.
    pub client_id: ClientId,
    /// The new profile.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = serde_json::Value))]
    pub profile: &'a RawValue,
}

/// Body of `REQUEST_MATCHMAKING`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RequestMatchmaking<'a> {
    /// The session.
    pub client_id: ClientId,
    /// The mode's name.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub mode: Cow<'a, str>,
    /// The clients of its party, all of this lobby; they are matched together, into one group.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientId>,
    /// What the mode's rules look at: numbers, texts and booleans.
    #[serde(default, deserialize_with = "attributes", skip_serializing_if = "Attributes::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, Attribute>))]
    pub attributes: Attributes,
}

/// Attributes of a ticket by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// What a ticket says of itself under one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Attribute {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

/// `null` and an empty Lua table (`[]`) are no attributes.
fn attributes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Attributes, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    if matches!(raw.get(), "null" | "[]") {
        return Ok(Attributes::new());
    }
    serde_json::from_str(raw.get()).map_err(de::Error::custom)
}

/// The protocol of rooms.
pub const DISPATCHER: &str = "DISPATCHER";

/// Body of `UPGRADE_CONNECTION`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpgradeConnection<'a> {
    /// The session.
    pub client_id: ClientId,
    /// Always `DISPATCHER`.
    #[serde(borrow)]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub protocol: Cow<'a, str>,
}

/// A message as a player receives it, or a command as a runtime does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Incoming {
    /// Its id in the mailbox; to be sent back as consumed.
    pub id: EntryId,
    /// What it is.
    pub qualifier: String,
    /// Its fields.
    pub body: Box<RawValue>,
}

/// The answer to a player.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlayerInterchangeResponse {
    /// What waits for the player, oldest first.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::protocol::schema::IncomingMessage>))]
    pub incoming_messages: Vec<Incoming>,
}

/// The answer to a runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RuntimeInterchangeResponse {
    /// What waits for the runtime, oldest first.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::protocol::schema::IncomingCommand>))]
    pub incoming_commands: Vec<Incoming>,
    /// Commands of this request that were not carried out; the others were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_commands: Vec<RejectedCommand>,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RejectedCommand {
    /// Its place in `outgoing_commands`, from 0.
    pub index: usize,
    /// What it was.
    pub qualifier: String,
    /// Our code of the problem.
    pub code: String,
    /// Why, for people.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_contracts_player_request_is_read() {
        let body = r#"{"client_id":"246000000000000020","outgoing_messages":[{"id":0,"qualifier":"CLIENT_OUTGOING_MESSAGE","body":{"data":"hi"}}],"consumed_messages":["246000000000000030"]}"#;
        let request: PlayerInterchangeRequest<'_> = serde_json::from_str(body).unwrap();
        let first = request.outgoing_messages.first().unwrap();
        assert_eq!(first.id, Some(SenderSeq(0)));
        let data: ClientOutgoing<'_> = serde_json::from_str(first.body.unwrap().get()).unwrap();
        assert_eq!(data.data.get(), "\"hi\"");
    }

    #[test]
    fn a_lua_empty_table_is_an_empty_list_either_way() {
        for empty in ["[]", "{}", "null"] {
            let body = format!(r#"{{"outgoing_commands":{empty},"consumed_commands":{empty}}}"#);
            let request: RuntimeInterchangeRequest<'_> = serde_json::from_str(&body).unwrap();
            assert!(request.outgoing_commands.is_empty() && request.consumed_commands.is_empty());
        }
        assert!(
            serde_json::from_str::<RuntimeInterchangeRequest<'_>>(r#"{"outgoing_commands":[]}"#).is_err()
        );
    }

    #[test]
    fn recipients_go_by_both_names() {
        for body in [r#"{"clients":["1","2"],"message":1}"#, r#"{"client":["1",2],"message":1}"#] {
            assert_eq!(serde_json::from_str::<ToClients<'_>>(body).unwrap().clients.len(), 2);
        }
        assert_eq!(
            serde_json::from_str::<ToClients<'_>>(r#"{"client":"7","message":1}"#).unwrap().clients.len(),
            1
        );
        assert_eq!(
            serde_json::from_str::<ToClients<'_>>(r#"{"clients":[],"message":1}"#).unwrap().clients.len(),
            0
        );
    }

    #[test]
    fn a_list_has_an_end() {
        let ids = vec!["1"; MAX_ENTRIES + 1].join(",");
        let body = format!(r#"{{"client_id":1,"outgoing_messages":[],"consumed_messages":[{ids}]}}"#);
        assert!(serde_json::from_str::<PlayerInterchangeRequest<'_>>(&body).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_decoder_panic(text in ".{0,200}") {
            let _ = serde_json::from_str::<PlayerInterchangeRequest<'_>>(&text);
            let _ = serde_json::from_str::<RuntimeInterchangeRequest<'_>>(&text);
            let _ = serde_json::from_str::<ToClients<'_>>(&text);
        }
    }
}
