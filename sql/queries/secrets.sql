-- Which secrets there are: keys that sign, and values of headers. Never the secrets.
select 'signing' as kind, s.queue_name as name, s.secret_id, s.mark, s.created_at, s.created_by, s.expires_at, s.signs as there, array[s.queue_name] as used_by
from qctl.signing_secrets(:'queue') s
union all
select 'header', h.reference, null, null, h.changed_at, h.changed_by, null, h.there, h.used_by
from qctl.header_secrets() h where :'queue'::text is null or :'queue' = any (h.used_by);
