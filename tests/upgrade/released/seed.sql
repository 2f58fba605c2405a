-- Rows in each state, so that an upgrade meets all of them: delivered, dead, retrying, in flight, ready, delayed.
create table public.users (id integer primary key, name text);
select * from qctl.create_queue('orders', 'http://127.0.0.1:9/orders', '{"x-tenant": "acme"}',
                                '{"retry_schedule_s": [60], "reject_after": 1}');
select * from qctl.attach('public.users', 'orders');
insert into public.users values (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five');
select qctl.send('orders', array['{"later": true}']::jsonb[], null, 86400);
do $$
declare
  v_lease uuid;
begin
  select distinct c.lease into v_lease from qctl.claim('orders', 4) as c;
  perform * from qctl.settle('orders', array[v_lease, v_lease, v_lease], '{1,2,3}', '{200,400,503}', array[null, null, null]::text[],
                             array['ok', 'no', 'busy']::bytea[], '{3,4,5}', '{null,null,30}');
end
$$;
-- The dump is restored long after it was made: no wait and no lease may have ended by then.
update pgmq.q_orders set vt = '2199-01-01' where vt > clock_timestamp();
update qctl.retry set next_at = '2199-01-01';
update qctl.in_flight set expires_at = '2199-01-01';
