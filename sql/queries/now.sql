-- This moment in transactions: the oldest that runs, and the one that comes next.
select clock_timestamp() as at, pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as following
from pg_current_snapshot() as s;
