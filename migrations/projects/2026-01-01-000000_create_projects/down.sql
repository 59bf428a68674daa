drop table projects.stage_permission;
drop table projects.project_permission;
drop table projects.stage_alias;
drop table projects.project_alias;
drop table projects.stage;
drop table projects.project;
