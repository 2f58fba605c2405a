-- Sessions that run qctl.work now, told by the advisory locks that stand for their slots, as qctl.running_jobs does.
select l.pid from pg_locks l
where l.locktype = 'advisory' and l.objsubid = 2 and l.granted and l.classid::bigint in (1902343278, 1902343279)
  and l.database = (select d.oid from pg_database d where d.datname = current_database());
