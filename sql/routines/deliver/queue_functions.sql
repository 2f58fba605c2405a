-- Queue functions: the statements on pgmq's tables that each claim and each settle needs, as three functions for each queue, so that
-- their plans are kept: planning them each time costs more than running them for one message. Where they are missing or do not fit
-- the tables any more, the same statements are planned at each call.

create or replace function qctl._queue_function(p_part text, p_queue_uuid uuid) returns text
language sql immutable parallel safe
return 'qctl._' || p_part || '_' || replace(p_queue_uuid::text, '-', '');
comment on function qctl._queue_function(text, uuid) is
  'The name of a function of one queue; its part is pick, lock or archive. Not by queue_id, which another queue may have where data was restored.';

create or replace function qctl._queue_functions(p_queue qctl.queue)
returns table (part text, arguments text, body text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
declare
  v_q text := format('pgmq.%I', 'q_' || p_queue.queue_name);
  v_a text := format('pgmq.%I', 'a_' || p_queue.queue_name);
begin
  return query
  select 'pick',
         'p_queue_id integer, p_now timestamptz, p_room integer, p_hide_until timestamptz, p_max_bytes bigint, p_from timestamptz, '
         'out ids bigint[], out times timestamptz[], out headers jsonb[], out bodies text[]',
         format(E'\nbegin\n%s  into ids, times, headers, bodies;\n  if ids is not null then\n%s;\n  end if;\nend\n',
                qctl._pick_statement(v_q, 'true', 'p_queue_id', 'p_now', 'p_room', 'p_max_bytes', 'p_from'),
                qctl._hide_statement(v_q, 'ids', 'p_hide_until'));
  -- Each message is found by its own lookup, whatever the size of the table was when the plan was made.
  return query
  select 'lock',
         'p_lease uuid[], p_msg_id bigint[], p_status integer[], p_response bytea[], p_duration_ms integer[], '
         'out leases uuid[], out ids bigint[], out times timestamptz[], out places tid[], out statuses integer[], out responses bytea[], out durations_ms integer[]',
         format($body$
begin
  select array_agg(a.lease), array_agg(a.msg_id), array_agg(l.enqueued_at), array_agg(l.place), array_agg(a.status), array_agg(a.response), array_agg(a.duration_ms)
  into leases, ids, times, places, statuses, responses, durations_ms
  from (select * from unnest(p_lease, p_msg_id, p_status, p_response, p_duration_ms) as u (lease, msg_id, status, response, duration_ms)
        order by u.msg_id offset 0) a
  cross join lateral (select q.ctid as place, q.enqueued_at from %s q where q.msg_id = a.msg_id offset 0 for update) l;
end
$body$, v_q);
  return query
  select 'archive', 'p_places tid[], p_ids bigint[], p_status integer[], p_at timestamptz, out archived bigint',
         format($body$
declare
  v_lowest integer := (select min(s) from unnest(p_status) s);
  v_highest integer := (select max(s) from unnest(p_status) s);
begin
  with done as (
    -- Not from tables that inherit, whose places are others.
    delete from only %s q where q.ctid = any (p_places)
    returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers
  )
  insert into %s as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
  select d.msg_id, d.read_ct, d.enqueued_at, p_at, d.vt, d.message,
         case when jsonb_typeof(d.headers) = 'object' then d.headers else '{}' end
         || jsonb_build_object('qctl', jsonb_build_object('outcome', 'delivered', 'delivered_at', p_at,
              'status', case when v_lowest = v_highest then v_lowest else p_status[array_position(p_ids, d.msg_id)] end,
              'attempts', 1, 'delivery_no', 1))
  from done d %s;
  get diagnostics archived = row_count;
end
$body$, v_q, v_a, qctl._archive_conflict(p_queue.queue_name));
end
$$;
comment on function qctl._queue_functions(qctl.queue) is 'How the functions of one queue are to be.';

create or replace function qctl._queue_function_settings() returns text[]
language sql immutable parallel safe
return '{"search_path=pg_catalog, pg_temp",enable_seqscan=off,jit=off,enable_bitmapscan=off,enable_material=off,plan_cache_mode=force_generic_plan}'::text[];
comment on function qctl._queue_function_settings() is 'The settings of the functions of queues.';

create or replace function qctl._found_queue_functions(p_queue_uuid uuid)
returns table (part text, name regprocedure, owner name, body text, settings text[])
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select part, p.oid::regprocedure, pg_get_userbyid(p.proowner), p.prosrc, p.proconfig
  from unnest('{pick,lock,archive}'::text[]) part
  join pg_proc p on p.pronamespace = 'qctl'::regnamespace and 'qctl.' || p.proname = qctl._queue_function(part, p_queue_uuid)
$$;
comment on function qctl._found_queue_functions(uuid) is 'The functions of one queue as they are.';

create or replace function qctl._make_queue_functions(p_queue qctl.queue) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = 'qctl.queue'::regclass);
  v_settings text := (select string_agg('set ' || replace(s, '=', ' = '), ' ') from unnest(qctl._queue_function_settings()) s);
  v_function record;
