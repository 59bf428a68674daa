//! All the SQL of this crate. Functions take a connection, so that several can share a transaction.

pub(crate) mod project;
pub(crate) mod stage;

use omgservers_api::{Problem, UserId};
use omgservers_core::Conn;

/// A page, in order, of the users who hold permissions of any kind.
pub(crate) async fn holders_after(
    conn: &mut Conn,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<UserId>, Problem> {
    let mut users = project::holders_after(conn, after, limit).await?;
    users.extend(stage::holders_after(conn, after, limit).await?);
    users.sort_unstable();
    users.dedup();
    users.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(users)
}

/// Deletes all that `users` may do, in projects and in stages.
pub(crate) async fn delete_permissions_of(conn: &mut Conn, users: &[UserId]) -> Result<usize, Problem> {
    Ok(project::delete_permissions_of(conn, users).await? + stage::delete_permissions_of(conn, users).await?)
}
