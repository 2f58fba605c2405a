-- Partitions by date: the calls of pg_partman, and what every partitioned table needs.

create or replace function qctl._parts(p_table regclass) returns setof regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select i.inhrelid::regclass from pg_inherits i where i.inhparent = p_table
  union all
  select p_table where (select c.relkind <> 'p' from pg_class c where c.oid = p_table)
$$;
comment on function qctl._parts(regclass) is 'The tables that hold the rows of this one: its partitions, or the table itself.';

create or replace function qctl._partman() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select n.nspname::text from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_partman'
$$;
comment on function qctl._partman() is 'The schema of pg_partman; null if it is not installed.';

create or replace function qctl._need_partman() returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if qctl._partman() is not null then
    return qctl._partman();
  end if;
  if not exists (select from pg_available_extensions e where e.name = 'pg_partman') then
    raise exception 'partitions need the extension pg_partman, which this server does not have'
      using errcode = 'QC004', hint = 'install it: apt-get install postgresql-N-partman; on a hosted server enable it among the extensions';
  end if;
  create schema if not exists partman;
  create extension pg_partman schema partman;
  return 'partman';
exception when insufficient_privilege then
  raise exception 'pg_partman is not installed in this database, and this role may not install it'
    using errcode = 'QC004', hint = 'as a superuser: create schema partman; create extension pg_partman schema partman';
end
$$;

