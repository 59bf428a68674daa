//! A Docker host that simulates: it says of every container that it runs, and runs none. This
//! process plays the game servers, so that there can be thousands of them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    web::{self, Bytes, Data, Json, Path, Query, ServiceConfig},
};
use futures_util::stream::pending;
use omgservers_client::runtime::{PASSWORD, RUNTIME_ID, RUNTIME_QUALIFIER};
use omgservers_tests::IdleRuntime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::process;

/// Where this program itself reads what runs.
const RUNNING: &str = "/running";

/// What is known of a container.
#[derive(Clone, Deserialize)]
struct Container {
    #[serde(rename = "Env", default)]
    env: Vec<String>,
    #[serde(rename = "Labels", default)]
    labels: HashMap<String, String>,
}

#[derive(Default)]
struct Containers(Mutex<HashMap<String, Container>>);

impl Containers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Container>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves on a port of the system's choice, which it prints, until the standard input ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let containers = Data::new(Containers::default());
        let server = HttpServer::new(move || {
            App::new().app_data(containers.clone()).route(RUNNING, web::get().to(running)).configure(routes)
        })
        .workers(1)
        .keep_alive(Duration::from_secs(75))
        .bind("127.0.0.1:0")?;
        process::announce(&server.addrs());
        Ok(server.run().await?)
    })
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/_ping", web::get().to(async || "OK"))
        .route("/events", web::get().to(events))
        .route("/images/{name:.*}/json", web::get().to(async || Json(json!({}))))
        .route("/networks", web::get().to(async || Json(json!([]))))
        .route("/networks/create", web::post().to(network))
        .route("/containers/json", web::get().to(list))
        .route("/containers/create", web::post().to(create))
        .route("/containers/{name}/json", web::get().to(inspect))
        .route("/containers/{name}/{verb}", web::post().to(HttpResponse::NoContent))
        .route("/containers/{name}", web::delete().to(remove));
}

/// Nothing ever happens to a container.
async fn events() -> HttpResponse {
    HttpResponse::Ok().streaming(pending::<Result<Bytes, actix_web::Error>>())
}

async fn network() -> HttpResponse {
    HttpResponse::Created().json(json!({"Id": "network", "Warning": ""}))
}

async fn list(all: Data<Containers>) -> Json<Value> {
    let all = all.lock();
    let listed = |(name, container): (&String, &Container)| json!({"Id": name, "Labels": container.labels, "State": "running"});
    Json(all.iter().map(listed).collect())
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn create(all: Data<Containers>, named: Query<Named>, body: Json<Container>) -> HttpResponse {
    let Named { name } = named.into_inner();
    let made = HttpResponse::Created().json(json!({"Id": name, "Warnings": []}));
    all.lock().insert(name, body.into_inner());
    made
}

async fn inspect(all: Data<Containers>, path: Path<Named>) -> HttpResponse {
    match all.lock().get(&path.name) {
        Some(container) => HttpResponse::Ok()
            .json(json!({"Id": path.name, "State": {"Status": "running"}, "Config": {"Env": container.env}})),
        None => HttpResponse::NotFound().json(json!({"message": "no such container"})),
    }
}

async fn remove(all: Data<Containers>, path: Path<Named>) -> HttpResponse {
    all.lock().remove(&path.name);
    HttpResponse::NoContent().finish()
}

/// The environment of a game server.
#[derive(Serialize, Deserialize)]
struct Running {
    name: String,
    variables: HashMap<String, String>,
}

async fn running(all: Data<Containers>) -> Json<Vec<Running>> {
    let variables = |container: &Container| {
        container
            .env
            .iter()
            .filter_map(|it| it.split_once('='))
            .map(|it| (it.0.to_owned(), it.1.to_owned()))
            .collect()
    };
    let all = all.lock();
    Json(all.iter().map(|(name, it)| Running { name: name.clone(), variables: variables(it) }).collect())
}

/// The host as a child process. It ends with this.
pub(crate) struct Host(process::Served);

impl Host {
    pub(crate) fn start() -> anyhow::Result<Self> {
        process::Served::start(&["host"]).map(Self)
    }

    /// The settings of a server whose only host this is.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("OMGSERVERS__POOL__HOSTS__0__URI", format!("tcp://{}", self.0.address)),
            ("OMGSERVERS__POOL__HOSTS__0__CPU_COUNT", "200".to_owned()),
            ("OMGSERVERS__POOL__HOSTS__0__MEMORY_MB", "10000000".to_owned()),
            ("OMGSERVERS__POOL__HOSTS__0__MAX_CONTAINERS", "100000".to_owned()),
        ]
    }

    /// The game servers that this process has to play.
    pub(crate) async fn idle_runtimes(&self) -> anyhow::Result<Vec<IdleRuntime>> {
        let url = format!("http://{}{RUNNING}", self.0.address);
        let all: Vec<Running> = reqwest::get(url).await?.json().await?;
        Ok(all.into_iter().filter_map(idle_runtime).collect())
    }
}

fn idle_runtime(running: Running) -> Option<IdleRuntime> {
    Some(IdleRuntime {
        id: running.variables.get(RUNTIME_ID)?.parse().ok()?,
        password: running.variables.get(PASSWORD)?.clone(),
        qualifier: running.variables.get(RUNTIME_QUALIFIER)?.parse().ok()?,
        container: running.name,
    })
}
