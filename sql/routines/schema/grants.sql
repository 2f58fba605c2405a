-- Grants: which role may do what in schema qctl.

create or replace function qctl._close_routines() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_routine record;
begin
  for v_routine in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'USAGE')
      and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
  loop
    execute format('revoke all on routine %s from public', v_routine.name);
  end loop;
end
$$;
comment on function qctl._close_routines() is
  'Revokes EXECUTE from PUBLIC on every routine of schema qctl, because owners of attached tables have USAGE on the schema.';

create or replace function qctl._readable_columns(p_table regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
  where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped
    and not (p_table = 'qctl.queue'::regclass and a.attname = 'headers' or p_table = 'qctl.dead_letter'::regclass and a.attname in ('message', 'headers')
             or p_table = 'qctl.held_event'::regclass and a.attname = 'message'
             or a.attname in ('order_key', 'blocks_key', 'swept_key', 'dedup_key', 'after_key', 'row_key'))
$$;
comment on function qctl._readable_columns(regclass) is
  'The columns that hold no payload, no key taken from a payload, and nothing that may be a secret.';

create or replace function qctl._level_routines(p_level text, p_payloads boolean) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'usage')
    and (p_level in ('read', 'operate', 'work')
         and (p.proname = any ('{depth,lag,growth,rates,answers,health,silence,settled_until,archive_size,check,findings,delivery_stop,attempt_totals,doctor,verify,workers,messages,dead,life,locate,capacity,sizing,plan,database_share,'
                               'is_armed,_timeline,webhook_id,running_jobs,_queue_status,health_causes,attachments,describe,message_state,message_states,label,signing_secrets,header_secrets,event_route,edge_status,backfills,payload_types}')
              or p_payloads and p.proname in ('messages_where', 'payloads', 'copies', 'copies_begin'))
         or p_level = 'operate'
         and (p.proname = any ('{send,send_once,replay,discard,pause,resume,purge,purgeable,purge_these,purge_dead,purgeable_dead,purge_leftovers,purge_partitions,purge_attempts,scale,scale_edge}')
              or p_payloads and p.proname = 'purge_preview')
         or p_level = 'work'
         and p.proname = any ('{claim,claim_queues,release,settle,settle_queues,work_queues,broker_options,register_worker,begin_edge_worker,edge_heartbeat,end_edge_worker,heartbeat,unregister_worker,sign_off,upkeep,fall_asleep,wake_up,ready_queues,_queue,'
                              'maintenance,_upkeep_begin,_upkeep_mark,_do_upkeep_step,_queues_to_collect,_work_review,_due_retention,_retain,_retention_done,'
                              '_maintenance_deadline,_before}'))
$$;
comment on function qctl._level_routines(text, boolean) is
  'The routines that a role of that level may execute. Those that change something run as the role that installed qctl; '
  'the audit names the caller.';

create or replace function qctl._readable_tables() returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select c.oid::regclass from pg_class c
  where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname !~ '_secret$' and pg_has_role(c.relowner, 'usage')
$$;

create or replace function qctl._apply_grants(p_role name, p_level text, p_payloads boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_item record;
begin
  execute format('grant usage on schema qctl to %I', p_role);
  for v_item in select t as name from qctl._readable_tables() t loop
    execute format('grant select (%s) on %s to %I', qctl._readable_columns(v_item.name), v_item.name, p_role);
  end loop;
  for v_item in select r as name from qctl._level_routines(p_level, p_payloads) r loop
    execute format('grant execute on routine %s to %I', v_item.name, p_role);
  end loop;
end
$$;

create or replace function qctl._take_grants(p_role name, p_level text, p_payloads boolean, p_new_level text default null, p_new_payloads boolean default false)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_item record;
begin
  for v_item in select t as name from qctl._readable_tables() t where p_new_level is null loop
    execute format('revoke select (%s) on %s from %I', qctl._readable_columns(v_item.name), v_item.name, p_role);
  end loop;
  for v_item in select r as name from qctl._level_routines(p_level, p_payloads) r except select r from qctl._level_routines(p_new_level, p_new_payloads) r loop
    execute format('revoke execute on routine %s from %I', v_item.name, p_role);
  end loop;
end
$$;
comment on function qctl._take_grants(name, text, boolean, text, boolean) is
  'Revokes the grants of the old level that the new level does not include.';

create or replace function qctl._owns_captures(p_role name) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_proc p join pg_roles r on r.oid = p.proowner where p.pronamespace = 'qctl'::regnamespace and r.rolname = p_role)
$$;

