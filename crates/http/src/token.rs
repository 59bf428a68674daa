//! Tokens for users of all roles: this crate issues them, and revokes those of a user that is
//! deleted.

use omgservers_api::{
    Problem, Role, UserId,
    entrypoint::{CreateTokenRequest, CreateTokenResponse},
};

use crate::HttpServices;

/// Issues a token for a user of `role`. Errors: `auth.credentials`.
pub(crate) async fn create(
    services: &HttpServices,
    role: Role,
    request: &CreateTokenRequest,
) -> Result<CreateTokenResponse, Problem> {
    let user = services.accounts.verify(&[role], &request.user, &request.password).await?;
    Ok(CreateTokenResponse { raw_token: services.tokens.user(user.id, user.role)? })
}

/// Refuses the tokens of a user from now on, without waiting for their end.
pub(crate) fn revoke(services: &HttpServices, user: UserId) {
    services.tokens.revoke_user(user);
}
