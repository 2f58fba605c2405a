-- What the migration engine itself needs. Runs first in every install and upgrade, inside their transaction.
create schema if not exists qctl;

create table if not exists qctl.migration (
  version      integer primary key,
  name         text not null,
  checksum     text not null,
  applied_at   timestamptz not null default now(),
  applied_by   text not null default session_user,
  qctl_version text not null
);

create table if not exists qctl.routine (
  name         text primary key,
  checksum     text not null,
  applied_at   timestamptz not null default now(),
  qctl_version text not null
);
