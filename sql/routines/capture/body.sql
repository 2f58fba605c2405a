-- Body: an expression over the changed row that makes the payload. It runs in the row function, as the table's owner.

create or replace function qctl._body_query(p_relation regclass, p_body text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- One expression: as the argument of a function it has no comma, in brackets it can close no parenthesis, and where a condition stands it
  -- has neither aggregates nor several rows. Two more copies of the table make a name without new. or old. ambiguous.
  select format(E'select count(to_jsonb(%2$s\n)) from %1$s as new cross join %1$s as old cross join (select null::text as operation) as "qctl 0"'
                ' cross join %1$s as "qctl 1" cross join %1$s as "qctl 2" where to_jsonb(%2$s\n) is null and cardinality(array[to_jsonb(%2$s\n)]) = 1', p_relation, p_body)
$$;

create or replace function qctl._check_body(p_relation regclass, p_body text) returns text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return qctl._columns_parsed(p_relation, qctl._body_query(p_relation, p_body));
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table or invalid_schema_name or feature_not_supported or invalid_function_definition then
  raise exception '--body is not a valid expression for %: %', p_relation, sqlerrm
    using errcode = 'QC002',
          hint = case when sqlstate in ('42703', '42702') then 'write columns as new.total or old.total'
                      when sqlstate = '42804' and sqlerrm ~ 'unknown' then 'write a text as ''text''::text'
                      when sqlstate in ('42P01', '42883', '42704', '3F000') and sqlerrm !~ 'to_jsonb' then 'write tables, views and functions with their schema, for example public.customers'
                      else 'for example --body "jsonb_build_object(''id'', new.id, ''total'', new.total)"' end;
end
$$;
comment on function qctl._check_body(regclass, text) is 'Refuses what is not one expression over the row; returns the columns of the table that it names.';

create or replace function qctl._absent_row_sql(p_attachment qctl.attachment, p_row text, p_when text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  -- A row of nulls, with columns: only for expressions that ask for it, because making one takes longer than most expressions.
  select case when p_attachment.body_sql ~* format('\m%s\M', p_row)
              then format(E'if %s then\n      execute format(''select (null::%%s).*'', relation) into %s;\n    end if;\n    ', p_when, p_row) else '' end
$$;

create or replace function qctl._body_sql(p_attachment qctl.attachment) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.body_sql is null then '' else format($body$
  begin
    -- An expression that writes to its own table calls itself.
    if pg_trigger_depth() <= 16 then
    %1$s%2$sbegin
      v_body := to_jsonb((%3$s
));
    exception when datatype_mismatch then
      -- A session keeps its plan for the types of before an ALTER.
      execute format(%6$L, relation) into v_body using case when operation <> 'DELETE' then to_jsonb(new) end,
        case when operation in ('UPDATE', 'DELETE') then to_jsonb(old) end, operation;
    end;
    end if;
    v_body_failed := case when pg_trigger_depth() > 16 then 'triggers call each other, 16 deep' when v_body is null or v_body = 'null' then 'the body is null'
                          when pg_column_size(v_body) > %4$s then 'the body is too large' end;
  exception when others or assert_failure then
    v_body_failed := %5$s;
  end;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);$body$,
    qctl._absent_row_sql(p_attachment, 'new', 'operation = ''DELETE'''), qctl._absent_row_sql(p_attachment, 'old', 'operation in (''INSERT'', ''READ'')'),
    p_attachment.body_sql, p_attachment.max_bytes, qctl._problem_sql('the body cannot be computed'),
    format(E'select to_jsonb((%s\n)) from jsonb_populate_record(null::%%1$s, $1) as new cross join jsonb_populate_record(null::%%1$s, $2) as old'
           ' cross join (select $3 as operation) as "qctl 0"', replace(p_attachment.body_sql, '%', '%%'))) end
$$;
comment on function qctl._body_sql(qctl.attachment) is 'Computes the body of a row, as the last step of its row function; what fails stays the whole row, marked.';

create or replace function qctl._with_body_sql(p_attachment qctl.attachment) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case when p_attachment.body_sql is null then ''
              else ' || case when v_body_failed is null then jsonb_build_object(''body'', v_body) else jsonb_build_object(''body_failed'', v_body_failed) end' end
$$;

create or replace function qctl._message_sql(p_attachment qctl.attachment, p_head text, p_rows text, p_cloud_source text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case p_attachment.payload
    -- As qctl._cloud_event() does, without a call for each row.
    when 'cloudevents' then format(
      $sql$%s || jsonb_build_object('id', gen_random_uuid(), 'time', to_char(clock_timestamp() at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', coalesce(%s -> 'body', '{"record": null, "old_record": null}'::jsonb || (%2$s - '{problem,order_key}'::text[])))$sql$, p_cloud_source, p_rows)
    when 'qctl' then format('coalesce(%s -> ''body'', %s || (%1$s - ''{problem,order_key}''::text[]))', p_rows, p_head)
    else format('qctl._shape(%L, %s || (%s - ''{problem,order_key,body}''::text[]), %3$s -> ''body'')', p_attachment.payload, p_head, p_rows) end
$$;
comment on function qctl._message_sql(qctl.attachment, text, text, text) is 'The message of a shaped attachment, from its head and what the row function says.';

create or replace function qctl._message(p_attachment qctl.attachment, p_event jsonb, p_rows jsonb) returns jsonb
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select case when qctl._is_shaped(p_attachment)
              then qctl._shape(p_attachment.payload,
                               p_event || case when p_attachment.body_sql is null or p_rows ? 'body' or coalesce(p_event ->> 'operation', p_event ->> 'type') = 'TRUNCATE' then '{}'
                                               else jsonb_build_object('body_failed', coalesce(p_rows ->> 'body_failed', 'queued as it is')) end,
                               p_rows -> 'body')
              else p_event end
$$;
comment on function qctl._message(qctl.attachment, jsonb, jsonb) is 'The message for an event that was held, from what the row function says of it now.';
