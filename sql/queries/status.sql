-- Each queue now.
select * from qctl.status where :'queue'::text is null or queue_name = :'queue' order by queue_name;
