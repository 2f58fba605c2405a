-- Takeover: finds pg_cron jobs that read a pgmq queue, directly or through the functions that they call, and switches them off.

create or replace function qctl._code_of(p_command text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_code text := p_command;
  v_seen oid[] := '{}';
  v_new oid[];
begin
  for v_depth in 1..5 loop
    select array_agg(p.oid) into v_new
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prokind in ('f', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'pgmq', 'qctl', 'cron', 'net')
      and not p.oid = any (v_seen)
      and p.proname = any (array(select unnest(array[m[1], lower(m[1])]) from regexp_matches(v_code, '([[:alpha:]_][[:alnum:]_$]*)"?\s*\(', 'g') as m));
    exit when v_new is null;
    v_seen := v_seen || v_new;
    v_code := v_code || E'\n' || (select string_agg(pg_get_functiondef(o), E'\n') from unnest(v_new) as o);
  end loop;
  return v_code;
end
$$;
comment on function qctl._code_of(text) is 'A command with the source of the functions that it calls, up to five levels deep.';

create or replace function qctl._reads_queue(p_code text, p_queue text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  with code as (
    select regexp_replace(regexp_replace(p_code, '--[^\n]*', '', 'g'), '/\*.*?\*/', '', 'g') as text
  ), call as (
    -- The first argument if it is a literal; null if it is computed.
    select m[1] as queue from code, regexp_matches(code.text,
      '\m(?:pgmq|pgmq_public)"?\s*\.\s*"?(?:read\w*|pop|archive|delete|set_vt|purge_queue)"?\s*\(\s*(?:queue_name\s*(?:=>|:=)\s*)?(?:''([^'']*)'')?',
      'gi') as m
    union all
    select m[1] from code, regexp_matches(code.text, '(?<![.\w"])(?:read|read_with_poll|pop|archive)\s*\(\s*''([^'']*)''', 'gi') as m
  )
  select exists (select from call c where c.queue = p_queue)
      or exists (select from call c where c.queue is null)
         and (select code.text ~* format('''%s''', p_queue) or code.text ~* '\mpgmq"?\s*\.\s*"?(list_queues|meta)\M' from code)
      or (select code.text ~* format('\m(delete\s+from|truncate(\s+table)?|update)(\s+only)?\s+("?pgmq"?\s*\.\s*)?"?q_%s\M', p_queue) from code)
$$;
comment on function qctl._reads_queue(text, text) is
  'True if the text of this code reads, pops, archives or deletes messages of the queue. Names built at run time are not found.';

create or replace function qctl._other_readers(p_queue text)
returns table (job_id bigint, job_name text, owner text, command text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not qctl._cron_here() then
    return;
  end if;
  return query
  select j.jobid, coalesce(j.jobname::text, j.jobid::text), j.username::text, j.command
  from cron.job j
  where j.active and j.database = current_database()::text and j.command !~ '^call qctl\.' and j.command <> 'select qctl.wake_edge()'
    and qctl._reads_queue(qctl._code_of(j.command), p_queue)
  order by j.jobid;
end
$$;
comment on function qctl._other_readers(text) is
  'Active jobs that read this queue and do not belong to qctl, as far as this role may see jobs.';

create or replace function qctl._take_over(p_queue text) returns text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_job record;
  v_names text[] := '{}';
begin
  for v_job in select * from qctl._other_readers(p_queue) loop
    begin
      perform cron.alter_job(job_id := v_job.job_id, active := false);
    exception when others then
      raise exception 'job ''%'' of role ''%'' cannot be switched off by role ''%'': %', v_job.job_name, v_job.owner, current_user, sqlerrm
        using errcode = 'QC007',
              hint = format('as role %s: select cron.alter_job(%s, active := false);', v_job.owner, v_job.job_id);
    end;
    v_names := v_names || v_job.job_name;
  end loop;
  return v_names;
end
$$;
comment on function qctl._take_over(text) is 'Switches off the other readers of a queue. They stay in cron.job.';

create or replace function qctl._refuse_other_readers(p_queue text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_names text;
begin
  select string_agg(format('%s (%s, of %s)', c.job_name, left(regexp_replace(btrim(c.command), '\s+', ' ', 'g'), 60), c.owner), '; ')
  into v_names from qctl._other_readers(p_queue) c;
  if v_names is not null then
    raise exception 'another cron job reads pgmq queue ''%'': %', p_queue, v_names
      using errcode = 'QC007', detail = 'Each of two readers would receive only some of the messages.',
            hint = 'to switch that job off in the same transaction: --take-over; if it does not read the queue: --ignore-readers';
  end if;
end
$$;

create or replace function qctl.waiting(p_queue text) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
  v_count bigint := 0;
begin
  perform qctl._check_name(p_queue);
  if exists (select from pgmq.meta m where m.queue_name = p_queue) and not exists (select from qctl.queue q where q.queue_name = p_queue) then
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_count;
  end if;
  return v_count;
end
$$;
comment on function qctl.waiting(text) is 'How many messages a pgmq queue has that qctl does not deliver yet.';

create or replace function qctl._skip_waiting(p_queue text) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  execute format($q$
    with skipped as (
      delete from pgmq.%1$I q returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers
    ), archived as (
      insert into pgmq.%2$I (msg_id, read_ct, enqueued_at, vt, message, headers)
      select s.msg_id, s.read_ct, s.enqueued_at, s.vt, s.message, s.headers from skipped s %3$s
    )
    select count(*) from skipped
  $q$, 'q_' || p_queue, 'a_' || p_queue, qctl._archive_conflict(p_queue)) into v_count;
  return v_count;
end
$$;
comment on function qctl._skip_waiting(text) is 'Moves the messages of a pgmq queue to its archive undelivered. Each can be replayed.';
