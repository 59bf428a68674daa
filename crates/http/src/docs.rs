//! The API for those who read it.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};

use crate::{
    document::{document, page},
    problem::wrong_method,
};

/// Both are made once. A stranger may ask for them as often as the network allows, and making the
/// document takes milliseconds.
static OPENAPI: LazyLock<String> = LazyLock::new(|| document().to_json().unwrap_or_default());
static PAGE: LazyLock<String> = LazyLock::new(page);

pub(crate) fn routes(config: &mut ServiceConfig) {
    for (path, route) in [("/openapi.json", web::get().to(openapi)), ("/docs", web::get().to(docs))] {
        let resource = web::resource(path).route(route).route(web::head().to(HttpResponse::Ok));
        config.service(resource.default_service(wrong_method()));
    }
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(OPENAPI.as_str())
}

/// A page without scripts from elsewhere.
async fn docs() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(PAGE.as_str())
}
