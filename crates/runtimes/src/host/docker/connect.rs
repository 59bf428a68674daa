//! Ways to a Docker daemon.

use std::{path::Path, sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{HostConfig, host::HostError};

/// How long a daemon may take to begin an answer, in seconds. Stopping a container takes its grace.
const TIMEOUT: u64 = 120;

/// A client for `host`. Nothing is sent yet.
pub(super) fn docker(host: &HostConfig) -> Result<Docker, HostError> {
    let wrong = |why: String| HostError::Unreachable(format!("{}: {why}", host.uri));
    if host.uri.starts_with("unix://") {
        return Docker::connect_with_socket(&host.uri, TIMEOUT, API_DEFAULT_VERSION)
            .map_err(|it| wrong(it.to_string()));
    }
    let Some(address) = host.uri.strip_prefix("tcp://") else {
        return Err(wrong("the URI must begin with unix:// or tcp://".into()));
    };
    match &host.tls {
        Some(folder) => mutual_tls(address, folder).map_err(|it| wrong(it.to_string())),
        None => Docker::connect_with_http(&host.uri, TIMEOUT, API_DEFAULT_VERSION)
            .map_err(|it| wrong(it.to_string())),
    }
}

/// bollard's own TLS opens a connection for each request (44 ms instead of 0.1 ms). It also trusts
/// the system's authorities besides the host's own. This one does neither.
fn mutual_tls(address: &str, folder: &Path) -> Result<Docker, Box<dyn std::error::Error>> {
    let file = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|it| format!("{}: {it}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&file("ca.pem")?) {
        roots.add(certificate?)?;
    }
    let chain = CertificateDer::pem_slice_iter(&file("cert.pem")?).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&file("key.pem")?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(Duration::from_secs(3)));
    http.set_keepalive(Some(Duration::from_secs(15)));
    http.set_keepalive_interval(Some(Duration::from_secs(5)));
    http.set_keepalive_retries(Some(3));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(http);
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(16)
        .pool_idle_timeout(Duration::from_secs(60))
        .build(https);
    let transport = move |request: BollardRequest| {
        let client = client.clone();
        async move { client.request(request).await.map_err(bollard::errors::Error::from) }
    };
    Ok(Docker::connect_with_custom_transport(
        transport,
        Some(format!("https://{address}")),
        TIMEOUT,
        API_DEFAULT_VERSION,
    )?)
}
