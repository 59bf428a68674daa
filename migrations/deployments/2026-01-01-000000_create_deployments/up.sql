-- The slot of a deployment's own data is in `id`, a root; the row itself lives with its stage, so that one
-- transaction can decide which deployment of a stage is the newest.
create table deployments.deployment (
    stage_id bigint not null,
    id bigint not null,
    tenant_id bigint not null,
    project_id bigint not null,
    version_id bigint not null,
    config jsonb not null,
    images jsonb not null,
    created timestamptz not null,
    primary key (stage_id, id),
    constraint deployment_id_key unique (id),
    -- Two deployments of a stage are never of the same age: the newest one is the one.
    constraint deployment_age_key unique (stage_id, created)
);
create index deployment_version_id_idx on deployments.deployment (version_id, id);