create or replace function qctl.grant_role(p_role text, p_as text default 'read', p_payloads boolean default false)
returns table (role_name text, level text, payloads boolean, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_changed boolean;
  v_before qctl.grantee;
begin
  if p_as is null or p_as not in ('read', 'operate', 'work') then
    raise exception '% is not an access level', quote_literal(coalesce(left(p_as, 50), ''))
      using errcode = 'QC002', hint = 'use --as read, operate or work';
  end if;
  if p_as = 'work' and p_payloads then
    raise exception 'level work cannot be combined with payloads because a worker sees only the payloads that it delivers'
      using errcode = 'QC002', hint = 'use --as work without --payloads';
  end if;
  if not exists (select from pg_roles r where r.rolname = p_role) then
    raise exception 'role % not found', quote_literal(coalesce(left(p_role, 63), ''))
      using errcode = 'QC006', hint = format('create role %I login;', coalesce(left(p_role, 63), 'name'));
  end if;
  if p_role = (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'qctl') then
    raise exception 'role ''%'' installed qctl, so it already has full access', p_role
      using errcode = 'QC007', hint = 'choose another role';
  end if;
  select g.* into v_before from qctl.grantee g where g.role_name = p_role;
  v_changed := (v_before.level, v_before.payloads) is distinct from (p_as, p_payloads);
  if v_before.level is not null then
    perform qctl._take_grants(p_role, v_before.level, v_before.payloads, p_as, p_payloads);
  end if;
  insert into qctl.grantee as g (role_name, level, payloads) values (p_role, p_as, p_payloads)
  on conflict (role_name) do update set (level, payloads, granted_at, granted_by) = (excluded.level, excluded.payloads, now(), session_user);
  perform qctl._apply_grants(p_role, p_as, p_payloads);
  perform qctl._audit('grant', null, jsonb_build_object('role', p_role, 'as', p_as, 'payloads', p_payloads));
  return query select p_role, p_as, p_payloads, v_changed;
end
$$;
comment on function qctl.grant_role(text, text, boolean) is
  'Grants a role one level: read (look), operate (also act on messages) or work (deliver). The last level granted replaces the one before. '
  'p_payloads: also read payloads. Other grants of the role stay unchanged. An upgrade extends the level to new objects.';

create or replace function qctl.revoke_role(p_role text) returns table (role_name text, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_before qctl.grantee;
begin
  delete from qctl.grantee g where g.role_name = p_role returning g.* into v_before;
  if v_before.role_name is not null and exists (select from pg_roles r where r.rolname = p_role) then
    perform qctl._take_grants(p_role, v_before.level, v_before.payloads);
    if qctl._owns_captures(p_role) then
      raise warning 'role ''%'' keeps USAGE on schema qctl because it owns capture functions there', p_role;
    else
      execute format('revoke usage on schema qctl from %I', p_role);
    end if;
    perform qctl._audit('revoke', null, jsonb_build_object('role', p_role));
  end if;
  return query select p_role, v_before.role_name is not null;
end
$$;
comment on function qctl.revoke_role(text) is
  'Revokes what qctl.grant_role() granted. A role that owns capture functions keeps USAGE on the schema, which they need.';

create or replace function qctl._refresh_grants() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grantee record;
begin
  delete from qctl.grantee g where not exists (select from pg_roles r where r.rolname = g.role_name);
  for v_grantee in select * from qctl.grantee loop
    begin
      perform qctl._apply_grants(v_grantee.role_name, v_grantee.level, v_grantee.payloads);
    exception when insufficient_privilege then
      raise warning 'new objects could not be granted to role ''%'': %', v_grantee.role_name, sqlerrm;
    end;
  end loop;
  -- The view calls a function, so roles that were granted the view by hand, a dashboard for example, need EXECUTE on it.
  for v_grantee in
    select distinct a.grantee::regrole as name from pg_class c cross join aclexplode(c.relacl) a
    where c.oid = 'qctl.status'::regclass and a.privilege_type = 'SELECT' and a.grantee <> 0 and a.grantee <> c.relowner
  loop
    execute format('grant execute on function qctl._queue_status(text) to %s', v_grantee.name);
  end loop;
end
$$;
comment on function qctl._refresh_grants() is 'After an upgrade: extends each granted level to the new objects.';
