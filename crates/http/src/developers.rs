//! Endpoints about developers, the users.

use omgservers_api::{
    Problem, Role,
    entrypoint::{
        CreatedResponse, DeletedResponse, Empty,
        support::{CreateDeveloperAliasRequest, CreateDeveloperResponse, DeleteDeveloperRequest},
    },
};
use omgservers_core::Caller;

use crate::{Api, token};

pub(crate) async fn create_developer(
    api: Api,
    caller: Caller,
    _: Empty,
) -> Result<CreateDeveloperResponse, Problem> {
    let made = api.accounts.create(&caller, Role::Developer).await?;
    Ok(CreateDeveloperResponse { user_id: made.id, password: made.password })
}

pub(crate) async fn create_developer_alias(
    api: Api,
    caller: Caller,
    request: CreateDeveloperAliasRequest,
) -> Result<CreatedResponse, Problem> {
    api.accounts.create_alias(&caller, Role::Developer, request.developer_user_id, &request.alias).await?;
    Ok(CreatedResponse { created: true })
}

pub(crate) async fn delete_developer(
    api: Api,
    caller: Caller,
    request: DeleteDeveloperRequest,
) -> Result<DeletedResponse, Problem> {
    // The id is needed afterwards, when the name is gone.
    let found = api.accounts.find(&request.user).await.ok();
    let deleted = api.accounts.delete(&caller, Role::Developer, &request.user).await?;
    if let (true, Some(user)) = (deleted, found) {
        token::revoke(&api, user.id);
    }
    Ok(DeletedResponse { deleted })
}
