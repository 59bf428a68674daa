//! Whom the load goes to, and to nobody else.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use url::{Host, Url};

/// A backend that may be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where connections go.
    pub(crate) address: SocketAddr,
    /// Host and port as the URL names them.
    pub(crate) host: String,
}

impl Target {
    /// The backend at `url`. Other than this machine is refused unless `foreign` says that it may
    /// be. Errors are for people.
    pub(crate) async fn find(url: &str, foreign: bool) -> anyhow::Result<Self> {
        let (name, port) = parse(url)?;
        let found = tokio::net::lookup_host((name.as_str(), port));
        let addresses: Vec<SocketAddr> =
            found.await.with_context(|| format!("{name} isn't found"))?.collect();
        let may = |it: &SocketAddr| foreign || it.ip().to_canonical().is_loopback();
        if let Some(other) = addresses.iter().find(|it| !may(it)) {
            bail!(
                "{name} is {}, which isn't this machine. A bench takes a server to its limit: if this one is yours and \
                 nobody plays on it, say --i-own-this-server",
                other.ip()
            );
        }
        let mut why = format!("{name} has no address");
        for address in addresses {
            match tokio::net::TcpStream::connect(address).await {
                Ok(_) => return Ok(Self { address, host: host(&name, port) }),
                Err(error) => why = format!("{url} can't be reached: {error}"),
            }
        }
        bail!(why)
    }
}

/// Name and port.
fn parse(url: &str) -> anyhow::Result<(String, u16)> {
    let parsed: Url = url.parse().with_context(|| format!("`{url}` is no URL"))?;
    ensure!(
        parsed.scheme() == "http",
        "a bench speaks plain HTTP: give an http:// URL, of the backend itself and not of what is in front of it"
    );
    ensure!(matches!(parsed.path(), "" | "/"), "the URL has a path, and the backend is at none");
    let name = match parsed.host() {
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => bail!("`{url}` names no host"),
    };
    Ok((name, parsed.port_or_known_default().unwrap_or(80)))
}

fn host(name: &str, port: u16) -> String {
    if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str, foreign: bool) -> String {
        format!("{:#}", Target::find(url, foreign).await.unwrap_err())
    }

    #[tokio::test]
    async fn this_machine_may_be_loaded_and_others_only_on_request() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::find(&format!("http://127.0.0.1:{port}/"), false).await.unwrap();
        assert_eq!(target.host, format!("127.0.0.1:{port}"));
        for url in [
            "http://192.0.2.1:8080",
            "http://0.0.0.0:8080",
            "http://[2001:db8::1]:8080",
            "http://[::ffff:192.0.2.1]:8080",
        ] {
            let refused = refusal(url, false).await;
            assert!(refused.contains("--i-own-this-server"), "{url}: {refused}");
        }
    }

    #[tokio::test]
    async fn what_is_no_backend_is_refused() {
        assert!(refusal("http://127.0.0.1:1", false).await.contains("can't be reached"));
        assert!(refusal("https://127.0.0.1:1", false).await.contains("plain HTTP"));
        assert!(refusal("http://127.0.0.1:1/service", false).await.contains("has a path"));
        assert!(refusal("nonsense", false).await.contains("is no URL"));
    }

    #[test]
    fn hosts_are_written_as_headers_want_them() {
        assert_eq!(parse("http://[::1]:99").unwrap(), ("::1".to_owned(), 99));
        assert_eq!(host("::1", 99), "[::1]:99");
        assert_eq!(parse("http://localhost").unwrap(), ("localhost".to_owned(), 80));
    }
}
