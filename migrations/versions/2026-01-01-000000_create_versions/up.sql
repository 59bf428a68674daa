-- A version never changes after it was made. `config` is text and not jsonb: what the developer put into
-- `user_data` must come back byte for byte, and jsonb reorders keys and rounds numbers.
create table versions.version (
    id bigint primary key,
    tenant_id bigint not null,
    project_id bigint not null,
    config text not null,
    created timestamptz not null
);
create index version_project_id_idx on versions.version (project_id, id);

-- One image of each kind: a later push replaces it.
create table versions.image (
    version_id bigint not null references versions.version (id) on delete cascade,
    qualifier text not null check (qualifier in ('LOBBY', 'MATCH', 'UNIVERSAL')),
    id bigint not null,
    repository text not null,
    tag text not null,
    digest text not null,
    created timestamptz not null,
    primary key (version_id, qualifier)
);
