//! Tokens for users of all roles.

use actix_web::web::Json;
use omgservers_api::{
    Role,
    entrypoint::{CreateTokenRequest, CreateTokenResponse},
};

use crate::{Services, problem::Answer};

/// A token for a user of one role.
pub(crate) async fn token(
    services: &Services,
    role: Role,
    request: &CreateTokenRequest,
) -> Answer<CreateTokenResponse> {
    let user = services.accounts.verify(&[role], &request.user, &request.password).await?;
    Ok(Json(CreateTokenResponse { raw_token: services.tokens.user(user.id, user.role)? }))
}
