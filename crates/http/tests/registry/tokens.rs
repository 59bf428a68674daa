//! The token service, and the push events of another registry.

use omgservers_api::{ProjectPermission, Role, roles::ImageQualifier};
use omgservers_auth::Access;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::fixture::{LIFE, RegistryFixture, SECRET, SYSTEM, VersionPath, digest, header};
use omgservers_accounts::Accounts as _;
use omgservers_projects::Projects as _;
use omgservers_versions::Versions as _;

const TOKEN: &str = "/service/v1/entrypoint/docker/request/create-token";
const EVENTS: &str = "/service/v1/entrypoint/registry/request/handle-events";

impl RegistryFixture {
    async fn log_in(&self, user: impl ToString, password: &str, query: &str) -> Response {
        let request = self.request(Method::GET, &format!("{TOKEN}?service=registry&{query}"));
        request.basic_auth(user.to_string(), Some(password)).send().await.unwrap()
    }

    async fn post(&self, form: &[(&str, &str)]) -> Response {
        self.request(Method::POST, TOKEN).form(form).send().await.unwrap()
    }

    /// What an answer's token allows.
    async fn access(&self, answer: Response) -> Vec<Access> {
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.unwrap();
        self.tokens.verify_registry(body["token"].as_str().unwrap()).unwrap().access
    }
}

