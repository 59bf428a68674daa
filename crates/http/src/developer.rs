//! Endpoints of developers: one handler for each, of the name of its method.

use omgservers_api::{
    Problem, Role,
    entrypoint::{CreateTokenRequest, CreateTokenResponse},
};

use crate::{Api, token::create};
// A handler that is missing here is missing in the file of its noun.
pub(crate) use crate::{
    deployments::{deploy_version as create_deployment, *},
    projects::*,
    stages::*,
    tenants::*,
    versions::*,
};

pub(crate) async fn create_token(
    api: Api,
    request: CreateTokenRequest,
) -> Result<CreateTokenResponse, Problem> {
    create(&api, Role::Developer, &request).await
}
