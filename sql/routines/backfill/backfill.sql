-- Backfill: rows that exist already, as messages of operation READ. A page locks its rows FOR SHARE while it queues them, so none of
-- them is older than a change that was captured before it, and writes its progress in the same transaction, so none is queued twice.

create or replace function qctl._check_where(p_relation regclass, p_where text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Within brackets and within parentheses it can close neither.
  perform qctl._columns_parsed(p_relation, format(E'select 1::bigint from %s as t where (array[%2$s\n])[1] and (%2$s\n)', p_relation, p_where));
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table or feature_not_supported then
  raise exception '--where is not a valid condition for %: %', p_relation, sqlerrm
    using errcode = 'QC002', hint = 'for example --where "status = ''paid''"; write other tables and functions with their schema';
end
$$;

create or replace function qctl._estimated_rows(p_relation regclass) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(greatest(c.reltuples, 0)) filter (where c.relkind = 'r'), 0)::bigint
  from qctl._captured_relations(p_relation) as r (relation) join pg_class c on c.oid = r.relation
$$;

create or replace function qctl._backfill_from(p_relation regclass, p_queue qctl.queue, p_as_me boolean) returns qctl.backfill
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment := qctl._find_attachment(p_relation::oid::text, p_queue.queue_id);
  v_class pg_class;
  v_backfill qctl.backfill;
begin
  select * into v_class from pg_class c where c.oid = p_relation;
  v_backfill.queue_id := p_queue.queue_id;
  v_backfill.relation := p_relation;
  v_backfill.table_name := qctl._table_name(p_relation);
  v_backfill.payload := coalesce(v_attachment.payload, 'qctl');
  v_backfill.body_sql := v_attachment.body_sql;
  v_backfill.order_by := v_attachment.order_by;
  v_backfill.max_bytes := coalesce(v_attachment.max_bytes, 524288);
  v_backfill.attachment := qctl._backfill_options(v_attachment);
  select array_agg(k.name order by k.n), array_agg(k.type order by k.n) into v_backfill.key_columns, v_backfill.key_types from qctl._backfill_key(p_relation) k;
  v_backfill.estimated := qctl._estimated_rows(p_relation);
  v_backfill.as_me := coalesce(p_as_me, false) or qctl._captures_as_me(p_relation, false);
  if v_backfill.key_columns is null then
    raise exception 'table % has no primary key and no unique index over columns that are not null', p_relation
      using errcode = 'QC007', hint = 'its rows cannot be read in pages; add a primary key';
  elsif v_attachment.attachment_id is not null and exists (select from qctl.held_event h where h.attachment_id = v_attachment.attachment_id) then
    raise exception 'events of % are held, and would follow newer rows', p_relation
      using errcode = 'QC007', hint = qctl._attachment_fix(v_attachment, p_queue.queue_name, true);
  elsif not v_backfill.as_me and qctl._foreign_parts(p_relation) is not null then
    raise exception 'parts of % belong to other roles: %', p_relation, qctl._foreign_parts(p_relation)
      using errcode = 'QC007', hint = 'give them the same owner; or --as-me, to read them with your own rights';
  elsif v_class.relforcerowsecurity and not v_backfill.as_me and not exists (select from pg_roles r where r.oid = v_class.relowner and (r.rolsuper or r.rolbypassrls)) then
    raise exception 'row level security of % hides rows from its owner too', p_relation
      using errcode = 'QC007', hint = '--as-me reads the rows with your own rights';
  elsif not has_table_privilege(case when v_backfill.as_me then current_user else pg_get_userbyid(v_class.relowner) end, p_relation, 'SELECT, UPDATE')
        and not has_any_column_privilege(case when v_backfill.as_me then current_user else pg_get_userbyid(v_class.relowner) end, p_relation, 'UPDATE') then
    raise exception 'role ''%'' may not lock the rows of %', case when v_backfill.as_me then current_user else pg_get_userbyid(v_class.relowner) end, p_relation
      using errcode = 'QC007', hint = 'it needs SELECT and UPDATE on the table';
  end if;
  if v_attachment.when_sql is not null then
    begin
      perform qctl._check_condition(p_relation, '{INSERT}', v_attachment.when_sql, false);
      v_backfill.when_sql := v_attachment.when_sql;
    exception when sqlstate 'QC002' then
      raise warning 'the condition of the attachment needs an old row, so all rows are queued: %', v_attachment.when_sql;
    end;
  end if;
  return v_backfill;
