drop table tenants.permission;
drop table tenants.name;
drop table tenants.tenant;
