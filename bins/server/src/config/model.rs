//! Everything that can be configured. The comments of the fields are the text of the example file;
//! a line `Example: …` gives the value of a setting that has no default.

use std::{net::IpAddr, path::PathBuf};

use documented::DocumentedFields;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::Secret;

/// The configuration of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept that must survive: the database, the images, the keys. Only one
    /// server uses a data directory at a time. Under systemd its StateDirectory is the default.
    pub data_dir: PathBuf,
    /// The HTTP listener and how it stops.
    pub server: ServerConfig,
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// The registry that developers push game servers to.
    pub registry: RegistryConfig,
    /// How long tokens are good for.
    pub tokens: TokensConfig,
    /// What a single address may ask for without a token.
    pub limits: LimitsConfig,
    /// Game servers.
    pub runtimes: RuntimesConfig,
    /// Players' sessions.
    pub clients: ClientsConfig,
    /// Lobbies.
    pub lobbies: LobbiesConfig,
    /// Matches.
    pub matches: MatchesConfig,
    /// Mailboxes.
    pub messaging: MessagingConfig,
    /// The Docker hosts that game servers run on.
    pub pool: PoolConfig,
    /// The users that are there from the first start on.
    pub bootstrap: BootstrapConfig,
    /// What the server logs while it runs.
    pub log: LogConfig,
    /// Traces for an OpenTelemetry collector.
    pub traces: TracesConfig,
}

/// The HTTP listener and how it stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on. A socket that systemd hands over replaces it.
    pub bind: String,
    /// Address and port of `/metrics` alone. Without it `/metrics` is on the same port as
    /// everything else, open to whoever reaches that.
    /// Example: `"127.0.0.1:9090"`
    pub metrics_bind: Option<String>,
    /// How players, developers and Docker reach this server, without a path. Without it:
    /// `http://localhost:<port>`.
    /// Example: `"https://games.example.com"`
    pub public_url: Option<String>,
    /// Threads that serve HTTP; 0 takes one for each core.
    pub workers: u16,
    /// Most open connections; more wait until one is closed.
    pub max_connections: u32,
    /// Seconds that an idle connection is kept open. Should be more than a client's longest pause.
    pub keep_alive_seconds: u32,
    /// Seconds that a client has for sending the head of a request.
    pub request_head_seconds: u32,
    /// Most bytes of a request's body. Layers of images are exempt.
    pub body_limit_bytes: usize,
    /// Seconds that a stopping server still takes connections after `/readyz` has turned 503; for
    /// load balancers, which need this time to look elsewhere.
    pub unready_seconds: u32,
    /// Most seconds that a stopping server waits for its clients to close their connections, each
    /// after its next answer. With a socket of systemd's they connect again and wait there for the
    /// next server, so that no request fails. It should then be more than the longest pause between
    /// two polls.
    pub drain_seconds: u32,
    /// Most seconds that requests under way, workers and the database have for coming to an end,
    /// each.
    pub shutdown_grace_seconds: u32,
}

/// PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// An existing PostgreSQL 15 or newer. Without it the server starts one of its own in the data
    /// directory, reachable by nobody else.
    /// Example: `"postgres://omgservers:password@localhost:5432/omgservers"`
    pub url: Option<Secret>,
    /// A file with the URL, instead of `url`.
    /// Example: `"/run/credentials/omgservers.service/database_url"`
    pub url_file: Option<PathBuf>,
    /// Most connections to it.
    pub pool_size: u32,
    /// Where the programs of our own PostgreSQL are, if not where distributions put them.
    /// Example: `"/usr/lib/postgresql/15/bin"`
    pub bin_dir: Option<PathBuf>,
}

/// Which registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryMode {
    /// Ours, on the server's own port.
    Embedded,
    /// A CNCF distribution registry that trusts our tokens and tells us of pushes.
    External,
}

/// The registry that developers push game servers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// "embedded": inside the server, on the same port. "external": a distribution registry (2.8 or
    /// 3) that trusts the server's tokens and sends it its events.
    pub mode: RegistryMode,
    /// Host and port of the registry as Docker knows it, on developers' machines and on the pool's
    /// hosts. Without it: host and port of `server.public_url`.
    /// Example: `"registry.example.com:5000"`
    pub address: Option<String>,
    /// What an external registry sends with its events, as `Authorization: Bearer …`.
    /// Example: `"32 or more random characters of your own"`
    pub event_secret: Option<Secret>,
    /// A file with it, instead of `event_secret`.
    /// Example: `"/run/credentials/omgservers.service/registry_event_secret"`
    pub event_secret_file: Option<PathBuf>,
}

