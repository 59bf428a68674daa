//! Endpoints of support: one handler for each, of the name of its method.

use omgservers_api::{
    Problem, Role,
    entrypoint::{CreateTokenRequest, CreateTokenResponse},
};

use crate::{Api, token::create};
// A handler that is missing here is missing in the file of its noun.
pub(crate) use crate::{developers::*, projects::*, stages::*, tenants::*};

pub(crate) async fn create_token(
    api: Api,
    request: CreateTokenRequest,
) -> Result<CreateTokenResponse, Problem> {
    create(&api, Role::Support, &request).await
}
