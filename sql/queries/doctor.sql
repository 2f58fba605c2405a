-- What is wrong or will be.
select * from qctl.doctor(:'queue'::text);
