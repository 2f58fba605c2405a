-- Locks on tables that the application writes: no writer waits for long, however many tables are needed at once.

create or replace function qctl._lock_tables(p_shared oid[], p_exclusive oid[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  -- Less than deadlock_timeout, so that no writer that waits for one of these tables is cancelled for holding another.
  c_next_ms constant integer := 200;
  v_until constant timestamptz := clock_timestamp() + interval '2 s';
  v_wanted oid[] := array(select t from unnest(p_exclusive || p_shared) t group by t order by t);
  v_relation oid;
  v_left_ms integer;
begin
  loop
    begin
      for i in 1 .. cardinality(v_wanted) loop
        v_relation := v_wanted[i];
        continue when not exists (select from pg_class c where c.oid = v_relation);
        v_left_ms := greatest(1, ceil(1000 * extract(epoch from v_until - clock_timestamp())));
        perform set_config('lock_timeout', case when i = 1 then v_left_ms else least(v_left_ms, c_next_ms) end::text, true);
        begin
          execute format('lock table only %s in %s mode', v_relation::regclass,
                         case when v_relation = any (p_exclusive) then 'access exclusive' else 'share row exclusive' end);
        exception when insufficient_privilege or undefined_table then
          -- The statement that needs the lock takes it itself, or says why not.
          null;
        end;
      end loop;
      return;
    exception when lock_not_available or deadlock_detected then
      if clock_timestamp() >= v_until then
        raise;
      end if;
    end;
    -- The one that was locked goes first: it is waited for while no other is held.
    v_wanted := v_relation || array_remove(v_wanted, v_relation);
  end loop;
end
$$;
comment on function qctl._lock_tables(oid[], oid[]) is
  'Locks these tables against writers, or against everyone, within 2 s in all. While one is waited for for longer than 0.2 s no other is held.';
