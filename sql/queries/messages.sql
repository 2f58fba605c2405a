-- A page of a queue's messages, newest first, without payloads.
select * from qctl.messages(
  :'queue', :'states'::text[], :'since'::timestamptz, :'until'::timestamptz, :'captured_since'::timestamptz, :'status_codes'::text[],
  :'error'::text, :'response'::text, :'not_response'::text, :'attempted'::boolean, :'limit'::integer, :'before_id'::bigint, :'before_at'::timestamptz);
