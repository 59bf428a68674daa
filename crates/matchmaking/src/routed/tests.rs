use std::{collections::BTreeMap, fmt::Debug, sync::Mutex};

use chrono::{DateTime, Utc};
use omgservers_api::{
    Role, RuntimeQualifier, UserId,
    config::{DeploymentConfig, PortProtocol},
    details::{ContainerFailure, Deployment, LobbyRef, MatchPlayer, MatchRef, MatchmakerRef, RuntimeDetails},
    ids::Id,
    interchange::{Attribute, DirectPort, RejectedCommand, command},
};
use omgservers_core::{Ownership, remote::Loopback};
use omgservers_messaging::Entry;
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree as _};

use super::*;
use crate::problems;

/// Notes the arguments of its calls, and answers as the case says.
struct Recorder {
    case: Case,
    calls: Mutex<Vec<String>>,
}

impl Recorder {
    fn note<T>(&self, call: &str, arguments: impl Debug, answer: T) -> Result<T, Problem> {
        self.calls.lock().unwrap().push(format!("{call} {arguments:?}"));
        if self.case.refuses { Err(problems::NO_TICKET.detail("none waits")) } else { Ok(answer) }
    }
}

#[async_trait::async_trait]
impl Matchmaking for Recorder {
    async fn create_client(
        &self,
        caller: &Caller,
        tenant: &Ref<TenantId>,
        project: &Ref<ProjectId>,
        stage: &Ref<StageId>,
    ) -> Result<ClientId, Problem> {
        self.note("create_client", (caller, tenant, project, stage), self.case.client)
    }

