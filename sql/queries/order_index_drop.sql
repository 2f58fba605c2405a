-- Takes away the index by order key of a queue in use. Runs by itself, outside a transaction.
drop index concurrently if exists pgmq.:"index";
