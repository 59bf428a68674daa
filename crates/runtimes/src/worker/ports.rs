//! Where the ports of runtimes are.

use omgservers_api::{HostId, RuntimeId, config::PortConfig, interchange::DirectPort};
use omgservers_core::Ticks;
use serde_json::Value;

use super::{host_view::HostView, reconcile::Reconcile};
use crate::{
    host::{Attempt, PublishedPort},
    rules::{Desired, Observed},
    store::Row,
};

impl Reconcile {
    /// Records that a runtime runs. One whose ports aren't known yet has to wait for its host's
    /// next list.
    pub(super) async fn adopt(&mut self, id: RuntimeId, host: HostId, attempt: Attempt, now: Ticks) {
        let Some(row) = self.entries.get(&id).map(|it| &it.row) else { return };
        let mut known = None;
        if row.has_ports() {
            known = self.views.get(&host).and_then(|it| published(row, it, attempt));
            if known.is_none() {
                return;
            }
        }
        self.record_running(id, known, now).await;
    }

    /// Records ports that are elsewhere than they were: a daemon that restarts may move them.
    pub(super) async fn follow_ports(&mut self, now: Ticks) {
        let moved = |row: &Row| {
            let view = self.views.get(&row.host_id?)?;
            let runs = (row.desired(), row.observed()) == (Desired::Run, Observed::Running);
            let attempt = Attempt { runtime: row.id, epoch: row.epoch() };
            let ports = (runs && row.has_ports()).then(|| published(row, view, attempt))??;
            (row.published.as_ref() != Some(&ports)).then_some((row.id, ports))
        };
        let moved: Vec<(RuntimeId, Value)> = self.entries.values().filter_map(|it| moved(&it.row)).collect();
        for (id, ports) in moved {
            self.record_published(id, &ports, now).await;
        }
    }
}

/// The ports of an attempt as the row keeps them; `None` as long as one is missing.
fn published(row: &Row, view: &HostView, attempt: Attempt) -> Option<Value> {
    let ports = named(&row.ports(), view.ports(attempt))?;
    serde_json::to_value(ports).ok()
}

/// Gives published ports their names; `None` when one isn't published.
fn named(wanted: &[PortConfig], published: &[PublishedPort]) -> Option<Vec<DirectPort>> {
    let named = |port: &PortConfig| {
        let found = published.iter().find(|it| (it.protocol, it.container) == (port.protocol, port.port))?;
        Some(DirectPort { name: port.name.clone(), protocol: port.protocol, port: found.host })
    };
    wanted.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use omgservers_api::config::PortProtocol::{Tcp, Udp};

    use super::*;

    #[test]
    fn ports_keep_their_names_and_none_may_be_missing() {
        let port = |name: &str, protocol, port| PortConfig { name: name.into(), protocol, port };
        let at = |protocol, container, host| PublishedPort { protocol, container, host };
        let wanted = [port("game", Udp, 7777), port("voice", Tcp, 7777)];
        let published = [at(Tcp, 7777, 40_001), at(Udp, 9, 40_002), at(Udp, 7777, 40_003)];
        let direct = |name: &str, protocol, port| DirectPort { name: name.into(), protocol, port };
        let expected = vec![direct("game", Udp, 40_003), direct("voice", Tcp, 40_001)];
        assert_eq!(named(&wanted, &published), Some(expected));
        assert_eq!(named(&wanted, &published[1..]), None);
        assert_eq!(named(&[], &published), Some(Vec::new()));
    }
}
