alter table deployments.deployment drop constraint deployment_pkey;
alter table deployments.deployment drop column listed;
alter table deployments.deployment add primary key (stage_id, id);
alter table deployments.deployment add constraint deployment_id_key unique (id);
alter table deployments.deployment add constraint deployment_age_key unique (stage_id, created);
drop table deployments.listed;
