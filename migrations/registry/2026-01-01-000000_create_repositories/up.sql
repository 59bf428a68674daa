-- Repositories are keyed by their parts, so that each key starts with the tenant, whose id carries the slot.
create table registry.repository (
    tenant_id bigint not null,
    project_id bigint not null,
    kind text not null check (kind in ('UNIVERSAL', 'LOBBY', 'MATCH')),
    created timestamptz not null,
    primary key (tenant_id, project_id, kind)
);

-- A blob that a repository has. The bytes are in the data directory, once for all repositories.
create table registry.link (
    tenant_id bigint not null,
    project_id bigint not null,
    kind text not null,
    digest text not null,
    size bigint not null check (size >= 0),
    touched timestamptz not null,
    primary key (tenant_id, project_id, kind, digest),
    foreign key (tenant_id, project_id, kind) references registry.repository on delete cascade
);
create index link_digest on registry.link (digest);

create table registry.manifest (
    tenant_id bigint not null,
    project_id bigint not null,
    kind text not null,
    digest text not null,
    media_type text not null,
    size bigint not null check (size >= 0),
    subject text,
    artifact_type text,
    annotations jsonb,
    touched timestamptz not null,
    primary key (tenant_id, project_id, kind, digest),
    foreign key (tenant_id, project_id, kind) references registry.repository on delete cascade
);
create index manifest_digest on registry.manifest (digest);
create index manifest_subject on registry.manifest (tenant_id, project_id, kind, subject, digest)
    where subject is not null;

-- What a manifest is made of: blobs, and the manifests of an index.
create table registry.reference (
    tenant_id bigint not null,
    project_id bigint not null,
    kind text not null,
    parent text not null,
    target text not null,
    primary key (tenant_id, project_id, kind, parent, target),
    foreign key (tenant_id, project_id, kind, parent) references registry.manifest on delete cascade
);
create index reference_target on registry.reference (tenant_id, project_id, kind, target);

-- Sorted by bytes, as clients sort.
create table registry.tag (
    tenant_id bigint not null,
    project_id bigint not null,
    kind text not null,
    name text collate "C" not null,
    digest text not null,
    touched timestamptz not null,
    primary key (tenant_id, project_id, kind, name),
    foreign key (tenant_id, project_id, kind, digest) references registry.manifest on delete cascade
);
create index tag_digest on registry.tag (tenant_id, project_id, kind, digest);

create table registry.upload (
    tenant_id bigint not null,
    project_id bigint not null,
    kind text not null,
    id text not null,
    touched timestamptz not null,
    primary key (tenant_id, project_id, kind, id),
    foreign key (tenant_id, project_id, kind) references registry.repository on delete cascade
);
