alter table messaging.client_box drop column assignment;
alter table messaging.runtime_box drop column opened;
