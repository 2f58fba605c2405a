-- How long a worker waits so that one claim and one settle carry more messages. Takes ACCESS EXCLUSIVE on qctl.queue for
-- milliseconds; nothing is rewritten.

alter table qctl.queue add column linger_ms integer constraint queue_linger_check check (linger_ms between 0 and 10000);
comment on column qctl.queue.linger_ms is
  'Transport http: how long a message may wait so that a claim or a settle carries more of them; null: the worker decides by their rate.';
comment on constraint queue_linger_check on qctl.queue is 'linger_ms from 0 to 10000';
drop function if exists qctl.describe(text);
