-- What looking needs: samples of the depth, who works and how busy, who may look, 410 told from a person's pause. Takes ACCESS
-- EXCLUSIVE on qctl.gate and worker for milliseconds; nothing is rewritten.

alter table qctl.gate add column gone boolean not null default false;
comment on column qctl.gate.gone is 'Paused because the endpoint answered 410 Gone, not by a person.';
update qctl.gate set gone = true where pause_reason = 'the endpoint answered 410 Gone';

alter table qctl.worker
  add column role_name text default current_user,
  add column busy_s    double precision,
  add column busy_of_s double precision;
update qctl.worker set role_name = null;
comment on column qctl.worker.role_name is 'The role that it works as.';
comment on column qctl.worker.busy_s is 'Seconds in which the database worked for it, of the last busy_of_s seconds that it reported.';

create table qctl.sample (
  queue_id    integer not null,
  at          timestamptz not null,
  depth       integer,
  last_msg_id bigint not null,
  constraint sample_pkey primary key (queue_id, at)
);
comment on table qctl.sample is 'How deep each queue was, once a minute for a day: does it drain?';
comment on column qctl.sample.depth is 'Null above 100000, where it is not counted.';

create table qctl.grantee (
  role_name  name primary key,
  level      text not null constraint grantee_level_check check (level in ('read')),
  payloads   boolean not null default false,
  granted_at timestamptz not null default now(),
  granted_by text not null default session_user
);
comment on table qctl.grantee is 'Roles that qctl.grant_role let in; an upgrade gives them what is new.';

create type qctl.ailment as (health text, since timestamptz, reason text, mend text);
comment on type qctl.ailment is 'What is wrong with a queue, since when as far as is known, and the command that mends it.';

create type qctl.finding as (severity text, kind text, object text, problem text, mend text);
comment on type qctl.finding is 'broken, warning or note; what it is about; what is wrong; what to type.';

-- Both return more now. The view stands in for itself meanwhile, so that views which others built on it stay.
create or replace view qctl.status as
select null::text as queue_name, null::text as health, null::bigint as depth, null::bigint as ready, null::bigint as delayed,
       null::bigint as in_flight, null::bigint as retrying, null::bigint as dead, null::double precision as lag_s,
       null::double precision as age_s, null::bigint as delivered_1m, null::bigint as failed_1m, null::text as last_error,
       null::timestamptz as paused_at, null::text as paused_by, null::text as pause_reason, null::text as url,
       null::text as transport;
do $dependents$
declare
  v_names text;
begin
  select string_agg(distinct r.ev_class::regclass::text, ', ') into v_names
  from pg_proc p join pg_depend d on d.refobjid = p.oid and d.refclassid = 'pg_proc'::regclass join pg_rewrite r on r.oid = d.objid
  where p.pronamespace = 'qctl'::regnamespace and p.proname in ('depth', 'health', '_verify_attachments');
  if v_names is not null then
    raise exception 'functions that return more now are used by %', v_names
      using errcode = 'QC007', hint = 'drop that view, upgrade, make it anew; view qctl.status holds the same and stays';
  end if;
end
$dependents$;
drop function if exists qctl.depth(text);
drop function if exists qctl.health(integer);
drop function if exists qctl._verify_attachments();
delete from qctl.routine where name = 'status';
