-- How long messages have waited.
select * from qctl.lag(:'queue'::text);
