-- The table of the demo.
create table public.users (
  id         bigint generated always as identity primary key,
  email      text not null,
  name       text not null,
  active     boolean not null default true,
  created_at timestamptz not null default now()
);
