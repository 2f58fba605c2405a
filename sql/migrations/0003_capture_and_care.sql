-- Capture of partitioned, inherited and replicated tables; what verify compares with. ACCESS EXCLUSIVE on qctl.attachment for
-- milliseconds; nothing else that exists is locked.

alter table qctl.attachment
  add column level      text not null default 'statement'
    constraint attachment_level_check check (level in ('statement', 'row')),
  add column replicated boolean not null default false,
  add column as_me      boolean not null default false,
  add column on_error   text not null default 'fail'
    constraint attachment_on_error_check check (on_error in ('fail', 'skip')),
  add column max_bytes  integer not null default 524288
    constraint attachment_max_bytes_check check (max_bytes between 1024 and 1048576);
comment on column qctl.attachment.level is
  'statement: one insert for all rows of a statement. row: for partitioned, inherited and replicated tables.';
comment on column qctl.attachment.replicated is 'Capture also what replication applies, and writes with session_replication_role = replica.';
comment on column qctl.attachment.as_me is
  'The capture runs as who attached, not as the table''s owner, and that was accepted.';
comment on column qctl.attachment.on_error is 'What an error in the capture does: fail the statement, so that no event is lost, or skip the event.';
comment on column qctl.attachment.max_bytes is
  'A row that takes more, compressed, is captured by its primary key. Half a MiB compressed is what jsonb takes in any case.';

-- Until now it was not recorded, so a capture that runs as another role than the table's owner is taken for one that asked for it.
update qctl.attachment a set as_me = true
from pg_class c, pg_proc p
where c.oid = a.relation and p.pronamespace = 'qctl'::regnamespace and p.proowner <> c.relowner
  and p.proname = format('capture_%s_%s', a.attachment_id, lower(a.operations[1]));
do $warn$
declare
  v_names text;
begin
  select string_agg(a.relation::text, ', ') into v_names from qctl.attachment a where a.as_me;
  if v_names is not null then
    raise warning 'the capture of % runs as another role than the table''s owner; unless --as-me was meant: qctl attach TABLE --again', v_names;
  end if;
end
$warn$;

create table qctl.capture_error (
  attachment_id integer not null,
  minute        timestamptz not null,
  sqlstate      text not null,
  error         text,
  statements    integer not null,
  constraint capture_error_pkey primary key (attachment_id, minute, sqlstate)
);
comment on table qctl.capture_error is 'Statements whose events were skipped, for attachments with on_error skip. Never a value of a row.';

create table qctl.object (
  kind           text not null,
  identity       text not null,
  definition     text not null,
  server_version integer not null,
  constraint object_pkey primary key (kind, identity)
);
comment on table qctl.object is 'What the last install or upgrade left in schema qctl, for verify.';

drop function if exists qctl.attach(text, text, text[], text, text[], text, boolean, boolean);
drop function if exists qctl._check_when(regclass, text[], text);
drop function if exists qctl._own_capture(integer, text, text[], name);
drop function if exists qctl._capture_body(text, integer, regclass, text, text, text, text[], boolean);
