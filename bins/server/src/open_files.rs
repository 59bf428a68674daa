//! The limit of open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the server opens besides connections of clients: the pool of the database, blobs, Docker.
const BESIDES: u64 = 1_024;

/// Raises the soft limit of open files to the hard one. A shell gives a process 1,024 of them,
/// and beyond that nothing works: neither connections nor image uploads. Warns when the hard limit
/// is below what `max_connections` needs.
pub fn raise(max_connections: u32) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files can't be raised");
    }
    let needed = u64::from(max_connections).saturating_add(BESIDES);
    if let Some(most) = getrlimit(Resource::Nofile).current.filter(|it| *it < needed) {
        tracing::warn!(
            most,
            needed,
            "fewer files may be open than `server.max_connections` needs: raise LimitNOFILE or `ulimit -Hn`"
        );
    }
}
