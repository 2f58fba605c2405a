-- The record of what was changed. Each function that changes something calls it in the same transaction.

create or replace function qctl._audit(p_verb text, p_queue_name text, p_detail jsonb default '{}') returns void
language sql volatile
begin atomic
  insert into qctl.audit (verb, queue_name, detail)
  values (p_verb, p_queue_name, jsonb_strip_nulls(coalesce(p_detail, '{}')));
end;
