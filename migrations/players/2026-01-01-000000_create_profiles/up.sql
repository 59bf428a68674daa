-- A player's data in a stage. `profile` is the game's JSON, byte for byte.
create table players.profile (
    user_id bigint not null,
    stage_id bigint not null,
    body text not null,
    ver bigint not null default 1,
    created timestamptz not null,
    modified timestamptz not null,
    primary key (user_id, stage_id)
);
-- For the sweep of deleted stages.
create index profile_stage on players.profile (stage_id);
