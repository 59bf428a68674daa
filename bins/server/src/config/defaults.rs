//! The defaults.

use std::net::Ipv4Addr;

use super::{
    ClientsConfig, Config, DatabaseConfig, LimitsConfig, LobbiesConfig, LogConfig, LogFormat, MatchesConfig,
    MessagingConfig, PoolConfig, RegistryConfig, RegistryMode, RuntimesConfig, ServerConfig, Strategy,
    TokensConfig, TracesConfig,
};

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./data".into(),
            server: ServerConfig::default(),
            database: DatabaseConfig::default(),
            registry: RegistryConfig::default(),
            tokens: TokensConfig::default(),
            limits: LimitsConfig::default(),
            runtimes: RuntimesConfig::default(),
            clients: ClientsConfig::default(),
            lobbies: LobbiesConfig::default(),
            matches: MatchesConfig::default(),
            messaging: MessagingConfig::default(),
            pool: PoolConfig::default(),
            bootstrap: super::BootstrapConfig::default(),
            log: LogConfig::default(),
            traces: TracesConfig::default(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: "0.0.0.0:8080".into(),
            metrics_bind: None,
            public_url: None,
            workers: 0,
            max_connections: 50_000,
            keep_alive_seconds: 75,
            request_head_seconds: 10,
            body_limit_bytes: 10 * 1024 * 1024,
            unready_seconds: 0,
            drain_seconds: 5,
            shutdown_grace_seconds: 20,
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: None, url_file: None, pool_size: 16, bin_dir: None }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { mode: RegistryMode::Embedded, address: None, event_secret: None, event_secret_file: None }
    }
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self {
            user_seconds: 86_400,
            runtime_seconds: 31_536_000,
            websocket_seconds: 60,
            connect_seconds: 60,
            registry_seconds: 1800,
            registry_login_seconds: 31_536_000,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            anonymous_per_second: 100,
            anonymous_burst: 2000,
            passwords_per_second: 2,
            passwords_burst: 100,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for RuntimesConfig {
    fn default() -> Self {
        Self {
            service_url: None,
            inactive_interval_seconds: 30,
            default_cpu: 100,
            default_memory_mb: 512,
            pids_limit: 256,
            strategy: Strategy::Pack,
        }
    }
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            inactive_interval_seconds: 30,
            wait_timeout_seconds: 300,
            max_profile_bytes: omgservers_players::MOST_PROFILE_BYTES,
        }
    }
}

impl Default for MatchesConfig {
    fn default() -> Self {
        Self { start_timeout_seconds: 120, max_tickets: 1_000_000, ticket_log: None }
    }
}

impl Default for LobbiesConfig {
    fn default() -> Self {
        Self { min_lifetime_seconds: 60 }
    }
}

impl Default for MessagingConfig {
    fn default() -> Self {
        Self {
            mailbox_entries: 10_000,
            mailbox_bytes: 8 * 1024 * 1024,
            pending_bytes: 256 * 1024,
            answer_entries: 1000,
            answer_bytes: 1024 * 1024,
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { public_address: None, bind_address: Ipv4Addr::UNSPECIFIED.into(), hosts: Vec::new() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            // What a client sends that is no HTTP (Docker tries TLS first) is no error of ours.
            filter: "info,actix_server=warn,actix_http::h1::dispatcher=off".into(),
        }
    }
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_ratio: 1.0, service_name: "omgservers".into() }
    }
}
