-- Retry: time to wait before the next attempt.

create or replace function qctl._backoff_s(p_schedule_s integer[], p_failures integer, p_jitter double precision)
returns double precision
language sql volatile parallel safe
return coalesce(p_schedule_s[least(p_failures, cardinality(p_schedule_s))], 0) * (1 + p_jitter * (2 * random() - 1));
comment on function qctl._backoff_s(integer[], integer, double precision) is
  'Seconds to wait after that many failures: the step of the schedule, plus or minus a random part of up to p_jitter.';

create or replace function qctl._retry_after_s(p_headers jsonb, p_now timestamptz) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_text text;
begin
  v_text := qctl._header(p_headers, 'retry-after');
  if v_text ~ '^[0-9]{1,40}$' then
    return least(v_text::numeric, 2147483647)::integer;
  elsif v_text ~ '^[A-Za-z]{3}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$' then
    return greatest(0, least(extract(epoch from to_timestamp(substring(v_text from 6 for 20), 'DD Mon YYYY HH24:MI:SS')::timestamp
                                                at time zone interval '0' - p_now), 2147483647))::integer;
  end if;
  return null;
exception when data_exception then
  return null;
end
$$;
comment on function qctl._retry_after_s(jsonb, timestamptz) is
  'Seconds that the Retry-After header of a stored answer asks for, in either form of RFC 9110 section 10.2.3; null otherwise.';