end
$$;
comment on function qctl._backfill_from(regclass, qctl.queue, boolean) is 'A run with what the attachment of the table says of its messages.';

create or replace function qctl._newest_msg_id(p_queue text) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_last bigint;
begin
  execute format('select greatest((select max(msg_id) from pgmq.%I), (select max(msg_id) from pgmq.%I), 0)', 'q_' || p_queue, 'a_' || p_queue) into v_last;
  return v_last;
end
$$;

create or replace function qctl._unfinished_backfill(p_relation text, p_queue_id integer) returns qctl.backfill
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select b from qctl.backfill b
  where b.queue_id = p_queue_id and b.state in ('running', 'paused', 'failed') and (b.relation::oid = qctl._regclass(p_relation)::oid or b.table_name = p_relation)
  order by b.relation::oid = qctl._regclass(p_relation)::oid desc limit 1
$$;

create or replace function qctl._refuse_other_backfill(p_old qctl.backfill, p_relation regclass, p_asked jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_go_on text := format('qctl backfill %s -q %s', qctl._word(p_old.table_name), (select q.queue_name from qctl.queue q where q.queue_id = p_old.queue_id));
begin
  if p_old.relation <> p_relation or qctl._backfill_obstacle(p_old) in ('the table is gone', 'the key of the table is another one now', 'a column that --columns names is gone') then
    raise exception 'an unfinished backfill of % was of another table or key', p_old.table_name
      using errcode = 'QC007', hint = format('to end it, and then begin anew: %s --cancel', v_go_on);
  elsif p_asked <> '{}' and p_asked <> p_old.asked then
    raise exception 'another backfill of % is not finished', p_old.table_name
      using errcode = 'QC007', detail = format('It has read %s rows.', p_old.scanned),
            hint = format('to go on with it: %s; to end it: %1$s --cancel', v_go_on);
  end if;
end
$$;
comment on function qctl._refuse_other_backfill(qctl.backfill, regclass, jsonb) is 'Refuses to go on with a run that was of something else.';

create or replace function qctl.begin_backfill(
  p_relation text, p_queue text, p_where text default null, p_columns text[] default null, p_rate_per_s double precision default null,
  p_missed boolean default null, p_as_me boolean default false, p_since timestamptz default null, p_by text default null, p_preview boolean default false)
returns table (backfill_id integer, relation text, queue_name text, resumed boolean, estimated bigint, scanned bigint, queued bigint, rate_per_s double precision)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_relation regclass := qctl._relation(p_relation);
  v_asked jsonb := jsonb_strip_nulls(jsonb_build_object('where', nullif(p_where, ''), 'columns', to_jsonb(nullif(p_columns, '{}')), 'missed', nullif(p_missed, false), 'by', p_by));
  v_old qctl.backfill;
  v_new qctl.backfill;
begin
  perform qctl._check_attachable(v_relation);
  if (p_since is null) <> (p_by is null) then
    raise exception 'a time needs the column that it is compared with' using errcode = 'QC002';
  end if;
  if not p_preview then
    -- Two that begin at once: the second goes on with the run of the first.
    perform pg_advisory_xact_lock(qctl._lock_space('backfill'), v_queue.queue_id);
  end if;
  v_old := qctl._unfinished_backfill(p_relation, v_queue.queue_id);
  if v_old.backfill_id is not null then
    perform qctl._refuse_other_backfill(v_old, v_relation, v_asked);
  end if;
  v_new := qctl._backfill_from(v_relation, v_queue, coalesce(p_as_me, false) or coalesce(v_old.as_me, false));
  v_new.asked := coalesce(v_old.asked, v_asked);
  v_new.missed := coalesce(v_old.missed, p_missed, false);
  v_new.where_sql := v_old.where_sql;
  v_new.columns := v_old.columns;
  v_new.after_key := v_old.after_key;
  v_new.from_msg_id := coalesce(v_old.from_msg_id, qctl._newest_msg_id(p_queue));
  v_new.rate_per_s := coalesce(p_rate_per_s, v_old.rate_per_s);
  if v_old.backfill_id is null then
    v_new.where_sql := qctl._backfill_where(v_relation, nullif(p_where, ''), p_since, p_by);
    perform qctl._check_columns(v_relation, p_columns, '');
    -- What identifies a row, and what orders it, is never left out.
    v_new.columns := (select array_agg(distinct c) from unnest(p_columns || v_new.key_columns || v_new.order_by) c where cardinality(p_columns) > 0 and c is not null);
  end if;
  if v_new.columns is not null and v_new.body_sql is not null then
    raise exception 'the payload is what --body makes, so columns cannot be chosen' using errcode = 'QC007', hint = 'leave out --columns';
  elsif v_new.missed and (v_new.body_sql is not null or v_new.payload not in ('qctl', 'supabase') or v_new.columns is not null or not v_queue.archive) then
    raise exception 'what was captured into ''%'' cannot be compared with rows', p_queue
      using errcode = 'QC007', detail = case when not v_queue.archive then 'The queue keeps no archive.' else 'Its messages are not whole rows.' end, hint = 'use a time: --since ''2026-11-30 02:00'' --by updated_at';
  end if;
  if v_old.backfill_id is not null and not p_preview then
    update qctl.backfill b
    set (state, error, rate_per_s, page_at, when_sql, payload, body_sql, order_by, max_bytes, as_me, attachment)
      = ('running', null, v_new.rate_per_s, clock_timestamp(), v_new.when_sql, v_new.payload, v_new.body_sql, v_new.order_by, v_new.max_bytes, v_new.as_me, v_new.attachment)
    where b.backfill_id = v_old.backfill_id returning * into v_new;
  else
    insert into qctl.backfill (queue_id, relation, table_name, where_sql, columns, missed, asked, attachment, when_sql, payload, body_sql, order_by, max_bytes, as_me,
                               key_columns, key_types, after_key, from_msg_id, rate_per_s, estimated, scanned, state)
    values (v_new.queue_id, v_relation, v_new.table_name, v_new.where_sql, v_new.columns, v_new.missed, v_new.asked, v_new.attachment, v_new.when_sql, v_new.payload,
            v_new.body_sql, v_new.order_by, v_new.max_bytes, v_new.as_me, v_new.key_columns, v_new.key_types, v_new.after_key, v_new.from_msg_id, v_new.rate_per_s,
            v_new.estimated, coalesce(v_old.scanned, 0), case when p_preview then 'cancelled' else 'running' end)
    returning * into v_new;
    if v_new.missed then
      perform qctl._note_seen(v_new, p_queue);
    end if;
    perform qctl._audit('backfill', p_queue, jsonb_strip_nulls(jsonb_build_object('relation', v_new.table_name, 'where', v_new.where_sql, 'missed', nullif(v_new.missed, false))))
    where not p_preview;
  end if;
  perform qctl._make_backfill_functions(v_new);
  return query select v_new.backfill_id, v_new.table_name, p_queue, v_old.backfill_id is not null, v_new.estimated, v_new.scanned, v_new.queued, v_new.rate_per_s;
end
$$;
comment on function qctl.begin_backfill(text, text, text, text[], double precision, boolean, boolean, timestamptz, text, boolean) is
  'Begins to queue the rows of a table as messages of operation READ, or goes on with a run that is not finished: call qctl.backfill_page() until it says done. '
  'The format, the body, the order key and the condition are those of the table''s attachment to the queue. p_missed: only rows that are not what was captured last. '
  'p_since: only rows whose column p_by is at or after it. p_preview: a run that holds up no other and is to be rolled back, for qctl.count_backfill().';

create or replace function qctl._backfill_where(p_relation regclass, p_where text, p_since timestamptz, p_by text) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since text;
begin
  if p_where is not null then
    perform qctl._check_where(p_relation, p_where);
  end if;
  if p_by is null then
    return p_where;
  end if;
  perform qctl._check_columns(p_relation, array[p_by], '', 'for example --by updated_at');
  v_since := format('t.%I >= %L::timestamptz', p_by, to_char(p_since at time zone interval '0', 'YYYY-MM-DD HH24:MI:SS.US') || '+00');
  begin
    perform qctl._columns_parsed(p_relation, format('select 1::bigint from %s as t where %s', p_relation, v_since));
  exception when syntax_error_or_access_rule_violation then
    raise exception 'column % of % is not a time', quote_literal(p_by), p_relation using errcode = 'QC002', hint = 'for example --by updated_at';
  end;
  return v_since || case when p_where is not null then format(E' and (%s\n)', p_where) else '' end;
end
$$;
