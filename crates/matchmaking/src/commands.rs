//! What runtimes want done.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use futures_util::future::join_all;
use omgservers_api::{
    ClientId, DeploymentId, Problem, RuntimeId, StageId, TicketId, UserId,
    ids::SenderSeq,
    interchange::{
        ClientRef, MatchmakingFailureReason::Cancelled, Outgoing, Reason, RejectedCommand,
        RequestMatchmaking, SetProfile, ToAll, ToClient, ToClients, UpgradeConnection, command,
    },
};
use omgservers_messaging::{AckHandle, ClientInfo, To};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    PgMatchmaking,
    matches::{Answer, CommandSeq, MatchmakerRequest, TicketRequest, answered},
    problems::{self, is_own_fault},
};

/// What became of the commands so far.
#[derive(Default)]
struct Done {
    /// What became of profiles, by the place of their commands.
    profiles: HashMap<usize, Result<(), Problem>>,
    rejected: Vec<RejectedCommand>,
    commit: AckHandle,
    pending_tickets: Vec<PendingTicket>,
}

/// A request to be matched that isn't answered yet.
struct PendingTicket {
    index: usize,
    seq: Option<SenderSeq>,
    answered: Arc<AtomicBool>,
    answer: Answer<TicketId>,
}

impl Done {
    fn join(&mut self, commit: AckHandle) {
        self.commit = std::mem::take(&mut self.commit).join(commit);
    }

    fn reject(&mut self, runtime: RuntimeId, index: usize, qualifier: &str, problem: &Problem) {
        tracing::info!(runtime.id = %runtime, command = %qualifier, %problem, "a command was not carried out");
        self.rejected.push(RejectedCommand {
            index,
            qualifier: qualifier.to_owned(),
            code: problem.code().to_owned(),
            detail: problem.sentence().to_owned(),
        });
    }
}

