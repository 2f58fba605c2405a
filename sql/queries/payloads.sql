-- Headers and payloads of some messages.
select * from qctl.payloads(:'queue', :'msg_ids'::bigint[]);
