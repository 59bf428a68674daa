//! What runtimes want done.

use omgservers_api::{
    ClientId, Kind, Problem, RuntimeId,
    ids::SenderSeq,
    interchange::{
        ClientRef, Outgoing, Reason, RejectedCommand, RequestMatchmaking, SetProfile, ToAll, ToClient,
        ToClients, UpgradeConnection, command,
    },
};
use omgservers_messaging::{ClientInfo, Commit, To};
use serde::Deserialize;

use crate::{PgMatchmaking, problems};

impl PgMatchmaking {
    /// Carries `commands` out one after another and waits until their effects are durable. A command that can't
    /// be carried out is answered and stops nothing, unless that is the backend's own fault: then the runtime has
    /// to ask again. Problems: `unavailable`.
    pub(crate) async fn carry_out(
        &self,
        runtime: RuntimeId,
        commands: &[Outgoing<'_>],
    ) -> Result<Vec<RejectedCommand>, Problem> {
        let mut rejected = Vec::new();
        let mut commit = Commit::none();
        for (index, it) in commands.iter().enumerate() {
            // What has to wait may be broken off there, so its counter is noted after it: twice changes nothing.
            let waits = matches!(it.qualifier.as_ref(), command::SET_PROFILE | command::KICK_CLIENT);
            // What speaks notes its counter with its messages, or a kill in between would lose them.
            let speaks = matches!(
                it.qualifier.as_ref(),
                command::RESPOND_CLIENT | command::MULTICAST_MESSAGE | command::BROADCAST_MESSAGE
            );
            let notes = !speaks && (!waits || self.is_repeated(runtime, it));
            if notes && !self.note(runtime, it, &mut commit)? {
                continue;
            }
            match self.execute(runtime, it).await {
                Ok(done) => commit = commit.join(done),
                Err(problem) if waits && problem.kind() == Kind::Unavailable => return Err(problem),
                Err(problem) => {
                    tracing::info!(runtime.id = %runtime, command = %it.qualifier, %problem, "a command was not carried out");
                    rejected.push(RejectedCommand {
                        index,
                        qualifier: it.qualifier.clone().into_owned(),
                        code: problem.code().to_owned(),
                        detail: problem.sentence().to_owned(),
                    });
                }
            }
            if waits {
                self.note(runtime, it, &mut commit)?;
            }
        }
        commit.wait().await?;
        Ok(rejected)
    }

    fn is_repeated(&self, runtime: RuntimeId, it: &Outgoing<'_>) -> bool {
        let last = self.parts.messaging.runtime(runtime).and_then(|it| it.last_seq);
        it.id.is_some() && it.id <= last
    }

    /// Notes the counter of a command; `false` when it was noted before.
    fn note(&self, runtime: RuntimeId, it: &Outgoing<'_>, commit: &mut Commit) -> Result<bool, Problem> {
        let Some(seq) = it.id else { return Ok(true) };
        let (accepted, fresh) = self.parts.messaging.accept(runtime, seq)?;
        *commit = std::mem::take(commit).join(accepted);
        Ok(fresh)
    }

    async fn execute(&self, runtime: RuntimeId, it: &Outgoing<'_>) -> Result<Commit, Problem> {
        match it.qualifier.as_ref() {
            command::RESPOND_CLIENT => {
                let body: ToClient<'_> = body(it)?;
                self.say(runtime, it.id, To::One(body.client_id), body.message)
            }
            command::MULTICAST_MESSAGE => {
                let body: ToClients<'_> = body(it)?;
                self.say(runtime, it.id, To::Some(&body.clients), body.message)
            }
            command::BROADCAST_MESSAGE => {
                let body: ToAll<'_> = body(it)?;
                self.say(runtime, it.id, To::All, body.message)
            }
            command::SET_PROFILE => {
                let body: SetProfile<'_> = body(it)?;
                let info = self.here(runtime, body.client_id)?;
                let full = self.parts.deployments.full(info.deployment).await?;
                self.parts.players.set_profile(info.user, full.deployment.stage_id, body.profile).await?;
                Ok(Commit::none())
            }
            command::KICK_CLIENT => {
                let body: ClientRef = body(it)?;
                self.here(runtime, body.client_id)?;
                self.disconnect(body.client_id, Reason::ClientKicked).await?;
                Ok(Commit::none())
            }
            command::STOP_MATCHMAKING => {
                Err(problems::NOT_FOR_LOBBIES.detail("a lobby has no matchmaking to stop"))
            }
            command::REQUEST_MATCHMAKING => {
                let body: RequestMatchmaking<'_> = body(it)?;
                self.here(runtime, body.client_id)?;
                Err(problems::UNSUPPORTED.detail("matches are not part of this version of the backend"))
            }
            command::UPGRADE_CONNECTION => {
                let body: UpgradeConnection<'_> = body(it)?;
                self.upgrade(runtime, &body)
            }
            other => Err(problems::UNKNOWN_COMMAND.detail(format!("there is no command {other:?}"))),
        }
    }

    /// Whoever is with the runtime gets the message; the others are named in the problem.
    fn say(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &serde_json::value::RawValue,
    ) -> Result<Commit, Problem> {
        let (commit, missed) = self.parts.messaging.say(runtime, seq, to, message)?;
        if missed.is_empty() {
            return Ok(commit);
        }
        let names: Vec<String> = missed.iter().take(20).map(ToString::to_string).collect();
        let more = missed.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(problems::CLIENT_NOT_HERE
            .detail(format!("not with this runtime, or with a full mailbox: {}{more}", names.join(", "))))
    }

    /// Shows a client the way to the runtime's room.
    fn upgrade(&self, runtime: RuntimeId, it: &UpgradeConnection<'_>) -> Result<Commit, Problem> {
        use omgservers_api::interchange::{DISPATCHER, message};
        let (client, protocol) = (it.client_id, it.protocol.as_ref());
        if protocol != DISPATCHER {
            return Err(problems::WRONG_BODY
                .detail(format!("`protocol` of UPGRADE_CONNECTION: {protocol:?} is not {DISPATCHER}")));
        }
        let assigned = self.here(runtime, client)?.assigned;
        let body = crate::bodies::upgrade(client, self.parts.tokens.ws_player(client, runtime, assigned)?)?;
        let qualifier = message::CONNECTION_UPGRADE;
        // If the client is moved meanwhile, the token is void and is not sent.
        self.parts.messaging.apply(vec![omgservers_messaging::Op::PushAssigned {
            client,
            assigned,
            qualifier,
            body,
        }])
    }

    fn here(&self, runtime: RuntimeId, client: ClientId) -> Result<ClientInfo, Problem> {
        self.parts.messaging.client(client).filter(|it| it.route == Some(runtime) && !it.closed).ok_or_else(
            || problems::CLIENT_NOT_HERE.detail(format!("client {client} isn't with this runtime")),
        )
    }
}

/// The fields of a command. Nothing, `null` and `[]` stand for no fields.
fn body<'a, T: Deserialize<'a>>(it: &Outgoing<'a>) -> Result<T, Problem> {
    let text = it.body.map_or("{}", |it| it.get());
    let text = if matches!(text, "null" | "[]") { "{}" } else { text };
    serde_json::from_str(text)
        .map_err(|error| problems::WRONG_BODY.detail(format!("`body` of {}: {error}", it.qualifier)))
}
