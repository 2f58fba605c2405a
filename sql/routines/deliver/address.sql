-- Addresses: what the host of a URL is, as far as its text tells without a name lookup. qctl worker checks the address that it
-- connects to. pg_net has no such check, so queues of pg_net refuse hosts whose text shows that they are not public.

create or replace function qctl._hosts_of(p_url text) returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(lower(rtrim(substring(h.host from '^(\[[^]]*\]|[^:]*)'), '.')) order by h.place)
  from unnest(string_to_array(substring(p_url from '^[a-zA-Z+]+://([^/?#]*)'), ',')) with ordinality as h (host, place)
$$;
comment on function qctl._hosts_of(text) is 'The hosts of a URL: brokers may have several, separated by commas.';

create or replace function qctl._host_of(p_url text) returns text
language sql immutable parallel safe
return (qctl._hosts_of(p_url))[1];

create or replace function qctl._number_of(p_text text) returns bigint
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := 0;
begin
  if p_text ~* '^0x[0-9a-f]{0,16}$' then
    return ('x' || lpad(substring(p_text from 3), 16, '0'))::bit(64)::bigint;
  elsif p_text ~ '^0[0-7]{1,21}$' then
    foreach p_text in array string_to_array(substring(p_text from 2), null) loop
      v_number := v_number * 8 + p_text::integer;
    end loop;
    return v_number::bigint;
  elsif p_text ~ '^[0-9]{1,18}$' then
    return p_text::bigint;
  end if;
  return null;
exception when data_exception then
  return null;
end
$$;
comment on function qctl._number_of(text) is
  'A number as inet_aton() reads one part of an address: decimal, octal after 0, hexadecimal after 0x; null if it is not a number.';

create or replace function qctl._literal_address(p_host text) returns inet
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts bigint[];
  v_count integer;
  v_value bigint;
begin
  if p_host like '[%' then
    return split_part(btrim(p_host, '[]'), '%', 1)::inet;
  end if;
  select array_agg(qctl._number_of(p) order by n), count(*) into v_parts, v_count from unnest(string_to_array(p_host, '.')) with ordinality as u (p, n);
  if v_count > 4 or array_position(v_parts, null) is not null then
    return null;
  end if;
  -- The last part fills the remaining bytes, so 127.1 is 127.0.0.1.
  v_value := v_parts[v_count];
  for v_i in 1..v_count - 1 loop
    v_value := v_value + (v_parts[v_i] << (8 * (4 - v_i)));
  end loop;
  return '0.0.0.0'::inet + (v_value & 4294967295);
exception when data_exception then
  return null;
end
$$;
comment on function qctl._literal_address(text) is
  'The address of a host in any form that libcurl accepts: 127.0.0.1, 127.1, 2130706433, 0x7f000001, 0177.0.0.1, [::1]. '
  'Null if the host is a name.';

create or replace function qctl._is_public(p_address inet) returns boolean
language sql immutable parallel safe
return not p_address <<= any ('{0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,240.0.0.0/4,::/96,::ffff:0:0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,2001::/23,2001:db8::/32,2002::/16,3fff::/20,5f00::/16,fc00::/7,fe80::/10,fec0::/10,ff00::/8}'::cidr[]);
comment on function qctl._is_public(inet) is
  'True if the address is neither in IANA''s special-purpose registries nor IPv6 that stands for an IPv4 address.';

create or replace function qctl._forbidden_host(p_queue qctl.queue) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select h.host from unnest(qctl._hosts_of(p_queue.url)) as h (host) cross join lateral (select qctl._literal_address(h.host) as address) a
  where case when a.address is not null then not qctl._is_public(a.address) and not a.address <<= any (p_queue.allow_networks)
             else h.host ~ '^(localhost|.*\.(localhost|local|internal|home\.arpa|localdomain))$' and cardinality(p_queue.allow_networks) = 0 end
  limit 1
$$;
comment on function qctl._forbidden_host(qctl.queue) is
  'The host of the queue''s URL if its text shows that it is not public and the queue does not allow it; otherwise null. '
  'Names are not looked up.';

create or replace function qctl._check_address(p_queue qctl.queue) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_host text := qctl._forbidden_host(p_queue);
begin
  if v_host is null then
    return;
  elsif p_queue.transport = 'pg_net' then
    raise exception '''%'' is not a public address, and pg_net would send requests into your networks unchecked', v_host
      using errcode = 'QC007', hint = 'to allow it: --allow-private, or only its network: --allow-network CIDR';
  end if;
  raise warning '''%'' is not a public address, so qctl worker does not send there unless the queue allows it', v_host
    using hint = format('qctl set -q %s --allow-private', p_queue.queue_name);
end
$$;
