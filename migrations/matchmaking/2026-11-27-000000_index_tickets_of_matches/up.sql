-- A match that ends takes the tickets of its players along.
create index ticket_match on matchmaking.ticket (deployment_id, match_id) where match_id is not null;
