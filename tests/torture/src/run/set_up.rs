//! The stage: the database, the server, a version, players.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use omgservers_api::{Role, ids::Id as _};
use omgservers_client::{Player, Transport};
use omgservers_tests::{Backend, Game, Studio};
use tokio::task::JoinSet;

use super::{
    Options, Run,
    report::Report,
    server::{FakeClock, Server},
};
use crate::{
    cluster::{Cluster, Sql},
    history::Judge,
    proxy::Proxy,
    rng::Rng,
    schedule::Database,
    workload::{Workload, bodies::number, card::Card, game, hosts, polling, sdk, stream},
};

/// How many sign up at the same time.
const AT_ONCE: usize = 16;

pub(super) async fn open(options: Options, print: Box<dyn Fn(&str) + Send + Sync>) -> anyhow::Result<Run> {
    let report = Report::new(print);
    let clock = FakeClock::find();
    if clock.is_none() {
        report.print(
            "the clock isn't stepped: libfaketime isn't installed (SETUP_TORTURE=yes scripts/setup.sh)",
        );
    }
    let (cluster, proxy) = match options.database {
        Database::Embedded => (None, None),
        Database::Proxied => {
            let cluster = Cluster::make().await?;
            let proxy = Proxy::start(&cluster.socket()).await?;
            (Some(cluster), Some(proxy))
        }
    };
    let mut settings = settings();
    settings.extend(clock.iter().flat_map(FakeClock::variables));
    if let Some(proxy) = &proxy {
        settings.push(("OMGSERVERS__DATABASE__URL".to_owned(), Cluster::url_at(proxy.address())));
    }
    let borrowed: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let backend = Backend::with(&borrowed).await;
    let sql = match &cluster {
        Some(cluster) => cluster.sql(),
        None => Sql::embedded(&backend.data_dir())?,
    };
    let workload = Workload::new(backend.client(), backend.address(), options.seed, options.pace);
    let mut run = Run {
        workload: Arc::new(workload),
        tasks: JoinSet::new(),
        server: Server::new(backend, clock),
        proxy,
        sql,
        cluster,
        judge: Judge::default(),
        history: Vec::new(),
        report,
        options,
    };
    run.populate().await?;
    Ok(run)
}

/// Nobody is sent away for silence: whose session ends was wronged.
fn settings() -> Vec<(String, String)> {
    let all = [
        ("LIMITS__ENABLED", "false"),
        ("RUNTIMES__INACTIVE_INTERVAL_SECONDS", "3600"),
        ("CLIENTS__INACTIVE_INTERVAL_SECONDS", "3600"),
        ("LOBBIES__MIN_LIFETIME_SECONDS", "86400"),
        ("MATCHES__START_TIMEOUT_SECONDS", "600"),
        ("MESSAGING__MAILBOX_ENTRIES", "1000000"),
        ("MESSAGING__MAILBOX_BYTES", "1000000000"),
        ("SERVER__DRAIN_SECONDS", "1"),
    ];
    all.map(|(name, value)| (format!("OMGSERVERS__{name}"), value.to_owned())).into()
}

/// Some lobbies, and a few matches at a time.
fn version(players: usize) -> String {
    let lobby = players.div_ceil(2).saturating_add(4);
    let mode = game::MODE;
    format!(
        r#"{{"modes":[{{"name":"{mode}","min_players":2,"max_players":4,"max_matches":3,
            "groups":[{{"name":"all","min_players":2,"max_players":4}}]}}],
            "deployment":{{"min_lobbies":2,"max_lobbies":4,
            "lobby":{{"max_assignments":{lobby},"cpu_limit":5,"memory_limit":32}},
            "match":{{"cpu_limit":5,"memory_limit":32}}}}}}"#
    )
}

impl Run {
    /// Deploys, lets everybody sign up, and waits until they are in lobbies.
    async fn populate(&mut self) -> anyhow::Result<()> {
        let backend = &self.server.backend;
        let studio = Studio::open(backend).await;
        let version = studio.push_game(backend, Game::IdleRuntime, &version(self.options.players)).await;
        studio.deploy(version).await;
        let (studio, installation) = (Arc::new(studio), backend.installation());
        let mut signing_up = JoinSet::new();
        let mut signed_up = Vec::new();
        for index in 0..self.options.players {
            if signing_up.len() >= AT_ONCE
                && let Some(done) = signing_up.join_next().await
            {
                signed_up.push(done??);
            }
            signing_up.spawn(sign_up(Arc::clone(&self.workload), Arc::clone(&studio), index));
        }
        while let Some(done) = signing_up.join_next().await {
            signed_up.push(done??);
        }
        for player in signed_up {
            self.seat(player);
        }
        // Not before: a game server has to know the clients that it is sent.
        self.tasks.spawn(hosts::watch(Arc::clone(&self.workload), installation));
        self.all_served(Instant::now()).await;
        self.rest().await
    }

    /// Of ten players five are on streams, four poll, and one uses the SDK.
    fn seat(&mut self, Signed { card, session, index }: Signed) {
        let workload = Arc::clone(&self.workload);
        self.workload.add_card(Arc::clone(&card));
        let rng = Rng::new(workload.seed.wrapping_mul(31).wrapping_add(card.client));
        match (session, index % 10) {
            (Some(session), _) => drop(self.tasks.spawn(sdk::play(workload, card, session, rng))),
            (None, 0..5) => drop(self.tasks.spawn(stream::play(workload, card, rng))),
            (None, _) => drop(self.tasks.spawn(polling::play(workload, card, rng))),
        }
    }
}

/// A player that has signed up and has a session.
struct Signed {
    card: Arc<Card>,
    /// Only of those who use the SDK.
    session: Option<omgservers_client::Session>,
    index: usize,
}

async fn sign_up(workload: Arc<Workload>, studio: Arc<Studio>, index: usize) -> anyhow::Result<Signed> {
    let made = Player::sign_up(&workload.client).await.context("create-user")?;
    let player =
        Player::sign_in(&workload.client, made.user_id, &made.password).await.context("create-token")?;
    let session =
        player.create_client(studio.tenant, studio.project, studio.stage).await.context("create-client")?;
    let token = workload
        .client
        .create_token(Role::Player, made.user_id, &made.password)
        .await
        .context("create-token")?;
    let id = session.client_id();
    let card = Card::new(id, number(id), u64::try_from(made.user_id.get())?, made.password, token);
    let transport = if index % 20 == 9 { Transport::Stream } else { Transport::Polling };
    let session = (index % 10 == 9).then(|| session.with_transport(transport));
    Ok(Signed { card: Arc::new(card), session, index })
}
