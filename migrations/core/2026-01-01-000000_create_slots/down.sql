drop table core.mint; drop table core.slot;
