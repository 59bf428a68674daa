//! Gauges that are looked up when somebody asks for them, so that nobody pays for them otherwise.

use std::sync::Arc;

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use metrics_process::Collector;
use omgservers_core::Db;
use omgservers_dispatcher::Dispatcher;
use omgservers_matchmaking::PgMatchmaking;
use omgservers_messaging::Messaging;

/// The gauges and what they are read from.
pub(crate) struct Gauges {
    db: Db,
    messaging: Arc<dyn Messaging>,
    matchmaking: Arc<PgMatchmaking>,
    dispatcher: Arc<Dispatcher>,
    process: Collector,
    pool: PoolGauges,
    mailboxes: [Gauge; 2],
    waiting: [Gauge; 3],
    rooms: Gauge,
    tickets: Gauge,
    without_lobby: Gauge,
    lobbies: Gauge,
    matches: Gauge,
}

/// The pool of connections to PostgreSQL.
struct PoolGauges {
    used: Gauge,
    idle: Gauge,
    waiting: Gauge,
    gets: Counter,
    waited: Counter,
    timed_out: Counter,
    wait_micros: Counter,
}

impl Gauges {
    /// The recorder must be installed before.
    pub(crate) fn new(
        db: &Db,
        messaging: &Arc<dyn Messaging>,
        matchmaking: &Arc<PgMatchmaking>,
        dispatcher: &Arc<Dispatcher>,
    ) -> Self {
        describe();
        let process = Collector::default();
        process.describe();
        let waiting = |of: &'static str| gauge!("omgservers_messaging_queued_entries", "of" => of);
        Self {
            db: db.clone(),
            messaging: Arc::clone(messaging),
            matchmaking: Arc::clone(matchmaking),
            dispatcher: Arc::clone(dispatcher),
            process,
            pool: PoolGauges::new(),
            mailboxes: ["client", "runtime"].map(|of| gauge!("omgservers_messaging_mailboxes", "of" => of)),
            waiting: [waiting("client"), waiting("runtime"), waiting("pending")],
            rooms: gauge!("omgservers_dispatcher_rooms"),
            tickets: gauge!("omgservers_matchmaking_tickets_waiting"),
            without_lobby: gauge!("omgservers_matchmaking_players_without_lobby"),
            lobbies: gauge!("omgservers_matchmaking_lobbies"),
            matches: gauge!("omgservers_matchmaking_matches"),
        }
    }

    /// Reads every value.
    pub(crate) fn refresh(&self) {
        self.process.collect();
        self.pool.show(&self.db);
        let depths = self.messaging.depths();
        for (gauge, value) in self.mailboxes.iter().zip([depths.clients, depths.runtimes]) {
            gauge.set(number(value));
        }
        for (gauge, value) in self.waiting.iter().zip([depths.to_clients, depths.to_runtimes, depths.pending])
        {
            gauge.set(number(value));
        }
        self.rooms.set(number(self.dispatcher.rooms()));
        let depths = self.matchmaking.depths();
        self.tickets.set(number(depths.tickets));
        self.without_lobby.set(number(depths.without_lobby));
        self.lobbies.set(number(depths.lobbies));
        self.matches.set(number(depths.matches));
    }
}

impl PoolGauges {
    fn new() -> Self {
        let connections =
            |state: &'static str| gauge!("omgservers_database_pool_connections", "state" => state);
        Self {
            used: connections("used"),
            idle: connections("idle"),
            waiting: gauge!("omgservers_database_pool_waiting_requests"),
            gets: counter!("omgservers_database_pool_gets_total"),
            waited: counter!("omgservers_database_pool_waits_total"),
            timed_out: counter!("omgservers_database_pool_timeouts_total"),
            wait_micros: counter!("omgservers_database_pool_wait_microseconds_total"),
        }
    }

    fn show(&self, db: &Db) {
        let pool = db.pool();
        self.used.set(pool.connections.saturating_sub(pool.idle));
        self.idle.set(pool.idle);
        self.waiting.set(number(usize::try_from(pool.waiting).unwrap_or(usize::MAX)));
        self.gets.absolute(pool.gets);
        self.waited.absolute(pool.waited);
        self.timed_out.absolute(pool.timed_out);
        self.wait_micros.absolute(u64::try_from(pool.wait_time.as_micros()).unwrap_or(u64::MAX));
    }
}

fn describe() {
    describe_gauge!("omgservers_messaging_mailboxes", "Mailboxes, by whose they are.");
    describe_gauge!(
        "omgservers_messaging_queued_entries",
        "What waits in mailboxes: for clients, for runtimes, and of clients without a runtime."
    );
    describe_gauge!("omgservers_dispatcher_rooms", "Rooms of the dispatcher.");
    describe_gauge!("omgservers_matchmaking_tickets_waiting", "Tickets that wait for a match.");
    describe_gauge!("omgservers_matchmaking_players_without_lobby", "Players who wait for a lobby.");
    describe_gauge!("omgservers_matchmaking_lobbies", "Lobbies that are not closing.");
    describe_gauge!("omgservers_matchmaking_matches", "Matches that are not over.");
    describe_gauge!(
        "omgservers_database_pool_connections",
        "Connections to PostgreSQL, the mailboxes' own aside."
    );
    describe_gauge!(
        "omgservers_database_pool_waiting_requests",
        "Callers that wait for a connection to PostgreSQL."
    );
    describe_counter!(
        "omgservers_database_pool_gets_total",
        "How often a connection to PostgreSQL was asked for."
    );
    describe_counter!(
        "omgservers_database_pool_waits_total",
        "How often a caller had to wait for a connection."
    );
    describe_counter!(
        "omgservers_database_pool_timeouts_total",
        "How often a caller gave up waiting for a connection."
    );
    describe_counter!(
        "omgservers_database_pool_wait_microseconds_total",
        "How long callers waited for connections, all together."
    );
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
