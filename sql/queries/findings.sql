-- What is not well, by limits, one row for each fault.
select * from qctl.findings(
  :'queue'::text, :'max_lag_s'::double precision, :'max_age_s'::double precision, :'max_depth'::bigint, :'max_dead'::bigint,
  :'max_failure_rate'::double precision, :'max_silence_s'::double precision, :'workers_seen_s'::double precision, :'ignore'::text[]);
