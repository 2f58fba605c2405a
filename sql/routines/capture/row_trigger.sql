-- Trigger functions of a row: for tables that inherit, for what replication applies, and where another trigger may change the row again.

create or replace function qctl._by_row_body(p_attachment qctl.attachment, p_queue text, p_operation text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format($body$
declare
  v_obstacle text;
  v_queued boolean := false;
  v_row jsonb;
  v_message jsonb;
  v_root oid;
begin
  if current_setting('qctl.capture', true) = 'off' or qctl._belongs(%1$L, tg_relid) is not true then
    return null;
  end if;%2$s
  v_obstacle := qctl._capture_obstacle(%1$L, %3$L);
  v_root := coalesce(pg_partition_root(tg_relid)::oid, tg_relid);
  if qctl._may_convert(%1$L) and qctl._runs_as_owner(%1$L, v_root) then
    v_row := qctl.%4$I(%5$L, qctl._attached_relation(%1$L), %6$s, %7$s, coalesce(qctl._virtual_columns(tg_relid), '{}'));
    -- Code of the owner ran, and may have left a search_path that brings more of it.
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    if v_row is null then
      return null;
    end if;
  else
    v_row := qctl._unowned_row(%5$L, %8$s, %9$s, greatest(pg_column_size(new), pg_column_size(old)) > %17$s, 'the table belongs to another role than its capture');
  end if;
  v_obstacle := coalesce(v_obstacle, v_row ->> 'problem', %10$s);
  v_message := qctl._event_head(qctl._attached_relation(%1$L), %5$L, %11$L) || (v_row - '{problem,order_key,body,body_failed}'::text[]);
  if v_obstacle is null then
    %18$sinsert into pgmq.%12$I (vt, message%13$s) values (clock_timestamp(), v_message%14$s);
    v_queued := true;%15$s
  else
    %16$s
  end if;
  return null;
end
$body$, p_attachment.name,
    case when p_operation = 'UPDATE' and not p_attachment.unchanged and p_attachment.columns is null
         then E'\n  if not (new operator(pg_catalog.*<>) old) then\n    return null;\n  end if;' else '' end,
    p_queue, qctl._capture_function(p_attachment.name, 'row'), p_operation,
    case when p_operation <> 'DELETE' then 'new' else 'old' end, case when p_operation <> 'INSERT' then 'old' else 'new' end,
    case when p_operation <> 'DELETE' then format(c.converted, 'new') else 'null' end, case when p_operation <> 'INSERT' then format(c.converted, 'old') else 'null' end,
    case when p_attachment.order_by is null then 'null'
         else format('(select ''an earlier event is held'' from qctl.held_event h where h.attachment_id = qctl._attachment_id(%L) limit 1)', p_attachment.name) end,
    p_attachment.payload, 'q_' || p_queue, case when qctl._headers_sql(p_attachment, 'null', 'null') is null then '' else ', headers' end,
    coalesce(', ' || qctl._headers_sql(p_attachment, qctl._order_sql(p_attachment, 'v_row', p_operation), 'v_message'), ''),
    qctl._notify_sql(p_queue, 'v_queued'),
    qctl._unqueued_sql(p_attachment, format($held$insert into qctl.held_event (attachment_id, operation, message, order_key, reason)
      values (qctl._attachment_id(%1$L), %2$L, v_message, %3$s, v_obstacle);$held$, p_attachment.name, p_operation,
                                              qctl._held_order_sql(p_attachment, 'v_row', p_operation)), 'v_obstacle'),
    p_attachment.max_bytes,
    case when qctl._is_shaped(p_attachment)
         then format(E'v_message := %s;\n    ', qctl._message_sql(p_attachment, h.head, 'v_row', format('qctl._cloud_source(%s)', h.head))) else '' end
    || case when p_attachment.body_sql is null then ''
            else format(E'if v_row ? ''body_failed'' then\n      perform qctl._capture_failed(%L, v_row ->> ''body_failed'');\n    end if;\n    ', p_attachment.name) end)
  from (select format('qctl._text_row(tg_relid, %%s, coalesce(qctl._virtual_columns(tg_relid), ''{}''), %s)', p_attachment.max_bytes)) as c (converted)
  cross join (select format('qctl._event_head(qctl._attached_relation(%L), %L, %L)', p_attachment.name, p_operation, p_attachment.payload) as head) h
$$;
