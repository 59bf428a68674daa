//! The four workflows of the conformance suite of the OCI distribution specification 1.1. They have
//! the suite's checks, tags, references and orders. The suite
//! itself is a Go program; `docs/registry.md` says how to run it.

use omgservers_api::roles::ImageQualifier;
use omgservers_versions::Repository;
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::fixture::{Client, OCI_IMAGE, OCI_INDEX, RegistryFixture, digest, header};

/// What the suite takes for a manifest that isn't there; it is no tag either.
const NO_MANIFEST: &str = "manifests/.INVALID_MANIFEST_NAME";
/// The words that an error may have.
const WORDS: &[&str] = &[
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
];

/// Fails with the name of the check unless the status is the expected one; answers the headers and
/// the body.
async fn check(name: &str, answer: Response, status: u16) -> (HeaderMap, String) {
    let (found, headers) = (answer.status(), answer.headers().clone());
    let body = answer.text().await.unwrap();
    assert_eq!(found, StatusCode::from_u16(status).unwrap(), "{name}: {body}");
    (headers, body)
}

/// The same for an answer that has a `Location`, which is answered.
async fn located(name: &str, answer: Response, status: u16) -> String {
    let (headers, _) = check(name, answer, status).await;
    let location = header(&headers, "location");
    assert!(!location.is_empty(), "{name}: without a Location");
    location
}

async fn post(owner: &Client<'_>, query: &str) -> Response {
    owner.request(Method::POST, &format!("blobs/uploads/{query}")).send().await.unwrap()
}

/// An image with one layer, and its blobs pushed before.
async fn image(owner: &Client<'_>, about: &str) -> Value {
    let config = json!({"architecture": "amd64", "os": "linux", "author": about}).to_string();
    let (config, layer) = (owner.part(&config).await, owner.part("a layer").await);
    json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": [layer]})
}