begin
  for v_function in
    select w.*, qctl._queue_function(w.part, p_queue.queue_uuid) as wanted, f.name as found
    from qctl._queue_functions(p_queue) w left join qctl._found_queue_functions(p_queue.queue_uuid) f using (part)
    -- One that is right stays, because a session may be about to call it.
    where (f.body, f.settings, f.owner) is distinct from (w.body, qctl._queue_function_settings(), v_owner)
  loop
    if v_function.found is not null then
      execute format('drop function %s', v_function.found);
    end if;
    execute format('create function %s(%s) language plpgsql volatile %s as %L', v_function.wanted, v_function.arguments, v_settings, v_function.body);
    if current_user <> v_owner then
      execute format('alter function %s owner to %I', v_function.wanted, v_owner);
    end if;
  end loop;
  perform qctl._close_routines();
end
$$;
comment on function qctl._make_queue_functions(qctl.queue) is 'Makes the functions of one queue that are missing or not as they are to be.';

create or replace function qctl._drop_queue_functions(p_queue_uuid uuid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
begin
  for v_function in select * from qctl._found_queue_functions(p_queue_uuid) loop
    execute format('drop function %s', v_function.name);
  end loop;
end
$$;
comment on function qctl._drop_queue_functions(uuid) is 'Drops the functions of one queue.';

create or replace function qctl._drop_orphaned_functions() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
begin
  for v_function in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and p.proname ~ '^_(pick|lock|archive)_' and qctl._is_generated(p.proname)
      and not exists (select from qctl.queue q where right(p.proname, 32) = replace(q.queue_uuid::text, '-', ''))
  loop
    execute format('drop function %s', v_function.name);
  end loop;
end
$$;
comment on function qctl._drop_orphaned_functions() is 'Drops the functions of queues that are gone, as data that was restored leaves them.';

create or replace function qctl._has_queue_functions(p_queue_uuid uuid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
-- The three are made and dropped together.
return to_regproc(qctl._queue_function('archive', p_queue_uuid)) is not null;
comment on function qctl._has_queue_functions(uuid) is 'Whether a queue has its functions.';

create or replace function qctl._verify_queue_functions(p_queue qctl.queue) returns table (problem text, fix text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when bool_and(f.body is null) then 'functions that keep the plans of its claims and settles are missing, so each call plans them: '
              else 'functions that keep the plans of its claims and settles are not as they were made: ' end
         || string_agg(qctl._queue_function(w.part, p_queue.queue_uuid), ', ' order by w.part),
         'qctl upgrade --repair'
  from qctl._queue_functions(p_queue) w left join qctl._found_queue_functions(p_queue.queue_uuid) f using (part)
  where (f.body, f.settings) is distinct from (w.body, qctl._queue_function_settings())
  having count(*) > 0
$$;
comment on function qctl._verify_queue_functions(qctl.queue) is 'What is wrong with the functions of one queue.';
