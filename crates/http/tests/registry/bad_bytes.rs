//! Bytes that no name can have: each is answered in the registry's words, and nothing of it is
//! kept.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::fixture::{OCI_IMAGE, RegistryFixture, digest, error, header};
use omgservers_versions::Versions as _;

const TOKEN: &str = "/service/v1/entrypoint/docker/request/create-token";
const EVENTS: &str = "/service/v1/entrypoint/registry/request/handle-events";

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_no_name_has_are_refused_wherever_a_name_is_asked_for() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let (image, _) = owner.image(&path.version.to_string(), "a layer").await;
    for bytes in ["%00", "a%00b", "%01", "%7F", "%FF", "%E2%82", "%F0%9F%8E%AE", "%0D%0A", "%22", "%20"] {
        for (method, path, status) in [
            (Method::GET, format!("manifests/{bytes}"), 404),
            (Method::HEAD, format!("manifests/{bytes}"), 404),
            (Method::PUT, format!("manifests/{bytes}"), 400),
            (Method::DELETE, format!("manifests/{bytes}"), 400),
            (Method::GET, format!("manifests/sha256:{bytes}"), 400),
            (Method::GET, format!("blobs/{bytes}"), 400),
            (Method::DELETE, format!("blobs/sha256:{bytes}"), 400),
            (Method::GET, format!("blobs/uploads/{bytes}"), 404),
            (Method::PATCH, format!("blobs/uploads/{bytes}"), 404),
            (Method::PUT, format!("blobs/uploads/{bytes}?digest={image}"), 404),
            (Method::POST, format!("blobs/uploads/?digest={bytes}"), 400),
            (Method::POST, format!("blobs/uploads/?mount={bytes}&from={bytes}"), 400),
            (Method::GET, format!("tags/list?n={bytes}"), 400),
            (Method::GET, format!("tags/list?last={bytes}"), 400),
            (Method::GET, format!("referrers/{bytes}"), 400),
            (Method::GET, format!("referrers/{image}?last={bytes}"), 400),
        ] {
            let sent = owner.request(method.clone(), &path).header("content-type", OCI_IMAGE);
            refused(sent.body("{}").send().await.unwrap(), &method, &path, status).await;
        }
        let name = format!("/v2/omgservers/{}/{bytes}/universal/tags/list", path.tenant);
        let answer = fixture.request(Method::GET, &name).bearer_auth(&owner.token).send().await.unwrap();
        refused(answer, &Method::GET, &name, 400).await;
    }
    for bytes in ["%00", "a%00b", "%01", "%7F", "%0D%0A", "%F0%9F%8E%AE"] {
        let path = format!("referrers/{image}?artifactType={bytes}");
        refused(owner.get(&path).await, &Method::GET, &path, 400).await;
    }
    assert_eq!(fixture.files(), (3, 0), "manifest, configuration, layer");
}

async fn refused(answer: Response, method: &Method, path: &str, status: u16) {
    if method == Method::HEAD {
        assert_eq!(answer.status(), status, "{method} {path}");
        return;
    }
    let (found, word, message) = error(answer).await;
    assert_eq!(found, status, "{method} {path}: {word} {message}");
    assert_ne!(word, "UNKNOWN", "{method} {path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_a_nul_in_what_is_kept_of_it_is_refused() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let config = owner.part("{}").await;
    let (mut odd, subject) = (config.clone(), digest(b"missing").to_string());
    odd["mediaType"] = "a/b\0".into();
    for (key, value) in [
        ("artifactType", json!("a/b\0")),
        ("annotations", json!({"a": "b\0"})),
        ("annotations", json!({"a\0": "b"})),
        ("config", odd),
    ] {
        let mut image = json!({"schemaVersion": 2, "config": config, "layers": []});
        image["subject"] = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": 1});
        image[key] = value;
        let text = image.to_string();
        for reference in [path.version.to_string(), "test0".to_owned(), digest(text.as_bytes()).to_string()] {
            let (status, word, message) = error(owner.put(&reference, OCI_IMAGE, &text).await).await;
            assert_eq!((status, word.as_str()), (400, "MANIFEST_INVALID"), "{text}: {message}");
        }
    }
    assert_eq!(owner.get("tags/list").await.json::<Value>().await.unwrap()["tags"], json!([]));
    assert!(fixture.versions.images(path.version).await.unwrap().is_empty());
    let referrers: Value = owner.get(&format!("referrers/{subject}")).await.json().await.unwrap();
    assert_eq!(referrers["manifests"], json!([]));
    assert_eq!(fixture.files(), (1, 0), "the configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_service_takes_no_nul_for_a_user() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (user, password) = fixture.developer(path).await;
    for user in ["\0".to_owned(), format!("{user}\0"), "support\0".to_owned()] {
        let by_query = fixture.request(Method::GET, TOKEN).basic_auth(&user, Some(&password));
        let form = [("grant_type", "password"), ("username", user.as_str()), ("password", password.as_str())];
        for asked in [by_query, fixture.request(Method::POST, TOKEN).form(&form)] {
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{user:?}");
            assert_eq!(answer.json::<Value>().await.unwrap()["qualifier"], "WRONG_CREDENTIALS");
        }
    }
    let scope = format!("{TOKEN}?service=%00&scope=repository:{}%00:pull&account=%00", path.universal());
    let asked = fixture.request(Method::GET, &scope).basic_auth(user, Some(&password)).send().await.unwrap();
    assert_eq!(asked.status(), 200);
    let token = asked.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    assert!(fixture.tokens.verify_registry(&token).unwrap().access.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn push_events_with_odd_bytes_are_left_out() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let name = path.universal().to_string();
    let (tag, image) = (path.version.to_string(), digest(b"an image").to_string());
    let event = |repository: &str, tag: &str, digest: &str| json!({"action": "push", "target": {"repository": repository, "tag": tag, "digest": digest}});
    let events = [
        event(&format!("{name}\0"), &tag, &image),
        event(&name, &format!("{tag}\0"), &image),
        event(&name, "\0", &image),
        event(&name, &tag, &format!("{image}\0")),
        event(&name, "latest", &image),
    ];
    let sent = fixture.request(Method::POST, EVENTS).bearer_auth(crate::fixture::SECRET);
    assert_eq!(sent.json(&json!({"events": events})).send().await.unwrap().status(), 204);
    assert!(fixture.versions.images(path.version).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_carries_the_id_of_its_request() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    for (asked, word) in [
        (fixture.request(Method::GET, TOKEN), "UNAUTHORIZED"),
        (fixture.request(Method::GET, "/v2/"), "UNAUTHORIZED"),
        (owner.request(Method::GET, "manifests/nothing"), "MANIFEST_UNKNOWN"),
    ] {
        for given in [Some("from-the-client"), None, Some("no id at all")] {
            let asked = asked.try_clone().unwrap();
            let asked = given.into_iter().fold(asked, |asked, it| asked.header("x-request-id", it));
            let answer = asked.send().await.unwrap();
            let id = header(answer.headers(), "x-request-id");
            assert_eq!(id == "from-the-client", given == Some("from-the-client"), "{id}");
            assert!(!id.is_empty() && !id.contains(' '), "{id}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!((&body["request_id"], &body["errors"][0]["code"]), (&json!(id), &json!(word)));
        }
    }
}
