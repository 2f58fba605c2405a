-- The key of a backfill: in which order the rows of a table are read, by the operators and collations of its own index.

create or replace function qctl._backfill_index(p_relation regclass) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- The primary key; else a unique index that leaves out no row.
  select i.indexrelid from pg_index i
  where i.indrelid = p_relation and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
    and (select c.relam from pg_class c where c.oid = i.indexrelid) = (select m.oid from pg_am m where m.amname = 'btree')
    and not exists (select from unnest(i.indkey::smallint[]) with ordinality as u (attnum, n)
                    join pg_attribute a on a.attrelid = p_relation and a.attnum = u.attnum and not a.attnotnull where u.n <= i.indnkeyatts)
  order by i.indisprimary desc, i.indexrelid limit 1
$$;

create or replace function qctl._operator_of(p_class oid, p_strategy integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('operator(%I.%s)', n.nspname, o.oprname)
  from pg_opclass c
  join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype and m.amopstrategy = p_strategy
  join pg_operator o on o.oid = m.amopopr join pg_namespace n on n.oid = o.oprnamespace
  where c.oid = p_class
$$;
comment on function qctl._operator_of(oid, integer) is 'An operator of a btree operator class: 1 is <, 3 is =, 5 is >.';

create or replace function qctl._backfill_key(p_relation regclass)
returns table (n bigint, name text, type text, written text, less text, equal text, greater text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with key as (
    select k.n, a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type, k.class,
           format('t.%I', a.attname) || case when k.collated <> 0 and k.collated <> a.attcollation then ' collate ' || k.collated::regcollation else '' end as written
    from pg_index i
    cross join lateral unnest(i.indkey::smallint[], i.indclass::oid[], i.indcollation::oid[]) with ordinality as k (attnum, class, collated, n)
    join pg_attribute a on a.attrelid = p_relation and a.attnum = k.attnum
    where i.indexrelid = qctl._backfill_index(p_relation) and k.n <= i.indnkeyatts
  )
  select k.n, k.name, k.type, k.written, qctl._operator_of(k.class, 1), qctl._operator_of(k.class, 3), qctl._operator_of(k.class, 5) from key k
  union all
  -- A key holds in one table only, and not in those that inherit from it.
  select max(k.n) + 1, 'tableoid', 'oid', 't.tableoid', 'operator(pg_catalog.<)', 'operator(pg_catalog.=)', 'operator(pg_catalog.>)'
  from key k where qctl._inherits(p_relation) having count(*) > 0
$$;
comment on function qctl._backfill_key(regclass) is
  'The columns in whose order the rows of a table are read, each as it is written in a query and with its operators; none if nothing identifies its rows.';

create or replace function qctl._backfill_after_sql(p_relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- After a key, in the order of its index: the first column greater, or equal and the second greater, and so on.
  with recursive key as (
    select k.*, format('($1[%s])::%s', k.n, k.type) as value, count(*) over () as columns from qctl._backfill_key(p_relation) k
  ), nested as (
    select k.n, format('%s %s %s', k.written, k.greater, k.value) as sql from key k where k.n = k.columns
    union all
    select k.n, format('(%1$s %2$s %3$s or %1$s %4$s %3$s and %5$s)', k.written, k.greater, k.value, k.equal, n.sql) from nested n join key k on k.n = n.n - 1
  )
  select case when (select bool_and(k.greater = 'operator(pg_catalog.>)') from key k)
              then (select format('(%s) > (%s)', string_agg(k.written, ', ' order by k.n), string_agg(k.value, ', ' order by k.n)) from key k)
              -- The first column alone finds the place in the index.
              else (select case when k.columns = 1 then '' else format('not %s %s %s and ', k.written, k.less, k.value) end from key k where k.n = 1)
                   || (select n.sql from nested n where n.n = 1) end
$$;
