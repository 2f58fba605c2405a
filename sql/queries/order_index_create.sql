-- The index by order key of a queue in use. Runs by itself, outside a transaction.
create index concurrently if not exists :"index" on pgmq.:"table" ((left(headers ->> 'x-pgmq-group', 200)), msg_id) where headers ? 'x-pgmq-group';
