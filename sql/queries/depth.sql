-- Unfinished messages by state.
select * from qctl.depth(:'queue'::text);
