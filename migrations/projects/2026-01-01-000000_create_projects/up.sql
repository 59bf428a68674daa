-- The tenant lives in another schema. All rows here live in its slot.
create table projects.project (
    id bigint primary key,
    tenant_id bigint not null,
    created timestamptz not null,
    constraint project_of_tenant unique (tenant_id, id)
);

-- Keys of two columns, here and below: a stage can't be in a project of another tenant, and a name can't be given
-- in one place to what is in another.
create table projects.stage (
    id bigint primary key,
    tenant_id bigint not null,
    project_id bigint not null,
    created timestamptz not null,
    constraint stage_of_project unique (project_id, id),
    foreign key (tenant_id, project_id) references projects.project (tenant_id, id) on delete cascade
);
create index stage_of_tenant on projects.stage (tenant_id, project_id);

create table projects.project_alias (
    tenant_id bigint not null,
    value text not null,
    id bigint not null,
    project_id bigint not null,
    created timestamptz not null,
    constraint project_alias_key primary key (tenant_id, value),
    foreign key (tenant_id, project_id) references projects.project (tenant_id, id) on delete cascade
);
create index project_alias_of_project on projects.project_alias (tenant_id, project_id);

create table projects.stage_alias (
    project_id bigint not null,
    value text not null,
    id bigint not null,
    stage_id bigint not null,
    created timestamptz not null,
    constraint stage_alias_key primary key (project_id, value),
    foreign key (project_id, stage_id) references projects.stage (project_id, id) on delete cascade
);
create index stage_alias_of_stage on projects.stage_alias (project_id, stage_id);

-- Who may do what. The users live in another schema.
create table projects.project_permission (
    project_id bigint not null references projects.project (id) on delete cascade,
    user_id bigint not null,
    kind text not null,
    id bigint not null,
    created timestamptz not null,
    constraint project_permission_key primary key (project_id, user_id, kind)
);
create index project_permission_of_user on projects.project_permission (user_id);

create table projects.stage_permission (
    stage_id bigint not null references projects.stage (id) on delete cascade,
    user_id bigint not null,
    kind text not null,
    id bigint not null,
    created timestamptz not null,
    constraint stage_permission_key primary key (stage_id, user_id, kind)
);
create index stage_permission_of_user on projects.stage_permission (user_id);
