//! A registry with everything to its left on a real database, and an HTTP server in front of it.

use std::{ops::Deref, path::Path, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    middleware::{Next, from_fn},
    web::{self, Data},
};
use bytes::Bytes;
use omgservers_accounts::Accounts as _;
use omgservers_api::{
    ProjectId, ProjectPermission, Role, StageId, TenantId, UserId, VersionId, roles::ImageQualifier,
};
use omgservers_auth::{Access, TokenConfig, Tokens};
use omgservers_core::{Caller, Db, Worker as _};
use omgservers_fixtures::Fixture;
use omgservers_http::registry::{RegistryHttpConfig, routes};
use omgservers_projects::Projects as _;
use omgservers_registry::{
    Algorithm, CollectGarbage, Digest, MAX_BLOB_BYTES, Registry, RegistryParts, RegistryTokens,
};
use omgservers_tenants::Tenants as _;
use omgservers_versions::{Repository, Versions as _};
use reqwest::{Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The largest blob, so that a test can pass it.
const BLOB_LIMIT: u64 = 80 << 20;
pub(crate) const SYSTEM: Caller = Caller::System("test");
pub(crate) const LIFE: Duration = Duration::from_secs(30 * 86_400);
pub(crate) const SECRET: &str = "the secret of another registry";

/// The services to the left, a registry, and an HTTP server in front of it.
pub(crate) struct RegistryFixture {
    services: Fixture,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) docker: RegistryTokens,
    pub(crate) registry: Registry,
    pub(crate) http: reqwest::Client,
    pub(crate) host: String,
    dir: TempDir,
    server: ServerHandle,
}

impl Deref for RegistryFixture {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.services
    }
}

/// A project with a version, which is what can be pushed to.
#[derive(Clone, Copy)]
pub(crate) struct VersionPath {
    pub(crate) tenant: TenantId,
    pub(crate) project: ProjectId,
    pub(crate) stage: StageId,
    pub(crate) version: VersionId,
}

impl VersionPath {
    pub(crate) fn of(&self, qualifier: ImageQualifier) -> Repository {
        Repository { tenant: self.tenant, project: self.project, qualifier }
    }
    pub(crate) fn universal(&self) -> Repository {
        self.of(ImageQualifier::Universal)
    }
}

impl RegistryFixture {
    pub(crate) async fn new() -> Self {
        // The first of many tests in a process wins.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let services = Fixture::with_schemas(&[omgservers_registry::SCHEMA]).await;
        // Tests move the clock by days.
        let config = TokenConfig { registry: LIFE, ..TokenConfig::default() };
        let clock = || services.foundation.clock();
        let tokens = Arc::new(Tokens::new(Arc::clone(&services.keys), clock(), config));
        let docker = RegistryTokens::new(
            Arc::clone(&tokens),
            clock(),
            services.accounts.clone(),
            Arc::new(services.projects.clone()),
        );
        let dir = tempfile::tempdir().unwrap();
        let registry = open(&services, &services.foundation.db, dir.path(), BLOB_LIMIT);
        let (server, host) = serve(registry.clone(), &tokens, &docker).await;
        Self { services, tokens, docker, registry, http: reqwest::Client::new(), host, dir, server }
    }

    /// What a killed server leaves is its directory and its database: another one goes on with
    /// them.
    pub(crate) async fn restart(&mut self) {
        self.server.stop(false).await;
        self.registry = open(&self.services, &self.foundation.db, self.dir.path(), BLOB_LIMIT);
        (self.server, self.host) = serve(self.registry.clone(), &self.tokens, &self.docker).await;
    }

    pub(crate) async fn version_path(&self) -> VersionPath {
        let tenant = self.tenants.create(&SYSTEM).await.unwrap();
        self.version_path_in(tenant).await
    }

    pub(crate) async fn version_path_in(&self, tenant: TenantId) -> VersionPath {
        let (project, stage) = self.projects.create(&SYSTEM, tenant).await.unwrap();
        let version = self.version(tenant, project).await;
        VersionPath { tenant, project, stage, version }
    }

    pub(crate) async fn version(&self, tenant: TenantId, project: ProjectId) -> VersionId {
        let config = serde_json::from_value(json!({"modes": []})).unwrap();
        self.versions.create(&SYSTEM, tenant, project, &config).await.unwrap()
    }

