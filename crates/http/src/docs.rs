//! The API for those who read it.

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};

use crate::document::{document, page};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.route("/openapi.json", web::get().to(openapi)).route("/docs", web::get().to(docs));
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// A page without scripts from elsewhere.
async fn docs() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page())
}
