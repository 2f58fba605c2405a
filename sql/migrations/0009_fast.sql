-- What the faster claim and settle no longer call. No table is touched; milliseconds.

drop function if exists qctl._webhook_headers(text, text, text, bytea[], bytea[]);
drop function if exists qctl._signatures(bytea[], bytea[], bytea);
drop function if exists qctl._settle(qctl.queue, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[], boolean);
