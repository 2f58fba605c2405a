-- Transports: which one can deliver a queue in this database.

create or replace function qctl.choose_transport(p_wanted text default 'auto')
returns table (transport text, reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net_database text := qctl._setting('pg_net.database_name');
  v_problem text;
begin
  if p_wanted = 'http' then
    return query select 'http', 'as requested';
    return;
  elsif p_wanted is null or p_wanted not in ('auto', 'pg_net') then
    raise exception '% is not a transport', quote_literal(coalesce(p_wanted, ''))
      using errcode = 'QC002', hint = 'use auto, pg_net or http';
  end if;
  v_problem := case
    when not exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                     where n.nspname = 'net' and p.proname = 'http_post')
      then 'pg_net is not installed in this database'
           || case when exists (select from pg_available_extensions where name = 'pg_net') then ' (create extension pg_net)' else '' end
    when v_net_database <> current_database() then format('pg_net works in database %s and not in this one', v_net_database)
    when not qctl._net_readable() or not exists (
           select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
           where n.nspname = 'net' and p.proname = 'http_post' and has_schema_privilege(n.oid, 'usage')
             and has_function_privilege(p.oid, 'execute'))
      then format('role %s may not use schema net', current_user) end;
  if p_wanted = 'pg_net' then
    if v_problem is not null then
      raise exception 'transport pg_net cannot be used: %', v_problem
        using errcode = 'QC004', hint = 'use --transport http with a qctl worker process, which needs no extension';
    end if;
    return query select 'pg_net', 'as requested';
    return;
  end if;
  v_problem := coalesce(v_problem, case
    when not exists (select from pg_namespace where nspname = 'cron')
      then coalesce('pg_cron works in database ' || nullif(qctl._setting('cron.database_name'), current_database())
                    || ' and not in this one',
                    'pg_cron is not installed in this database')
    when not qctl._cron_here() then format('role %s may not use schema cron', current_user) end);
  if v_problem is null then
    return query select 'pg_net', 'pg_net and pg_cron are available, so no worker process is needed';
  else
    return query select 'http', v_problem;
  end if;
end
$$;
comment on function qctl.choose_transport(text) is
  'The transport that auto, pg_net or http gives in this database, and the reason. Raises QC004 if pg_net is requested and cannot be used.';

create or replace function qctl.choose_transport(p_wanted text, p_url text)
returns table (transport text, reason text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if qctl._carrier(p_url) = 'http' or p_wanted is not null and p_wanted not in ('auto', 'pg_net') then
    return query select c.transport, c.reason from qctl.choose_transport(p_wanted) c;
  elsif p_wanted = 'pg_net' then
    raise exception 'transport pg_net cannot send to a broker, because it sends HTTP only'
      using errcode = 'QC002', hint = 'use --transport http: a qctl worker process hands over to a broker';
  else
    return query select 'http', format('a qctl worker process hands over to %s', qctl._carrier(p_url));
  end if;
end
$$;
comment on function qctl.choose_transport(text, text) is
  'As qctl.choose_transport(text), for the URL of an endpoint or of a broker, which only a worker process hands over to.';
