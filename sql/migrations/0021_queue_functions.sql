-- Functions for each queue, whose plans are kept; the ones that they replace go. Locks nothing.

drop function if exists qctl._pick(qctl.queue, timestamptz, integer, bigint, timestamptz, bigint);
drop function if exists qctl._settle_simple(qctl.queue, uuid[], bigint[], integer[], bytea[], integer[]);
