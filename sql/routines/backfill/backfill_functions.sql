-- The functions of a run: generated for its table and key, owned by the table's owner, and whether they may still run.

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

create or replace function qctl._backfill_page_body(p_backfill qctl.backfill) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
declare
  v_until constant timestamptz := clock_timestamp() + make_interval(secs => seconds);
  v_keys jsonb;
  v_row record;
begin
  for v_try in 1 .. 1000 loop
    execute format(case when after is null then %1$L else %2$L end, relation) into v_keys using after, most;
    if v_keys is null then
      return;
    end if;
    -- Waits for the first row only, while it holds no other, so it is never part of a deadlock over rows. It may be gone or have another
    -- key when the wait is over; then the keys are looked for again.
    for v_row in execute format(%3$L, relation) using jsonb_build_array(v_keys -> 0) loop
      key := v_row.key;
      item := v_row.item;
      return next;
    end loop;
    exit when key is not null;
  end loop;
  -- What a writer holds, or has changed, begins the next page.
  for v_row in execute format(%4$L, relation) using v_keys - 0 loop
    exit when v_row.item is null or clock_timestamp() > v_until;
    key := v_row.key;
    item := v_row.item;
    return next;
  end loop;
end
$body$,
    format('select jsonb_agg(k.key order by k.n) from (select array[%s] as key, row_number() over () as n from (select * from (select t.*%s from %%s as t where (%s%s)) t order by %s limit $2) t) k',
           p.texts, p.table_column, p.condition, E'\n', p.ordered),
    format('select jsonb_agg(k.key order by k.n) from (select array[%s] as key, row_number() over () as n from (select * from (select t.*%s from %%s as t where (%s%s)) t where %s order by %s limit $2) t) k',
           p.texts, p.table_column, p.condition, E'\n', replace(qctl._backfill_after_sql(p_backfill.relation), '%', '%%'), p.ordered),
    format('select coalesce(t.*) as item, array[%s] as key from (select $1 as wanted) w cross join lateral (select array(select jsonb_array_elements_text(w.wanted -> 0)) as k) k join %%s as t on %s where (%s%s) for share of t',
           p.texts, p.equal, p.condition, E'\n'),
    format('select r.item, k.k as key from jsonb_array_elements($1) with ordinality as w (wanted, n) cross join lateral (select array(select jsonb_array_elements_text(w.wanted)) as k) k'
           ' left join lateral (select coalesce(t.*) as item from %%s as t where %s and (%s%s) for share of t skip locked) r on true order by w.n',
           p.equal, p.condition, E'\n'))
  from (
    select replace(string_agg(format('%s::text', format('t.%I', k.name)), ', ' order by k.n), '%', '%%') as texts,
           replace(string_agg(format('%s using %s', k.written, k.less), ', ' order by k.n), '%', '%%') as ordered,
           replace(string_agg(format('%s %s (k.k[%s])::%s', k.written, k.equal, k.n, k.type), ' and ' order by k.n), '%', '%%') as equal,
           case when bool_or(k.name = 'tableoid') then ', t.tableoid' else '' end as table_column,
           replace(coalesce(p_backfill.where_sql, 'true'), '%', '%%') as condition
    from qctl._backfill_key(p_backfill.relation) k) p
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

create or replace function qctl._backfill_obstacle(p_backfill qctl.backfill) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_class pg_class;
  v_attachment qctl.attachment := qctl._find_attachment(p_backfill.relation::oid::text, p_backfill.queue_id);
begin
  select * into v_class from pg_class c where c.oid = p_backfill.relation;
  if not found then
    return 'the table is gone';
  elsif (select array_agg(k.name || ' ' || k.type order by k.n) from qctl._backfill_key(p_backfill.relation) k)
        is distinct from (select array_agg(c || ' ' || p_backfill.key_types[n] order by n) from unnest(p_backfill.key_columns) with ordinality as u (c, n)) then
    return 'the key of the table is another one now';
  elsif exists (select from unnest(p_backfill.columns) c where c <> 'tableoid'
                and not exists (select from pg_attribute a where a.attrelid = p_backfill.relation and a.attname = c and not a.attisdropped)) then
    return 'a column that --columns names is gone';
  elsif qctl._backfill_options(v_attachment) <> p_backfill.attachment then
    return 'the attachment of the table has changed';
  elsif v_attachment.attachment_id is not null and exists (select from qctl.held_event h where h.attachment_id = v_attachment.attachment_id) then
    return 'events of the table are held, and would follow newer rows';
  -- The code that the table and its types bring must not run as anybody but its owner.
  elsif (select count(*) from pg_proc p
         where p.oid in (select f from qctl._backfill_functions(p_backfill.backfill_id) f) and p.prosecdef
           and (p_backfill.as_me or p.proowner = v_class.relowner)
           and case when p.proname ~ '_row$' then p.proconfig is null else 'search_path=pg_catalog, pg_temp' = any (p.proconfig) end) <> 3
        or not p_backfill.as_me and qctl._foreign_parts(p_backfill.relation) is not null then
    return 'the table belongs to another role than the functions of the run';
  end if;
  return null;
end
$$;
comment on function qctl._backfill_obstacle(qctl.backfill) is 'Why the run cannot go on as it began; null if it can.';

create or replace function qctl._foreign_parts(p_relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(r.relation::text, ', ' order by r.relation::text)
  from qctl._captured_relations(p_relation) as r (relation) join pg_class c on c.oid = r.relation
  where c.relowner <> (select p.relowner from pg_class p where p.oid = p_relation)
$$;
comment on function qctl._foreign_parts(regclass) is 'Partitions and children of another owner: reading the table plans their indexes, which may be that role''s code.';

create or replace function qctl._backfill_options(p_attachment qctl.attachment) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_strip_nulls(jsonb_build_object('when', p_attachment.when_sql, 'format', p_attachment.payload, 'body', p_attachment.body_sql,
                                                      'order_by', p_attachment.order_by, 'max_bytes', p_attachment.max_bytes)), '{}')
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

create or replace function qctl.count_backfill(p_backfill_id integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  if (select qctl._backfill_obstacle(b) from qctl.backfill b where b.backfill_id = p_backfill_id) is null then
    execute format('select qctl.%I($1)', format('capture_backfill_%s_count', p_backfill_id)) into v_count
      using (select b.relation from qctl.backfill b where b.backfill_id = p_backfill_id);
  end if;
  return v_count;
end
$$;
comment on function qctl.count_backfill(integer) is 'How many rows a run reads in all. Reads all of them.';
