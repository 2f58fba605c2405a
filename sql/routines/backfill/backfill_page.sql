-- One page of a backfill: its rows are locked, become messages, and the progress is written, in one transaction.

create or replace function qctl._backfill_rows(p_backfill qctl.backfill, p_queue text, p_limit integer, p_seconds double precision,
                                               out rows integer, out queued integer, out last_key text[], out problem text, out body_failed text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- As capture writes values: see qctl._pinned_settings().
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set extra_float_digits = 1
set bytea_output = 'hex'
set lc_monetary = 'C'
as $$
declare
  v_attachment qctl.attachment := qctl._backfill_attachment(p_backfill);
  v_hidden text[] := coalesce(qctl._virtual_columns(p_backfill.relation), '{}')
                     || array(select a.attname::text from pg_attribute a
                              where a.attrelid = p_backfill.relation and a.attnum > 0 and not a.attisdropped and a.attname <> all (p_backfill.columns));
begin
  execute format($q$
    with page as materialized (
      select p.key, row_number() over () as n, r.c
      from qctl.%1$I(null::%2$s, $1, $2, $3, $4) as p
      cross join lateral (select qctl.%3$I('READ', $1, p.item, p.item, $5) as c offset 0) r
    ), compared as (
      select p.*, p.c is not null and not p.c ? 'problem' and (not $6 or not exists (
               select from qctl.backfill_seen s where s.backfill_id = $7 and s.row_key = qctl._row_key($8, p.c -> 'record')
                 and (s.digest = md5((p.c -> 'record')::text) or p.c ? 'truncated'))) as wanted
      from page p
    ), visited as (
      delete from qctl.backfill_seen s using page p
      where $6 and s.backfill_id = $7 and s.row_key = qctl._row_key($8, p.c -> 'record')
    ), queued as (
      insert into pgmq.%4$I (vt, message, headers)
      select clock_timestamp(), m.message, nullif(coalesce(qctl._order_headers(qctl._order_of($9, 'READ', p.c)), '{}')
                                                  || coalesce(qctl._shape_headers(($9).payload, m.message), '{}'), '{}')
      from compared p
      cross join lateral (select qctl._message($9, $10 || (p.c - '{problem,order_key,body,body_failed}'::text[]), p.c) as message offset 0) m
      where p.wanted order by p.n
      returning 1
    )
    select (select count(*) from page), (select count(*) from queued), (select p.key from page p order by p.n desc limit 1),
           (select p.c ->> 'problem' from page p where p.c ? 'problem' order by p.n limit 1),
           (select p.c ->> 'body_failed' from page p where p.c ? 'body_failed' order by p.n limit 1)
  $q$, qctl._capture_function(v_attachment.name, 'page'), p_backfill.relation, qctl._capture_function(v_attachment.name, 'row'), 'q_' || p_queue)
  into rows, queued, last_key, problem, body_failed
  using p_backfill.relation, p_backfill.after_key, p_limit, p_seconds, v_hidden, p_backfill.missed, p_backfill.backfill_id, p_backfill.key_columns,
        v_attachment, qctl._event_head(p_backfill.relation, 'READ', p_backfill.payload);
  -- Code of the owner ran. What it sets for the session would stay, unless the page is undone.
  if pg_catalog.current_setting('search_path') operator(pg_catalog.<>) 'pg_catalog, pg_temp' then
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    raise exception 'code of the owner of % changes search_path', p_backfill.relation using errcode = 'QC007';
  end if;
end
$$;

create or replace function qctl._end_backfill(p_backfill_id integer, p_state text, p_error text default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_backfill qctl.backfill;
begin
  update qctl.backfill b set state = p_state, error = coalesce(p_error, case when p_state in ('paused', 'cancelled') then b.error end), ended_at = case when p_state in ('done', 'cancelled') then clock_timestamp() end
  where b.backfill_id = p_backfill_id returning * into v_backfill;
  if p_state in ('done', 'cancelled') then
    delete from qctl.backfill_seen s where s.backfill_id = p_backfill_id;
    perform qctl._drop_backfill_functions(p_backfill_id);
    perform qctl._audit('backfill', (select q.queue_name from qctl.queue q where q.queue_id = v_backfill.queue_id),
                        jsonb_build_object('relation', v_backfill.table_name, 'state', p_state, 'scanned', v_backfill.scanned, 'queued', v_backfill.queued));
  end if;
end
$$;

create or replace function qctl.backfill_page(p_backfill_id integer, p_limit integer default 500, p_seconds double precision default 2)
returns table (state text, rows integer, queued integer, error text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_backfill qctl.backfill;
  v_queue qctl.queue;
  v_page record;
  v_obstacle text;
begin
  -- Shorter than the application waits before it looks for a deadlock, because that could end the application's transaction.
  perform set_config('lock_timeout', (least(2000, 0.8 * (select s.setting::integer from pg_settings s where s.name = 'deadlock_timeout')))::integer::text, true);
  -- One page at a time, whoever calls.
  select * into v_backfill from qctl.backfill b where b.backfill_id = p_backfill_id for no key update;
  if not found then
    raise exception 'there is no backfill %', p_backfill_id using errcode = 'QC006', hint = 'qctl backfill';
  elsif v_backfill.state <> 'running' then
    return query select v_backfill.state, 0, 0, v_backfill.error;
    return;
  end if;
  select * into v_queue from qctl.queue q where q.queue_id = v_backfill.queue_id;
  begin
    v_obstacle := qctl._backfill_obstacle(v_backfill);
    if v_obstacle is not null then
      raise exception '%', v_obstacle using errcode = 'QC007';
    end if;
    select * into v_page from qctl._backfill_rows(v_backfill, v_queue.queue_name, p_limit, p_seconds) r;
    if v_page.problem is not null then
      raise exception '%', v_page.problem using errcode = 'QC007';
    end if;
    if v_page.rows = 0 and qctl._tells_of_vanished(v_backfill) then
      select v.rows, v.queued, null::text[] as last_key, null::text as problem, null::text as body_failed into v_page
      from qctl._backfill_vanished(v_backfill, v_queue.queue_name, p_limit) v;
    end if;
  exception
    when lock_not_available or deadlock_detected or serialization_failure then
      raise;
    when others then
      -- Only errors that name objects are shown, never those that may quote a value.
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
      perform qctl._end_backfill(p_backfill_id, 'failed', case when left(sqlstate, 2) in ('42', '3F', '53', '55', 'QC') then left(sqlerrm, 300) else 'SQLSTATE ' || sqlstate end);
      return query select b.state, 0, 0, b.error from qctl.backfill b where b.backfill_id = p_backfill_id;
      return;
  end;
  if v_page.rows = 0 then
    perform qctl._end_backfill(p_backfill_id, 'done');
    return query select 'done', 0, 0, null::text;
    return;
  end if;
  update qctl.backfill b
  set after_key = coalesce(v_page.last_key, b.after_key), scanned = b.scanned + v_page.rows, queued = b.queued + v_page.queued, page_at = clock_timestamp()
  where b.backfill_id = p_backfill_id;
  if v_page.queued > 0 then
    perform qctl._notify(v_queue.queue_id);
  end if;
  if v_page.body_failed is not null then
    perform qctl._capture_failed((qctl._find_attachment(v_backfill.relation::oid::text, v_backfill.queue_id)).name, v_page.body_failed);
  end if;
  return query select 'running', v_page.rows, v_page.queued, null::text;
end
$$;
comment on function qctl.backfill_page(integer, integer, double precision) is
  'Queues the next page of a run, at most p_limit rows and about p_seconds long, in this transaction. Rows stay locked FOR SHARE until it ends: commit after each page. '
  'state says whether to call it again: running; done, paused, cancelled or failed. Waits at most 2 s, and less than deadlock_timeout, for a row that a writer holds.';

create or replace function qctl.try_backfill(p_backfill_id integer, p_limit integer) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_backfill qctl.backfill;
  v_rows integer;
begin
  select * into v_backfill from qctl.backfill b where b.backfill_id = p_backfill_id;
  if qctl._backfill_obstacle(v_backfill) is null then
    perform set_config('lock_timeout', '100ms', true);
    select r.rows into v_rows from qctl._backfill_rows(v_backfill, (select q.queue_name from qctl.queue q where q.queue_id = v_backfill.queue_id), p_limit, 1) r;
  end if;
  return v_rows;
exception when others then
  -- Only to see how long a page takes; what fails is told by the run.
  return null;
end
$$;
comment on function qctl.try_backfill(integer, integer) is 'Queues a page of a run that is to be rolled back, to see how long one takes; how many rows it had.';

create or replace function qctl.set_backfill(p_relation text, p_queue text, p_state text) returns table (backfill_id integer, state text, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_backfill qctl.backfill := qctl._unfinished_backfill(p_relation, v_queue.queue_id);
begin
  if p_state is null or p_state not in ('paused', 'cancelled') then
    raise exception 'a backfill can be paused or cancelled' using errcode = 'QC002';
  elsif v_backfill.backfill_id is null then
    raise exception 'no backfill of % into ''%'' is under way', p_relation, p_queue using errcode = 'QC006', hint = 'qctl backfill';
  end if;
  perform qctl._end_backfill(v_backfill.backfill_id, p_state);
  return query select v_backfill.backfill_id, p_state, v_backfill.state <> p_state;
end
$$;
comment on function qctl.set_backfill(text, text, text) is 'Pauses or cancels a run after its current page; qctl.begin_backfill() goes on with one that is paused.';

create or replace function qctl.backfills(p_queue text default null, p_unfinished boolean default false)
returns table (backfill_id integer, relation text, queue_name text, state text, scanned bigint, queued bigint, estimated bigint, rows_per_s double precision,
               where_sql text, missed boolean, error text, fix text, started_at timestamptz, page_at timestamptz, ended_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select b.backfill_id, coalesce(qctl._table_name(b.relation), b.table_name), q.queue_name,
         case when s.stopped then 'stopped' else b.state end,
         b.scanned, b.queued, b.estimated,
         (b.scanned / nullif(extract(epoch from b.page_at - b.started_at), 0))::double precision, b.where_sql, b.missed, b.error,
         case when b.state in ('paused', 'failed') or s.stopped
              then format('qctl backfill %s -q %s', qctl._word(coalesce(qctl._table_name(b.relation), b.table_name)), q.queue_name)
                   || case when b.error ~ '^(the table is gone|the key of the table|a column that --columns)' then ' --cancel' else '' end end,
         b.started_at, b.page_at, b.ended_at
  from qctl.backfill b join qctl.queue q using (queue_id)
  cross join lateral (select b.state = 'running' and b.page_at < statement_timestamp() - make_interval(secs => greatest(30, coalesce(3 / b.rate_per_s, 0))) as stopped) s
  where (p_queue is null or q.queue_name = p_queue) and (not p_unfinished or b.state in ('running', 'paused', 'failed'))
  order by b.backfill_id
$$;
comment on function qctl.backfills(text, boolean) is 'Runs of backfill, oldest first. stopped: nobody has asked for a page for 30 s; fix goes on with it.';
