//! Cuts ops into commits of bounded size.
//!
//! Many players, large profiles and large configurations make many bytes at once. One commit of all
//! of them would stop the writer, and with it the messages of every tenant.

use omgservers_api::Problem;
use omgservers_messaging::{AckHandle, Mailbox, Messaging, Op};

/// Most bytes of bodies in a commit, unless one group has more.
const MOST_BYTES: usize = 16 << 20;

/// Ops that are committed together.
#[derive(Default)]
pub(crate) struct CommitOps {
    ops: Vec<Op>,
    bytes: usize,
}

impl CommitOps {
    /// Whether ops with so many bytes fit. The first ones always do.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.ops.is_empty() || self.bytes.saturating_add(bytes) <= MOST_BYTES
    }

    pub(crate) fn add(&mut self, ops: Vec<Op>, bytes: usize) {
        self.ops.extend(ops);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Applies the ops, and starts anew. Problems: those of [`Messaging::apply`].
    pub(crate) fn apply(&mut self, messaging: &dyn Messaging) -> Result<AckHandle, Problem> {
        let Self { ops, .. } = std::mem::take(self);
        if ops.is_empty() { Ok(AckHandle::none()) } else { messaging.apply(ops) }
    }
}

/// The bytes of bodies that these ops write: what they push, and the messages that they move.
pub(crate) fn bytes_of(messaging: &dyn Messaging, ops: &[Op]) -> usize {
    let sizes = ops.iter().map(|op| match op {
        Op::Push { body, .. } | Op::Inform { body, .. } | Op::PushAssigned { body, .. } => body.len(),
        Op::Route { client, to: Some(_) } => messaging.client(*client).map_or(0, |it| it.pending_bytes),
        Op::Close(Mailbox::Runtime(runtime)) => {
            messaging.runtime(*runtime).map_or(0, |it| it.unconsumed_bytes)
        }
        _ => 0,
    });
    sizes.fold(0, usize::saturating_add)
}

/// Applies groups of ops in their order. Each group is in one commit, and small groups share one.
/// The handle is that of all of them. Problems: those of [`Messaging::apply`]; the groups before
/// are applied.
pub(crate) fn apply_groups(
    messaging: &dyn Messaging,
    groups: impl IntoIterator<Item = Vec<Op>>,
) -> Result<AckHandle, Problem> {
    let (mut commit, mut ack) = (CommitOps::default(), AckHandle::none());
    for group in groups {
        let bytes = bytes_of(messaging, &group);
        if !commit.fits(bytes) {
            ack = ack.join(commit.apply(messaging)?);
        }
        commit.add(group, bytes);
    }
    Ok(ack.join(commit.apply(messaging)?))
}

#[cfg(test)]
mod tests {
    use omgservers_api::{ClientId, ids::Id as _};

    use super::*;

    #[test]
    fn a_commit_takes_ops_up_to_its_bound_and_one_group_whatever_its_size() {
        let mut commit = CommitOps::default();
        let client = ClientId::from_i64(1).unwrap();
        let group = || vec![Op::Close(Mailbox::Client(client))];
        assert!(commit.fits(MOST_BYTES * 2), "an empty commit takes any group");
        commit.add(group(), MOST_BYTES - 1);
        assert!(commit.fits(1) && !commit.fits(2));
        commit.add(group(), 1);
        assert!(!commit.fits(1) && commit.ops.len() == 2);
    }
}
