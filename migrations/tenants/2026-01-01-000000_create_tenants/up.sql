create table tenants.tenant (
    id bigint primary key,
    created timestamptz not null
);

-- Second names of tenants. A name is unique among all tenants, so its row lives in the slot that the name itself
-- gives and not in the tenant's: there is no foreign key. A name whose tenant is gone stands for nothing.
create table tenants.name (
    slot smallint not null check (slot between 0 and 255),
    value text not null,
    id bigint not null,
    tenant_id bigint not null,
    created timestamptz not null,
    constraint name_key primary key (slot, value)
);
create index name_of_tenant on tenants.name (tenant_id);

-- Who may do what in a tenant. The user lives in another schema.
create table tenants.permission (
    tenant_id bigint not null references tenants.tenant (id) on delete cascade,
    user_id bigint not null,
    kind text not null,
    id bigint not null,
    created timestamptz not null,
    constraint permission_key primary key (tenant_id, user_id, kind)
);
create index permission_of_user on tenants.permission (user_id);
