-- Refuses a server that qctl cannot run on, and installs pgmq where it is missing.
do $preflight$
declare
  v_version text;
  v_foreign text;
  v_empty boolean;
  v_table regclass;
begin
  if current_setting('server_version_num')::integer < 140000 then
    raise exception 'PostgreSQL % is too old', current_setting('server_version')
      using errcode = 'QC004', hint = 'PostgreSQL 14 or newer is required';
  end if;
  if current_setting('server_encoding') = 'SQL_ASCII' then
    raise exception 'the database has the encoding SQL_ASCII, in which the characters of a text are not known'
      using errcode = 'QC004', hint = 'make a database with another encoding and move the data there: create database NAME template template0 encoding ''UTF8''';
  end if;
  if pg_is_in_recovery() then
    raise exception 'the server is a standby, which is read-only' using errcode = 'QC004', hint = 'connect to the primary';
  end if;
  if (to_regnamespace('qctl') is null or to_regnamespace('pgmq') is null) and not has_database_privilege(current_database(), 'create') then
    raise exception 'role % may not create a schema in database %', quote_ident(current_user), quote_ident(current_database())
      using errcode = 'QC004',
            hint = format('as %I, who owns the database: grant create on database %I to %I;',
                          (select pg_get_userbyid(d.datdba) from pg_database d where d.datname = current_database()), current_database(), current_user);
  end if;
  if to_regnamespace('qctl') is not null and to_regclass('qctl.migration') is null
     and exists (select from pg_class where relnamespace = to_regnamespace('qctl')) then
    raise exception 'schema ''qctl'' already exists and was not created by qctl'
      using errcode = 'QC007', hint = 'rename it: alter schema qctl rename to ...';
  end if;
  -- The owner of a schema can replace its functions, and the installer's session would then run the owner's code.
  select string_agg(format('schema %I belongs to %I', n.nspname, r.rolname), ', ' order by n.nspname desc) into v_foreign
  from pg_namespace n join pg_roles r on r.oid = n.nspowner
  where n.nspname in ('qctl', 'pgmq') and r.rolname <> current_user and not r.rolsuper;
  if v_foreign is not null then
    raise exception '%, but the current role is %', v_foreign, current_user
      using errcode = 'QC007', hint = 'connect as that role; or, if you trust the functions it created there: alter schema ... owner to ...';
  end if;
  if (select count(*) from pg_class c where c.oid in (to_regclass('qctl.queue'), to_regclass('qctl.migration')) and c.relkind = 'r') = 2 then
    execute 'select not exists (select from qctl.migration)' into v_empty;
    if v_empty and current_setting('qctl.repair', true) is distinct from 'on' then
      raise exception 'schema ''qctl'' is here without its data, as a schema-only dump leaves it'
        using errcode = 'QC005', hint = 'qctl upgrade --repair installs it anew; queues and attachments must be made again';
    elsif v_empty then
      for v_table in select c.oid::regclass from pg_class c where c.relnamespace = to_regnamespace('qctl') and c.relkind in ('r', 'p') loop
        execute format('select exists (select from %s)', v_table) into v_empty;
        if v_empty then
          raise exception 'schema ''qctl'' lacks its table of migrations'' rows, but table % has rows', v_table
            using errcode = 'QC007', hint = 'restore a dump that has the data of all its tables; or: drop schema qctl cascade';
        end if;
      end loop;
      perform set_config('client_min_messages', 'warning', true), set_config('lock_timeout', '2s', true);
      drop schema qctl cascade;
    end if;
  end if;

  -- Either extension works only where its library is loaded for this database.
  begin
    if current_setting('cron.database_name', true) = current_database() then
      create extension if not exists pg_cron;
    end if;
    if current_setting('pg_net.database_name', true) = current_database() then
      create extension if not exists pg_net;
    end if;
  exception when others then
    raise notice 'extensions pg_cron and pg_net were not created: %', sqlerrm;
  end;

  if to_regclass('pgmq.meta') is null then
    select default_version into v_version from pg_available_extensions where name = 'pgmq';
    if found then
      if string_to_array(v_version, '.')::integer[] < '{1,5,0}' or v_version in ('1.10.0', '1.10.1') then
        raise exception 'the server offers pgmq %, which is not supported', v_version
          using errcode = 'QC004', hint = 'install pgmq 1.5.0 or newer, except 1.10.0 and 1.10.1';
      end if;
      create extension pgmq;
    else
      execute $pgmq_install$@PGMQ_SQL@$pgmq_install$;
    end if;
    return;
  end if;

  select extversion into v_version from pg_extension where extname = 'pgmq';
  if not found then
    v_version := case
      when not exists (select from pg_attribute a join pg_class c on c.oid = a.attrelid
                       where c.oid = to_regclass('pgmq.message_record') and a.attname = 'headers') then '1.4'
      when exists (select from pg_attribute a where a.attrelid = to_regclass('pgmq.message_record') and a.attname = 'last_read_at')
           and not exists (select from pg_proc where pronamespace = 'pgmq'::regnamespace and proname = 'send_topic') then '1.10.0'
      else '1.11.0' end;
  end if;
  if string_to_array(v_version, '.')::integer[] < '{1,5,0}' then
    raise exception 'pgmq % is too old', v_version
      using errcode = 'QC004', hint = 'update to 1.5.0 or newer: alter extension pgmq update';
  elsif v_version in ('1.10.0', '1.10.1') then
    raise exception 'pgmq % is not supported because its upgrade breaks existing queues', v_version
      using errcode = 'QC004', hint = 'update to 1.11.0 or newer: alter extension pgmq update';
  end if;
end
$preflight$;
-- A statement that captures while the upgrade commits still calls the functions of 0.6.0 beside its trigger, which migration 10 drops. They
-- are hidden from it under another name; migration 13 gives their name back, and the next upgrade drops them.
do $kept$
declare
  v_function record;
begin
  if to_regclass('qctl.migration') is null then
    return;
  elsif exists (select from qctl.migration where version >= 10) then
    return;
  end if;
  for v_function in
    select p.oid::regprocedure as function, 'kept_' || p.proname as name from pg_proc p
    where p.pronamespace = to_regnamespace('qctl') and p.proname ~ '^capture_[0-9]+_(key|row|order)$'
  loop
    execute format('alter function %s rename to %I', v_function.function, v_function.name);
  end loop;
end
$kept$;
