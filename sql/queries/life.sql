-- One message's whole life, in order.
select * from qctl.life(:'queue', :'msg_id'::bigint);
