//! `omgservers keys rotate`, beside a server that runs and before the next start.

use std::{collections::BTreeSet, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use omgservers_testkit::TestDb;
use serde_json::{Value, json};

use crate::program::{Serve, Served, client, folder, omgservers};

const PASSWORD: &str = "a password of 20 ch";

async fn start(data: &Path, database: &str) -> Served {
    let serve = Serve::new(data).set("OMGSERVERS__DATABASE__URL", database);
    serve.set("OMGSERVERS__BOOTSTRAP__SUPPORT_PASSWORD", PASSWORD).start().await
}

async fn get(server: &Served, verb: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let url = format!("{}/service/v1/entrypoint/support/request/{verb}", server.url);
    let request = client().post(url).json(body);
    let answer = token.into_iter().fold(request, |request, it| request.bearer_auth(it)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn token(server: &Served) -> String {
    let body = json!({"user": "support", "password": PASSWORD});
    let (status, answer) = get(server, "create-token", None, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer.get("raw_token").and_then(Value::as_str).unwrap().to_owned()
}

/// The key that a token names.
fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header.get("kid").and_then(Value::as_str).unwrap().to_owned()
}

/// The keys of one kind in the data directory.
fn keys(data: &Path, kind: &str) -> BTreeSet<String> {
    let names = std::fs::read_dir(data.join("keys")).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|it| it.strip_suffix(".pem").map(str::to_owned))
        .filter(|it| it.starts_with(kind))
        .collect()
}

#[tokio::test]
async fn after_a_rotation_and_a_restart_a_new_key_signs_and_old_tokens_are_still_good() {
    let (folder, db) = (folder(), TestDb::new(&[]).await);
    let data = folder.path().join("data");
    let mut server = start(&data, db.url()).await;
    let old = token(&server).await;
    let (authority, before) =
        (std::fs::read(data.join("keys/registry-ca.crt")).unwrap(), keys(&data, "ed25519-"));
    assert_eq!(before, BTreeSet::from([kid(&old)]));

    let rotated = omgservers().args(["keys", "rotate", "--data-dir"]).arg(&data).output().unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(String::from_utf8(rotated.stdout).unwrap().contains("next start"));
    let after = keys(&data, "ed25519-");
    let [new] = after.difference(&before).cloned().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((after.len(), keys(&data, "connect-").len()), (2, 2), "one more of each kind");
    assert_eq!(kid(&token(&server).await), kid(&old), "a server that runs goes on with the key that it has");

    server.stop().await;
    let server = start(&data, db.url()).await;
    let fresh = token(&server).await;
    assert_eq!(kid(&fresh), new);
    for good in [&old, &fresh] {
        let (status, answer) = get(&server, "create-tenant", Some(good), &json!({})).await;
        assert_eq!(status, 200, "{answer}");
    }
    let forged = format!("{}.{}", fresh.rsplit_once('.').unwrap().0, old.rsplit_once('.').unwrap().1);
    assert_eq!(get(&server, "create-tenant", Some(&forged), &json!({})).await.0, 401);
    assert_eq!(std::fs::read(data.join("keys/registry-ca.crt")).unwrap(), authority, "registries know it");
}
