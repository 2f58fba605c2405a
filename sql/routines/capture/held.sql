-- Held events: what could not be queued as its attachment asks, and how it goes out in the end.

create or replace function qctl._order_headers(p_key text) returns jsonb
language sql immutable parallel safe
return case when p_key is not null then jsonb_build_object('x-pgmq-group', p_key) end;

create or replace function qctl._order_of(p_attachment qctl.attachment, p_operation text, p_rows jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select left(coalesce(p_rows -> case p_operation when 'DELETE' then 'old_record' else 'record' end ->> p_attachment.order_by, p_rows ->> 'order_key'), 200)
  where p_attachment.order_by is not null
$$;

create or replace function qctl._queue_held(p_attachment qctl.attachment, p_queue qctl.queue) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  if to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is null then
    return 0;
  end if;
  execute format($q$
    with gone as (delete from qctl.held_event h where h.attachment_id = $1 returning h.*)
    insert into pgmq.%I (vt, message, headers)
    select clock_timestamp(), m.message, nullif(coalesce(qctl._order_headers(g.order_key), '{}') || coalesce(qctl._shape_headers($2.payload, m.message), '{}'), '{}')
    from gone g cross join lateral (select qctl._message($2, g.message, '{}') as message offset 0) m order by g.held_id
  $q$, 'q_' || p_queue.queue_name) using p_attachment.attachment_id, p_attachment;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl._queue_held(qctl.attachment, qctl.queue) is 'Queues what is held as it is: nothing can decide about it any more.';

create or replace function qctl._decide(p_attachment qctl.attachment, p_held qctl.held_event) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row jsonb;
begin
  -- What lacks a column that the options name, because that was renamed once more, cannot be judged: it is sent.
  if p_held.operation = 'TRUNCATE' or p_held.message ? 'truncated'
     or not coalesce(nullif(p_held.message -> 'record', 'null'), p_held.message -> 'old_record')
            ?& array(select jsonb_object_keys(p_attachment.uses -> 'columns')) then
    return '{}'::jsonb;
  end if;
  execute format('select qctl.%1$I($1, $2, qctl.%2$I($2, $3), qctl.%2$I($2, $4), ''{}'')',
                 qctl._capture_function(p_attachment.name, 'row'), qctl._capture_function(p_attachment.name, 'record'))
    into v_row using p_held.operation, p_attachment.relation,
      coalesce(nullif(p_held.message -> 'record', 'null'), p_held.message -> 'old_record'),
      coalesce(nullif(p_held.message -> 'old_record', 'null'), p_held.message -> 'record');
  if pg_catalog.current_setting('search_path') operator(pg_catalog.<>) 'pg_catalog, pg_temp' then
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    raise exception 'code of the owner of % changes search_path', p_attachment.relation using errcode = 'QC007';
  end if;
  return v_row;
exception when data_exception then
  -- A column has a type now that does not take the value.
  return '{}'::jsonb;
end
$$;
comment on function qctl._decide(qctl.attachment, qctl.held_event) is 'What the attachment says of a held event now.';

create or replace function qctl.release_held(p_relation text, p_queue text, p_limit integer default 1000, p_as_is boolean default false)
returns table (queued bigint, dropped bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_attachment qctl.attachment := qctl._find_attachment(p_relation, v_queue.queue_id);
  v_held qctl.held_event;
  v_row jsonb;
  v_message jsonb;
begin
  queued := 0;
  dropped := 0;
  -- The code that the table's types bring must not run as anybody but its owner.
  if v_attachment.attachment_id is not null and qctl._capture_obstacle(v_attachment.name, p_queue) is null
     and (p_as_is or qctl._runs_as_owner(v_attachment.name, qctl._attached_relation(v_attachment.name))) then
    -- One at a time, or two sessions would queue them out of order.
    perform from qctl.attachment a where a.attachment_id = v_attachment.attachment_id for no key update;
    for v_held in
      select h.* from qctl.held_event h where h.attachment_id = v_attachment.attachment_id order by h.held_id limit p_limit
    loop
      v_row := case when p_as_is then '{}' else qctl._decide(v_attachment, v_held) end;
      exit when v_row ? 'problem';
      if v_row is not null then
        v_message := qctl._message(v_attachment, v_held.message, v_row);
        execute format('insert into pgmq.%I (vt, message, headers) values (clock_timestamp(), $1, $2)', 'q_' || p_queue)
          using v_message, nullif(coalesce(qctl._order_headers(coalesce(v_held.order_key, qctl._order_of(v_attachment, v_held.operation, v_row))), '{}')
                                  || coalesce(qctl._shape_headers(v_attachment.payload, v_message), '{}'), '{}');
        queued := queued + 1;
      else
        dropped := dropped + 1;
      end if;
      delete from qctl.held_event h where h.held_id = v_held.held_id;
    end loop;
    if queued > 0 then
      perform pg_notify('qctl', v_queue.queue_id::text);
    end if;
  end if;
  return next;
end
$$;
comment on function qctl.release_held(text, text, integer, boolean) is
  'Queues the oldest held events of an attachment, in their order, if its options fit the table again; drops those that its condition or '
  'its columns do not want. Ends at one that still cannot be judged. p_as_is: queues them without judging.';

create or replace function qctl._release_all_held() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment record;
begin
  for v_attachment in
    select a.table_name, q.queue_name from qctl.attachment a join qctl.queue q using (queue_id)
    where exists (select from qctl.held_event h where h.attachment_id = a.attachment_id) order by a.attachment_id
  loop
    begin
      perform qctl.release_held(v_attachment.table_name, v_attachment.queue_name);
    exception when others then
      raise warning 'held events of % stay: %', v_attachment.table_name, sqlerrm;
    end;
  end loop;
end
$$;
comment on function qctl._release_all_held() is 'Part of maintenance: queues what was held for a reason that has passed.';
