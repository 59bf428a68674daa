//! The SQL of the writer. Every statement takes whole columns, so a batch needs only a few
//! statements.

/// Settings of the writer's session. PostgreSQL makes each plan once, and only one plan is
/// possible: the parameters drive an index. A plan from statistics is wrong sooner or later: a
/// queue table is empty in one minute and full in the next.
pub(crate) const SETTINGS: &str = "set statement_timeout = '30s'; set lock_timeout = '10s'; \
     set idle_in_transaction_session_timeout = '10s'; set plan_cache_mode = force_generic_plan; \
     set enable_seqscan = off; set enable_bitmapscan = off; set enable_hashjoin = off; \
     set enable_mergejoin = off; set jit = off";

/// The backend of this session. A process id alone isn't enough: PostgreSQL uses it again.
pub(crate) const BACKEND: &str =
    "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()";

/// Ends the backend of an earlier session and waits for its end; no row when it has ended before.
pub(crate) const END_BACKEND: &str =
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid = $1 and backend_start = $2";

/// The fence: locks the slots against another owner, and fails unless this process still owns them.
/// The failure is a division by zero. The statements behind it in the pipeline then fail too, and
/// the commit rolls back.
pub(crate) const FENCE: &str = "\
    select 1 / coalesce(array_agg(epoch order by number) = $2::int8[], false)::int
    from (select number, epoch from core.slot where number = any($1::int2[]) order by number for share) as entry";

/// The epochs of slots.
pub(crate) const OWNERS: &str = "select number, epoch from core.slot where number = any($1::int2[])";

/// New entries.
pub(crate) const INSERT: &str = "\
    insert into messaging.entry (mailbox_id, id, kind, qualifier, body)
    select * from unnest($1::int8[], $2::int8[], $3::int2[], $4::int2[], $5::text[])";

/// The same for entries that may be there already: it costs a third more.
pub(crate) const INSERT_AGAIN: &str = "\
    insert into messaging.entry (mailbox_id, id, kind, qualifier, body)
    select * from unnest($1::int8[], $2::int8[], $3::int2[], $4::int2[], $5::text[])
    on conflict do nothing";

/// Consumed entries. `offset 0` keeps the planner from turning the join around and reading the
/// whole table.
pub(crate) const CONSUME: &str = "\
    delete from messaging.entry where ctid = any (array(
        select found.ctid
        from unnest($1::int8[], $2::int8[]) as gone (mailbox_id, id),
        lateral (
            select e.ctid from messaging.entry as e
            where e.mailbox_id = gone.mailbox_id and e.id = gone.id offset 0
        ) as found))";

/// Senders' counters. They only grow.
pub(crate) const SEQ: &str = "\
    insert into messaging.sender as s (id, last_seq) select * from unnest($1::int8[], $2::int8[])
    on conflict (id) do update set last_seq = excluded.last_seq where s.last_seq < excluded.last_seq";

/// Counters of removed senders.
pub(crate) const SEQ_GONE: &str = "delete from messaging.sender where id = any($1::int8[])";

/// Clients' mailboxes as they are now.
pub(crate) const CLIENT: &str = "\
    insert into messaging.client_box (id, user_id, deployment_id, runtime_id, closed, delivery, assignment)
    select * from unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::bool[], $6::text[], $7::int8[])
    on conflict (id) do update set
        user_id = excluded.user_id, deployment_id = excluded.deployment_id, runtime_id = excluded.runtime_id,
        closed = excluded.closed, delivery = excluded.delivery, assignment = excluded.assignment";

/// Runtimes' mailboxes as they are now.
pub(crate) const RUNTIME: &str = "\
    insert into messaging.runtime_box (id, deployment_id, closed, delivery, opened)
    select * from unnest($1::int8[], $2::int8[], $3::bool[], $4::text[], $5::int8[])
    on conflict (id) do update set
        deployment_id = excluded.deployment_id, closed = excluded.closed, delivery = excluded.delivery,
        opened = excluded.opened";

/// Removed clients. Their entries are consumed one by one: all of them are in memory.
pub(crate) const CLIENT_GONE: &str = "delete from messaging.client_box where id = any($1::int8[])";

/// Removed runtimes.
pub(crate) const RUNTIME_GONE: &str = "delete from messaging.runtime_box where id = any($1::int8[])";
