//! The baselines: handlers that do no more than what can't be left out, on the same framework,
//! allocator and number of workers as the server.

mod journal;
mod relay;
mod room;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio_postgres::{Client, NoTls, Statement};

use self::{journal::Journal, relay::Relay, room::Room};
pub(crate) use self::{
    journal::{Rows, Session},
    relay::{PLAYER, RUNTIME},
    room::ROOM,
};
use crate::{WORKERS, process};

/// Where a JSON body is parsed and answered.
pub(crate) const EXCHANGE: &str = "/service/v1/entrypoint/player/request/interchange";
/// Where a row is inserted.
pub(crate) const INSERT: &str = "/service/v1/entrypoint/player/request/create-user";
/// Where messages are relayed, with and without a commit before an answer.
pub(crate) const DURABLE: &str = "/durable";
pub(crate) const EPHEMERAL: &str = "/ephemeral";
/// Like the pool of the server.
const POOL: u32 = 16;

/// Serves on a port of the system's choice, which it prints, until the standard input ends.
pub(crate) fn serve(socket: &Path) -> anyhow::Result<()> {
    actix_web::rt::System::new().block_on(async {
        prepare(socket).await?;
        let pool = bb8::Pool::builder().max_size(POOL).build(Connector(config(socket))).await?;
        let (pool, next) = (web::Data::new(pool), web::Data::new(AtomicI64::new(1)));
        let room = web::Data::new(Room::default());
        let durable = relay::routes(Relay::durable(write(socket).await?), DURABLE);
        let ephemeral = relay::routes(Relay::default(), EPHEMERAL);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(pool.clone())
                .app_data(room.clone())
                .route(ROOM, web::get().to(room::open))
                .configure(&durable)
                .configure(&ephemeral)
                .app_data(next.clone())
                .route(EXCHANGE, web::post().to(exchange))
                .route(INSERT, web::post().to(insert))
        })
        .workers(WORKERS)
        .keep_alive(Duration::from_secs(75))
        .bind("127.0.0.1:0")?;
        process::announce(&server.addrs());
        Ok(server.run().await?)
    })
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed, and nothing else")]
struct Request {
    client_id: String,
    outgoing_messages: Vec<Outgoing>,
    consumed_messages: Vec<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed, and nothing else")]
struct Outgoing {
    id: Option<u64>,
    qualifier: String,
    body: serde_json::Value,
}

#[derive(Serialize)]
struct Answer {
    incoming_messages: Vec<()>,
}

async fn exchange(_: web::Json<Request>) -> web::Json<Answer> {
    web::Json(Answer { incoming_messages: Vec::new() })
}

#[derive(Serialize)]
struct Inserted {
    user_id: String,
}

async fn insert(
    pool: web::Data<bb8::Pool<Connector>>,
    next: web::Data<AtomicI64>,
    // A body that nobody reads makes actix-web close the connection.
    _: web::Json<IgnoredAny>,
) -> HttpResponse {
    let id = next.fetch_add(1, Ordering::Relaxed);
    match insert_row(&pool, id).await {
        Ok(()) => HttpResponse::Ok().json(Inserted { user_id: id.to_string() }),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn insert_row(pool: &bb8::Pool<Connector>, id: i64) -> anyhow::Result<()> {
    let connection = pool.get().await?;
    // As many digits as a digest has.
    let secret = format!("{id:064x}");
    connection
        .client
        .execute(&connection.insert, &[&id, &"PLAYER", &true, &secret, &SystemTime::now()])
        .await?;
    Ok(())
}

/// Begins to write a journal, on this thread: those that serve have enough to do.
async fn write(socket: &Path) -> anyhow::Result<Arc<Journal>> {
    let (session, journal) = (Session::open(&config(socket)).await?, Arc::new(Journal::default()));
    let writing = Arc::clone(&journal);
    actix_web::rt::spawn(async move {
        if let Err(error) = writing.run(session).await {
            eprintln!("the journal of the baseline ended: {error}");
            std::process::exit(1);
        }
    });
    Ok(journal)
}

/// How the server's PostgreSQL is reached.
pub(crate) fn config(socket: &Path) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host_path(socket).user("omgservers").dbname("omgservers");
    config
}

/// A table like the one that the server writes.
async fn prepare(socket: &Path) -> anyhow::Result<()> {
    let connected = Connected::open(&config(socket), "select").await?;
    let table = "create schema if not exists bench;
        drop table if exists bench.account;
        create table bench.account (like accounts.account including all);";
    Ok(connected.client.batch_execute(table).await?)
}

/// A connection with its prepared statement.
struct Connected {
    client: Client,
    insert: Statement,
}

impl Connected {
    async fn open(config: &tokio_postgres::Config, statement: &str) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let insert = client.prepare(statement).await?;
        Ok(Self { client, insert })
    }
}

struct Connector(tokio_postgres::Config);

impl bb8::ManageConnection for Connector {
    type Connection = Connected;
    type Error = tokio_postgres::Error;

    async fn connect(&self) -> Result<Connected, Self::Error> {
        let statement =
            "insert into bench.account (id, role, keyed, secret, created) values ($1, $2, $3, $4, $5)";
        Connected::open(&self.0, statement).await
    }

    async fn is_valid(&self, _: &mut Connected) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, connected: &mut Connected) -> bool {
        connected.client.is_closed()
    }
}