/// How long tokens are good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct TokensConfig {
    /// Seconds of a user's token. Players' SDKs have no way to renew one.
    pub user_seconds: u32,
    /// Seconds of a game server's token. No SDK renews it, and a game server that runs must not die
    /// of it.
    pub runtime_seconds: u32,
    /// Seconds in which a token for a WebSocket must be used.
    pub websocket_seconds: u32,
    /// Seconds in which a player must have shown its token to the game server that it connects to
    /// directly.
    pub connect_seconds: u32,
    /// Seconds of a token for the registry: a push of a large image must end in it.
    pub registry_seconds: u32,
    /// Seconds that a `docker login` is good for.
    pub registry_login_seconds: u32,
}

/// What a single address may ask for without a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Whether requests without a token are limited at all.
    pub enabled: bool,
    /// Requests per second and address of players and game servers: signing up, signing in, pings.
    pub anonymous_per_second: u32,
    /// Such requests that an address may send at once.
    pub anonymous_burst: u32,
    /// Sign-ins per second and address of admins, support and developers, `docker login` and pushes
    /// among them. Each costs a slow hash, so these are counted apart.
    pub passwords_per_second: u32,
    /// Such sign-ins that an address may send at once. 256 can wait for all addresses together;
    /// with more than that one address could keep everybody else out.
    pub passwords_burst: u32,
    /// Networks of reverse proxies: what they say in `X-Forwarded-For` is believed.
    /// Example: `["127.0.0.0/8", "10.0.0.0/8"]`
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// How the scheduler fills hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// One after the other, so that empty ones can be switched off.
    Pack,
    /// All alike.
    Spread,
}

/// Game servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimesConfig {
    /// The URL by which game servers reach this server from inside of their containers. Without it:
    /// `http://host.docker.internal:<port>`.
    /// Example: `"http://10.0.0.1:8080"`
    pub service_url: Option<String>,
    /// Seconds of silence after which a game server is taken for dead and replaced.
    pub inactive_interval_seconds: u32,
    /// CPU of a game server whose version says nothing about it; 100 is one core.
    pub default_cpu: u32,
    /// Memory of a game server whose version says nothing about it, in MiB.
    pub default_memory_mb: u32,
    /// Most processes and threads in a container.
    pub pids_limit: u32,
    /// "pack": one host after the other. "spread": all hosts alike.
    pub strategy: Strategy,
}

/// Players' sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct ClientsConfig {
    /// Seconds of silence after which a player's session ends.
    pub inactive_interval_seconds: u32,
    /// Seconds after which a player for whom no game server could be started is sent away.
    pub wait_timeout_seconds: u32,
    /// Most bytes of a player's profile in a stage; a larger one is rejected. It goes to game
    /// servers as one message, so that it must fit into a mailbox (`messaging.mailbox_bytes`)
    /// several times.
    pub max_profile_bytes: usize,
}

/// Lobbies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct LobbiesConfig {
    /// Seconds that a lobby runs at least, players or not, unless its version says otherwise.
    pub min_lifetime_seconds: u32,
}

/// Matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct MatchesConfig {
    /// Seconds after which a match whose game server doesn't take players is given up.
    pub start_timeout_seconds: u32,
    /// Most tickets that wait in one mode; one more is refused.
    pub max_tickets: usize,
    /// A folder that tickets are written to as they come, for `omgservers matchmaking replay`.
    /// Example: `"/var/log/omgservers/tickets"`
    pub ticket_log: Option<PathBuf>,
}

/// Mailboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct MessagingConfig {
    /// Most messages that wait in one mailbox; a full one refuses more.
    pub mailbox_entries: usize,
    /// Most bytes of them.
    pub mailbox_bytes: usize,
    /// Most bytes of messages that wait because their player has no lobby yet.
    pub pending_bytes: usize,
    /// Most messages in one answer; the rest comes with the next.
    pub answer_entries: usize,
    /// Most bytes of them.
    pub answer_bytes: usize,
}

