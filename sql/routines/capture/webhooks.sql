-- Supabase Database Webhooks, which are triggers that call pg_net for each row: lists them and takes one over.

create or replace function qctl.webhooks(p_relation text default null)
returns table (relation text, trigger_name text, url text, method text, headers jsonb, params jsonb, timeout_ms integer, operations text[],
               columns text[], when_sql text, enabled boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select t.tgrelid::regclass::text, t.tgname::text, a.argument[1], upper(coalesce(a.argument[2], 'POST')),
         nullif(a.argument[3], '')::jsonb, nullif(a.argument[4], '')::jsonb, nullif(a.argument[5], '')::integer,
         array_remove(array[case when t.tgtype & 4 <> 0 then 'INSERT' end, case when t.tgtype & 16 <> 0 then 'UPDATE' end,
                            case when t.tgtype & 8 <> 0 then 'DELETE' end], null),
         array(select c.attname::text from unnest(t.tgattr) as n (attnum) join pg_attribute c on c.attrelid = t.tgrelid and c.attnum = n.attnum),
         case when t.tgqual is not null then substring(pg_get_triggerdef(t.oid) from ' WHEN \((.*)\) EXECUTE ') end,
         t.tgenabled <> 'D'
  from pg_trigger t
  join pg_proc p on p.oid = t.tgfoid and p.proname = 'http_request'
  join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'supabase_functions'
  -- The arguments are stored one after another, each ended by a zero byte, which text cannot contain.
  cross join lateral (
    select array_agg(convert_from(decode(replace(b.octets, ' ', ''), 'hex'), getdatabaseencoding()) order by b.n) as argument
    from string_to_table(regexp_replace(encode(t.tgargs, 'hex'), '(..)', '\1 ', 'g'), '00 ') with ordinality as b (octets, n)
  ) a
  where not t.tgisinternal and (p_relation is null or t.tgrelid = qctl._regclass(p_relation))
  order by 1, 2
$$;
comment on function qctl.webhooks(text) is
  'The Supabase Database Webhooks of a table, or of all tables: triggers on supabase_functions.http_request().';

create or replace function qctl.adopt_webhook(p_relation text, p_trigger text, p_queue text default null, p_settings jsonb default '{}')
returns table (queue_name text, created boolean, relation text, trigger_name text, url text, transport text, operations text[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
  v_hook record;
  v_query text;
  v_headers jsonb;
begin
  select * into v_hook from qctl.webhooks(p_relation) w where w.trigger_name = p_trigger;
  if not found then
    raise exception 'table % has no webhook trigger %', quote_literal(p_relation), quote_literal(p_trigger)
      using errcode = 'QC006',
            hint = coalesce('webhooks of the table: ' || (select string_agg(w.trigger_name, ', ') from qctl.webhooks(p_relation) w),
                            'the table has no webhook; list all: select * from qctl.webhooks();');
  end if;
  if v_hook.method <> 'POST' then
    raise exception 'webhook ''%'' sends %, but qctl sends only POST', p_trigger, v_hook.method
      using errcode = 'QC007', hint = 'change the endpoint to accept POST';
  end if;
  if not v_hook.enabled then
    raise exception 'webhook ''%'' is disabled, so there is nothing to take over', p_trigger
      using errcode = 'QC007', hint = 'for the same result: qctl create, then qctl attach --format supabase';
  end if;
  select string_agg(p.key || '=' || p.value, '&') into v_query from jsonb_each_text(v_hook.params) p;
  if exists (select from jsonb_each_text(v_hook.params) p where p.key || p.value !~ '^[A-Za-z0-9._~-]*$') then
    raise exception 'webhook ''%'' has parameters that need encoding', p_trigger
      using errcode = 'QC007',
            hint = 'put them into the URL: qctl create ... --url, qctl attach ... --format supabase, then disable the trigger';
  end if;
  queue_name := coalesce(p_queue, left(regexp_replace(lower(p_trigger), '[^a-z0-9_]+', '_', 'g'), 47));
  relation := v_hook.relation;
  trigger_name := v_hook.trigger_name;
  operations := v_hook.operations;
  url := v_hook.url || case when v_query <> '' then case when v_hook.url ~ '\?' then '&' else '?' end || v_query else '' end;
  v_headers := coalesce((select jsonb_object_agg(h.key, h.value) from jsonb_each(v_hook.headers) h where lower(h.key) <> 'content-type'), '{}');
  created := not exists (select from qctl.queue q where q.queue_name = adopt_webhook.queue_name);
  if created then
    perform qctl.create_queue(queue_name, url, v_headers, p_settings);
    -- Only a longer timeout is taken over: with retries a short one would send each slow request again.
    update qctl.queue q set timeout_ms = least(v_hook.timeout_ms, 300000)
    where q.queue_name = adopt_webhook.queue_name and v_hook.timeout_ms > q.timeout_ms;
  elsif p_settings <> '{}' or exists (select from qctl.queue q where q.queue_name = adopt_webhook.queue_name
                                      and (q.url <> adopt_webhook.url or q.headers <> qctl._lower_keys(v_headers))) then
    raise exception 'queue ''%'' already exists with another URL, other headers or its own transport', queue_name
      using errcode = 'QC007', hint = 'choose another name: -q QUEUE';
  end if;
  select q.transport into transport from qctl.queue q where q.queue_name = adopt_webhook.queue_name;
  -- Disables the trigger before it attaches, in one transaction, so that no change is sent twice and none is missed.
  execute format('alter table %s disable trigger %I', v_hook.relation, v_hook.trigger_name);
  perform qctl.attach(v_hook.relation, queue_name, v_hook.operations, v_hook.when_sql, nullif(v_hook.columns, '{}'), 'supabase',
                      p_unchanged => true);
  perform qctl._audit('adopt_webhook', queue_name, jsonb_build_object('relation', relation, 'trigger', trigger_name));
  return next;
end
$$;
comment on function qctl.adopt_webhook(text, text, text, jsonb) is
  'Takes over a Supabase Database Webhook in one transaction: creates a queue with its URL and headers, attaches the table with the same '
  'body and conditions, and disables the trigger. To undo it: enable the trigger and call qctl.detach().';
