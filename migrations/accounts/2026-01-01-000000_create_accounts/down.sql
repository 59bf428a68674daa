drop table accounts.name;
drop table accounts.account;
