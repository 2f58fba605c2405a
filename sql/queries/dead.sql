-- Dead letters by reason and status.
select * from qctl.dead(:'queue'::text, :'since'::timestamptz, :'until'::timestamptz);
