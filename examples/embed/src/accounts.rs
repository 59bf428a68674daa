//! `accounts`: users of every role, and what proves who they are.

use std::sync::Arc;

use omgservers_accounts::{Accounts, AccountsParts, PgAccounts};
use omgservers_auth::{Passwords, Secrets};

use crate::Base;

/// bcrypt's cost, and how many passwords are hashed at the same time.
const PASSWORDS: (u32, usize) = (10, 2);

/// Makes the service. It has nothing to its left.
pub fn build(base: &Base) -> Arc<dyn Accounts> {
    let (cost, threads) = PASSWORDS;
    Arc::new(PgAccounts::new(AccountsParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        passwords: Arc::new(Passwords::new(cost, threads)),
        secrets: Arc::new(Secrets::new(&base.keys)),
    }))
}
