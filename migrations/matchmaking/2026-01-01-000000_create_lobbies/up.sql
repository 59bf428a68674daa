-- A lobby and the runtime that is it. The row is written before the runtime is made and deleted after the
-- runtime was told to stop, so no runtime is ever without an owner. `deployment_id` carries the slot.
create table matchmaking.lobby (
    deployment_id bigint not null,
    id bigint not null,
    runtime_id bigint not null,
    closing boolean not null default false,
    created timestamptz not null,
    primary key (deployment_id, id)
);
create unique index lobby_id on matchmaking.lobby (id);

create table matchmaking.matchmaker (
    deployment_id bigint not null,
    id bigint not null,
    created timestamptz not null,
    primary key (deployment_id, id)
);
create unique index matchmaker_id on matchmaking.matchmaker (id);
