-- This moment, and the one by which every transaction that may still log an attempt began.
select clock_timestamp() as at, qctl.settled_until() as until;
