-- Workers, those seen last first, and the jobs of pg_cron.
select * from qctl.workers();
