drop table messaging.entry;
drop table messaging.sender;
drop table messaging.runtime_box;
drop table messaging.client_box;