async fn tags(owner: &Client<'_>, name: &str, query: &str) -> Vec<String> {
    let (_, body) = check(name, owner.get(&format!("tags/list{query}")).await, 200).await;
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(list["name"], owner.repository.to_string(), "{name}");
    list["tags"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_pull() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let manifest = image(&owner, "pull").await;
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let (manifest, _) = owner.manifest("tagtest0", OCI_IMAGE, &manifest).await;
    assert_eq!(tags(&owner, "the name of the tag", "").await, ["tagtest0"]);

    let none = format!("blobs/{}", digest(b"hello world"));
    check("HEAD of a blob that isn't there", owner.head(&none).await, 404).await;
    check("GET of a blob that isn't there", owner.get(&none).await, 404).await;
    let there = format!("blobs/{config}");
    let (headers, _) = check("HEAD of a blob", owner.head(&there).await, 200).await;
    assert_eq!(header(&headers, "docker-content-digest"), config);
    check("GET of a blob", owner.get(&there).await, 200).await;

    check("HEAD of a manifest that isn't there", owner.head(NO_MANIFEST).await, 404).await;
    check("GET of a manifest that isn't there", owner.get(NO_MANIFEST).await, 404).await;
    for reference in [manifest.to_string(), "tagtest0".to_owned()] {
        let path = format!("manifests/{reference}");
        let head = owner.request(Method::HEAD, &path).header("accept", OCI_IMAGE).send().await.unwrap();
        let (headers, _) = check("HEAD of a manifest by digest and by tag", head, 200).await;
        assert_eq!(header(&headers, "docker-content-digest"), manifest.to_string());
        let got = owner.request(Method::GET, &path).header("accept", OCI_IMAGE).send().await.unwrap();
        check("GET of a manifest by digest and by tag", got, 200).await;
    }

    let wrong = owner.put("sha256:totallywrong", OCI_IMAGE, "blablabla").await;
    let (_, body) = check("an error has a word of the specification", wrong, 400).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(WORDS.contains(&body["errors"][0]["code"].as_str().unwrap()), "{body}");

    check("the manifest is deleted", owner.delete(&format!("manifests/{manifest}")).await, 202).await;
    check("the configuration is deleted", owner.delete(&there).await, 202).await;
    check("the layer is deleted", owner.delete(&format!("blobs/{}", digest(b"a layer"))).await, 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_push_of_blobs_streamed_and_monolithic() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let started = located("POST starts a streamed upload", post(&owner, "").await, 202).await;
    let stream = owner.at(Method::PATCH, &started).header("content-type", "application/octet-stream");
    let stream = stream.body("blob a").send().await.unwrap();
    let going_on = located("PATCH takes a blob in one stream", stream, 202).await;
    let finished = owner.finish(&going_on, &digest(b"blob a"), b"").await;
    located("PUT with the digest ends the stream", finished, 201).await;

    let none = format!("blobs/{}", digest(b"hello world"));
    check("GET of a blob that isn't there", owner.get(&none).await, 404).await;
    let at_once = owner.request(Method::POST, &format!("blobs/uploads/?digest={}", digest(b"at once")));
    located("POST with digest and blob", at_once.body("at once").send().await.unwrap(), 201).await;
    let there = format!("blobs/{}", digest(b"at once"));
    check("GET of the blob of that POST", owner.get(&there).await, 200).await;
    let started = located("POST gives a session", post(&owner, "").await, 202).await;
    let put = owner.finish(&started, &digest(b"at once"), b"at once").await;
    located("PUT of a blob that is there already", put, 201).await;
    check("GET of an existing blob", owner.get(&there).await, 200).await;
    let started = located("POST gives a session for a layer", post(&owner, "").await, 202).await;
    located("PUT of a layer", owner.finish(&started, &digest(b"a layer"), b"a layer").await, 201).await;
    check("GET of the layer", owner.get(&format!("blobs/{}", digest(b"a layer"))).await, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_push_of_blobs_in_chunks() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let start = async || {
        let empty = owner.request(Method::POST, "blobs/uploads/").header("content-length", "0");
        located("POST starts a chunked upload", empty.send().await.unwrap(), 202).await
    };
    check("a chunk out of order", owner.chunk(&start().await, 3, b"second").await, 416).await;

    let started = start().await;
    let first = owner.chunk(&started, 0, b"one").await;
    assert_eq!(header(first.headers(), "range"), "0-2", "the range is what came");
    located("the first chunk", first, 202).await;
    check("the first chunk once more", owner.chunk(&started, 0, b"one").await, 416).await;
    let stale = owner.at(Method::GET, &started).send().await.unwrap();
    assert_eq!(header(stale.headers(), "range"), "0-2", "the range of an upload under way");
    let going_on = located("GET of an upload under way", stale, 204).await;
    let going_on = located("the second chunk", owner.chunk(&going_on, 3, b"second").await, 202).await;
    let whole = digest(b"onesecond");
    located("PUT with the digest ends the chunks", owner.finish(&going_on, &whole, b"").await, 201).await;

    // As the suite of 1.0 has it: the last chunk comes with the PUT.
    let started = start().await;
    located("the first chunk of another upload", owner.chunk(&started, 0, b"one").await, 202).await;
    let last = owner.at(Method::PUT, &format!("{started}?digest={whole}")).header("content-range", "3-8");
    located("PUT with the last chunk", last.body("second").send().await.unwrap(), 201).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_push_by_mount() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (from, to) = (path.universal(), path.of(ImageQualifier::Match));
    let blob = fixture.owner(from).blob(b"blob a").await;
    let mut owner = fixture.owner(to);
    owner.token = fixture.token(&[from, to], "pull,push,delete");
    let uploads = format!("/v2/{to}/blobs/uploads/");

    let dummy = digest(b"hello world");
    let without = post(&owner, &format!("?mount={dummy}")).await;
    let session = located("a mount without `from` is an upload", without, 202).await;
    assert!(session.starts_with(&uploads), "{session}");
    let mounted = post(&owner, &format!("?mount={blob}&from={from}")).await;
    let location = located("a mount of another repository's blob", mounted, 201).await;
    assert_eq!(location, format!("/v2/{to}/blobs/{blob}"));
    let got = owner.at(Method::GET, &location).send().await.unwrap();
    check("GET of what was mounted", got, 200).await;
    let unknown = post(&owner, &format!("?mount={dummy}&from={from}")).await;
    let session = located("a mount of a blob that isn't there is an upload", unknown, 202).await;
    assert!(session.starts_with(&uploads), "{session}");
    // OCI_AUTOMATIC_CROSSMOUNT=0: nobody gets what somebody else has by knowing its digest.
    let automatic = post(&owner, &format!("?mount={blob}")).await;
    located("a mount without `from` isn't searched for", automatic, 202).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_push_of_manifests() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let manifest = image(&owner, "push").await;
    check("GET of a manifest that isn't there", owner.get(NO_MANIFEST).await, 404).await;
    for tag in ["test0", "test1", "test2", "test3"] {
        located("PUT of a manifest", owner.put(tag, OCI_IMAGE, &manifest.to_string()).await, 201).await;
    }
    let mut empty = manifest.clone();
    empty["layers"] = json!([]);
    let without_layers = owner.put("emptylayer", OCI_IMAGE, &empty.to_string()).await;
    located("PUT of a manifest without layers", without_layers, 201).await;
    let path = format!("manifests/{}", digest(manifest.to_string().as_bytes()));
    let got = owner.request(Method::GET, &path).header("accept", OCI_IMAGE).send().await.unwrap();
    check("GET of the manifest by digest", got, 200).await;

    check("the manifest is deleted", owner.delete(&path).await, 202).await;
    let empty = format!("manifests/{}", digest(empty.to_string().as_bytes()));
    check("the manifest without layers is deleted", owner.delete(&empty).await, 202).await;
    for part in [&manifest["config"], &manifest["layers"][0]] {
        let blob = format!("blobs/{}", part["digest"].as_str().unwrap());
        check("a blob is deleted behind its manifest", owner.delete(&blob).await, 202).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_content_discovery_of_tags() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let manifest = image(&owner, "discovery").await.to_string();
    for tag in ["test0", "test1", "test2", "test3"] {
        located("PUT of a manifest", owner.put(tag, OCI_IMAGE, &manifest).await, 201).await;
    }
    assert_eq!(tags(&owner, "the list of tags", "").await, ["test0", "test1", "test2", "test3"]);
    let some = tags(&owner, "`n` limits the list", "?n=2").await;
    assert_eq!(some, ["test0", "test1"]);
    assert_eq!(tags(&owner, "`last` is where it goes on", "?n=2&last=test1").await, ["test2", "test3"]);
}

/// A manifest about `subject`, put by its digest; answers its digest.
async fn refer(owner: &Client<'_>, subject: &str, note: &str, kind: &str, more: &Value) -> String {
    let about = json!({"mediaType": OCI_IMAGE, "digest": subject, "size": 2});
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "subject": about, "annotations": {"org.test.note": note},
    });
    for (key, value) in more.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    let text = manifest.to_string();
    let digest = digest(text.as_bytes()).to_string();
    let (headers, _) = check("PUT of a referrer", owner.put(&digest, kind, &text).await, 201).await;
    assert_eq!(header(&headers, "oci-subject"), subject);
    digest
}

async fn referrers(owner: &Client<'_>, name: &str, of: &str) -> (HeaderMap, Vec<Value>) {
    let (headers, body) = check(name, owner.get(&format!("referrers/{of}")).await, 200).await;
    assert_eq!(header(&headers, "content-type"), OCI_INDEX, "{name}");
    let index: Value = serde_json::from_str(&body).unwrap();
    (headers, index["manifests"].as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_content_discovery_of_referrers() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let subject = image(&owner, "referred").await;
    let of = digest(subject.to_string().as_bytes()).to_string();
    let (a, b) = ("application/vnd.test.a", "application/vnd.test.b");
    let (mut config, layer) = (owner.part("{}").await, owner.part("about it").await);
    config["mediaType"] = a.into();
    let by_config = json!({"config": config, "layers": [layer]});
    config["mediaType"] = "application/vnd.oci.empty.v1+json".into();
    let by_field = json!({"artifactType": b, "config": config, "layers": [layer]});
    let index = json!({"artifactType": a, "manifests": []});
    // Before their subject is there, and behind it.
    let mut all = vec![
        refer(&owner, &of, "1", OCI_IMAGE, &by_config).await,
        refer(&owner, &of, "2", OCI_IMAGE, &by_field).await,
        refer(&owner, &of, "3", OCI_INDEX, &index).await,
    ];
    owner.manifest("tagtest0", OCI_IMAGE, &subject).await;
    all.push(refer(&owner, &of, "4", OCI_IMAGE, &by_field).await);
    all.push(refer(&owner, &of, "5", OCI_INDEX, &json!({"artifactType": b, "manifests": []})).await);
    let missing = digest(b"missing").to_string();
    let lonely = refer(&owner, &missing, "6", OCI_IMAGE, &by_field).await;

    let dummy = digest(b"hello world").to_string();
    assert!(referrers(&owner, "nothing refers to what isn't there", &dummy).await.1.is_empty());
    let (_, found) = referrers(&owner, "all that refer to a manifest", &of).await;
    let mut digests: Vec<String> = found.iter().map(|it| it["digest"].as_str().unwrap().to_owned()).collect();
    digests.sort_unstable();
    all.sort_unstable();
    assert_eq!(digests, all);
    assert!(found.iter().all(|it| it["annotations"].as_object().unwrap().len() == 1), "{found:?}");
    let filtered = format!("{of}?artifactType={a}");
    let (headers, found) = referrers(&owner, "those of one artifact type", &filtered).await;
    assert_eq!((header(&headers, "oci-filters-applied"), found.len()), ("artifactType".to_owned(), 2));
    assert!(found.iter().all(|it| it["artifactType"] == a), "{found:?}");
    let (_, found) = referrers(&owner, "what refers to a manifest that isn't there", &missing).await;
    assert_eq!((found.len(), &found[0]["digest"]), (1, &json!(lonely)));
}

async fn delete_twice(owner: &Client<'_>, path: &str) {
    check("DELETE", owner.delete(path).await, 202).await;
    check("GET of what was deleted", owner.get(path).await, 404).await;
    check("DELETE of what was deleted", owner.delete(path).await, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_content_management() {
    let fixture = RegistryFixture::new().await;
    let repository: Repository = fixture.version_path().await.universal();
    let owner = fixture.owner(repository);
    let manifest = image(&owner, "management").await;
    let (digest, _) = owner.manifest("tagtest0", OCI_IMAGE, &manifest).await;
    assert_eq!(tags(&owner, "one tag before anything is deleted", "").await.len(), 1);
    delete_twice(&owner, "manifests/tagtest0").await;
    delete_twice(&owner, &format!("manifests/{digest}")).await;
    assert!(tags(&owner, "the list of tags is one less", "").await.is_empty());
    for part in [&manifest["config"], &manifest["layers"][0]] {
        delete_twice(&owner, &format!("blobs/{}", part["digest"].as_str().unwrap())).await;
    }
}
