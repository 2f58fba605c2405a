-- Refresh: attachments of an older version get the functions of this one, and lose the rights that it gave.

create or replace function qctl._refresh_captures() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment;
  v_queue text;
begin
  for v_attachment in select a.* from qctl.attachment a join pg_class c on c.oid = a.relation loop
    select q.queue_name into v_queue from qctl.queue q where q.queue_id = v_attachment.queue_id;
    continue when to_regclass(format('pgmq.%I', 'q_' || v_queue)) is null;
    begin
      if v_attachment.uses = '{}' then
        v_attachment.uses := qctl._uses(v_attachment);
        update qctl.attachment a set uses = v_attachment.uses where a.attachment_id = v_attachment.attachment_id;
      end if;
      perform qctl._make_functions(v_attachment, v_queue);
      perform qctl._take_back_grants(v_queue, (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = v_attachment.relation));
    exception when others then
      raise warning 'the capture functions of % were not updated: %', v_attachment.relation, sqlerrm;
    end;
  end loop;
end
$$;
comment on function qctl._refresh_captures() is
  'Replaces the generated functions by those of this version. Needs no lock on a table because the triggers stay.';

create or replace function qctl._take_back_grants(p_queue text, p_owner name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema text;
begin
  if p_owner = current_user then
    return;
  end if;
  execute format('revoke insert (vt, message, headers), select (msg_id) on pgmq.%I from %I', 'q_' || p_queue, p_owner);
  foreach v_schema in array array['pgmq', 'qctl'] loop
    -- Other grants in the schema need it.
    continue when exists (
      select from pg_class c cross join lateral aclexplode(c.relacl) g where c.relnamespace = v_schema::regnamespace and g.grantee = p_owner::regrole
      union all
      select from pg_class c join pg_attribute a on a.attrelid = c.oid cross join lateral aclexplode(a.attacl) g
      where c.relnamespace = v_schema::regnamespace and g.grantee = p_owner::regrole
      union all
      select from pg_proc p cross join lateral aclexplode(p.proacl) g
      where p.pronamespace = v_schema::regnamespace and p.proname !~ '^capture_' and g.grantee = p_owner::regrole);
    execute format('revoke usage on schema %I from %I', v_schema, p_owner);
  end loop;
end
$$;
comment on function qctl._take_back_grants(text, name) is 'What up to 0.6.0 the owners of attached tables were granted, when the capture ran as them.';

create or replace function qctl._drop_kept_functions() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and p.proname ~ '^capture_[0-9]+_(key|row|order)$'
  loop
    begin
      execute format('drop function %s', v_function);
    exception when insufficient_privilege then
      raise warning '% is not needed any more and stays: %', v_function, sqlerrm;
    end;
  end loop;
end
$$;
comment on function qctl._drop_kept_functions() is
  'Drops the functions of 0.6.0 that captures under way during the upgrade from it could still call.';
