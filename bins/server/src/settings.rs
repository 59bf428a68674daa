//! The configuration in the words of each crate.

use std::{fs, path::Path, sync::Arc, time::Duration};

use omgservers_auth::TokenConfig;
use omgservers_http::registry::RegistryHttpConfig;
use omgservers_matchmaking::{MatchmakingConfig, TicketLog};
use omgservers_messaging::Bounds;
use omgservers_runtimes::{DockerConfig, HostConfig, HostState, Images, RuntimesConfig, Strategy};

use crate::{
    addresses::Addresses,
    config::{self, Config, RegistryMode, Secret},
    wiring::ServiceSettings,
};

fn seconds(value: u32) -> Duration {
    Duration::from_secs(value.into())
}

/// The settings of all services.
///
/// # Errors
/// The folder of the ticket log can't be opened.
pub(crate) fn services(config: &Config, addresses: &Addresses) -> std::io::Result<ServiceSettings> {
    Ok(ServiceSettings {
        tokens: tokens(config),
        mailboxes: bounds(config),
        runtimes: runtimes(config, addresses),
        pool: hosts(config, addresses),
        max_profile_bytes: config.clients.max_profile_bytes,
        matchmaking: matchmaking(config)?,
        ..ServiceSettings::default()
    })
}

fn tokens(config: &Config) -> TokenConfig {
    let tokens = &config.tokens;
    TokenConfig {
        user: seconds(tokens.user_seconds),
        runtime: seconds(tokens.runtime_seconds),
        ws: seconds(tokens.websocket_seconds),
        connect: seconds(tokens.connect_seconds),
        registry: seconds(tokens.registry_seconds),
        refresh: seconds(tokens.registry_login_seconds),
        ..TokenConfig::default()
    }
}

fn bounds(config: &Config) -> Bounds {
    let messaging = &config.messaging;
    Bounds {
        most_entries: messaging.mailbox_entries,
        most_bytes: messaging.mailbox_bytes,
        most_pending_bytes: messaging.pending_bytes,
        most_entries_per_answer: messaging.answer_entries,
        most_bytes_per_answer: messaging.answer_bytes,
        ..Bounds::default()
    }
}

fn matchmaking(config: &Config) -> std::io::Result<MatchmakingConfig> {
    let ticket_log = config.matches.ticket_log.clone().map(TicketLog::open).transpose()?;
    Ok(MatchmakingConfig {
        client_inactive: seconds(config.clients.inactive_interval_seconds),
        runtime_inactive: seconds(config.runtimes.inactive_interval_seconds),
        wait_timeout: seconds(config.clients.wait_timeout_seconds),
        lobby_min_lifetime: seconds(config.lobbies.min_lifetime_seconds),
        match_start_timeout: seconds(config.matches.start_timeout_seconds),
        max_tickets: config.matches.max_tickets,
        ticket_log: ticket_log.map(Arc::new),
        ..MatchmakingConfig::default()
    })
}

fn runtimes(config: &Config, addresses: &Addresses) -> RuntimesConfig {
    let runtimes = &config.runtimes;
    RuntimesConfig {
        service_url: addresses.service_url.clone(),
        default_cpu: runtimes.default_cpu,
        default_memory: runtimes.default_memory_mb,
        strategy: match runtimes.strategy {
            config::Strategy::Pack => Strategy::Pack,
            config::Strategy::Spread => Strategy::Spread,
        },
        ..RuntimesConfig::default()
    }
}

pub(crate) fn docker(config: &Config, addresses: &Addresses, installation: &str) -> DockerConfig {
    let images = Images::Registry { address: addresses.registry.clone() };
    DockerConfig {
        pids_limit: config.runtimes.pids_limit,
        publish_on: config.pool.bind_address,
        ..DockerConfig::new(installation, images)
    }
}

/// The configured hosts, or this machine's Docker with three quarters of the memory: the rest is
/// for the server and its database.
fn hosts(config: &Config, addresses: &Addresses) -> Vec<HostConfig> {
    let here = config.pool.public_address.clone().unwrap_or_else(|| addresses.public_host());
    if config.pool.hosts.is_empty() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let memory = memory_mb(Path::new("/proc/meminfo")).unwrap_or(2048) / 4 * 3;
        let local = HostConfig::local(cores.try_into().unwrap_or(u32::MAX), memory);
        return vec![HostConfig { public_address: Some(here), ..local }];
    }
    let host = |host_config: &config::HostConfig| HostConfig {
        uri: host_config.uri.clone(),
        tls: host_config.tls_cert_dir.clone(),
        cpu: host_config.cpu_count.saturating_mul(100),
        memory: host_config.memory_mb,
        max_containers: host_config.max_containers,
        state: match host_config.state {
            config::HostState::Active => HostState::Active,
            config::HostState::Cordoned => HostState::Cordoned,
            config::HostState::Draining => HostState::Draining,
        },
        public_address: host_config
            .public_address
            .clone()
            .or_else(|| host_config.uri.starts_with("unix://").then(|| here.clone())),
    };
    config.pool.hosts.iter().map(host).collect()
}

pub(crate) fn registry(config: &Config) -> RegistryHttpConfig {
    RegistryHttpConfig {
        public_url: config.server.public_url.clone(),
        embedded: config.registry.mode == RegistryMode::Embedded,
        events_secret: config.registry.event_secret.as_ref().map(Secret::expose).cloned(),
        ..RegistryHttpConfig::default()
    }
}

/// The memory of the machine, MiB.
pub(crate) fn memory_mb(meminfo: &Path) -> Option<u32> {
    let text = fs::read_to_string(meminfo).ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
    let kb: u64 = line.split_whitespace().next()?.parse().ok()?;
    u32::try_from(kb / 1024).ok()
}
