-- Who may do what in schema qctl.

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
comment on function qctl._close_routines() is 'Nothing in schema qctl is executable by PUBLIC, for owners of attached tables may look into it.';

create or replace function qctl._readable_columns(p_table regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
  where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped
    and not (p_table = 'qctl.queue'::regclass and a.attname = 'headers' or p_table = 'qctl.dead_letter'::regclass and a.attname in ('message', 'headers'))
$$;
comment on function qctl._readable_columns(regclass) is 'Those with neither a payload nor what may be a secret.';

create or replace function qctl._looking_routines(p_payloads boolean) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'usage')
    and (p.proname = any ('{depth,lag,growth,rates,health,silence,settled_until,archive_size,check,doctor,verify,workers,messages,dead,life,locate,capacity,sizing,'
                          'is_armed,_timeline,webhook_id,running_jobs,_status,describe,message_state,message_states}')
         or p_payloads and p.proname in ('messages_where', 'payloads'))
$$;

create or replace function qctl._apply_grants(p_role name, p_payloads boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_item record;
begin
  execute format('grant usage on schema qctl to %I', p_role);
  for v_item in
    select c.oid::regclass as name from pg_class c
    where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname !~ '_secret$' and pg_has_role(c.relowner, 'usage')
  loop
    execute format('grant select (%s) on %s to %I', qctl._readable_columns(v_item.name), v_item.name, p_role);
  end loop;
  for v_item in select r as name from qctl._looking_routines(p_payloads) r loop
    execute format('grant execute on routine %s to %I', v_item.name, p_role);
  end loop;
end
$$;

create or replace function qctl._is_more_than_reader(p_role name) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_proc p join pg_roles r on r.oid = p.proowner where p.pronamespace = 'qctl'::regnamespace and r.rolname = p_role)
      or has_function_privilege(p_role, 'qctl.claim(text, integer, bigint)', 'execute')
$$;
comment on function qctl._is_more_than_reader(name) is 'Owns captures, or works: what it has it did not only get by a grant of ours.';

create or replace function qctl.grant_role(p_role text, p_as text default 'read', p_payloads boolean default false)
returns table (role_name text, level text, payloads boolean, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_changed boolean;
  v_item record;
begin
  if p_as is distinct from 'read' then
    raise exception 'no such level: %', quote_literal(coalesce(left(p_as, 50), '')) using errcode = 'QC002', hint = '--as read';
  end if;
  if not exists (select from pg_roles r where r.rolname = p_role) then
    raise exception 'no role named %', quote_literal(coalesce(left(p_role, 63), ''))
      using errcode = 'QC006', hint = format('create role %I login;', coalesce(left(p_role, 63), 'name'));
  end if;
  if p_role = (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'qctl') then
    raise exception 'role % installed qctl and may do everything already', p_role using errcode = 'QC007', hint = 'name another role';
  end if;
  v_changed := not exists (select from qctl.grantee g where g.role_name = p_role and g.level = p_as and g.payloads = p_payloads);
  if not p_payloads and exists (select from qctl.grantee g where g.role_name = p_role and g.payloads) then
    for v_item in select r as name from qctl._looking_routines(true) r except select r from qctl._looking_routines(false) r loop
      execute format('revoke execute on routine %s from %I', v_item.name, p_role);
    end loop;
  end if;
  insert into qctl.grantee as g (role_name, level, payloads) values (p_role, p_as, p_payloads)
  on conflict (role_name) do update set (level, payloads, granted_at, granted_by) = (excluded.level, excluded.payloads, now(), session_user);
  perform qctl._apply_grants(p_role, p_payloads);
  perform qctl._audit('grant', null, jsonb_build_object('role', p_role, 'as', p_as, 'payloads', p_payloads));
  return query select p_role, p_as, p_payloads, v_changed;
end
$$;
comment on function qctl.grant_role(text, text, boolean) is
  'Lets a role look (read): every looking function, and the tables but for payloads and secrets; with p_payloads payloads, too. '
  'Takes nothing from a role that has more. An upgrade gives it what is new.';

create or replace function qctl.revoke_role(p_role text) returns table (role_name text, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_changed boolean;
  v_item record;
begin
  delete from qctl.grantee g where g.role_name = p_role;
  v_changed := found;
  if v_changed and exists (select from pg_roles r where r.rolname = p_role) then
    for v_item in
      select c.oid::regclass as name from pg_class c
      where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname !~ '_secret$' and pg_has_role(c.relowner, 'usage')
    loop
      execute format('revoke select (%s) on %s from %I', qctl._readable_columns(v_item.name), v_item.name, p_role);
    end loop;
    if qctl._is_more_than_reader(p_role) then
      raise warning 'role % owns captures or works here, so it keeps schema qctl and the functions that it may execute', p_role;
    else
      for v_item in select r as name from qctl._looking_routines(true) r loop
        execute format('revoke execute on routine %s from %I', v_item.name, p_role);
      end loop;
      execute format('revoke usage on schema qctl from %I', p_role);
    end if;
    perform qctl._audit('revoke', null, jsonb_build_object('role', p_role));
  end if;
  return query select p_role, v_changed;
end
$$;
comment on function qctl.revoke_role(text) is 'Takes back what qctl.grant_role() gave; a role that owns captures or works keeps what it needs for that.';

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
      perform qctl._apply_grants(v_grantee.role_name, v_grantee.payloads);
    exception when insufficient_privilege then
      raise warning 'role % was not given what is new: %', v_grantee.role_name, sqlerrm;
    end;
  end loop;
  -- Who may read the view without us having let it in, a dashboard say, goes on doing so: the view calls a function now.
  for v_grantee in
    select distinct a.grantee::regrole as name from pg_class c cross join aclexplode(c.relacl) a
    where c.oid = 'qctl.status'::regclass and a.privilege_type = 'SELECT' and a.grantee <> 0 and a.grantee <> c.relowner
  loop
    execute format('grant execute on function qctl._status(text) to %s', v_grantee.name);
  end loop;
end
$$;
comment on function qctl._refresh_grants() is 'After an upgrade: roles that were let in may use what is new.';