    /// A user, and the password.
    pub(crate) async fn user(&self, role: Role) -> (UserId, String) {
        if role == Role::Developer {
            let made = self.accounts.create(&SYSTEM, role).await.unwrap();
            return (made.id, made.password);
        }
        let alias = format!("{role}-of-the-registry");
        self.accounts.ensure(&alias, role, Some("a password of 20 ch")).await.unwrap();
        let user = self.accounts.find(&alias.parse().unwrap()).await.unwrap();
        (user.id, "a password of 20 ch".to_owned())
    }

    /// A developer who may push to the project.
    pub(crate) async fn developer(&self, path: VersionPath) -> (UserId, String) {
        let (id, password) = self.user(Role::Developer).await;
        let permissions = [ProjectPermission::VersionManager];
        self.projects.grant(&SYSTEM, path.tenant, path.project, &id.into(), &permissions).await.unwrap();
        (id, password)
    }

    /// A token for these actions, e.g. `pull,push`, with each of the repositories.
    pub(crate) fn token(&self, repositories: &[Repository], actions: &str) -> String {
        let actions: Vec<String> = actions.split(',').map(str::to_owned).collect();
        let one = |repository: &Repository| Access {
            r#type: "repository".to_owned(),
            name: repository.to_string(),
            actions: actions.clone(),
        };
        self.tokens.registry("test", &repositories.iter().map(one).collect::<Vec<_>>()).unwrap()
    }

    /// Somebody who may do everything with one repository.
    pub(crate) fn owner(&self, repository: Repository) -> Client<'_> {
        let token = self.token(&[repository], "pull,push,delete");
        Client { fixture: self, repository, token }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.host))
    }

    /// Runs the collector of garbage.
    pub(crate) async fn collect(&self) -> usize {
        let projects = Arc::new(self.projects.clone());
        CollectGarbage::new(self.registry.clone(), projects).run_once().await.unwrap().changed
    }

    /// Another view of the same data, with connections enough for things to happen at the same
    /// time.
    pub(crate) async fn busy(&self) -> Registry {
        let db = self.foundation.test_db.pool(6).await;
        open(&self.services, &db, self.dir.path(), MAX_BLOB_BYTES)
    }

    /// How many blobs and uploads there are on disk.
    pub(crate) fn files(&self) -> (usize, usize) {
        let blobs = folders(&self.dir.path().join("blobs/sha256"));
        let uploads = folders(&self.dir.path().join("uploads")).len();
        (blobs.iter().map(|it| folders(it).len()).sum(), uploads)
    }

    /// Where a blob is on disk.
    pub(crate) fn file(&self, digest: &Digest) -> std::path::PathBuf {
        self.dir.path().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())
    }
}

impl Drop for RegistryFixture {
    fn drop(&mut self) {
        // Not awaited: the server ends with its worker thread.
        drop(self.server.stop(false));
    }
}

fn folders(at: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(at).map(|it| it.map(|it| it.unwrap().path()).collect()).unwrap_or_default()
}

fn open(services: &Fixture, db: &Db, dir: &Path, max_blob_bytes: u64) -> Registry {
    Registry::new(RegistryParts {
        db: db.clone(),
        clock: services.foundation.clock(),
        dir: dir.to_owned(),
        versions: Arc::new(services.versions.clone()),
        deployments: Arc::new(services.deployments.clone()),
        max_blob_bytes,
    })
}

async fn serve(registry: Registry, tokens: &Arc<Tokens>, docker: &RegistryTokens) -> (ServerHandle, String) {
    let (tokens, docker) = (Data::from(Arc::clone(tokens)), Data::new(docker.clone()));
    let config =
        RegistryHttpConfig { events_secret: Some(SECRET.to_owned()), ..RegistryHttpConfig::default() };
    let (registry, config) = (Data::new(registry), Data::new(config));
    let server = HttpServer::new(move || {
        App::new()
            .wrap(from_fn(async |request, next: Next<_>| {
                omgservers_http::request_context(&request).scope(next.call(request)).await
            }))
            .app_data(registry.clone())
            .app_data(tokens.clone())
            .app_data(docker.clone())
            .app_data(config.clone())
            .configure(routes)
            .default_service(web::to(actix_web::HttpResponse::NotFound))
    })
    .workers(2)
    .disable_signals()
    .shutdown_timeout(1)
    .h1_allow_half_closed(false)
    .bind(("127.0.0.1", 0))
    .unwrap();
    let host = server.addrs()[0].to_string();
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    (handle, host)
}