    async fn exchange(
        &self,
        caller: &Caller,
        turn: RuntimeTurn<'_>,
        _: &CancellationToken,
    ) -> Result<RuntimeAnswer, Problem> {
        let (incoming, rejected) = self.case.exchanged.clone();
        let answer = self.note("exchange", (caller, turn), RuntimeAnswer { incoming, rejected });
        if !turn.wait.is_zero() {
            // Nothing ever arrives.
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<DeploymentDetails, Problem> {
        self.note("details", (caller, tenant, deployment), self.case.details.clone())
    }

    async fn request_lobby(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem> {
        self.note("request_lobby", (caller, tenant, deployment), ())
    }

    async fn delete_lobby(&self, caller: &Caller, lobby: LobbyId) -> Result<bool, Problem> {
        self.note("delete_lobby", (caller, lobby), self.case.flag)
    }

    async fn request_matchmaker(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem> {
        self.note("request_matchmaker", (caller, tenant, deployment), ())
    }

    async fn delete_matchmaker(&self, caller: &Caller, matchmaker: MatchmakerId) -> Result<bool, Problem> {
        self.note("delete_matchmaker", (caller, matchmaker), self.case.flag)
    }

    async fn own_ticket(&self, caller: &Caller, client: ClientId) -> Result<TicketDetails, Problem> {
        self.note("own_ticket", (caller, client), self.case.ticket.clone())
    }

    async fn cancel_own_ticket(&self, caller: &Caller, client: ClientId) -> Result<bool, Problem> {
        self.note("cancel_own_ticket", (caller, client), self.case.flag)
    }

    async fn direct_connection(
        &self,
        caller: &Caller,
        client: ClientId,
    ) -> Result<Option<(RuntimeId, DirectConnection)>, Problem> {
        self.note("direct_connection", (caller, client), self.case.direct.clone())
    }

    async fn ticket(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        which: WhichTicket,
    ) -> Result<TicketDetails, Problem> {
        self.note("ticket", (caller, tenant, deployment, which), self.case.ticket.clone())
    }

    async fn match_details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        id: MatchId,
    ) -> Result<MatchDetails, Problem> {
        self.note("match_details", (caller, tenant, deployment, id), self.case.found.clone())
    }
}

type CommandCase = (Option<SenderSeq>, String, Option<Box<RawValue>>);

/// The arguments of all calls, and what the service answers.
#[derive(Debug, Clone)]
struct Case {
    caller: Caller,
    stage: (Ref<TenantId>, Ref<ProjectId>, Ref<StageId>),
    tenant: TenantId,
    deployment: DeploymentId,
    client: ClientId,
    lobby: LobbyId,
    matchmaker: MatchmakerId,
    match_id: MatchId,
    which: WhichTicket,
    commands: Vec<CommandCase>,
    consumed: Vec<EntryId>,
    exchanged: (Vec<Entry>, Vec<RejectedCommand>),
    details: DeploymentDetails,
    ticket: TicketDetails,
    found: MatchDetails,
    direct: Option<(RuntimeId, DirectConnection)>,
    flag: bool,
    refuses: bool,
}

fn id<I: Id + Debug>() -> impl Strategy<Value = I> {
    (1i64..).prop_map(|it| I::from_i64(it).unwrap())
}

fn reference<I: Id + Debug>() -> impl Strategy<Value = Ref<I>> {
    prop_oneof![id().prop_map(Ref::Id), "[a-zä \"\\\\]{0,20}x".prop_map(Ref::Alias)]
}

/// A point in time as the API shows it: to the millisecond.
fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    (0i64..4_000_000_000_000).prop_map(|it| DateTime::from_timestamp_millis(it).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn raw() -> impl Strategy<Value = Box<RawValue>> {
    let quoted = text().prop_map(|it| serde_json::to_string(&it).unwrap());
    let text = prop_oneof![Just("{ \"a\" : [1.0, 1e3, null] }".to_owned()), quoted];
    text.prop_map(|it| RawValue::from_string(it).unwrap())
}

fn caller() -> impl Strategy<Value = Caller> {
    let roles = [Role::Admin, Role::Support, Role::Developer, Role::Player, Role::Service];
    prop_oneof![
        Just(Caller::System("another process")),
        (id::<UserId>(), prop::sample::select(roles.to_vec()))
            .prop_map(|(id, role)| Caller::User { id, role }),
        id().prop_map(Caller::Runtime),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let words = [command::HANDLE_MESSAGE, command::ADD_MATCH_CLIENT, command::INIT_RUNTIME];
    (id(), prop::sample::select(words.to_vec()), raw()).prop_map(|(id, qualifier, body)| Entry {
        id,
        qualifier,
        body: body.get().into(),
    })
}

fn ports() -> impl Strategy<Value = Vec<DirectPort>> {
    let protocol = prop_oneof![Just(PortProtocol::Udp), Just(PortProtocol::Tcp)];
    vec(
        (text(), protocol, any::<u16>()).prop_map(|(name, protocol, port)| DirectPort {
            name,
            protocol,
            port,
        }),
        0..3,
    )
}

fn failure() -> impl Strategy<Value = ContainerFailure> {
    (instant(), text(), option::of(any::<i64>()), any::<bool>(), text()).prop_map(
        |(at, reason, exit_code, out_of_memory, log_tail)| ContainerFailure {
            at,
            reason,
            exit_code,
            out_of_memory,
            log_tail,
        },
    )
}

fn runtime() -> impl Strategy<Value = RuntimeDetails> {
    let times = (instant(), option::of(instant()));
    let reach = (option::of(text()), ports());
    (id(), text(), times, any::<u64>(), any::<u32>(), option::of(failure()), reach).prop_map(
        |(id, state, (created, started), clients, failures, last_failure, (address, ports))| RuntimeDetails {
            id,
            qualifier: RuntimeQualifier::Match,
            state,
            created,
            started,
            clients,
            failures,
            last_failure,
            address,
            ports,
        },
    )
}

fn match_ref() -> impl Strategy<Value = MatchRef> {
    (id(), instant(), id(), id(), text(), id(), any::<u64>()).prop_map(
        |(id, created, match_id, matchmaker_id, mode, runtime_id, players)| MatchRef {
            id,
            created,
            match_id,
            matchmaker_id,
            mode,
            runtime_id,
            players,
        },
    )
}

fn details() -> impl Strategy<Value = DeploymentDetails> {
    let deployment =
        (id(), id(), id(), id(), instant()).prop_map(|(id, tenant_id, stage_id, version_id, created)| {
            Deployment { id, tenant_id, stage_id, version_id, created }
        });
    let lobby = (id(), instant()).prop_map(|(id, created)| LobbyRef { id, created, lobby_id: id });
    let matchmaker =
        (id(), instant()).prop_map(|(id, created)| MatchmakerRef { id, created, matchmaker_id: id });
    let refs = (vec(lobby, 0..3), vec(matchmaker, 0..3), vec(match_ref(), 0..3));
    let counts = (any::<u64>(), any::<u64>(), any::<bool>(), any::<u32>());
    (deployment, refs, counts, vec(runtime(), 0..2), vec(failure(), 0..2)).prop_map(
        |(deployment, refs, counts, runtimes, failures)| DeploymentDetails {
            deployment,
            lobby_refs: refs.0,
            matchmaker_refs: refs.1,
            match_refs: refs.2,
            waiting_tickets: counts.0,
            active: counts.2,
            config: DeploymentConfig { min_lobbies: counts.3, ..DeploymentConfig::default() },
            runtimes,
            waiting_clients: counts.1,
            failures,
        },
    )
}

fn ticket() -> impl Strategy<Value = TicketDetails> {
    let attribute = prop_oneof![
        any::<i32>().prop_map(|it| Attribute::Number(f64::from(it) / 4.0)),
        text().prop_map(Attribute::Text),
        any::<bool>().prop_map(Attribute::Flag),
    ];
    let attributes = vec((text(), attribute), 0..4).prop_map(|it| it.into_iter().collect::<BTreeMap<_, _>>());
    let explanation = option::of(any::<i64>().prop_map(|it| serde_json::json!({"waits": it})));
    (id(), text(), vec(id(), 0..4), attributes, instant(), option::of(id()), explanation).prop_map(
        |(id, mode, clients, attributes, created, match_id, explanation)| TicketDetails {
            id,
            mode,
            clients,
            attributes,
            created,
            state: "waiting".to_owned(),
            match_id,
            explanation,
        },
    )
}

fn found() -> impl Strategy<Value = MatchDetails> {
    let player =
        (id(), id(), text(), any::<bool>()).prop_map(|(client_id, ticket_id, group_name, joined)| {
            MatchPlayer { client_id, ticket_id, group_name, joined }
        });
    let rationale = vec(any::<u32>().prop_map(|it| serde_json::json!([it, null])), 0..3);
    (id(), id(), text(), id(), instant(), vec(player, 0..3), rationale).prop_map(
        |(id, matchmaker_id, mode, runtime_id, created, players, rationale)| MatchDetails {
            id,
            matchmaker_id,
            mode,
            runtime_id,
            state: "open".to_owned(),
            created,
            players,
            rationale,
        },
    )
}

fn direct() -> impl Strategy<Value = (RuntimeId, DirectConnection)> {
    (id(), text(), ports(), text())
        .prop_map(|(runtime, address, ports, token)| (runtime, DirectConnection { address, ports, token }))
}

fn case() -> impl Strategy<Value = Case> {
    let which = prop_oneof![id().prop_map(WhichTicket::Id), id().prop_map(WhichTicket::Of)];
    let ids = (id(), id(), id(), id(), id(), id(), which);
    let commands = vec(
        (option::of((0i64..).prop_map(|it| SenderSeq(it.unsigned_abs()))), text(), option::of(raw())),
        0..4,
    );
    let rejected = (0usize..1_000, text(), text(), text())
        .prop_map(|(index, qualifier, code, detail)| RejectedCommand { index, qualifier, code, detail });
    let exchanged = (vec(entry(), 0..4), vec(rejected, 0..3));
    let arguments = (caller(), (reference(), reference(), reference()), ids, commands, vec(id(), 0..4));
    let answers = (exchanged, details(), ticket(), found(), option::of(direct()));
    (arguments, answers, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |((caller, stage, ids, commands, consumed), answers, flag, refuses)| Case {
            caller,
            stage,
            tenant: ids.0,
            deployment: ids.1,
            client: ids.2,
            lobby: ids.3,
            matchmaker: ids.4,
            match_id: ids.5,
            which: ids.6,
            commands,
            consumed,
            exchanged: answers.0,
            details: answers.1,
            ticket: answers.2,
            found: answers.3,
            direct: answers.4,
            flag,
            refuses,
        },
    )
}

fn outgoing((id, qualifier, body): &CommandCase) -> Outgoing<'_> {
    Outgoing { id: *id, qualifier: Cow::Borrowed(qualifier), body: body.as_deref() }
}

/// Makes every call, and shows its answer.
async fn call_all(service: &dyn Matchmaking, case: &Case) -> Vec<String> {
    let Case { caller, tenant, deployment, client, lobby, matchmaker, match_id, which, .. } = case;
    let (tenant, deployment, client) = (*tenant, *deployment, *client);
    let commands: Vec<Outgoing<'_>> = case.commands.iter().map(outgoing).collect();
    let turn = RuntimeTurn { commands: &commands, consumed: &case.consumed, wait: Duration::ZERO };
    vec![
        format!("{:?}", service.create_client(caller, &case.stage.0, &case.stage.1, &case.stage.2).await),
        format!("{:?}", service.exchange(caller, turn, &CancellationToken::new()).await),
        format!("{:?}", service.details(caller, tenant, deployment).await),
        format!("{:?}", service.request_lobby(caller, tenant, deployment).await),
        format!("{:?}", service.delete_lobby(caller, *lobby).await),
        format!("{:?}", service.request_matchmaker(caller, tenant, deployment).await),
        format!("{:?}", service.delete_matchmaker(caller, *matchmaker).await),
        format!("{:?}", service.own_ticket(caller, client).await),
        format!("{:?}", service.cancel_own_ticket(caller, client).await),
        format!("{:?}", service.direct_connection(caller, client).await),
        format!("{:?}", service.ticket(caller, tenant, deployment, *which).await),
        format!("{:?}", service.match_details(caller, tenant, deployment, *match_id).await),
    ]
}

/// A router that notes where calls go, and answers all of them here.
struct AnySlot {
    loopback: Loopback,
    slots: Arc<Mutex<Vec<Option<Slot>>>>,
}

impl Router for AnySlot {
    fn send(&self, to: Option<Slot>, call: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Problem>> {
        self.slots.lock().unwrap().push(to);
        self.loopback.send(None, call)
    }

    fn max_bytes(&self) -> usize {
        self.loopback.max_bytes()
    }
}

fn recorder(case: &Case) -> Arc<Recorder> {
    Arc::new(Recorder { case: case.clone(), calls: Mutex::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_call_and_every_answer_of_matchmaking_survives_the_router(case in case()) {
        let (direct, behind) = (recorder(&case), recorder(&case));
        let handler = Arc::new(MatchmakingHandler::new(behind.clone()));
        let slots = Arc::new(Mutex::default());
        let loopback = Loopback::new(handler, Ownership::slots("test"), remote::MAX_CALL_BYTES);
        let routed = RoutedMatchmaking::new(Arc::new(AnySlot { loopback, slots: Arc::clone(&slots) }));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (expected, found) = runtime.block_on(async {
            (call_all(&*direct, &case).await, call_all(&routed, &case).await)
        });
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(&*behind.calls.lock().unwrap(), &*direct.calls.lock().unwrap());

        let (home, client) = (Some(case.deployment.slot()), Some(case.client.slot()));
        let of_caller = match case.caller {
            Caller::Runtime(runtime) => Some(runtime.slot()),
            _ => None,
        };
        let (lobby, matchmaker) = (Some(case.lobby.slot()), Some(case.matchmaker.slot()));
        let expected =
            [None, of_caller, home, home, lobby, home, matchmaker, client, client, client, home, home];
        prop_assert_eq!(&*slots.lock().unwrap(), &expected);
    }
}

#[tokio::test]
async fn a_turn_that_waits_is_carried_out_first_and_its_wait_can_be_stopped() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut case = case().new_tree(&mut runner).unwrap().current();
    (case.refuses, case.exchanged) = (false, (Vec::new(), Vec::new()));
    let behind = recorder(&case);
    let handler = Arc::new(MatchmakingHandler::new(behind.clone()));
    let loopback = Loopback::new(handler, Ownership::slots("test"), remote::MAX_CALL_BYTES);
    let slots = Arc::new(Mutex::default());
    let routed = RoutedMatchmaking::new(Arc::new(AnySlot { loopback, slots }));
    let (caller, consumed) =
        (Caller::Runtime(RuntimeId::from_i64(7).unwrap()), [EntryId::from_i64(8).unwrap()]);
    let turn = RuntimeTurn { commands: &[], consumed: &consumed, wait: Duration::from_secs(60) };
    let stop = CancellationToken::new();
    let waiting = routed.exchange(&caller, turn, &stop);
    let stopping = async {
        tokio::task::yield_now().await;
        stop.cancel();
    };
    let (answer, ()) = tokio::join!(waiting, stopping);
    assert!(answer.unwrap().incoming.is_empty());
    let first = RuntimeTurn { wait: Duration::ZERO, ..turn };
    let second = RuntimeTurn { consumed: &[], ..turn };
    let expected = [first, second].map(|turn| format!("exchange {:?}", (caller, turn)));
    assert_eq!(*behind.calls.lock().unwrap(), expected);
}
