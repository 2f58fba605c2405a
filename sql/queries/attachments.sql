-- Attached tables, of one queue or of all, with the state of their triggers.
select * from qctl.attachments(:'queue'::text);
