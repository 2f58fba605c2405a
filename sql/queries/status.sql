-- Each queue now, or one: what view qctl.status shows.
select * from qctl._queue_status(:'queue'::text) order by queue_name;
