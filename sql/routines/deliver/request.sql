-- Requests: which URLs and headers may be sent, and what is shown of them.

create or replace function qctl._check_url(p_url text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if qctl._carrier(p_url) <> 'http' then
    perform qctl._check_broker_url(p_url);
    return;
  end if;
  if p_url is null or length(p_url) > 2000 or p_url !~ '^[!-~]+$'
     or p_url !~* '^https?://(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?)(:[0-9]{1,5})?([/?#].*)?$'
     or coalesce(substring(p_url from '^[a-zA-Z]+://[^/?#]*:([0-9]+)(?:[/?#]|$)')::integer, 1) not between 1 and 65535 then
    if p_url ~* '^https?://[^/?#]*@' then
      raise exception 'the URL must not contain a user name or password'
        using errcode = 'QC002', hint = 'every role that can read the settings would see it; put credentials into a header';
    end if;
    if p_url ~ '[^\u0001-\u007f]' then
      raise exception 'the URL % has characters outside ASCII', quote_literal(left(p_url, 200))
        using errcode = 'QC002', hint = format('write its host in the form xn--..., and its path as %s',
          (select string_agg(case when c ~ '[^\u0001-\u007f]' then upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g')) else c end, '')
           from regexp_split_to_table(coalesce(substring(p_url from '^[a-zA-Z]+://[^/?#]*(.*)$'), ''), '') as c));
    end if;
    raise exception '% is not an http or https URL', quote_literal(coalesce(left(p_url, 200), ''))
      using errcode = 'QC002', hint = 'for example https://n8n.example.com/webhook/orders; for a broker: sqs://, amqps://, nats://, rediss:// or kafka://';
  end if;
end
$$;

create or replace function qctl._is_header(p_name text, p_value jsonb) returns boolean
language sql immutable parallel safe
return p_name ~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]{1,200}$'
   and jsonb_typeof(p_value) = 'string'
   and (p_value #>> '{}') ~ '^[^\u0001-\u001f\u007f]*$' and length(p_value #>> '{}') <= 4096
   and lower(p_name) not in ('host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'te',
                             'trailer', 'expect', 'proxy-authorization', 'proxy-connection', 'webhook-id',
                             'webhook-timestamp', 'webhook-signature', 'qctl')
   and lower(p_name) not like 'x-pgmq-%';
comment on function qctl._is_header(text, jsonb) is
  'True if this name and value may be sent as one HTTP header: the name is a token that neither qctl nor HTTP sets, and the value has no '
  'control character.';

create or replace function qctl._check_headers(p_headers jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  if jsonb_typeof(p_headers) is distinct from 'object' then
    raise exception 'headers must be a JSON object' using errcode = 'QC002', hint = 'for example {"X-Tenant": "acme"}';
  end if;
  select h.key into v_name from jsonb_each(p_headers) as h where not qctl._is_header(h.key, h.value) limit 1;
  if found then
    raise exception 'header % cannot be sent', quote_literal(left(v_name, 100))
      using errcode = 'QC002',
            hint = 'use a name of letters, digits and -, and a value of one line; qctl itself sets webhook-*, host and content-length';
  end if;
end
$$;

create or replace function qctl._request_headers(p_queue jsonb, p_message jsonb) returns jsonb
language sql immutable parallel safe
return case when jsonb_typeof(p_message) = 'object' then
  p_queue || coalesce((select jsonb_object_agg(lower(h.key), h.value) from jsonb_each(p_message) as h
                       where qctl._is_header(h.key, h.value)), '{}')
  else p_queue end;
comment on function qctl._request_headers(jsonb, jsonb) is
  'The headers of the queue and the valid headers of the message, which take precedence.';

create or replace function qctl._shown_headers(p_headers jsonb) returns jsonb
language sql immutable parallel safe
return coalesce((select jsonb_object_agg(h.key, case when h.key ~* 'auth|cookie|key|token|secret|signature|password' and not qctl._is_reference(h.value #>> '{}') then '"..."' else h.value end)
                 from jsonb_each(p_headers) as h), '{}');
comment on function qctl._shown_headers(jsonb) is
  'Headers as people may see them: values that look like secrets are replaced by ...; references to secrets are shown.';

create or replace function qctl._lower_keys(p_headers jsonb) returns jsonb
language sql immutable parallel safe
return coalesce((select jsonb_object_agg(lower(h.key), h.value) from jsonb_each(p_headers) as h), '{}');
