-- The mailboxes of clients.
create table messaging.client_box (
    id bigint primary key,
    user_id bigint not null,
    deployment_id bigint not null,
    -- The runtime that the client is with.
    runtime_id bigint,
    closed boolean not null default false,
    delivery text not null check (delivery in ('durable', 'ephemeral'))
) with (fillfactor = 80, autovacuum_vacuum_cost_delay = 0);

-- The mailboxes of runtimes.
create table messaging.runtime_box (
    id bigint primary key,
    deployment_id bigint not null,
    closed boolean not null default false,
    delivery text not null check (delivery in ('durable', 'ephemeral'))
) with (fillfactor = 80, autovacuum_vacuum_cost_delay = 0);

-- Of each client and runtime: its own counter of the last message that was taken. Narrow, and with room in each page,
-- for a row is rewritten in place with every message.
create table messaging.sender (
    id bigint primary key,
    last_seq bigint not null
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.1,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

-- What waits, and nothing else: a queue. Rows are never changed, and they go when they are consumed, so the table
-- is vacuumed by the number of rows that went, not by a share of those that happen to wait.
create table messaging.entry (
    mailbox_id bigint not null,
    id bigint not null,
    -- 0 waits in the mailbox, 1 was said by a client that has no runtime yet and waits for its first one.
    kind smallint not null,
    qualifier smallint not null,
    body text not null,
    primary key (mailbox_id, id)
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 1000000
);
-- Bodies are short-lived: compressing them costs more than it saves.
alter table messaging.entry alter column body set storage external;
