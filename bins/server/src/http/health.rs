//! `/healthz`: the process answers. `/readyz`: it can serve. `/metrics`: its gauges.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use serde_json::json;

/// Asks one thing that the server can't do without. The error is a sentence without secrets.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Longer than this a database that answers doesn't take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of the server for those who watch it. Cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    stopping: AtomicBool,
    checks: Vec<(&'static str, Check)>,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
}

impl Health {
    /// Ready is who passes all `checks` and isn't stopping. `metrics` answers in Prometheus' text
    /// format.
    pub fn new(
        checks: Vec<(&'static str, Check)>,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner { stopping: AtomicBool::new(false), checks, metrics: Box::new(metrics) }))
    }

    /// From this on it isn't ready.
    pub fn unready(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    pub(super) fn configure(&self, app: &mut web::ServiceConfig) {
        app.app_data(web::Data::new(self.clone()))
            .service(readable("/healthz").route(web::get().to(healthz)).route(web::head().to(healthz)))
            .service(readable("/readyz").route(web::get().to(readyz)).route(web::head().to(readyz)));
    }

    pub(super) fn configure_metrics(&self, app: &mut web::ServiceConfig) {
        app.app_data(web::Data::new(self.clone()))
            .service(readable("/metrics").route(web::get().to(metrics)));
    }

    /// What keeps the server from being ready.
    pub async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.0.stopping.load(Ordering::Acquire) {
            problems.push("the server is stopping".to_owned());
        }
        for (name, check) in &self.0.checks {
            match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => problems.push(format!("{name}: {reason}")),
                Err(_) => problems.push(format!("{name}: no answer within {CHECK_TIMEOUT:?}")),
            }
        }
        problems
    }
}

/// A path that is only read: other methods get the answer of every endpoint.
fn readable(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(omgservers_http::wrong_method())
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn readyz(health: web::Data<Health>) -> HttpResponse {
    let problems = health.problems().await;
    if problems.is_empty() {
        HttpResponse::Ok().json(json!({ "ready": true }))
    } else {
        HttpResponse::ServiceUnavailable().json(json!({ "ready": false, "problems": problems }))
    }
}

async fn metrics(health: web::Data<Health>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body((health.0.metrics)())
}
