-- The Edge Function: where it is, how many of its workers may run at once, and what signs its wakes.

create or replace function qctl._check_edge_host() returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not qctl._cron_here() then
    raise exception 'pg_cron is not available in this database, and it is what wakes an edge worker'
      using errcode = 'QC004', hint = 'in Supabase: create extension pg_cron; elsewhere run qctl worker';
  end if;
  if qctl._net_relation('http_request_queue') is null then
    raise exception 'pg_net is not installed in this database, and it is what wakes an edge worker'
      using errcode = 'QC004', hint = 'in Supabase: create extension pg_net; elsewhere run qctl worker';
  end if;
end
$$;

create or replace function qctl._new_edge_secret(p_overlap interval) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
begin
  delete from qctl.edge_secret s where s.expires_at <= clock_timestamp();
  update qctl.edge_secret s set expires_at = clock_timestamp() + p_overlap where s.expires_at is null;
  insert into qctl.edge_secret (inner_pad, outer_pad, mark)
  values (qctl._xor_pad(v_key, 54), qctl._xor_pad(v_key, 92), left(encode(sha256(v_key), 'hex'), 8));
  return 'whsec_' || translate(encode(v_key, 'base64'), E'\n', '');
end
$$;
comment on function qctl._new_edge_secret(interval) is
  'A new secret that signs wakes. Older ones also sign for p_overlap, because the function may not have the new one yet.';

create or replace function qctl.set_edge(p_url text default null, p_new_secret boolean default false, p_pooler text default null)
returns table (url text, function_name text, most integer, schedule text, secret text, mark text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_edge qctl.edge_function;
begin
  perform qctl._check_edge_host();
  select * into v_edge from qctl.edge_function;
  if p_url is null and v_edge.url is null then
    raise exception 'no Edge Function is known yet' using errcode = 'QC002', hint = 'give its address with --url';
  end if;
  if p_url !~ '^https?://[^/?#\s]+/[^?#\s]*[^/?#\s]$' then
    raise exception '% is not the address of an Edge Function', quote_literal(left(p_url, 200))
      using errcode = 'QC002', hint = 'for example https://PROJECT.supabase.co/functions/v1/qctl-worker';
  end if;
  if p_url ~ '//PROJECT\.' then
    raise exception 'PROJECT stands for the reference of your project' using errcode = 'QC002', hint = 'it is in the address of its dashboard';
  end if;
  perform qctl._check_net_url(coalesce(p_url, v_edge.url));
  insert into qctl.edge_function as e (url, pooler) values (coalesce(p_url, v_edge.url), p_pooler)
  on conflict (only_row) do update
    set url = excluded.url, pooler = coalesce(excluded.pooler, e.pooler), unanswered = 0, next_at = clock_timestamp(),
        set_at = case when e.url = excluded.url then e.set_at else clock_timestamp() end,
        stopped_at = null
  returning e.* into v_edge;
  if p_new_secret or not exists (select from qctl.edge_secret s where s.expires_at is null) then
    secret := qctl._new_edge_secret('24 h');
  end if;
  perform qctl._plan_jobs(true);
  perform qctl._audit('edge_set', null, jsonb_build_object('url', v_edge.url, 'new_secret', secret is not null));
  url := v_edge.url;
  function_name := qctl._edge_name(v_edge.url);
  most := v_edge.most;
  schedule := (select w.schedule from qctl._wanted_jobs() w where w.job_name = 'qctl-edge');
  mark := (select s.mark from qctl.edge_secret s where s.expires_at is null);
  return next;
end
$$;
comment on function qctl.set_edge(text, boolean, text) is
  'Stores where the Edge Function is, and schedules its wakes. Without p_url it schedules again what is known. secret is returned only when '
  'it is made: the first time, or with p_new_secret.';

create or replace function qctl._edge_name(p_url text) returns text
language sql immutable parallel safe
return substring(p_url from '([^/]+)$');

create or replace function qctl.stop_edge() returns table (url text, running integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  update qctl.edge_function e set stopped_at = coalesce(e.stopped_at, clock_timestamp()) returning e.url into url;
  if not found then
    raise exception 'no Edge Function is known here' using errcode = 'QC006', hint = 'qctl edge wake --url URL';
  end if;
  perform qctl._plan_jobs(false);
  perform qctl._audit('edge_stop', null);
  running := (select count(*) from qctl._edge_workers());
  return next;
end
$$;
comment on function qctl.stop_edge() is
  'Ends the wakes. Edge workers that run settle what they have in flight and end within 5 s; they are returned as running.';

create or replace function qctl.scale_edge(p_most integer) returns table (url text, most integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if p_most is null or p_most not between 1 and 64 then
    raise exception '% is not a valid number of edge workers', p_most using errcode = 'QC002', hint = 'use 1 to 64; qctl edge stop ends them all';
  end if;
  return query update qctl.edge_function e set most = p_most returning e.url, e.most;
  if not found then
    raise exception 'no Edge Function is known here' using errcode = 'QC006', hint = 'qctl edge wake --url URL';
  end if;
  perform qctl._audit('edge_scale', null, jsonb_build_object('most', p_most));
end
$$;
comment on function qctl.scale_edge(integer) is 'Sets how many edge workers may run at once. Surplus ones end within 5 s.';