/// The Docker hosts that game servers run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Where players reach game servers on this machine's Docker that they connect to directly.
    /// Without it: the host of `server.public_url`. Another machine is reached by the
    /// `public_address` of its entry in `hosts`, or else by the name in its URI.
    /// Example: `"games.example.com"`
    pub public_address: Option<String>,
    /// The address of the hosts that such game servers are published on; Docker picks free ports.
    pub bind_address: IpAddr,
    /// The hosts. Without one: this machine's Docker, with all of its cores and three quarters of
    /// its memory. In the environment: OMGSERVERS__POOL__HOSTS__0__URI and so on; in this file also
    /// as `[[pool.hosts]]`. Hosts on other machines need `runtimes.service_url`, and
    /// `registry.address` or `server.public_url`. The `state` of a host is "active", "cordoned" or
    /// "draining". A cordoned host takes no new game servers, and those that it has go on. Draining
    /// is the same, for a host that leaves this list once it is empty. It takes effect at the next
    /// start.
    /// Example: `[{ uri = "tcp://10.0.0.2:2376", cpu_count = 8, memory_mb = 16384, max_containers = 200, tls_cert_dir = "/etc/omgservers/docker", state = "active" }]`
    pub hosts: Vec<HostConfig>,
}

/// A Docker host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// `unix:///path/to/docker.sock`, `tcp://host:2376` with TLS, or `tcp://host:2375` without.
    pub uri: String,
    /// Cores for game servers.
    pub cpu_count: u32,
    /// Memory for game servers, MiB.
    pub memory_mb: u32,
    /// Most game servers.
    #[serde(default = "most_containers")]
    pub max_containers: u32,
    /// Where players reach game servers that they connect to directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<String>,
    /// Directory with `ca.pem`, `cert.pem` and `key.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_cert_dir: Option<PathBuf>,
    /// Whether it takes new game servers.
    #[serde(default)]
    pub state: HostState,
}

/// Whether a host takes new game servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It does.
    #[default]
    Active,
    /// Not for the time being. What runs there goes on.
    Cordoned,
    /// It doesn't, and is to leave the pool once it is empty.
    Draining,
}

/// The users that are there from the first start on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct BootstrapConfig {
    /// Password of the user `admin`. A user without one gets a generated password at the first
    /// start, which is kept in `credentials.txt` in the data directory.
    /// Example: `"8 to 71 bytes"`
    pub admin_password: Option<Secret>,
    /// A file with it, instead of `admin_password`.
    /// Example: `"/run/credentials/omgservers.service/admin_password"`
    pub admin_password_file: Option<PathBuf>,
    /// Password of the user `support`.
    /// Example: `"8 to 71 bytes"`
    pub support_password: Option<Secret>,
    /// A file with it, instead of `support_password`.
    /// Example: `"/run/credentials/omgservers.service/support_password"`
    pub support_password_file: Option<PathBuf>,
    /// Password of the user `service`, whom Docker hosts may use to pull images.
    /// Example: `"8 to 71 bytes"`
    pub service_password: Option<Secret>,
    /// A file with it, instead of `service_password`.
    /// Example: `"/run/credentials/omgservers.service/service_password"`
    pub service_password_file: Option<PathBuf>,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For programs: one JSON object per line.
    Json,
}

/// What the server logs while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// "pretty" for people, "json" for programs. Both go to the standard error output.
    pub format: LogFormat,
    /// What is shown: a level, and levels for parts of the server, e.g.
    /// "info,omgservers_matchmaking=debug".
    pub filter: String,
}

/// Traces for an OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// The collector, by HTTP, without `/v1/traces`. Without it the server makes no traces.
    /// Example: `"http://127.0.0.1:4318"`
    pub otlp_endpoint: Option<String>,
    /// The share of traces that are sent, from 0 to 1.
    pub sample_ratio: f64,
    /// The name of this server in the traces.
    pub service_name: String,
}

const fn most_containers() -> u32 {
    1000
}

/// A list in a file; in the environment a text with commas.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    let texts = match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => text.split(',').map(|it| it.trim().to_owned()).collect(),
    };
    let network = |text: &String| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>()
            .or_else(|_no_mask| address())
            .map_err(|_no_address| D::Error::custom(format!("`{text}` is no network, such as 10.0.0.0/8")))
    };
    texts.iter().filter(|it| !it.is_empty()).map(network).collect()
}
