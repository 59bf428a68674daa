//! Mutual TLS to a daemon.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use omgservers_runtimes::{ContainerHost as _, DockerHost, HostConfig, host::HostError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::installation::{Installation, SOCKET, local};

/// An authority and what it has signed.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { params, key, certificate }
    }

    /// A certificate for 127.0.0.1 and its key.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let signed = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        (signed.pem(), key.serialize_pem())
    }

    /// Writes what a client needs, as Docker names it.
    fn write(&self, folder: &Path, trusted: &Self) {
        let (certificate, key) = self.issue();
        std::fs::write(folder.join("ca.pem"), &trusted.certificate).unwrap();
        std::fs::write(folder.join("cert.pem"), certificate).unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
    }
}

/// The daemon behind TLS; returns its address and the count of connections.
async fn daemon(authority: &Authority) -> (String, Arc<AtomicUsize>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let (certificate, key) = authority.issue();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut inside) = acceptor.accept(stream).await else { return };
                let mut outside = UnixStream::connect(SOCKET).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    (address, count)
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_daemon_behind_tls_is_reached_through_few_connections() {
    let installation = Installation::new();
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (address, connections) = daemon(&authority).await;
    authority.write(folder.path(), &authority);
    let config = HostConfig { uri: format!("tcp://{address}"), tls: Some(folder.path().into()), ..local() };
    let host = DockerHost::connect(Arc::new(installation.config()), &config).unwrap();
    for _ in 0..20 {
        host.ping().await.unwrap();
    }
    assert_eq!(host.list().await.unwrap(), []);
    assert!(connections.load(Ordering::SeqCst) <= 2, "connections are used again");
}

#[tokio::test]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn neither_a_foreign_daemon_nor_a_foreign_client_is_accepted() {
    let installation = Installation::new();
    let (ours, foreign) = (Authority::new(), Authority::new());
    let (address, _) = daemon(&ours).await;
    for (signed_by, trusted) in [(&ours, &foreign), (&foreign, &ours)] {
        let folder = tempfile::tempdir().unwrap();
        signed_by.write(folder.path(), trusted);
        let config =
            HostConfig { uri: format!("tcp://{address}"), tls: Some(folder.path().into()), ..local() };
        let host = DockerHost::connect(Arc::new(installation.config()), &config).unwrap();
        let answer = host.ping().await;
        assert!(matches!(answer, Err(HostError::Unreachable(_))), "{answer:?}");
    }
    // Nor is anything said without TLS.
    let plain = HostConfig { uri: format!("tcp://{address}"), ..local() };
    let host = DockerHost::connect(Arc::new(installation.config()), &plain).unwrap();
    assert!(host.ping().await.is_err());
}