/// A client of one repository.
pub(crate) struct Client<'a> {
    pub(crate) fixture: &'a RegistryFixture,
    pub(crate) repository: Repository,
    pub(crate) token: String,
}

impl Client<'_> {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let path = format!("/v2/{}/{path}", self.repository);
        self.fixture.request(method, &path).bearer_auth(&self.token)
    }
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }
    pub(crate) async fn head(&self, path: &str) -> Response {
        self.request(Method::HEAD, path).send().await.unwrap()
    }
    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await.unwrap()
    }
    /// A request to a location that an answer gave.
    pub(crate) fn at(&self, method: Method, location: &str) -> RequestBuilder {
        self.fixture.request(method, location).bearer_auth(&self.token)
    }

    /// Starts an upload; answers its location.
    pub(crate) async fn start(&self) -> String {
        let started = self.request(Method::POST, "blobs/uploads/").send().await.unwrap();
        assert_eq!(started.status(), 202);
        header(started.headers(), "location")
    }

    /// A chunk of an upload.
    pub(crate) async fn chunk(&self, location: &str, from: usize, content: &[u8]) -> Response {
        let range = format!("{from}-{}", from + content.len() - 1);
        let request = self.at(Method::PATCH, location).header("content-range", range);
        request
            .header("content-type", "application/octet-stream")
            .body(content.to_vec())
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn finish(&self, location: &str, digest: &Digest, content: &[u8]) -> Response {
        let request = self.at(Method::PUT, &format!("{location}?digest={digest}"));
        request
            .header("content-type", "application/octet-stream")
            .body(content.to_vec())
            .send()
            .await
            .unwrap()
    }

    /// Pushes a blob.
    pub(crate) async fn blob(&self, content: &[u8]) -> Digest {
        let digest = digest(content);
        let location = self.start().await;
        let finished = self.finish(&location, &digest, content).await;
        assert_eq!(finished.status(), 201, "{}", finished.text().await.unwrap());
        digest
    }

    pub(crate) async fn put(&self, reference: &str, kind: &str, content: &str) -> Response {
        let request = self.request(Method::PUT, &format!("manifests/{reference}"));
        request.header("content-type", kind).body(content.to_owned()).send().await.unwrap()
    }

    /// Pushes an image of one layer under a tag or, with an empty one, its digest; answers the
    /// manifest.
    pub(crate) async fn image(&self, tag: &str, layer: &str) -> (Digest, String) {
        let (config, layer) = (self.part("{}").await, self.part(layer).await);
        let manifest =
            json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": [layer]});
        self.manifest(tag, OCI_IMAGE, &manifest).await
    }

    pub(crate) async fn manifest(&self, tag: &str, kind: &str, manifest: &Value) -> (Digest, String) {
        let text = manifest.to_string();
        let digest = digest(text.as_bytes());
        let reference = if tag.is_empty() { digest.to_string() } else { tag.to_owned() };
        let put = self.put(&reference, kind, &text).await;
        assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
        (digest, text)
    }

    /// Pushes a blob; answers its descriptor.
    pub(crate) async fn part(&self, content: &str) -> Value {
        let digest = self.blob(content.as_bytes()).await.to_string();
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": content.len()})
    }
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Algorithm::Sha256.of(content)
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// The code of the first error, and its message.
pub(crate) async fn error(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    assert_eq!(header(response.headers(), "docker-distribution-api-version"), "registry/2.0");
    let body: Value = response.json().await.unwrap();
    let text = |name: &str| body["errors"][0][name].as_str().unwrap().to_owned();
    (status, text("code"), text("message"))
}

/// A body that sends `content` and then breaks off.
pub(crate) fn broken(content: &'static [u8]) -> reqwest::Body {
    let pieces = [Ok(Bytes::from_static(content)), Err(std::io::Error::other("the client was killed"))];
    let slowly = futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async move {
        let piece = pieces.next()?;
        if piece.is_err() {
            // What was sent before must leave the client first.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Some((piece, pieces))
    });
    reqwest::Body::wrap_stream(slowly)
}
