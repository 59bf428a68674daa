-- A match and the runtime that is it. Like a lobby's, its row is written before the runtime is made and deleted
-- after the runtime was told to stop. `rationale` says why its players are together.
create table matchmaking.match (
    deployment_id bigint not null,
    id bigint not null,
    matchmaker_id bigint not null,
    mode text not null,
    runtime_id bigint not null,
    used boolean not null default false,
    stopped boolean not null default false,
    closing boolean not null default false,
    rationale text not null default '[]',
    created timestamptz not null,
    primary key (deployment_id, id)
);
create unique index match_id on matchmaking.match (id);

-- A wish to be matched: of those who wait, and, with its match, of those who were matched and are still there.
-- The order of ids is the order of the queue. `ending` is set while its clients are told why it ends without a match.
create table matchmaking.ticket (
    deployment_id bigint not null,
    id bigint not null,
    matchmaker_id bigint not null,
    mode text not null,
    body text not null,
    match_id bigint,
    group_index integer,
    ending text,
    created timestamptz not null,
    primary key (deployment_id, id)
);
create unique index ticket_id on matchmaking.ticket (id);
