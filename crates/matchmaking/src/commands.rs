//! Carries the commands of runtimes out.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use futures_util::future::join_all;
use omgservers_api::{
    ClientId, DeploymentId, Problem, RuntimeId, StageId, TicketId, UserId,
    ids::SenderSeq,
    interchange::{
        DISPATCHER, MatchmakingFailureReason::Cancelled, Outgoing, Reason, RejectedCommand,
        RequestMatchmaking, SetProfile, UpgradeConnection, command, message,
    },
};
use omgservers_messaging::{AckHandle, ClientInfo, Op};

use crate::{
    PgMatchmaking, bodies,
    matches::{CommandSeq, MatchmakerRequest, PendingAnswer, TicketRequest, answered},
    problems::{self, is_own_fault},
    runtime_command::{Acceptance, DecodedCommand, RuntimeCommand, RuntimeMessage, decode},
};

/// Most clients that a problem names.
const MOST_NAMED: usize = 20;

/// Most characters of a rejected command's qualifier, in the answer and in the log. A game server
/// chooses it.
const MAX_QUALIFIER: usize = 64;
/// Most characters of the reason of a rejection.
const MAX_DETAIL: usize = 500;
/// Most lines in the log about the rejected commands of one request.
const MOST_LOGGED: usize = 3;

