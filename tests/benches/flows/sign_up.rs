//! Sign-up: a user and its first token.

use std::net::SocketAddr;

use anyhow::ensure;
use omgservers_tests::Backend;
use serde::Deserialize;

use crate::{
    baseline::INSERT,
    load::{self, Script, request},
    process::Baseline,
    report::{Bar, Measurement},
    rounds::{Rounds, Side},
};

const CONNECTIONS: usize = 32;
const CREATE_USER: &str = "/service/v1/entrypoint/player/request/create-user";
const CREATE_TOKEN: &str = "/service/v1/entrypoint/player/request/create-token";

/// Makes a user, and then a token for it.
struct SignUp {
    address: SocketAddr,
    create: Vec<u8>,
    /// Set between the two.
    token: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Made<'a> {
    user_id: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Signed<'a> {
    raw_token: &'a str,
}

impl Script for SignUp {
    fn request(&self) -> &[u8] {
        self.token.as_ref().unwrap_or(&self.create)
    }

    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        if self.token.take().is_some() {
            let signed: Signed<'_> = serde_json::from_slice(body)?;
            ensure!(signed.raw_token.len() > 100, "no token");
            return Ok(true);
        }
        let Made { user_id, password } = serde_json::from_slice(body)?;
        let body = format!(r#"{{"user_id":"{user_id}","password":"{password}"}}"#);
        self.token = Some(request(self.address, CREATE_TOKEN, None, &body));
        Ok(false)
    }
}

struct Insert(Vec<u8>);

impl Script for Insert {
    fn request(&self) -> &[u8] {
        &self.0
    }

    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        ensure!(body.starts_with(br#"{"user_id":"#), "no row");
        Ok(true)
    }
}

pub(crate) async fn measure(
    backend: &Backend,
    baseline: &Baseline,
    rounds: Rounds,
) -> anyhow::Result<Vec<Measurement>> {
    let address = backend.address();
    let ours = move |time| {
        let create = || request(address, CREATE_USER, None, "{}");
        let scripts = (0..CONNECTIONS).map(|_| SignUp { address, create: create(), token: None });
        load::run(address, scripts.collect(), time)
    };
    let theirs = baseline.address;
    let inserts = move |time| {
        let scripts = (0..CONNECTIONS).map(|_| Insert(request(theirs, INSERT, None, "{}")));
        load::run(theirs, scripts.collect(), time)
    };
    let ours = Side { process: backend.process(), load: ours };
    let theirs = Side { process: baseline.id(), load: inserts };
    let compared = tokio::task::spawn_blocking(move || rounds.compare("sign-up", ours, theirs)).await??;
    let what = "one durable insert per request";
    Ok(vec![
        Measurement::new("sign_up_throughput", "Pairs of sign-up and token, 32 connections", "per s")
            .compared(compared.ours.per_second, what, compared.baseline.per_second)
            .ratio(compared.throughput, Bar::AtLeast(0.6)),
        Measurement::new("sign_up_p99", "Pairs of sign-up and token, 32 connections, p99", "µs")
            .compared(compared.ours.p99, what, compared.baseline.p99)
            .ratio(compared.p99, Bar::None),
    ])
}
