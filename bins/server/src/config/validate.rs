//! What a type can't say: files of secrets, ranges, settings that contradict each other.

use std::{
    fs,
    net::{IpAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

use omgservers_api::config::{MOST_CPU, MOST_MEMORY};
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::{Config, HostConfig, Issue, RegistryMode, Secret, TracesConfig};

/// Replaces `…_file` by what is in the file, and adds what is wrong to `issues`.
pub(super) fn validate(config: &mut Config, issues: &mut Vec<Issue>) {
    let mut check = ConfigCheck { issues };
    check.files(config);
    check.server(config);
    check.database(config);
    check.registry(config);
    check.runtimes(config);
    check.other_machines(config);
    check.ranges(config);
    if let Err(error) = EnvFilter::try_new(&config.log.filter) {
        check.wrong("log.filter", error.to_string());
    }
    let bootstrap = &config.bootstrap;
    for (key, secret) in [
        ("bootstrap.admin_password", &bootstrap.admin_password),
        ("bootstrap.support_password", &bootstrap.support_password),
        ("bootstrap.service_password", &bootstrap.service_password),
    ] {
        // More bcrypt can't tell apart.
        if secret.as_ref().is_some_and(|it| !(8..=71).contains(&it.expose().len())) {
            check.wrong(key, "has 8 to 71 bytes");
        }
    }
}

fn wide(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

struct ConfigCheck<'a> {
    issues: &'a mut Vec<Issue>,
}

impl ConfigCheck<'_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        let origin = "the effective configuration".into();
        self.issues.push(Issue { key: key.into(), origin, message: message.into() });
    }

    fn files(&mut self, config: &mut Config) {
        let bootstrap = &mut config.bootstrap;
        for (key, secret, file) in [
            ("database.url", &mut config.database.url, &config.database.url_file),
            ("registry.event_secret", &mut config.registry.event_secret, &config.registry.event_secret_file),
            ("bootstrap.admin_password", &mut bootstrap.admin_password, &bootstrap.admin_password_file),
            ("bootstrap.support_password", &mut bootstrap.support_password, &bootstrap.support_password_file),
            ("bootstrap.service_password", &mut bootstrap.service_password, &bootstrap.service_password_file),
        ] {
            self.file(key, secret, file.as_deref());
        }
    }

    fn file(&mut self, key: &str, secret: &mut Option<Secret>, file: Option<&Path>) {
        let Some(path) = file else { return };
        if secret.is_some() {
            return self.wrong(key, format!("{key} and {key}_file are both given; one is enough"));
        }
        match fs::read_to_string(path) {
            Ok(text) if text.trim_end().is_empty() => {
                self.wrong(&format!("{key}_file"), format!("{} is empty", path.display()));
            }
            Ok(text) => *secret = Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => self.wrong(&format!("{key}_file"), format!("{}: {error}", path.display())),
        }
    }

    fn server(&mut self, config: &Config) {
        if config.server.bind.to_socket_addrs().is_err() {
            self.wrong("server.bind", "is an address and a port, such as 0.0.0.0:8080");
        }
        if config.server.metrics_bind.as_ref().is_some_and(|it| it.to_socket_addrs().is_err()) {
            self.wrong("server.metrics_bind", "is an address and a port, such as 127.0.0.1:9090");
        }
        self.http_url("server.public_url", config.server.public_url.as_deref());
    }

    fn http_url(&mut self, key: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        let good = Url::parse(text).is_ok_and(|it| matches!(it.scheme(), "http" | "https") && it.has_host());
        if !good {
            self.wrong(key, "is a URL that starts with http:// or https://");
        }
    }

    fn database(&mut self, config: &Config) {
        if let Some(url) = &config.database.url {
            if !["postgres://", "postgresql://"].iter().any(|it| url.expose().starts_with(it)) {
                self.wrong("database.url", "starts with postgres://");
            }
            if config.database.bin_dir.is_some() {
                self.wrong("database.bin_dir", "has no meaning beside a database.url");
            }
        }
    }

    fn registry(&mut self, config: &Config) {
        let registry = &config.registry;
        if registry.mode == RegistryMode::External {
            if registry.address.is_none() {
                self.wrong("registry.address", "an external registry needs it");
            }
            if registry.event_secret.is_none() {
                self.wrong(
                    "registry.event_secret",
                    "an external registry needs it, or anybody could send events",
                );
            }
        }
        if registry.event_secret.as_ref().is_some_and(|it| it.expose().len() < 16) {
            self.wrong("registry.event_secret", "has at least 16 characters");
        }
        if registry.address.as_ref().is_some_and(|it| it.contains('/')) {
            self.wrong("registry.address", "is host:port, without a scheme and a path");
        }
    }

    fn runtimes(&mut self, config: &Config) {
        self.http_url("runtimes.service_url", config.runtimes.service_url.as_deref());
        self.address("pool.public_address", config.pool.public_address.as_deref());
        for (index, host) in config.pool.hosts.iter().enumerate() {
            let key = format!("pool.hosts.{index}");
            self.address(&format!("{key}.public_address"), host.public_address.as_deref());
            if !["unix://", "tcp://"].iter().any(|it| host.uri.starts_with(it)) {
                self.wrong(&format!("{key}.uri"), "starts with unix:// or tcp://");
            }
            if config.pool.hosts.iter().filter(|it| it.uri == host.uri).count() > 1 {
                self.wrong(&format!("{key}.uri"), format!("{} is there twice", host.uri));
            }
            if host.cpu_count == 0 || host.memory_mb == 0 || host.max_containers == 0 {
                self.wrong(&key, "cpu_count, memory_mb and max_containers are at least 1");
            }
            if let Some(folder) = &host.tls_cert_dir {
                self.certificates(&key, folder);
            }
        }
    }

    /// What follows from the port alone leads back to the machine that asks. On another one that is
    /// wrong.
    fn other_machines(&mut self, config: &Config) {
        let away = |it: &&HostConfig| it.uri.starts_with("tcp://") && !is_this_machine(&it.uri);
        let Some(HostConfig { uri, .. }) = config.pool.hosts.iter().find(away) else { return };
        let service_url = config.runtimes.service_url.as_deref();
        if service_url.is_none_or(is_this_machine) {
            let reason = format!(
                "must be a URL by which game servers on {uri} reach this server; \
                 `host.docker.internal` and `localhost` lead them to their own host"
            );
            self.wrong("runtimes.service_url", reason);
        }
        let registry = config.registry.address.as_ref().map(|it| format!("http://{it}"));
        let registry = registry.as_deref().or(config.server.public_url.as_deref());
        if registry.is_none_or(is_this_machine) {
            let reason = format!(
                "must be host:port by which {uri} reaches the registry, here or in `server.public_url`; \
                 `localhost` leads it to itself"
            );
            self.wrong("registry.address", reason);
        }
    }

    fn address(&mut self, key: &str, text: Option<&str>) {
        let good = |it: &str| it.parse::<IpAddr>().is_ok() || Host::parse(it).is_ok();
        if !text.is_none_or(good) {
            self.wrong(key, "is a name or an address, without a scheme and a port");
        }
    }

    fn certificates(&mut self, key: &str, folder: &Path) {
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            let path: PathBuf = folder.join(name);
            if let Err(error) = fs::metadata(&path) {
                self.wrong(&format!("{key}.tls_cert_dir"), format!("{}: {error}", path.display()));
            }
        }
    }

    fn ranges(&mut self, config: &Config) {
        let at_least: [(&str, u64, u64); 21] = [
            ("server.max_connections", config.server.max_connections.into(), 1),
            ("server.keep_alive_seconds", config.server.keep_alive_seconds.into(), 1),
            ("server.request_head_seconds", config.server.request_head_seconds.into(), 1),
            (
                "server.body_limit_bytes",
                u64::try_from(config.server.body_limit_bytes).unwrap_or(u64::MAX),
                1024,
            ),
            ("server.shutdown_grace_seconds", config.server.shutdown_grace_seconds.into(), 1),
            ("database.pool_size", config.database.pool_size.into(), 2),
            ("tokens.user_seconds", config.tokens.user_seconds.into(), 60),
            ("tokens.runtime_seconds", config.tokens.runtime_seconds.into(), 60),
            ("tokens.websocket_seconds", config.tokens.websocket_seconds.into(), 10),
            ("tokens.connect_seconds", config.tokens.connect_seconds.into(), 10),
            // A host may take a quarter of an hour for a pull.
            ("tokens.registry_seconds", config.tokens.registry_seconds.into(), 900),
            ("tokens.registry_login_seconds", config.tokens.registry_login_seconds.into(), 60),
            ("clients.wait_timeout_seconds", config.clients.wait_timeout_seconds.into(), 1),
            ("matches.start_timeout_seconds", config.matches.start_timeout_seconds.into(), 1),
            ("limits.anonymous_per_second", config.limits.anonymous_per_second.into(), 1),
            ("limits.anonymous_burst", config.limits.anonymous_burst.into(), 1),
            ("limits.passwords_per_second", config.limits.passwords_per_second.into(), 1),
            ("limits.passwords_burst", config.limits.passwords_burst.into(), 1),
            ("runtimes.inactive_interval_seconds", config.runtimes.inactive_interval_seconds.into(), 5),
            ("runtimes.default_memory_mb", config.runtimes.default_memory_mb.into(), 6),
            ("clients.inactive_interval_seconds", config.clients.inactive_interval_seconds.into(), 5),
        ];
        for (key, value, least) in at_least {
            if value < least {
                self.wrong(key, format!("is {value}, and must be at least {least}"));
            }
        }
        let messaging = &config.messaging;
        for (key, value) in [
            ("messaging.mailbox_entries", messaging.mailbox_entries),
            ("messaging.mailbox_bytes", messaging.mailbox_bytes),
            ("messaging.pending_bytes", messaging.pending_bytes),
            ("matches.max_tickets", config.matches.max_tickets),
            ("messaging.answer_entries", messaging.answer_entries),
            ("messaging.answer_bytes", messaging.answer_bytes),
            ("clients.max_profile_bytes", config.clients.max_profile_bytes),
            ("runtimes.default_cpu", wide(config.runtimes.default_cpu)),
            ("runtimes.pids_limit", wide(config.runtimes.pids_limit)),
        ] {
            if value == 0 {
                self.wrong(key, "must be at least 1");
            }
        }
        self.tops(config);
        self.traces(&config.traces);
    }

    fn traces(&mut self, traces: &TracesConfig) {
        if !(0.0..=1.0).contains(&traces.sample_ratio) {
            let ratio = traces.sample_ratio;
            self.wrong("traces.sample_ratio", format!("is {ratio}, and must be from 0 to 1"));
        }
        let plain =
            |text: &String| Url::parse(text).is_ok_and(|url| url.scheme() == "http" && url.has_host());
        if !traces.otlp_endpoint.as_ref().is_none_or(plain) {
            let reason = "must be a URL with `http://`; for a collector elsewhere, run one beside the server that \
                          sends on by TLS";
            self.wrong("traces.otlp_endpoint", reason);
        }
    }

    fn tops(&mut self, config: &Config) {
        let at_most: [(&str, usize, usize); 5] = [
            // PostgreSQL of our own is started with room for this many.
            ("database.pool_size", wide(config.database.pool_size), 200),
            // What a version may ask for itself.
            ("runtimes.default_cpu", wide(config.runtimes.default_cpu), wide(MOST_CPU)),
            ("runtimes.default_memory_mb", wide(config.runtimes.default_memory_mb), wide(MOST_MEMORY)),
            ("messaging.pending_bytes", config.messaging.pending_bytes, config.messaging.mailbox_bytes),
            // A runtime's mailbox must hold the commands for all players of a match.
            (
                "clients.max_profile_bytes",
                config.clients.max_profile_bytes,
                config.messaging.mailbox_bytes / 4,
            ),
        ];
        for (key, value, most) in at_most {
            if value > most {
                self.wrong(key, format!("is {value}, and must be at most {most}"));
            }
        }
    }
}

/// Whether the host of a URL is this machine. Another check reports texts that are no URL.
fn is_this_machine(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>();
    matches!(host, "localhost" | "host.docker.internal")
        || address.is_ok_and(|it| it.is_loopback() || it.is_unspecified())
}