impl PgMatchmaking {
    /// Carries `commands` out one after another; those that were rejected, and the commit that makes their effects safe.
    /// A command that can't be carried out is answered and stops nothing, unless that is the backend's own fault: then
    /// the runtime has to ask again. Problems: `unavailable`, `internal`.
    pub(crate) async fn carry_out(
        &self,
        runtime: RuntimeId,
        commands: &[Outgoing<'_>],
    ) -> Result<(Vec<RejectedCommand>, AckHandle), Problem> {
        let mut done = Done::default();
        for (index, it) in commands.iter().enumerate() {
            if it.qualifier == command::REQUEST_MATCHMAKING {
                self.request_ticket(runtime, index, it, &mut done)?;
                continue;
            }
            // What comes after a request is noted after it.
            if !done.pending_tickets.is_empty() {
                self.finish_tickets(runtime, &mut done).await?;
            }
            // What speaks notes its counter with its messages, or a kill in between would lose them.
            if let Some(spoken) = self.speak(runtime, it) {
                match spoken {
                    Ok(commit) => done.join(commit),
                    Err(problem) => done.reject(runtime, index, &it.qualifier, &problem),
                }
                continue;
            }
            let saves = it.qualifier == command::SET_PROFILE && !self.is_repeated(runtime, it);
            if saves && !done.profiles.contains_key(&index) {
                self.save_profiles(runtime, commands, index, &mut done).await?;
            }
            self.carry_out_one(runtime, index, it, &mut done).await?;
        }
        self.finish_tickets(runtime, &mut done).await?;
        Ok((done.rejected, done.commit))
    }

    async fn carry_out_one(
        &self,
        runtime: RuntimeId,
        index: usize,
        it: &Outgoing<'_>,
        done: &mut Done,
    ) -> Result<(), Problem> {
        // What has to wait may be broken off there, so its counter is noted after it: twice changes nothing.
        let waits = matches!(
            it.qualifier.as_ref(),
            command::SET_PROFILE
                | command::KICK_CLIENT
                | command::CANCEL_MATCHMAKING
                | command::STOP_MATCHMAKING
        );
        let notes = !waits || self.is_repeated(runtime, it);
        if notes && !self.note(runtime, it.id, &mut done.commit)? {
            return Ok(());
        }
        let executed = match done.profiles.remove(&index) {
            Some(saved) => saved.map(|()| AckHandle::none()),
            None => self.execute(runtime, it).await,
        };
        match executed {
            Ok(commit) => done.join(commit),
            Err(problem) if waits && is_own_fault(&problem) => return Err(problem),
            Err(problem) => done.reject(runtime, index, &it.qualifier, &problem),
        }
        if waits {
            self.note(runtime, it.id, &mut done.commit)?;
        }
        Ok(())
    }

    /// Saves the profile of this command and, in the same commit, those that follow before anything that may move a
    /// client. Saving twice changes nothing, so their counters are noted later, each in its turn.
    async fn save_profiles(
        &self,
        runtime: RuntimeId,
        commands: &[Outgoing<'_>],
        first: usize,
        done: &mut Done,
    ) -> Result<(), Problem> {
        let stays = |it: &&(usize, &Outgoing<'_>)| {
            let stays = [
                command::SET_PROFILE,
                command::RESPOND_CLIENT,
                command::MULTICAST_MESSAGE,
                command::BROADCAST_MESSAGE,
                command::UPGRADE_CONNECTION,
            ];
            stays.contains(&it.1.qualifier.as_ref())
        };
        let mut saves = Vec::new();
        for (index, it) in commands.iter().enumerate().skip(first).take_while(|it| stays(&it)) {
            if it.qualifier != command::SET_PROFILE || self.is_repeated(runtime, it) {
                continue;
            }
            match self.profile(runtime, it).await {
                Ok((user, stage, profile)) => saves
                    .push(async move { (index, self.parts.players.set_profile(user, stage, profile).await) }),
                Err(problem) => drop(done.profiles.insert(index, Err(problem))),
            }
        }
        // They are begun in their order, and so the last one of a player's stays.
        done.profiles.extend(join_all(saves).await);
        Ok(())
    }

    async fn profile<'a>(
        &self,
        runtime: RuntimeId,
        it: &Outgoing<'a>,
    ) -> Result<(UserId, StageId, &'a RawValue), Problem> {
        let body: SetProfile<'a> = body(it)?;
        let info = self.here(runtime, body.client_id)?;
        let full = self.parts.deployments.full(info.deployment).await?;
        Ok((info.user, full.deployment.stage_id, body.profile))
    }

    /// Wishes in a row are answered together: one commit for all of them.
    fn request_ticket(
        &self,
        runtime: RuntimeId,
        index: usize,
        it: &Outgoing<'_>,
        done: &mut Done,
    ) -> Result<(), Problem> {
        if self.is_repeated(runtime, it) {
            self.note(runtime, it.id, &mut done.commit)?;
            return Ok(());
        }
        let before = done.pending_tickets.last().map(|it| Arc::clone(&it.answered));
        match self.ticket_request(runtime, it, before) {
            Ok((deployment, request)) => {
                let answered = Arc::clone(&request.note.answered);
                let answer = self.request(deployment, |answer| MatchmakerRequest::Add(request, answer));
                done.pending_tickets.push(PendingTicket { index, seq: it.id, answered, answer });
            }
            Err(problem) => done.reject(runtime, index, &it.qualifier, &problem),
        }
        Ok(())
    }

    /// `before` is whether the request before this one was answered.
    fn ticket_request(
        &self,
        runtime: RuntimeId,
        it: &Outgoing<'_>,
        before: Option<Arc<AtomicBool>>,
    ) -> Result<(DeploymentId, TicketRequest), Problem> {
        let body: RequestMatchmaking<'_> = body(it)?;
        let deployment = self.here(runtime, body.client_id)?.deployment;
        let others = body.clients.into_iter().filter(|it| *it != body.client_id);
        let request = TicketRequest {
            clients: std::iter::once(body.client_id).chain(others).collect(),
            lobby: runtime,
            note: CommandSeq { seq: it.id, before, ..CommandSeq::default() },
            mode: body.mode.into_owned(),
            attributes: body.attributes,
        };
        Ok((deployment, request))
    }

    async fn finish_tickets(&self, runtime: RuntimeId, done: &mut Done) -> Result<(), Problem> {
        let mut last = None;
        for PendingTicket { index, seq, answer, .. } in std::mem::take(&mut done.pending_tickets) {
            match answered(answer).await {
                Ok(_ticket) => {}
                Err(problem) if is_own_fault(&problem) => return Err(problem),
                Err(problem) => done.reject(runtime, index, command::REQUEST_MATCHMAKING, &problem),
            }
            last = last.max(seq);
        }
        self.note(runtime, last, &mut done.commit)?;
        Ok(())
    }

    fn is_repeated(&self, runtime: RuntimeId, it: &Outgoing<'_>) -> bool {
        let last = self.parts.messaging.runtime(runtime).and_then(|it| it.last_seq);
        it.id.is_some() && it.id <= last
    }

    /// Notes the counter of a command; `false` when it was noted before.
    fn note(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        commit: &mut AckHandle,
    ) -> Result<bool, Problem> {
        let Some(seq) = seq else { return Ok(true) };
        let (accepted, fresh) = self.parts.messaging.runtime_accept(runtime, seq)?;
        *commit = std::mem::take(commit).join(accepted);
        Ok(fresh)
    }

    /// Says what a command has to say; `None` when it is of another kind. Most are of this one.
    fn speak(&self, runtime: RuntimeId, it: &Outgoing<'_>) -> Option<Result<AckHandle, Problem>> {
        Some(match it.qualifier.as_ref() {
            command::RESPOND_CLIENT => body::<ToClient<'_>>(it)
                .and_then(|body| self.say(runtime, it.id, To::One(body.client_id), body.message)),
            command::MULTICAST_MESSAGE => body::<ToClients<'_>>(it)
                .and_then(|body| self.say(runtime, it.id, To::Some(&body.clients), body.message)),
            command::BROADCAST_MESSAGE => {
                body::<ToAll<'_>>(it).and_then(|body| self.say(runtime, it.id, To::All, body.message))
            }
            _ => return None,
        })
    }

    async fn execute(&self, runtime: RuntimeId, it: &Outgoing<'_>) -> Result<AckHandle, Problem> {
        match it.qualifier.as_ref() {
            command::SET_PROFILE => {
                let (user, stage, profile) = self.profile(runtime, it).await?;
                self.parts.players.set_profile(user, stage, profile).await?;
                Ok(AckHandle::none())
            }
            command::KICK_CLIENT => {
                let body: ClientRef = body(it)?;
                self.kick(runtime, body.client_id).await?;
                Ok(AckHandle::none())
            }
            command::CANCEL_MATCHMAKING => {
                let body: ClientRef = body(it)?;
                let deployment = self.here(runtime, body.client_id)?.deployment;
                self.cancel_ticket(deployment, body.client_id).await?;
                Ok(AckHandle::none())
            }
            command::STOP_MATCHMAKING => {
                let info = self.parts.messaging.runtime(runtime);
                let info = info.ok_or(omgservers_messaging::problems::RUNTIME_NOT_FOUND)?;
                let stop = self.request(info.deployment, |answer| MatchmakerRequest::Stop(runtime, answer));
                answered(stop).await?;
                Ok(AckHandle::none())
            }
            command::UPGRADE_CONNECTION => {
                let body: UpgradeConnection<'_> = body(it)?;
                self.upgrade(runtime, &body)
            }
            other => Err(problems::UNKNOWN_COMMAND.detail(format!("there is no command {other:?}"))),
        }
    }

    /// Out of a match a client goes to a lobby, out of a lobby its session ends.
    async fn kick(&self, runtime: RuntimeId, client: ClientId) -> Result<(), Problem> {
        let deployment = self.here(runtime, client)?.deployment;
        if !self.is_lobby(deployment, runtime).await {
            let leave = self.request(deployment, |answer| MatchmakerRequest::Leave(runtime, client, answer));
            if answered(leave).await? {
                return Ok(());
            }
            self.here(runtime, client)?;
        }
        self.disconnect(&[client], Reason::ClientKicked).await?;
        Ok(())
    }

    /// Whether a runtime is known to be no match.
    async fn is_lobby(&self, deployment: DeploymentId, runtime: RuntimeId) -> bool {
        let handle = self.states.handle(deployment);
        let state = handle.state.lock().await;
        state.queues.loaded && !state.queues.by_runtime.contains_key(&runtime)
    }

    /// Ends the open ticket of a client. Problems: `matchmaking.no_ticket`.
    pub(crate) async fn cancel_ticket(
        &self,
        deployment: DeploymentId,
        client: ClientId,
    ) -> Result<(), Problem> {
        let cancel = self.request(deployment, |answer| MatchmakerRequest::Cancel(client, Cancelled, answer));
        if answered(cancel).await? {
            return Ok(());
        }
        Err(problems::NO_TICKET.detail(format!("client {client} waits for no match")))
    }

    /// Whoever is with the runtime gets the message; the others are named in the problem.
    fn say(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<AckHandle, Problem> {
        let (commit, missed) = self.parts.messaging.runtime_send(runtime, seq, to, message)?;
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
    fn upgrade(&self, runtime: RuntimeId, it: &UpgradeConnection<'_>) -> Result<AckHandle, Problem> {
        use omgservers_api::interchange::{DISPATCHER, message};
        let (client, protocol) = (it.client_id, it.protocol.as_ref());
        if protocol != DISPATCHER {
            return Err(problems::WRONG_BODY
                .detail(format!("`protocol` of UPGRADE_CONNECTION: {protocol:?} is not {DISPATCHER}")));
        }
        let assignment = self.here(runtime, client)?.assignment;
        let body = crate::bodies::upgrade(client, self.parts.tokens.ws_player(client, runtime, assignment)?)?;
        let qualifier = message::CONNECTION_UPGRADE;
        // If the client is moved meanwhile, the token is void and is not sent.
        self.parts.messaging.apply(vec![omgservers_messaging::Op::PushAssigned {
            client,
            assignment,
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
