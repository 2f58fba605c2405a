-- Several queues are claimed from and settled at once, so leases are made for several. Locks nothing.

drop function if exists qctl._lease(qctl.queue, uuid, timestamptz, interval, bigint, bigint[], timestamptz[], jsonb[], text[]);
