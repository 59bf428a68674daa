-- The deployments of a stage, in the slot of the stage's tenant: one transaction there decides which one is the
-- newest. A row whose deployment is gone is of a deletion that broke off; a reader removes it.
create table deployments.listed (
    stage_id bigint not null,
    id bigint not null,
    created timestamptz not null,
    version_id bigint not null,
    primary key (stage_id, id),
    -- Two deployments of a stage are never of the same age: the newest one is the one.
    constraint listed_age_key unique (stage_id, created)
);
create index listed_version_id_idx on deployments.listed (version_id, stage_id, id);

insert into deployments.listed (stage_id, id, created, version_id)
select stage_id, id, created, version_id from deployments.deployment;

-- The deployment itself is in the slot that its id names. `listed` is false until it is in the list; one that stays
-- so is of a deployment that broke off, or of an older server that doesn't know the list.
alter table deployments.deployment add column listed boolean not null default true;
alter table deployments.deployment alter column listed set default false;
alter table deployments.deployment drop constraint deployment_age_key;
alter table deployments.deployment drop constraint deployment_pkey;
alter table deployments.deployment drop constraint deployment_id_key;
alter table deployments.deployment add primary key (id);
create index deployment_unlisted_idx on deployments.deployment (created) where not listed;
