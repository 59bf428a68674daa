//! Says how to look at what runs, and how to stop it.

use omgservers_client::api::{DeploymentId, Role};

use super::{Demo, backend::DemoBackend, steps::Steps, studio::Studio};
use crate::store::{Login, Store};

/// Keeps the logins for `omgctl` in the data directory and tells what to type.
pub(crate) fn show(
    demo: &Demo,
    backend: &DemoBackend,
    studio: &Studio,
    deployment: DeploymentId,
    steps: &Steps,
) -> anyhow::Result<()> {
    let file = demo.data_dir.join("omgctl.json");
    let store = Store::open(Some(file.clone()))?;
    let url = backend.client.base_url();
    let login = |user: String, token: &str| Login { url: url.to_owned(), user, token: token.to_owned() };
    store.put("default", Role::Support, login("support".to_owned(), &studio.support_token))?;
    store.put(
        "default",
        Role::Developer,
        login(studio.developer_user.to_string(), &studio.developer_token),
    )?;

    let file = file.display();
    let alias = &studio.alias;
    let ctl = ctl();
    let log = backend.log.display();
    let stop = match &backend.pid {
        Some(_) => format!("kill $(cat {})", backend.pid_file.display()),
        None => "where it was started".to_owned(),
    };
    steps.note(&format!(
        "\nThe backend goes on. To look at it:\n\
         \x20 export OMGCTL_CONFIG={file}\n\
         \x20 {ctl} developer get-deployment-details {alias} {deployment}\n\
         \x20 {ctl} developer get-tenant-details {alias}\n\
         \x20 docker ps        the game servers; docker logs <name> shows what one says\n\
         \x20 {log}        the backend's log\n\
         \x20 {url}/metrics        figures for Prometheus\n\
         \x20 {url}/docs        the HTTP API\n\
         To stop it: {stop}"
    ))
}

/// How `omgctl` is called: beside this program, or through cargo.
fn ctl() -> String {
    let beside = std::env::current_exe().ok().map(|it| it.with_file_name("omgctl")).filter(|it| it.is_file());
    match beside {
        Some(path) => path.display().to_string(),
        None => "cargo run -q --release -p omgservers-ctl --bin omgctl --".to_owned(),
    }
}
