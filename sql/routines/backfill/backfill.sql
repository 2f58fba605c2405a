-- Backfill: rows that exist already, as messages of operation READ. A page locks its rows FOR SHARE while it queues them, so none of
-- them is older than a change that was captured before it, and writes its progress in the same transaction, so none is queued twice.

create or replace function qctl._backfill_key(p_relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- The primary key; else a unique index that leaves out no row.
  select array_agg(a.attname::text order by k.n)
  from (select i.* from pg_index i
        where i.indrelid = p_relation and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
          and not exists (select from unnest(i.indkey::smallint[]) u join pg_attribute n on n.attrelid = p_relation and n.attnum = u and not n.attnotnull)
        order by i.indisprimary desc, i.indexrelid limit 1) i
  cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
  join pg_attribute a on a.attrelid = p_relation and a.attnum = k.attnum
  where k.n <= i.indnkeyatts
$$;
comment on function qctl._backfill_key(regclass) is 'The columns in whose order the rows of a table are read; null if nothing identifies its rows.';

create or replace function qctl._backfill_attachment(p_backfill qctl.backfill) returns qctl.attachment
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_populate_record(null::qctl.attachment, jsonb_build_object(
    'attachment_id', 0, 'queue_id', p_backfill.queue_id, 'relation', p_backfill.relation::oid, 'operations', '["INSERT"]'::jsonb,
    'when_sql', p_backfill.when_sql, 'payload', p_backfill.payload, 'body_sql', p_backfill.body_sql, 'order_by', p_backfill.order_by,
    'max_bytes', p_backfill.max_bytes, 'as_me', p_backfill.as_me, 'on_error', 'hold', 'name', 'backfill_' || p_backfill.backfill_id,
    'table_name', p_backfill.table_name, 'uses', '{}'::jsonb))
$$;
comment on function qctl._backfill_attachment(qctl.backfill) is 'An attachment, which is nowhere stored, for what makes functions and messages of one.';

create or replace function qctl._check_where(p_relation regclass, p_where text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
as $$
declare
  v_function text := format('qctl.%I()', 'check_where_' || pg_backend_pid());
begin
  -- Creates a function that is never called: see qctl._check_condition(). Within brackets and within parentheses it can close neither.
  execute format('create function %s returns integer language sql as %L', v_function,
                 format(E'select 1 from %s as t where (array[%2$s\n])[1] and (%2$s\n)', p_relation, p_where));
  execute 'drop function ' || v_function;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table or feature_not_supported then
  raise exception '--where is not a valid condition for %: %', p_relation, sqlerrm
    using errcode = 'QC002', hint = 'for example --where "status = ''paid''"; write other tables and functions with their schema';
end
$$;

create or replace function qctl._backfill_query(p_backfill qctl.backfill, p_from_start boolean, p_locking text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('select %s%s as key from %%s as t where %s and (%s%s) order by %s limit $2%s',
    case when p_locking <> '' then 't as item, ' else '' end, format('array[%s]', string_agg(format('t.%I::text', k.name), ', ' order by k.n)),
    case when p_from_start then 'true'
         else format('(%s) > (%s)', string_agg(format('t.%I', k.name), ', ' order by k.n),
                     string_agg(format('($1[%s])::%s', k.n, format_type(a.atttypid, a.atttypmod)), ', ' order by k.n)) end,
    replace(coalesce(p_backfill.where_sql, 'true'), '%', '%%'), E'\n', string_agg(format('t.%I', k.name), ', ' order by k.n), p_locking)
  from unnest(p_backfill.key_columns) with ordinality as k (name, n)
  join pg_attribute a on a.attrelid = p_backfill.relation and a.attname = k.name and not a.attisdropped
$$;
comment on function qctl._backfill_query(qctl.backfill, boolean, text) is 'The rows after a key ($1), at most $2, with a place for the table.';

create or replace function qctl._backfill_page_body(p_backfill qctl.backfill) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
declare
  v_until constant timestamptz := clock_timestamp() + make_interval(secs => seconds);
  v_first constant boolean := after is null;
  v_key text[];
  v_keys text[][];
  v_row record;
  v_place integer := 0;
begin
  -- Waits for the first row only, while it holds no other, so it is never part of a deadlock. What a writer holds begins the next page.
  execute format(case when v_first then %1$L else %2$L end, relation) into v_row using after, 1;
  if v_row.key is null then
    return;
  end if;
  key := v_row.key;
  item := v_row.item;
  return next;
  v_key := key;
  execute format('select array_agg(k.key order by k.n) from (select q.key, row_number() over () as n from (%%s) q) k', format(%3$L, relation))
    into v_keys using v_key, most - 1;
  for v_row in execute format(%4$L, relation) using v_key, most - 1 loop
    v_place := v_place + 1;
    exit when array[v_row.key] is distinct from v_keys[v_place:v_place];
    key := v_row.key;
    item := v_row.item;
    return next;
    exit when clock_timestamp() > v_until;
  end loop;
end
$body$, qctl._backfill_query(p_backfill, true, ' for share of t'), qctl._backfill_query(p_backfill, false, ' for share of t'),
    qctl._backfill_query(p_backfill, false, ''), qctl._backfill_query(p_backfill, false, ' for share of t skip locked'))
$$;
comment on function qctl._backfill_page_body(qctl.backfill) is 'Generates the function that reads and locks a page, as the table''s owner.';

create or replace function qctl._make_backfill_functions(p_backfill qctl.backfill) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment := qctl._backfill_attachment(p_backfill);
  v_owner name := (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_backfill.relation);
  v_pins text := (select string_agg(format(' set %s = %L', s.name, s.value), '') from qctl._pinned_settings() s);
  v_function regprocedure;
begin
  perform qctl._drop_backfill_functions(p_backfill.backfill_id);
  v_attachment.uses := qctl._uses(v_attachment);
  execute format('create function qctl.%I(operation text, relation regclass, new anyelement, old anyelement, hidden text[]) '
                 'returns jsonb language plpgsql volatile security definer as %L',
                 qctl._capture_function(v_attachment.name, 'row'), qctl._row_body(v_attachment));
  execute format('create function qctl.%I(kind anyelement, relation regclass, after text[], most integer, seconds double precision) '
                 'returns table (key text[], item anyelement) language plpgsql volatile security definer '
                 'set search_path = pg_catalog, pg_temp set row_security = off%s as %L',
                 qctl._capture_function(v_attachment.name, 'page'), v_pins, qctl._backfill_page_body(p_backfill));
  execute format('create function qctl.%I(relation regclass) returns bigint language plpgsql volatile security definer '
                 'set search_path = pg_catalog, pg_temp set row_security = off as %L', qctl._capture_function(v_attachment.name, 'count'),
                 format(E'\ndeclare\n  v_count bigint;\nbegin\n  execute format(%L, relation) into v_count;\n  return v_count;\nend\n',
                        format(E'select count(*) from %%s as t where (%s\n)', replace(coalesce(p_backfill.where_sql, 'true'), '%', '%%'))));
  for v_function in select f from qctl._backfill_functions(p_backfill.backfill_id) f loop
    execute format('revoke all on function %s from public', v_function);
    execute format('grant execute on function %s to %I', v_function, current_user);
  end loop;
  if not p_backfill.as_me and v_owner <> current_user then
    perform qctl._give_functions(v_attachment.name, v_owner);
  end if;
end
$$;

create or replace function qctl._backfill_functions(p_backfill_id integer) returns setof regprocedure
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and p.proname ~ format('^capture_backfill_%s_(row|page|count)$', p_backfill_id)
$$;

create or replace function qctl._drop_backfill_functions(p_backfill_id integer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
  v_function regprocedure;
begin
  for v_function in select f from qctl._backfill_functions(p_backfill_id) f loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

create or replace function qctl._estimated_rows(p_relation regclass) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(greatest(c.reltuples, 0)) filter (where c.relkind = 'r'), 0)::bigint
  from qctl._captured_relations(p_relation) as r (relation) join pg_class c on c.oid = r.relation
$$;

create or replace function qctl._backfill_from(p_relation regclass, p_queue qctl.queue) returns qctl.backfill
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment qctl.attachment := qctl._find_attachment(p_relation::text, p_queue.queue_id);
  v_backfill qctl.backfill;
begin
  v_backfill.queue_id := p_queue.queue_id;
  v_backfill.relation := p_relation;
  v_backfill.table_name := qctl._table_name(p_relation);
  v_backfill.payload := coalesce(v_attachment.payload, 'qctl');
  v_backfill.body_sql := v_attachment.body_sql;
  v_backfill.order_by := v_attachment.order_by;
  v_backfill.max_bytes := coalesce(v_attachment.max_bytes, 524288);
  v_backfill.key_columns := qctl._backfill_key(p_relation);
  v_backfill.estimated := qctl._estimated_rows(p_relation);
  if v_backfill.key_columns is null then
    raise exception 'table % has no primary key and no unique index over columns that are not null', p_relation
      using errcode = 'QC007', hint = 'its rows cannot be read in pages; add a primary key';
  elsif v_attachment.attachment_id is not null and exists (select from qctl.held_event h where h.attachment_id = v_attachment.attachment_id) then
    raise exception 'events of % are held, and would follow newer rows', p_relation
      using errcode = 'QC007', hint = qctl._attachment_fix(v_attachment, p_queue.queue_name, true);
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
comment on function qctl._backfill_from(regclass, qctl.queue) is 'A run with what the attachment of the table says of its messages.';

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
  limit 1
$$;

create or replace function qctl.begin_backfill(
  p_relation text, p_queue text, p_where text default null, p_columns text[] default null, p_rate_per_s double precision default null,
  p_missed boolean default null, p_as_me boolean default false, p_since timestamptz default null, p_by text default null)
returns table (backfill_id integer, relation text, queue_name text, resumed boolean, estimated bigint, scanned bigint, queued bigint, rate_per_s double precision)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_relation regclass := qctl._relation(p_relation);
  v_old qctl.backfill := qctl._unfinished_backfill(p_relation, v_queue.queue_id);
  v_new qctl.backfill;
begin
  perform qctl._check_attachable(v_relation);
  p_where := nullif(p_where, '');
  if (p_since is null) <> (p_by is null) then
    raise exception 'a time needs the column that it is compared with' using errcode = 'QC002';
  elsif p_by is not null then
    perform qctl._check_columns(v_relation, array[p_by], '', 'for example --by updated_at');
    p_where := concat_ws(' and ', format('t.%I >= %L::timestamptz', p_by, p_since at time zone interval '0' || '+00'), format(E'(%s\n)', p_where));
  end if;
  p_columns := nullif(p_columns, '{}');
  if v_old.backfill_id is not null then
    if (p_where, p_columns, p_missed) is distinct from (null, null, null)
       and (p_where, p_columns, coalesce(p_missed, false)) is distinct from (v_old.where_sql, v_old.columns, v_old.missed) then
      raise exception 'another backfill of % into ''%'' is not finished', v_relation, p_queue
        using errcode = 'QC007', detail = format('It has read %s rows.', v_old.scanned),
              hint = format('to go on with it: qctl backfill %s -q %s; to end it: qctl backfill %1$s -q %2$s --cancel', qctl._word(v_relation::text), p_queue);
    end if;
    update qctl.backfill b
    set state = 'running', error = null, rate_per_s = coalesce(p_rate_per_s, b.rate_per_s), page_at = clock_timestamp(),
        relation = v_relation
    where b.backfill_id = v_old.backfill_id returning * into v_new;
  else
    v_new := qctl._backfill_from(v_relation, v_queue);
    v_new.as_me := qctl._captures_as_me(v_relation, coalesce(p_as_me, false));
    v_new.missed := coalesce(p_missed, false);
    if p_where is not null then
      perform qctl._check_where(v_relation, p_where);
    end if;
    perform qctl._check_columns(v_relation, p_columns, '');
    if v_new.missed and (v_new.body_sql is not null or v_new.payload not in ('qctl', 'supabase') or p_columns is not null or not v_queue.archive) then
      raise exception 'what was captured into ''%'' cannot be compared with rows', p_queue
        using errcode = 'QC007', detail = 'Its messages are not whole rows, or the queue keeps no archive.', hint = 'use --where with a time: --where "updated_at >= ''2026-11-30 02:00''"';
    end if;
    -- What identifies a row, and what orders it, is never left out.
    p_columns := (select array_agg(distinct c) from unnest(p_columns || v_new.key_columns || v_new.order_by) c where p_columns is not null and c is not null);
    insert into qctl.backfill (queue_id, relation, table_name, where_sql, columns, missed, when_sql, payload, body_sql, order_by, max_bytes, as_me, key_columns,
                               from_msg_id, rate_per_s, estimated)
    values (v_new.queue_id, v_relation, v_new.table_name, p_where, p_columns, v_new.missed, v_new.when_sql, v_new.payload, v_new.body_sql, v_new.order_by,
            v_new.max_bytes, v_new.as_me, v_new.key_columns, qctl._newest_msg_id(p_queue), p_rate_per_s, v_new.estimated)
    returning * into v_new;
    if v_new.missed then
      perform qctl._note_seen(v_new, p_queue);
    end if;
    perform qctl._audit('backfill', p_queue, jsonb_strip_nulls(jsonb_build_object('relation', v_new.table_name, 'where', p_where, 'missed', nullif(v_new.missed, false))));
  end if;
  perform qctl._make_backfill_functions(v_new);
  return query select v_new.backfill_id, v_new.table_name, p_queue, v_old.backfill_id is not null, v_new.estimated, v_new.scanned, v_new.queued, v_new.rate_per_s;
end
$$;
comment on function qctl.begin_backfill(text, text, text, text[], double precision, boolean, boolean, timestamptz, text) is
  'Begins to queue the rows of a table as messages of operation READ, or goes on with a run that is not finished: call qctl.backfill_page() until it says done. '
  'The format, the body, the order key and the condition are those of the table''s attachment to the queue. p_missed: only rows that are not what was captured last. p_since: only rows whose column p_by is at or after it.';

create or replace function qctl.count_backfill(p_backfill_id integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  execute format('select qctl.%I($1)', format('capture_backfill_%s_count', p_backfill_id)) into v_count
    using (select b.relation from qctl.backfill b where b.backfill_id = p_backfill_id);
  return v_count;
end
$$;
comment on function qctl.count_backfill(integer) is 'How many rows a run reads in all. Reads all of them.';
