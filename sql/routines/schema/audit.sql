-- Audit: records every change. Each function that changes something writes its record in the same transaction.

create or replace function qctl._audit(p_verb text, p_queue_name text, p_detail jsonb default '{}') returns void
language sql volatile
begin atomic
  insert into qctl.audit (verb, queue_name, detail)
  values (p_verb, p_queue_name, jsonb_strip_nulls(coalesce(p_detail, '{}')));
end;

create or replace function qctl._audit_rarely(p_verb text, p_queue_name text, p_sqlstate text, p_error text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz := clock_timestamp() - interval '1 min';
begin
  if not exists (select from qctl.audit a
                 where a.at > v_since and a.verb = p_verb
                   and a.queue_name is not distinct from p_queue_name and a.detail ->> 'sqlstate' = p_sqlstate) then
    perform qctl._audit(p_verb, p_queue_name, jsonb_build_object('sqlstate', p_sqlstate, 'error', left(p_error, 500)));
  end if;
end
$$;
comment on function qctl._audit_rarely(text, text, text, text) is
  'Records the failure of a repeated step, at most once a minute for each verb, queue and SQLSTATE.';
