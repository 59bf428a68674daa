//! Runs the short way on the database whose URL is the first argument.
#![expect(clippy::print_stdout, reason = "this is what a command line is for")]

use omgservers_api::Problem;
use omgservers_core::Db;

#[tokio::main]
async fn main() -> Result<(), Problem> {
    let Some(url) = std::env::args().nth(1) else {
        println!("usage: embed postgres://user@host/database");
        return Ok(());
    };
    Db::migrate(&url, omgservers_embed::SCHEMAS).await?;
    let base = omgservers_embed::Base::new(&url).await?;
    let (user, deployment, profile) = omgservers_embed::accounts_to_players(&base).await?;
    println!("user {user} entered deployment {deployment} with the profile {profile}");
    Ok(())
}