/// The first `most` characters of a text.
fn short(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The commands of one request that were carried out so far.
#[derive(Default)]
struct CommandProgress {
    /// The outcomes of profiles that were saved early, by the position of their commands.
    profiles: HashMap<usize, Result<(), Problem>>,
    rejected: Vec<RejectedCommand>,
    ack: AckHandle,
    pending_tickets: Vec<PendingTicket>,
}

/// A ticket request without an answer.
struct PendingTicket {
    index: usize,
    seq: Option<SenderSeq>,
    answered: Arc<AtomicBool>,
    answer: PendingAnswer<TicketId>,
}

impl CommandProgress {
    fn join(&mut self, ack: AckHandle) {
        self.ack = std::mem::take(&mut self.ack).join(ack);
    }

    fn reject(&mut self, runtime: RuntimeId, index: usize, qualifier: &str, problem: &Problem) {
        let (command, code) = (short(qualifier, MAX_QUALIFIER), problem.code());
        let detail = short(problem.sentence(), MAX_DETAIL);
        if self.rejected.len() < MOST_LOGGED {
            tracing::info!(runtime.id = %runtime, command, code, detail, "a command was not carried out");
        }
        self.rejected.push(RejectedCommand {
            index,
            qualifier: command.to_owned(),
            code: code.to_owned(),
            detail: detail.to_owned(),
        });
    }
}

impl PgMatchmaking {
    /// Carries `commands` out one after another. Answers the rejected ones, and the handle of the
    /// commit that makes the effects of the others durable. A rejected command stops nothing. A
    /// fault of the backend does: then the runtime has to send its commands again. Problems:
    /// `unavailable`, `internal`.
    pub(crate) async fn carry_out(
        &self,
        runtime: RuntimeId,
        commands: &[Outgoing<'_>],
    ) -> Result<(Vec<RejectedCommand>, AckHandle), Problem> {
        let mut progress = CommandProgress::default();
        let mut commands = decode(commands).into_iter();
        while let Some(next) = commands.next() {
            // Ticket requests in a row share a commit. Any later counter is accepted after theirs.
            let is_request = matches!(next.command, RuntimeCommand::RequestMatchmaking(_));
            if !is_request && !progress.pending_tickets.is_empty() {
                self.finish_tickets(runtime, &mut progress).await?;
            }
            self.carry_out_one(runtime, next, commands.as_slice(), &mut progress).await?;
        }
        self.finish_tickets(runtime, &mut progress).await?;
        let unlogged = progress.rejected.len().saturating_sub(MOST_LOGGED);
        if unlogged > 0 {
            tracing::info!(runtime.id = %runtime, unlogged, "more commands of the request were not carried out");
        }
        Ok((progress.rejected, progress.ack))
    }

    /// `rest` are the commands that follow in the request.
    async fn carry_out_one(
        &self,
        runtime: RuntimeId,
        next: DecodedCommand<'_>,
        rest: &[DecodedCommand<'_>],
        progress: &mut CommandProgress,
    ) -> Result<(), Problem> {
        let (index, seq, qualifier) = (next.index, next.seq, next.qualifier);
        let acceptance = next.command.acceptance();
        let accepts_first = match acceptance {
            Acceptance::WithMessages => false,
            Acceptance::Before => true,
            Acceptance::ByRound | Acceptance::After => self.is_repeated(runtime, seq),
        };
        if accepts_first && !self.accept(runtime, seq, progress)? {
            return Ok(());
        }
        let waits = acceptance == Acceptance::After;
        match self.execute(runtime, next, rest, progress).await {
            Ok(ack) => progress.join(ack),
            Err(problem) if waits && is_own_fault(&problem) => return Err(problem),
            Err(problem) => progress.reject(runtime, index, qualifier, &problem),
        }
        if waits {
            self.accept(runtime, seq, progress)?;
        }
        Ok(())
    }

    async fn execute(
        &self,
        runtime: RuntimeId,
        next: DecodedCommand<'_>,
        rest: &[DecodedCommand<'_>],
        progress: &mut CommandProgress,
    ) -> Result<AckHandle, Problem> {
        let DecodedCommand { index, seq, qualifier, command } = next;
        match command {
            RuntimeCommand::Send(message) => self.send(runtime, seq, &message?, progress)?,
            RuntimeCommand::UpgradeConnection(body) => return self.upgrade(runtime, &body?),
            RuntimeCommand::RequestMatchmaking(body) => {
                self.request_ticket(runtime, index, seq, body?, progress)?;
            }
            RuntimeCommand::SetProfile(body) => match progress.profiles.remove(&index) {
                Some(saved) => saved?,
                None => self.save_profiles(runtime, &body?, rest, progress).await?,
            },
            RuntimeCommand::KickClient(body) => self.kick(runtime, body?.client_id).await?,
            RuntimeCommand::CancelMatchmaking(body) => {
                let client = body?.client_id;
                let deployment = self.here(runtime, client)?.deployment;
                self.cancel_ticket(deployment, client).await?;
            }
            RuntimeCommand::StopMatchmaking => {
                let info = self.parts.messaging.runtime(runtime);
                let info = info.ok_or(omgservers_messaging::problems::RUNTIME_NOT_FOUND)?;
                let stop = self.request(info.deployment, |answer| MatchmakerRequest::Stop(runtime, answer));
                answered(stop).await?;
            }
            RuntimeCommand::Unknown => {
                return Err(problems::UNKNOWN_COMMAND.detail(format!("there is no command {qualifier:?}")));
            }
        }
        Ok(AckHandle::none())
    }

    /// Saves a profile and, in the same commit, those of the commands that follow before any that
    /// may move a client. Saving twice changes nothing, so their counters are accepted later, each
    /// in its turn.
    async fn save_profiles(
        &self,
        runtime: RuntimeId,
        first: &SetProfile<'_>,
        rest: &[DecodedCommand<'_>],
        progress: &mut CommandProgress,
    ) -> Result<(), Problem> {
        let (user, stage) = self.profile_owner(runtime, first.client_id).await?;
        let players = &self.parts.players;
        let mut indices = Vec::new();
        let mut saves = vec![players.set_profile(user, stage, first.profile)];
        for next in rest.iter().take_while(|it| it.command.moves_nobody()) {
            let RuntimeCommand::SetProfile(Ok(body)) = &next.command else { continue };
            if self.is_repeated(runtime, next.seq) {
                continue;
            }
            match self.profile_owner(runtime, body.client_id).await {
                Ok((user, stage)) => {
                    indices.push(next.index);
                    saves.push(players.set_profile(user, stage, body.profile));
                }
                Err(problem) => drop(progress.profiles.insert(next.index, Err(problem))),
            }
        }
        // They begin in their order, so that the last one of a player's profiles stays.
        let mut saved = join_all(saves).await.into_iter();
        let first = saved.next().unwrap_or(Ok(()));
        progress.profiles.extend(indices.into_iter().zip(saved));
        first
    }

    async fn profile_owner(
        &self,
        runtime: RuntimeId,
        client: ClientId,
    ) -> Result<(UserId, StageId), Problem> {
        let info = self.here(runtime, client)?;
        let full = self.parts.deployments.full(info.deployment).await?;
        Ok((info.user, full.deployment.stage_id))
    }

    /// Enqueues a ticket request. [`finish_tickets`](Self::finish_tickets) waits for the answer.
    fn request_ticket(
        &self,
        runtime: RuntimeId,
        index: usize,
        seq: Option<SenderSeq>,
        body: RequestMatchmaking<'_>,
        progress: &mut CommandProgress,
    ) -> Result<(), Problem> {
        let deployment = self.here(runtime, body.client_id)?.deployment;
        let before = progress.pending_tickets.last().map(|it| Arc::clone(&it.answered));
        let others = body.clients.into_iter().filter(|it| *it != body.client_id);
        let request = TicketRequest {
            clients: std::iter::once(body.client_id).chain(others).collect(),
            lobby: runtime,
            counter: CommandSeq { seq, before, ..CommandSeq::default() },
            mode: body.mode.into_owned(),
            attributes: body.attributes,
        };
        let answered = Arc::clone(&request.counter.answered);
        let answer = self.request(deployment, |answer| MatchmakerRequest::Add(request, answer));
        progress.pending_tickets.push(PendingTicket { index, seq, answered, answer });
        Ok(())
    }

    async fn finish_tickets(
        &self,
        runtime: RuntimeId,
        progress: &mut CommandProgress,
    ) -> Result<(), Problem> {
        let mut last = None;
        for PendingTicket { index, seq, answer, .. } in std::mem::take(&mut progress.pending_tickets) {
            match answered(answer).await {
                Ok(_ticket) => {}
                Err(problem) if is_own_fault(&problem) => return Err(problem),
                Err(problem) => progress.reject(runtime, index, command::REQUEST_MATCHMAKING, &problem),
            }
            last = last.max(seq);
        }
        self.accept(runtime, last, progress)?;
        Ok(())
    }

    fn is_repeated(&self, runtime: RuntimeId, seq: Option<SenderSeq>) -> bool {
        let last = self.parts.messaging.runtime(runtime).and_then(|it| it.last_seq);
        seq.is_some() && seq <= last
    }

    /// Accepts the counter of a command; `false` when it was accepted before.
    fn accept(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        progress: &mut CommandProgress,
    ) -> Result<bool, Problem> {
        let Some(seq) = seq else { return Ok(true) };
        let (ack, fresh) = self.parts.messaging.runtime_accept(runtime, seq)?;
        progress.join(ack);
        Ok(fresh)
    }

    /// Evicts a client: out of a match it goes to a lobby, out of a lobby its session ends.
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

    /// Sends a message to the recipients that are with the runtime. The problem names the others.
    fn send(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        sent: &RuntimeMessage<'_>,
        progress: &mut CommandProgress,
    ) -> Result<(), Problem> {
        let (ack, missed) = self.parts.messaging.runtime_send(runtime, seq, sent.to.as_to(), sent.message)?;
        // The others have it: the answer waits for its commit.
        progress.join(ack);
        if missed.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = missed.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = missed.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(problems::CLIENT_NOT_HERE
            .detail(format!("not with this runtime, or with a full mailbox: {}{more}", names.join(", "))))
    }

    /// Sends a client the token that opens a connection to the runtime's room.
    fn upgrade(&self, runtime: RuntimeId, body: &UpgradeConnection<'_>) -> Result<AckHandle, Problem> {
        let (client, protocol) = (body.client_id, body.protocol.as_ref());
        if protocol != DISPATCHER {
            return Err(problems::WRONG_BODY
                .detail(format!("`protocol` of UPGRADE_CONNECTION: {protocol:?} is not {DISPATCHER}")));
        }
        let assignment = self.here(runtime, client)?.assignment;
        let body = bodies::upgrade(client, self.parts.tokens.ws_player(client, runtime, assignment)?)?;
        let qualifier = message::CONNECTION_UPGRADE;
        // If the client is reassigned meanwhile, the token is void and is not sent.
        self.parts.messaging.apply(vec![Op::PushAssigned { client, assignment, qualifier, body }])
    }

    fn here(&self, runtime: RuntimeId, client: ClientId) -> Result<ClientInfo, Problem> {
        self.parts.messaging.client(client).filter(|it| it.route == Some(runtime) && !it.closed).ok_or_else(
            || problems::CLIENT_NOT_HERE.detail(format!("client {client} isn't with this runtime")),
        )
    }
}
