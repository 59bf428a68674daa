//! The commands that runtimes send, each decoded once.

use std::collections::HashSet;

use omgservers_api::{
    ClientId, Problem,
    ids::SenderSeq,
    interchange::{
        ClientRef, MAX_MODE, Outgoing, RequestMatchmaking, SetProfile, ToAll, ToClient, ToClients,
        UpgradeConnection, command,
    },
};
use omgservers_messaging::To;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::problems;

/// The body of a command, or why the command is rejected.
type Decoded<T> = Result<T, Problem>;

/// A command of a runtime.
pub(crate) enum RuntimeCommand<'a> {
    /// RESPOND_CLIENT, MULTICAST_MESSAGE and BROADCAST_MESSAGE: sends a message to clients.
    Send(Decoded<RuntimeMessage<'a>>),
    /// SET_PROFILE: stores a profile.
    SetProfile(Decoded<SetProfile<'a>>),
    /// KICK_CLIENT: evicts a client.
    KickClient(Decoded<ClientRef>),
    /// REQUEST_MATCHMAKING: makes a ticket.
    RequestMatchmaking(Decoded<RequestMatchmaking<'a>>),
    /// CANCEL_MATCHMAKING: ends a ticket.
    CancelMatchmaking(Decoded<ClientRef>),
    /// STOP_MATCHMAKING: ends the back-fill of a match.
    StopMatchmaking,
    /// UPGRADE_CONNECTION: lets a client open a dispatcher connection.
    UpgradeConnection(Decoded<UpgradeConnection<'a>>),
    /// Any other qualifier.
    Unknown,
}

/// A message of a runtime and its recipients.
pub(crate) struct RuntimeMessage<'a> {
    pub(crate) to: Recipients,
    pub(crate) message: &'a RawValue,
}

/// The recipients of a message.
pub(crate) enum Recipients {
    One(ClientId),
    Some(Vec<ClientId>),
    All,
}

impl Recipients {
    pub(crate) fn as_to(&self) -> To<'_> {
        match self {
            Self::One(client) => To::One(*client),
            Self::Some(clients) => To::Some(clients),
            Self::All => To::All,
        }
    }
}

/// When the counter of a command is accepted. A repeated counter is not carried out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// Together with the messages that it sends. Otherwise a crash in between would lose them.
    WithMessages,
    /// By the round that answers the ticket request. The caller may be gone by then.
    ByRound,
    /// Before it is carried out.
    Before,
    /// After it was carried out: it has to wait and may be broken off there. Twice changes nothing.
    After,
}

impl RuntimeCommand<'_> {
    pub(crate) fn acceptance(&self) -> Acceptance {
        match self {
            Self::Send(_) => Acceptance::WithMessages,
            Self::RequestMatchmaking(_) => Acceptance::ByRound,
            Self::SetProfile(_)
            | Self::KickClient(_)
            | Self::CancelMatchmaking(_)
            | Self::StopMatchmaking => Acceptance::After,
            Self::UpgradeConnection(_) | Self::Unknown => Acceptance::Before,
        }
    }

    /// True when the command leaves every client with its runtime.
    pub(crate) fn moves_nobody(&self) -> bool {
        matches!(self, Self::Send(_) | Self::SetProfile(_) | Self::UpgradeConnection(_))
    }
}

/// A command in its request.
pub(crate) struct DecodedCommand<'a> {
    /// Its position in the request.
    pub(crate) index: usize,
    /// The runtime's own counter.
    pub(crate) seq: Option<SenderSeq>,
    /// As the runtime wrote it.
    pub(crate) qualifier: &'a str,
    pub(crate) command: RuntimeCommand<'a>,
}

/// Decodes the commands of a request.
pub(crate) fn decode<'a>(commands: &'a [Outgoing<'_>]) -> Vec<DecodedCommand<'a>> {
    let decoded = commands.iter().enumerate().map(|(index, outgoing)| DecodedCommand {
        index,
        seq: outgoing.id,
        qualifier: &outgoing.qualifier,
        command: decode_one(outgoing),
    });
    decoded.collect()
}

fn decode_one<'a>(outgoing: &'a Outgoing<'_>) -> RuntimeCommand<'a> {
    match outgoing.qualifier.as_ref() {
        command::RESPOND_CLIENT => RuntimeCommand::Send(body(outgoing).map(|body: ToClient<'a>| {
            RuntimeMessage { to: Recipients::One(body.client_id), message: body.message }
        })),
        command::MULTICAST_MESSAGE => RuntimeCommand::Send(body(outgoing).map(|body: ToClients<'a>| {
            RuntimeMessage { to: Recipients::Some(body.clients), message: body.message }
        })),
        command::BROADCAST_MESSAGE => RuntimeCommand::Send(
            body(outgoing)
                .map(|body: ToAll<'a>| RuntimeMessage { to: Recipients::All, message: body.message }),
        ),
        command::SET_PROFILE => RuntimeCommand::SetProfile(body(outgoing)),
        command::KICK_CLIENT => RuntimeCommand::KickClient(body(outgoing)),
        command::REQUEST_MATCHMAKING => {
            RuntimeCommand::RequestMatchmaking(body(outgoing).and_then(check_request))
        }
        command::CANCEL_MATCHMAKING => RuntimeCommand::CancelMatchmaking(body(outgoing)),
        command::STOP_MATCHMAKING => RuntimeCommand::StopMatchmaking,
        command::UPGRADE_CONNECTION => RuntimeCommand::UpgradeConnection(body(outgoing)),
        _ => RuntimeCommand::Unknown,
    }
}

