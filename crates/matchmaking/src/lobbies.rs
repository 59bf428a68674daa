//! Lobbies of deployments: `rules` decides, `reconcile` collects the facts for it, `apply` carries
//! the steps out.

mod apply;
mod reconcile;
mod rules;
pub(crate) mod state;

pub(crate) use self::apply::OnClose;