fn access(path: VersionPath, actions: &[&str]) -> Vec<Access> {
    let actions: Vec<String> = actions.iter().map(|it| (*it).to_owned()).collect();
    let of = |actions| Access { r#type: "repository".into(), name: path.universal().to_string(), actions };
    if actions.is_empty() { vec![] } else { vec![of(actions)] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_answers_in_the_shape_that_clients_expect() {
    let fixture = RegistryFixture::new().await;
    let (user, password) = fixture.developer(fixture.version_path().await).await;
    let answer = fixture.log_in(user, &password, "client_id=docker&offline_token=true").await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["expires_in"].as_u64(), Some(LIFE.as_secs()));
    assert!(body["issued_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(fixture.tokens.verify_refresh(body["refresh_token"].as_str().unwrap()).unwrap(), user);
    let without: Value = fixture.log_in(user, &password, "client_id=docker").await.json().await.unwrap();
    assert_eq!(without["refresh_token"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_refused_in_both_languages() {
    let fixture = RegistryFixture::new().await;
    let (user, password) = fixture.developer(fixture.version_path().await).await;
    let (player, player_password) = fixture.user(Role::Player).await;
    let (admin, admin_password) = fixture.user(Role::Admin).await;
    let nobody = fixture.request(Method::GET, TOKEN).send().await.unwrap();
    let nonsense =
        fixture.request(Method::GET, TOKEN).header("authorization", "Basic ???").send().await.unwrap();
    for refused in [
        fixture.log_in(user, "wrong", "").await,
        fixture.log_in("nobody", &password, "").await,
        fixture.log_in("-1", &password, "").await,
        fixture.log_in(player, &player_password, "").await,
        fixture.log_in(admin, &admin_password, "").await,
        fixture
            .post(&[("grant_type", "password"), ("username", &user.to_string()), ("password", "wrong")])
            .await,
        nobody,
        nonsense,
    ] {
        assert_eq!(refused.status(), 401);
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["qualifier"], "WRONG_CREDENTIALS");
        assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");
        assert!(!body["errors"][0]["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_granted_and_only_where_it_is_held() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (sibling, stranger) = (fixture.version_path_in(path.tenant).await, fixture.version_path().await);
    let (user, password) = fixture.developer(path).await;
    let permissions = [ProjectPermission::ProjectViewer, ProjectPermission::StageManager];
    fixture
        .projects
        .grant(&SYSTEM, sibling.tenant, sibling.project, &user.into(), &permissions)
        .await
        .unwrap();
    let name = path.universal().to_string();
    for (query, actions) in [
        (format!("scope=repository:{name}:push,pull"), &["pull", "push"][..]),
        (format!("scope=repository:{name}:pull"), &["pull"]),
        (format!("scope=repository:{name}:delete"), &["delete"]),
        (format!("scope=repository:{name}:pull&scope=repository:{name}:push"), &["pull", "push"]),
        (format!("scope=repository:{name}:pull%20repository:{name}:push"), &["pull", "push"]),
        (format!("scope=repository:{name}:fly"), &[]),
        (format!("scope=repository:{}:pull,push", sibling.universal()), &[]),
        (format!("scope=repository:{}:pull,push", stranger.universal()), &[]),
        (format!("scope=repository:omgservers/{}/{}/universal:pull", stranger.tenant, path.project), &[]),
        (format!("scope=repository:omgservers/{}/1/universal:pull", path.tenant), &[]),
        ("scope=registry:catalog:*".to_owned(), &[]),
        (String::new(), &[]),
    ] {
        let answer = fixture.log_in(user, &password, &query).await;
        assert_eq!(fixture.access(answer).await, access(path, actions), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn support_and_the_service_pull_everywhere_and_push_nowhere() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    for role in [Role::Support, Role::Service] {
        let (user, password) = fixture.user(role).await;
        let scope = format!("scope=repository:{}:pull,push,delete", path.universal());
        assert_eq!(
            fixture.access(fixture.log_in(user, &password, &scope).await).await,
            access(path, &["pull"])
        );
        let scope = format!("scope=repository:omgservers/{}/1/universal:pull", path.tenant);
        assert_eq!(
            fixture.access(fixture.log_in(user, &password, &scope).await).await,
            [],
            "no such project"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_redeemed_again_and_again_with_the_permissions_of_the_moment() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (user, password) = fixture.developer(path).await;
    let login: Value = fixture.log_in(user, &password, "offline_token=true").await.json().await.unwrap();
    let refresh = login["refresh_token"].as_str().unwrap();
    let scope = format!("repository:{}:pull,push", path.universal());
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "docker"),
        ("service", "registry"),
        ("scope", scope.as_str()),
        ("refresh_token", refresh),
    ];
    for _ in 0..2 {
        let body: Value = fixture.post(&form).await.json().await.unwrap();
        assert_eq!(body["refresh_token"], refresh, "it is never rotated");
        let token = body["access_token"].as_str().unwrap();
        assert_eq!(fixture.tokens.verify_registry(token).unwrap().access, access(path, &["pull", "push"]));
        assert_eq!(body["scope"], format!("repository:{}:pull,push", path.universal()));
    }
    let permissions = [ProjectPermission::VersionManager];
    fixture.projects.revoke(&SYSTEM, path.tenant, path.project, &user.into(), &permissions).await.unwrap();
    assert_eq!(fixture.access(fixture.post(&form).await).await, []);
    fixture.accounts.delete(&SYSTEM, Role::Developer, &user.into()).await.unwrap();
    assert_eq!(fixture.post(&form).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_token_is_taken_for_a_refresh_token() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (user, _) = fixture.developer(path).await;
    let api = fixture.tokens.user(user, Role::Developer).unwrap();
    let access = fixture.token(&[path.universal()], "pull");
    for token in [api.as_str(), &access, "nonsense", ""] {
        let refused = fixture.post(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.json::<Value>().await.unwrap()["qualifier"], "WRONG_REQUEST");
    }
    for form in [&[("grant_type", "client_credentials")][..], &[("grant_type", "password")], &[]] {
        let refused = fixture.post(form).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.json::<Value>().await.unwrap()["qualifier"], "WRONG_REQUEST");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_logs_in_by_form() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (user, password) = fixture.developer(path).await;
    let name = path.universal();
    let scope = format!("repository:{name}:pull repository:{name}:pull,push");
    let user = user.to_string();
    let form = [
        ("grant_type", "password"),
        ("client_id", "containerd-client"),
        ("username", user.as_str()),
        ("password", password.as_str()),
        ("scope", scope.as_str()),
        ("access_type", "offline"),
    ];
    let body: Value = fixture.post(&form).await.json().await.unwrap();
    assert!(body["refresh_token"].is_string());
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(fixture.tokens.verify_registry(token).unwrap().access, access(path, &["pull", "push"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_has_two_names_and_two_methods() {
    let fixture = RegistryFixture::new().await;
    let (user, password) = fixture.developer(fixture.version_path().await).await;
    let second = "/service/v1/entrypoint/docker/request/token";
    let request = fixture.request(Method::GET, second).basic_auth(user, Some(&password));
    assert_eq!(request.send().await.unwrap().status(), 200);
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        assert_eq!(fixture.request(method, TOKEN).send().await.unwrap().status(), 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_own_token_pulls_one_repository() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let mut client = fixture.owner(path.universal());
    client.image(&path.version.to_string(), "a layer").await;
    client.token = fixture.docker.pull_token(&path.universal().to_string()).unwrap();
    assert_eq!(client.get(&format!("manifests/{}", path.version)).await.status(), 200);
    assert_eq!(client.request(Method::POST, "blobs/uploads/").send().await.unwrap().status(), 401);
    client.repository = path.of(ImageQualifier::Lobby);
    assert_eq!(client.get("tags/list").await.status(), 401);
    assert!(fixture.docker.pull_token("library/ubuntu").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn push_events_attach_images_and_only_for_who_has_the_secret() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let stranger = fixture.version_path().await;
    let event = |action: &str, path: VersionPath, version: VersionPath| {
        json!({"id": "1", "action": action, "target": {
            "repository": path.universal().to_string(), "tag": version.version.to_string(),
            "digest": digest(b"an image").to_string(), "mediaType": "a/b", "size": 1,
        }})
    };
    let layer = json!({"action": "push", "target": {"repository": path.universal().to_string()}});
    let body = json!({"events": [
        event("pull", stranger, stranger), event("push", path, stranger), layer, event("push", path, path),
    ]});
    let send = |secret: Option<&str>| {
        let request = fixture.request(Method::POST, EVENTS).json(&body);
        let request = request.header("content-type", "application/vnd.docker.distribution.events.v1+json");
        secret.into_iter().fold(request, |request, it| request.bearer_auth(it)).send()
    };
    for secret in [None, Some("wrong"), Some("")] {
        let refused = send(secret).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(header(refused.headers(), "content-type"), "application/json");
        assert_eq!(refused.json::<Value>().await.unwrap()["qualifier"], "WRONG_CREDENTIALS");
    }
    assert!(fixture.versions.images(path.version).await.unwrap().is_empty());
    assert_eq!(send(Some(SECRET)).await.unwrap().status(), 204);
    assert_eq!(send(Some(SECRET)).await.unwrap().status(), 204, "events may come twice");
    let images = fixture.versions.images(path.version).await.unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].digest, digest(b"an image").to_string());
    assert!(fixture.versions.images(stranger.version).await.unwrap().is_empty());
    assert_eq!(fixture.request(Method::GET, EVENTS).send().await.unwrap().status(), 405);
}
