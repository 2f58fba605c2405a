-- The trigger functions of an attachment: they queue what the row function says of each row, or hold it. They run as the role that
-- attached, and name nothing of the captured table, so that no change of it can break them.

create or replace function qctl._order_sql(p_attachment qctl.attachment, p_rows text, p_operation text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.order_by is null then 'null::text'
              else format('left(coalesce(%1$s -> %2$L ->> %3$L, %1$s ->> ''order_key''), 200)', p_rows,
                          case p_operation when 'DELETE' then 'old_record' else 'record' end, p_attachment.order_by) end
$$;

create or replace function qctl._headers_sql(p_attachment qctl.attachment, p_order text, p_message text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.payload = 'cloudevents'
              then format('qctl._shape_headers(%L, %s)', p_attachment.payload, p_message)
                   || case when p_attachment.order_by is null then '' else format(' || coalesce(qctl._order_headers(%s), ''{}'')', coalesce(p_order, 'null')) end
              when p_attachment.order_by is not null then format('qctl._order_headers(%s)', p_order) end
$$;
comment on function qctl._headers_sql(qctl.attachment, text, text) is 'The headers of a message: its order key, and what its format needs; null for none.';

create or replace function qctl._order_column(p_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select u.present from qctl.attachment a cross join lateral qctl._used_columns(a) u where a.name = p_name and u.name = a.order_by
$$;
comment on function qctl._order_column(text) is 'What the column of --order-by is called now.';

create or replace function qctl._held_order_sql(p_attachment qctl.attachment, p_rows text, p_operation text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.order_by is null then 'null::text'
              else format('coalesce(%s, left(%s -> %L ->> qctl._order_column(%L), 200))', qctl._order_sql(p_attachment, p_rows, p_operation), p_rows,
                          case p_operation when 'DELETE' then 'old_record' else 'record' end, p_attachment.name) end
$$;

create or replace function qctl._held_insert(p_attachment qctl.attachment, p_operation text, p_head text, p_row text, p_from text, p_where text, p_reason text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$insert into qctl.held_event (attachment_id, operation, message, order_key, reason)
    select qctl._attachment_id(%1$L), %2$L, %3$s || (e.c - '{problem,order_key,body,body_failed}'::text[]), %8$s, coalesce(e.c ->> 'problem', %4$s)
    from %5$s cross join lateral (select %6$s as c offset 0) as e
    where %7$s;$body$, p_attachment.name, p_operation, p_head, p_reason, p_from, p_row, p_where,
                qctl._held_order_sql(p_attachment, 'e.c', p_operation))
$$;

create or replace function qctl._unqueued_sql(p_attachment qctl.attachment, p_held text, p_reason text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_attachment.on_error
    when 'hold' then format($body$begin
      %s
    exception when others then
      raise warning 'qctl: changes of %% were not captured: %%', tg_relid::regclass, sqlerrm;
    end;$body$, p_held)
    when 'skip' then format('perform qctl._capture_failed(%L, %s);', p_attachment.name, p_reason)
    else format($body$raise exception 'qctl cannot capture this change of %%: %%', tg_relid::regclass, %s
        using hint = 'qctl verify';$body$, p_reason) end
$$;
comment on function qctl._unqueued_sql(qctl.attachment, text, text) is 'What is done with events that cannot be queued, as --on-error says.';

create or replace function qctl._notify_sql(p_queue text, p_if text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
  if %3$s and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(%1$s, qctl._folded_queue_id(%2$L)) then
    perform pg_notify('qctl', qctl._folded_queue_id(%2$L)::text);
  end if;$body$, qctl._lock_space('sleeper'), p_queue, p_if)
$$;

create or replace function qctl._folded_queue_id(p_queue text) returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select q.queue_id from qctl.queue q where q.queue_name = p_queue $$;

create or replace function qctl._capture_body(p_attachment qctl.attachment, p_queue text, p_operation text, p_pinned text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_operation = 'TRUNCATE' then qctl._truncate_body(p_attachment, p_queue)
              when p_attachment.level = 'row' then qctl._by_row_body(p_attachment, p_queue, p_operation)
              else qctl._statement_body(p_attachment, p_queue, p_operation, p_pinned) end
$$;
comment on function qctl._capture_body(qctl.attachment, text, text, text[]) is 'Generates a trigger function. It holds no number of this database: equal attachments have equal functions.';

create or replace function qctl._pin() returns text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old text[];
begin
  select array_agg(array[s.name, current_setting(s.name)]) into v_old from qctl._pinned_settings() s;
  perform set_config(s.name, s.value, true) from qctl._pinned_settings() s;
  return v_old;
end
$$;

create or replace function qctl._unpin(p_settings text[]) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$ select set_config(p_settings[i][1], p_settings[i][2], true) from generate_subscripts(p_settings, 1) i $$;

create or replace function qctl._capture_failed(p_name text, p_problem text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment_id integer := qctl._attachment_id(p_name);
begin
  -- Writers must not wait for each other here, so a writer that does not get the lock is not counted.
  if v_attachment_id is null or not pg_try_advisory_xact_lock(qctl._lock_space('capture_error'), v_attachment_id) then
    return;
  end if;
  insert into qctl.capture_error as e (attachment_id, minute, sqlstate, error, statements)
  values (v_attachment_id, date_trunc('minute', clock_timestamp()), coalesce(substring(p_problem from 'SQLSTATE ([0-9A-Z]{5})'), 'QC007'), left(p_problem, 300), 1)
  on conflict (attachment_id, minute, sqlstate) do update set statements = e.statements + 1;
exception when others then
  raise warning 'qctl: an event was not captured, SQLSTATE %', sqlstate;
end
$$;
comment on function qctl._capture_failed(text, text) is 'Records skipped events.';