create or replace function qctl._partition_interval(p_interval text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_interval text := case p_interval when 'hourly' then '1 hour' when 'daily' then '1 day' when 'weekly' then '1 week' when 'monthly' then '1 month' end;
begin
  if v_interval is null then
    raise exception '% is not a partition interval', quote_nullable(p_interval)
      using errcode = 'QC002', hint = 'use hourly, daily, weekly or monthly';
  end if;
  return v_interval;
end
$$;

create or replace function qctl._grant_alike(p_old oid, p_new text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant record;
begin
  execute format('alter table %s owner to %I', p_new, (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_old));
  for v_grant in
    select g.privilege_type || a.columns as privilege, case when g.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end as grantee
    from pg_class c
    cross join lateral (select c.relacl as acl, '' as columns
                        union all select t.attacl, format(' (%I)', t.attname) from pg_attribute t where t.attrelid = c.oid and not t.attisdropped) a
    cross join aclexplode(a.acl) g
    where c.oid = p_old and g.grantee <> c.relowner
  loop
    execute format('grant %s on %s to %s', v_grant.privilege, p_new, v_grant.grantee);
  end loop;
  if (select c.relrowsecurity from pg_class c where c.oid = p_old) then
    execute format('alter table %s enable row level security', p_new);
  end if;
end
$$;
comment on function qctl._grant_alike(oid, text) is 'Gives a new table the owner and the privileges of the table that it replaces.';

create or replace function qctl._partition_bounds(p_parent text) returns table (name regclass, starts timestamptz, ends timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
begin
  return query execute format($q$
    select format('%%I.%%I', p.partition_schemaname, p.partition_tablename)::regclass, i.child_start_time, i.child_end_time
    from %1$I.show_partitions($1) p
    cross join lateral %1$I.show_partition_info(p.partition_schemaname || '.' || p.partition_tablename) i
  $q$, qctl._partman()) using p_parent;
end
$$;
comment on function qctl._partition_bounds(text) is
  'The partitions of a table except the default one. All calls of pg_partman '
  'run in UTC because it cuts and names partitions by the time zone.';

create or replace function qctl._default_partition(p_parent text) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select i.inhrelid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = to_regclass(p_parent) and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
$$;

create or replace function qctl._move_into_partitions(p_parent text, p_old text, p_column text, p_rows integer) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_least timestamptz;
  v_last timestamptz;
  v_start timestamptz;
  v_step interval;
  v_columns text;
  v_rows double precision;
  v_moved bigint;
begin
  if to_regclass(p_old) is null then
    return 0;
  end if;
  execute format('select min(%1$I), max(%1$I) from %2$s', p_column, p_old) into v_least, v_last;
  if v_least is null then
    execute format('drop table %s', p_old);
    return 0;
  end if;
  -- The start of the partition of the newest row, counted in steps from an existing partition.
  execute format('select c.partition_interval::interval from %I.part_config c where c.parent_table = $1', qctl._partman()) into v_step using p_parent;
  select min(b.starts) into v_start from qctl._partition_bounds(p_parent) b;
  while v_start > v_last loop
    v_start := v_start - v_step;
  end loop;
  while v_start + v_step <= v_last loop
    v_start := v_start + v_step;
  end loop;
  if not exists (select from qctl._partition_bounds(p_parent) b where b.starts <= v_last and b.ends > v_last) then
    execute format('select %I.create_partition_time($1, array[$2])', qctl._partman()) using p_parent, v_start;
  end if;
  select greatest(c.reltuples, 1) into v_rows from pg_class c where c.oid = to_regclass(p_old);
  v_start := greatest(v_start, v_last - greatest(interval '1 s', (v_last - v_least) * least(1, p_rows / v_rows)));
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into v_columns
  from pg_attribute a where a.attrelid = to_regclass(p_old) and a.attnum > 0 and not a.attisdropped;
  execute format('with moved as (delete from %1$s o where o.%2$I >= $1 returning %3$s)
                  insert into %4$s (%3$s) overriding system value select %3$s from moved', p_old, p_column, v_columns, p_parent)
    using v_start;
  get diagnostics v_moved = row_count;
  return v_moved;
end
$$;
comment on function qctl._move_into_partitions(text, text, text, integer) is
  'Moves about p_rows rows from the old table into the partitions, the newest first; returns how many. When none is left, it drops the '
  'old table and returns 0.';

create or replace function qctl._maintain_partitions(p_parent text, p_column text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_end timestamptz;
  v_default regclass := qctl._default_partition(p_parent);
  v_late boolean := false;
begin
  -- After a long time without maintenance new rows are in the default partition. No partition for their time can be created while they
  -- are there, so they are taken out first.
  select max(b.ends) into v_end from qctl._partition_bounds(p_parent) b;
  if v_default is not null then
    execute format('select exists (select from %s d where d.%I >= $1)', v_default, p_column) into v_late using v_end;
  end if;
  if v_late then
    execute format('create temporary table qctl_late on commit drop as select * from %s d where d.%I >= $1', v_default, p_column) using v_end;
    execute format('delete from %s d where d.%I >= $1', v_default, p_column) using v_end;
  end if;
  execute format('select %I.run_maintenance($1, p_analyze => false)', qctl._partman()) using p_parent;
  if v_late then
    execute format('insert into %s select * from pg_temp.qctl_late', p_parent);
    drop table pg_temp.qctl_late;
  end if;
end
$$;
comment on function qctl._maintain_partitions(text, text) is
  'Runs pg_partman''s maintenance: creates the partitions that will be needed and drops those older than the retention.';

create or replace function qctl._drop_partitions(p_parent text, p_older_than interval, p_tries integer default 100) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_partitions integer;
begin
  -- Several short tries, because a long wait for the lock would make all other sessions wait behind it.
  set local lock_timeout = '50ms';
  for v_try in 1..p_tries loop
    begin
      execute format('select %I.drop_partition_time($1, p_retention => $2, p_keep_table => false, p_keep_index => false)', qctl._partman())
        into v_partitions using p_parent, p_older_than;
      return v_partitions;
    exception when lock_not_available or raise_exception then
      -- pg_partman raises its own error, which contains the text of the original one.
      if sqlerrm !~ 'lock timeout' then
        raise;
      end if;
      if v_try < p_tries then
        perform pg_sleep(0.02 + random() * 0.08);
      end if;
    end;
  end loop;
  raise exception 'no partition of % could be dropped because other sessions keep locks on it', p_parent
    using errcode = '55P03', hint = 'try again at a quieter time; qctl doctor names sessions that are idle in a transaction';
end
$$;
comment on function qctl._drop_partitions(text, interval, integer) is
  'Drops the partitions of a table in which every row is older than that; returns how many.';

create or replace function qctl._about_rows(p_table regclass) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_counted constant real := 1000000;
  v_rows bigint;
begin
  select c.reltuples::bigint into v_rows from pg_class c where c.oid = p_table and c.reltuples > c_counted;
  if v_rows is null then
    execute format('select count(*) from %s', p_table) into v_rows;
  end if;
  return v_rows;
end
$$;
comment on function qctl._about_rows(regclass) is
  'The number of rows; for a large table the estimate, because the caller holds a lock while it counts.';

create or replace function qctl._create_parent(p_table text, p_column text, p_interval text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
  execute format('select %I.create_parent(p_parent_table => $1, p_control => $2, p_interval => $3, p_type => $4)', qctl._partman())
    using p_table, p_column, p_interval,
          (select case when split_part(e.extversion, '.', 1)::integer >= 5 then 'range' else 'native' end from pg_extension e where e.extname = 'pg_partman');
  execute format('update %I.part_config set infinite_time_partitions = true where parent_table = $1', qctl._partman()) using p_table;
end
$$;
comment on function qctl._create_parent(text, text, text) is 'Hands a partitioned table over to pg_partman, which makes its partitions.';
