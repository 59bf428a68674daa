//! What HTTP calls instead of the services that own slots.

use std::sync::Arc;

use omgservers_core::{
    Ownership,
    remote::{CallHandler, Loopback, MAX_CALL_BYTES, Router, RouterMode},
};
use omgservers_matchmaking::{Matchmaking, MatchmakingHandler, RoutedMatchmaking};
use omgservers_messaging::{Mail, MailHandler, RoutedMail};

/// The facades of the services that own slots: the services themselves, or routed calls of them.
pub struct Facades {
    /// Mailboxes of players and runtimes.
    pub mail: Arc<dyn Mail>,
    /// Lobbies, matches and tickets.
    pub matchmaking: Arc<dyn Matchmaking>,
}

impl Facades {
    pub(super) fn new(
        mode: RouterMode,
        mail: Arc<dyn Mail>,
        matchmaking: Arc<dyn Matchmaking>,
        ownership: &Ownership,
    ) -> Self {
        let loopback = |handler: Arc<dyn CallHandler>| -> Arc<dyn Router> {
            Arc::new(Loopback::new(handler, ownership.clone(), MAX_CALL_BYTES))
        };
        match mode {
            RouterMode::Direct => Self { mail, matchmaking },
            RouterMode::Loopback => {
                tracing::info!("calls of facades pass the loop-back router");
                Self {
                    mail: Arc::new(RoutedMail::new(loopback(Arc::new(MailHandler::new(mail))))),
                    matchmaking: Arc::new(RoutedMatchmaking::new(loopback(Arc::new(
                        MatchmakingHandler::new(matchmaking),
                    )))),
                }
            }
        }
    }
}
