create type public.mood as enum ('sad', 'it''s "ok"', 'happy');
create type public.place as (street text, number int, tags text[]);
create domain public.email as text check (value like '%@%');
create domain public.positive as int not null check (value > 0);
create table public.everything (
  id bigint primary key,
  b boolean not null, i2 smallint, i4 integer not null, i8 bigint, f4 real, f8 double precision, n numeric, n52 numeric(5, 2), n20 numeric(20, 0),
  t text, vc varchar(10), c char(4), nm name, ch "char", u uuid, d date, ts timestamp, tstz timestamptz, ti time, titz timetz, iv interval,
  by bytea, bi bit(3), vb varbit, m money, ine inet, ci cidr, ma macaddr, ma8 macaddr8, j json, jb jsonb, jp jsonpath, x xml,
  po point, li line, ls lseg, bo box, pa path, pg polygon, cir circle, tv tsvector, tq tsquery, o oid, rc regclass, lsn pg_lsn, snap pg_snapshot, x8 xid8,
  r4 int4range, r8 int8range, nr numrange, tr tsrange, tzr tstzrange, dr daterange, mr int4multirange,
  e public.mood, em public.email, p public.positive, pl public.place not null,
  ia int[], ta text[] not null, ea public.mood[], pla public.place[], i2d int[][], ja jsonb[], da date[], iv2 int2vector, ov oidvector,
  "odd ""name""" text, "select" int, "a*/b" text, "ünï" text,
  g int generated always as (i4 + 1) stored
);
