//! Under which names the server is reached, by whom.

use std::net::SocketAddr;

use url::{Host, Url};

use crate::config::Config;

/// The server's addresses: configured, or made from the port that it listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For players, developers and Docker clients; no slash at the end.
    pub public_url: String,
    /// For game servers in their containers; no slash at the end.
    pub service_url: String,
    /// Host and port of the registry in names of images.
    pub registry: String,
}

impl Addresses {
    /// For a server that listens on `addr`.
    pub fn new(config: &Config, addr: SocketAddr) -> Self {
        let port = addr.port();
        let given = |url: &Option<String>| url.as_deref().map(|it| it.trim_end_matches('/').to_owned());
        let public_url =
            given(&config.server.public_url).unwrap_or_else(|| format!("http://localhost:{port}"));
        let service_url = given(&config.runtimes.service_url);
        if service_url.is_none() && addr.ip().is_loopback() {
            tracing::warn!(
                %addr,
                "game servers in containers can't reach this address: set server.bind or runtimes.service_url"
            );
        }
        let registry = config.registry.address.clone().unwrap_or_else(|| authority(&public_url));
        Self {
            public_url,
            service_url: service_url.unwrap_or_else(|| format!("http://host.docker.internal:{port}")),
            registry,
        }
    }
}

impl Addresses {
    /// Host of the public URL, an IPv6 address without brackets.
    pub(crate) fn public_host(&self) -> String {
        match Url::parse(&self.public_url).ok().as_ref().and_then(Url::host) {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => "localhost".to_owned(),
        }
    }
}

fn authority(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return url.to_owned() };
    let host = url.host_str().unwrap_or_default().to_owned();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        // Docker takes a name without a dot and without a port for a user of its hub.
        None if url.scheme() == "http" => format!("{host}:80"),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_everything_follows_from_the_port() {
        let addresses = Addresses::new(&Config::default(), "0.0.0.0:8090".parse().unwrap());
        assert_eq!(addresses.public_url, "http://localhost:8090");
        assert_eq!(addresses.service_url, "http://host.docker.internal:8090");
        assert_eq!(addresses.registry, "localhost:8090");
    }

    #[test]
    fn the_registry_follows_the_public_url() {
        let mut config = Config::default();
        config.server.public_url = Some("https://games.example.com/".into());
        let addresses = Addresses::new(&config, "0.0.0.0:8090".parse().unwrap());
        assert_eq!(addresses.public_url, "https://games.example.com");
        assert_eq!(addresses.registry, "games.example.com");
        assert_eq!(authority("http://games"), "games:80");
    }

    #[test]
    fn game_servers_on_this_machine_are_where_the_server_is() {
        let mut config = Config::default();
        for (url, host) in [
            (None, "localhost"),
            (Some("https://games.example.com:8443/"), "games.example.com"),
            (Some("http://[fd00::1]:8080"), "fd00::1"),
        ] {
            config.server.public_url = url.map(str::to_owned);
            assert_eq!(Addresses::new(&config, "0.0.0.0:8090".parse().unwrap()).public_host(), host);
        }
    }
}
