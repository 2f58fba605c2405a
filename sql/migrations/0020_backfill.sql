-- Backfill: rows that exist already become messages. Locks nothing that was there before.

create table qctl.backfill (
  backfill_id integer generated always as identity primary key,
  queue_id    integer not null,
  relation    regclass not null,
  table_name  text not null,
  where_sql   text,
  columns     text[],
  missed      boolean not null default false,
  asked       jsonb not null,
  attachment  jsonb not null,
  when_sql    text,
  payload     text not null,
  body_sql    text,
  order_by    text,
  max_bytes   integer not null,
  as_me       boolean not null,
  key_columns text[] not null,
  key_types   text[] not null,
  after_key   text[],
  from_msg_id bigint not null,
  state       text not null default 'running' constraint backfill_state_check check (state in ('running', 'paused', 'failed', 'done', 'cancelled')),
  error       text,
  rate_per_s  double precision constraint backfill_rate_check check (rate_per_s > 0),
  estimated   bigint not null,
  scanned     bigint not null default 0,
  queued      bigint not null default 0,
  started_at  timestamptz not null default clock_timestamp(),
  started_by  text not null default session_user,
  page_at     timestamptz not null default clock_timestamp(),
  ended_at    timestamptz
);
create unique index backfill_unfinished on qctl.backfill (queue_id, relation) where state in ('running', 'paused', 'failed');
comment on table qctl.backfill is 'Runs that queue the rows of a table, page by page in the order of its key. Progress is written with the messages of each page.';
comment on column qctl.backfill.where_sql is 'Only rows for which this is true.';
comment on column qctl.backfill.columns is 'The columns that the record holds; null: all.';
comment on column qctl.backfill.asked is 'What was asked for, as it was written: a run goes on when the same is asked for again.';
comment on column qctl.backfill.attachment is 'The options of the table''s attachment that make its messages, when the run began or went on.';
comment on column qctl.backfill.missed is 'Only rows that are not what was captured last.';
comment on column qctl.backfill.when_sql is 'The condition of the attachment, where it needs no old row.';
comment on column qctl.backfill.after_key is 'The key of the last row that was read, as texts.';
comment on column qctl.backfill.from_msg_id is 'The newest message when the run began: what is newer was captured meanwhile.';
comment on column qctl.backfill.rate_per_s is 'At most so many rows per second.';
comment on column qctl.backfill.estimated is 'How many rows the planner thought the table had.';
comment on column qctl.backfill.page_at is 'When the last page was queued.';

create table qctl.backfill_seen (
  backfill_id integer not null references qctl.backfill on delete cascade,
  row_key     text not null,
  msg_id      bigint not null,
  digest      text not null,
  primary key (backfill_id, row_key)
);
comment on table qctl.backfill_seen is 'Of each row that was captured and not deleted, its newest message: what a run compares with. Empty when no such run is under way.';
comment on column qctl.backfill_seen.digest is 'The md5 of the captured row.';