/// Checks what costs nothing before any work is done for it: a long list of one client would
/// become as many messages.
fn check_request(request: RequestMatchmaking<'_>) -> Decoded<RequestMatchmaking<'_>> {
    let length = request.mode.chars().count();
    if length > MAX_MODE {
        return Err(problems::WRONG_BODY
            .detail(format!("`mode` of REQUEST_MATCHMAKING has {length} characters: at most {MAX_MODE}")));
    }
    let mut seen = HashSet::with_capacity(request.clients.len());
    match request.clients.iter().find(|it| !seen.insert(**it)) {
        Some(client) => {
            Err(problems::TICKET_REFUSED.detail(format!("client {client} is in `clients` twice")))
        }
        None => Ok(request),
    }
}

/// Decodes the fields of a command. A missing body, `null` and `[]` stand for no fields.
fn body<'a, T: Deserialize<'a>>(outgoing: &'a Outgoing<'_>) -> Decoded<T> {
    let text = outgoing.body.map_or("{}", |it| it.get());
    let text = if matches!(text, "null" | "[]") { "{}" } else { text };
    serde_json::from_str(text)
        .map_err(|error| problems::WRONG_BODY.detail(format!("`body` of {}: {error}", outgoing.qualifier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of these commands, decoded, goes to `check`.
    fn decoded(json: &str, check: impl FnOnce(&DecodedCommand<'_>)) {
        let commands: Vec<Outgoing<'_>> = serde_json::from_str(json).unwrap();
        check(&decode(&commands)[0]);
    }

    #[test]
    fn a_command_is_decoded_by_its_qualifier() {
        let json = r#"[{"id":"3","qualifier":"MULTICAST_MESSAGE","body":{"clients":["7"],"message": 1 }}]"#;
        decoded(json, |decoded| {
            assert_eq!(
                (decoded.index, decoded.seq, decoded.qualifier),
                (0, Some(SenderSeq(3)), "MULTICAST_MESSAGE")
            );
            let RuntimeCommand::Send(Ok(RuntimeMessage { to: Recipients::Some(to), message })) =
                &decoded.command
            else {
                panic!("it sends a message");
            };
            assert_eq!((to.len(), message.get()), (1, "1"));
        });
        decoded(r#"[{"qualifier":"STOP_MATCHMAKING","body":[]}]"#, |decoded| {
            assert!(matches!(decoded.command, RuntimeCommand::StopMatchmaking));
        });
    }

    #[test]
    fn a_wrong_body_is_a_problem_of_its_own_command() {
        decoded(r#"[{"qualifier":"KICK_CLIENT","body":{}},{"qualifier":"STOP_MATCHMAKING"}]"#, |decoded| {
            let RuntimeCommand::KickClient(Err(problem)) = &decoded.command else {
                panic!("it lacks its client")
            };
            assert!(problem.is(problems::WRONG_BODY) && problem.sentence().contains("KICK_CLIENT"));
        });
    }

    #[test]
    fn a_request_with_a_long_mode_or_a_client_twice_is_rejected_at_once() {
        let long = "m".repeat(65);
        let request = |mode: &str, clients: &str| {
            format!(
                r#"[{{"qualifier":"REQUEST_MATCHMAKING","body":{{"client_id":"7","mode":"{mode}","clients":[{clients}]}}}}]"#
            )
        };
        decoded(&request(&long, ""), |decoded| {
            let RuntimeCommand::RequestMatchmaking(Err(problem)) = &decoded.command else {
                panic!("its mode is too long")
            };
            assert!(problem.is(problems::WRONG_BODY), "{problem}");
            assert!(problem.sentence().contains("`mode`") && problem.sentence().contains("65"), "{problem}");
        });
        decoded(&request(&long[1..], r#""8","9","8""#), |decoded| {
            let RuntimeCommand::RequestMatchmaking(Err(problem)) = &decoded.command else {
                panic!("a client is named twice")
            };
            assert!(problem.is(problems::TICKET_REFUSED), "{problem}");
            assert!(problem.sentence().contains("client 8"), "{problem}");
        });
        decoded(&request(&long[1..], r#""8","9""#), |decoded| {
            assert!(matches!(decoded.command, RuntimeCommand::RequestMatchmaking(Ok(_))));
        });
    }

    #[test]
    fn only_commands_that_wait_are_accepted_after_they_were_carried_out() {
        let acceptance = |qualifier: &str| {
            let json = format!(r#"[{{"qualifier":"{qualifier}"}}]"#);
            let commands: Vec<Outgoing<'_>> = serde_json::from_str(&json).unwrap();
            decode(&commands)[0].command.acceptance()
        };
        for waits in ["SET_PROFILE", "KICK_CLIENT", "CANCEL_MATCHMAKING", "STOP_MATCHMAKING"] {
            assert_eq!(acceptance(waits), Acceptance::After, "{waits}");
        }
        for sends in ["RESPOND_CLIENT", "MULTICAST_MESSAGE", "BROADCAST_MESSAGE"] {
            assert_eq!(acceptance(sends), Acceptance::WithMessages, "{sends}");
        }
        assert_eq!(acceptance("REQUEST_MATCHMAKING"), Acceptance::ByRound);
        assert_eq!(acceptance("UPGRADE_CONNECTION"), Acceptance::Before);
        assert_eq!(acceptance("ADD_CLIENT"), Acceptance::Before, "unknown");
    }
}
