-- Levels of access beside read, and the database's label. Checks the few rows of qctl.grantee anew; milliseconds.

alter table qctl.grantee drop constraint grantee_level_check;
alter table qctl.grantee add constraint grantee_level_check check (level in ('read', 'operate', 'work'));

drop function if exists qctl._looking_routines(boolean);
drop function if exists qctl._is_more_than_reader(name);
drop function if exists qctl._apply_grants(name, boolean);

create table qctl.label (
  one               boolean primary key default true constraint label_one_check check (one),
  label             text not null constraint label_label_check check (label ~ '^[[:alnum:]][[:alnum:]_.-]{0,39}$'),
  protected         boolean not null,
  system_identifier bigint not null,
  database_oid      oid not null,
  set_at            timestamptz not null default now(),
  set_by            text not null default session_user
);
comment on table qctl.label is 'What people call this database, and whether what cannot be undone wants that word typed. A copy carries the label of another.';
