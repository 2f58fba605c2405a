-- Signing: Standard Webhooks 1.0.0, symmetric (v1): HMAC-SHA256 over "id.timestamp.body", with core functions only.

create or replace function qctl._xor_pad(p_key bytea, p_byte integer) returns bytea
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pad bytea := decode(repeat(lpad(to_hex(p_byte), 2, '0'), 64), 'hex');
begin
  for v_i in 0..length(p_key) - 1 loop
    v_pad := set_byte(v_pad, v_i, get_byte(p_key, v_i) # p_byte);
  end loop;
  return v_pad;
end
$$;
comment on function qctl._xor_pad(bytea, integer) is
  'RFC 2104: the key, padded to the 64 bytes of a SHA-256 block, with each byte xor ipad (54) or opad (92).';

create or replace function qctl._signature(p_inner bytea, p_outer bytea, p_text bytea) returns text
language sql immutable parallel safe
return 'v1,' || encode(sha256(p_outer || sha256(p_inner || p_text)), 'base64');
comment on function qctl._signature(bytea, bytea, bytea) is 'One signature of the webhook-signature header.';

create or replace function qctl._signatures(p_inner bytea[], p_outer bytea[], p_text bytea) returns text
language sql immutable parallel safe
return case when cardinality(p_inner) = 1 then qctl._signature(p_inner[1], p_outer[1], p_text)
            else (select string_agg(qctl._signature(k.inner_pad, k.outer_pad, p_text), ' ' order by k.place)
                  from unnest(p_inner, p_outer) with ordinality as k (inner_pad, outer_pad, place)) end;

comment on function qctl._signatures(bytea[], bytea[], bytea) is 'One signature for each secret, the newest first.';

-- Kept for one release because a claim of 0.6.0 that runs during the upgrade still calls it.
create or replace function qctl._webhook_headers(p_id text, p_stamp text, p_body text, p_inner bytea[], p_outer bytea[]) returns jsonb
language sql stable parallel safe
return case when p_inner is null then jsonb_build_object('webhook-id', p_id, 'webhook-timestamp', p_stamp)
            else jsonb_build_object('webhook-id', p_id, 'webhook-timestamp', p_stamp, 'webhook-signature',
                                    qctl._signatures(p_inner, p_outer, convert_to(p_id || '.' || p_stamp || '.' || p_body, 'UTF8'))) end;
comment on function qctl._webhook_headers(text, text, text, bytea[], bytea[]) is
  'The Standard Webhooks headers of one attempt, signed with each of these keys, or unsigned if there is none.';

create or replace function qctl._key_of(p_secret text) returns bytea
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text := regexp_replace(btrim(p_secret, E' \t\r\n'), '^(v1,)?whsec_', '');
  v_key bytea;
begin
  -- Libraries accept secrets without padding, but decode() does not.
  v_key := decode(v_text || repeat('=', (4 - length(v_text) % 4) % 4), 'base64');
  if length(v_key) not between 24 and 64 then
    raise exception 'a signing secret must have 24 to 64 bytes, but this one has %', length(v_key)
      using errcode = 'QC002', hint = 'use whsec_ and the base64 of the key; without a secret qctl secret rotate generates one';
  end if;
  return v_key;
exception when data_exception then
  raise exception 'the signing secret is not valid base64'
    using errcode = 'QC002', hint = 'use whsec_ and the base64 of 24 to 64 bytes; without a secret qctl secret rotate generates one';
end
$$;
comment on function qctl._key_of(text) is 'The bytes of a secret whsec_..., with or without the prefix v1, that Supabase writes.';

create or replace function qctl.rotate_secret(p_queue text, p_secret text default null, p_overlap interval default '24 h')
returns table (queue_name text, secret_id integer, mark text, secret text, replaced integer, replaced_until timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_now timestamptz := clock_timestamp();
  v_key bytea;
  v_mark text;
begin
  if p_overlap is null or p_overlap < interval '0' or p_overlap > interval '90 days' then
    raise exception 'the overlap must be between 0 and 90 days' using errcode = 'QC002';
  end if;
  -- gen_random_uuid() gives 122 bits from the server's strong random source, so two of them give a 256-bit key 244 random bits.
  v_key := case when p_secret is null then sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) else qctl._key_of(p_secret) end;
  v_mark := left(encode(sha256(v_key), 'hex'), 8);
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  delete from qctl.signing_secret s where s.queue_id = v_queue.queue_id and s.expires_at <= v_now;
  -- A secret that is about to expire may be given again; it then becomes the newest.
  delete from qctl.signing_secret s
  where s.queue_id = v_queue.queue_id and s.expires_at is not null and s.inner_pad = qctl._xor_pad(v_key, 54);
  if exists (select from qctl.signing_secret s where s.queue_id = v_queue.queue_id and s.inner_pad = qctl._xor_pad(v_key, 54)) then
    raise exception 'queue ''%'' already signs with this secret', p_queue using errcode = 'QC007', hint = 'qctl secret list -q ' || p_queue;
  end if;
  with old as (
    update qctl.signing_secret s set expires_at = v_now + p_overlap
    where s.queue_id = v_queue.queue_id and (s.expires_at is null or s.expires_at > v_now + p_overlap)
    returning s.secret_id
  )
  select count(*) into replaced from old;
  insert into qctl.signing_secret as s (queue_id, inner_pad, outer_pad, mark)
  values (v_queue.queue_id, qctl._xor_pad(v_key, 54), qctl._xor_pad(v_key, 92), v_mark) returning s.secret_id into secret_id;
  queue_name := p_queue;
  mark := v_mark;
  secret := 'whsec_' || translate(encode(v_key, 'base64'), E'\n', '');
  replaced_until := case when replaced > 0 then v_now + p_overlap end;
  perform qctl._audit('secret_rotate', p_queue, jsonb_build_object('secret_id', secret_id, 'mark', v_mark, 'replaced', replaced,
    'overlap_s', extract(epoch from p_overlap)::bigint, 'given', p_secret is not null));
  perform qctl._endpoint_changed(v_queue.queue_id);
  return next;
end
$$;
comment on function qctl.rotate_secret(text, text, interval) is
  'Adds a signing secret to a queue: generated, or given as whsec_.... This is the only time it is returned. It signs from the next claim '
  'on; older secrets also sign for p_overlap, so that receivers can change over.';

create or replace function qctl.revoke_secret(p_queue text, p_secret_id integer default null, p_unsigned boolean default false)
returns table (queue_name text, secret_id integer, mark text, left_signing integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_now timestamptz := clock_timestamp();
  v_newest integer;
  v_left integer;
begin
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  v_newest := (select max(s.secret_id) from qctl.signing_secret s where s.queue_id = v_queue.queue_id);
  if p_secret_id is not null and not exists (select from qctl.signing_secret s where s.queue_id = v_queue.queue_id and s.secret_id = p_secret_id) then
    raise exception 'queue ''%'' has no signing secret %', p_queue, p_secret_id
      using errcode = 'QC006', hint = 'qctl secret list -q ' || p_queue;
  end if;
  select count(*) into v_left from qctl.signing_secret s
  where s.queue_id = v_queue.queue_id and (s.expires_at is null or s.expires_at > v_now)
    and s.secret_id <> coalesce(p_secret_id, s.secret_id) or p_secret_id is null and s.secret_id = v_newest;
  if v_left = 0 and not p_unsigned and v_newest is not null then
    raise exception 'this is the last signing secret of queue ''%'', so its requests would go out unsigned', p_queue
      using errcode = 'QC007', hint = format('first qctl secret rotate -q %s; or --unsigned, to send unsigned requests', p_queue);
  end if;
  return query
  with gone as (
    delete from qctl.signing_secret s
    where s.queue_id = v_queue.queue_id and case when p_secret_id is null then s.secret_id <> v_newest else s.secret_id = p_secret_id end
    returning s.secret_id, s.mark
  )
  select p_queue, g.secret_id, g.mark, v_left from gone g order by g.secret_id;
  if found then
    -- If the newest secret is gone, the one before it no longer expires, so no queue becomes unsigned by time alone.
    update qctl.signing_secret s set expires_at = null
    where s.secret_id = (select max(o.secret_id) from qctl.signing_secret o
                         where o.queue_id = v_queue.queue_id and (o.expires_at is null or o.expires_at > v_now))
      and s.expires_at is not null;
    perform qctl._audit('secret_revoke', p_queue, jsonb_build_object('secret_id', p_secret_id, 'left_signing', v_left));
  end if;
end
$$;
comment on function qctl.revoke_secret(text, integer, boolean) is
  'Ends a signing secret at once, or without p_secret_id all but the newest. The newest remaining secret no longer expires. '
  'The last one is removed only with p_unsigned.';

create or replace function qctl.signing_secrets(p_queue text default null)
returns table (queue_name text, secret_id integer, mark text, created_at timestamptz, created_by text, expires_at timestamptz, signs boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, s.secret_id, s.mark, s.created_at, s.created_by, s.expires_at, coalesce(s.expires_at > clock_timestamp(), true)
  from qctl.signing_secret s join qctl.queue q using (queue_id)
  where p_queue is null or q.queue_id = (qctl._queue(p_queue)).queue_id
  order by q.queue_name, s.secret_id desc
$$;
comment on function qctl.signing_secrets(text) is 'The signing secrets of the queues, without their values.';
