-- A burst of new users, one statement.
insert into public.users (email, name)
select format('user%s@example.com', n), 'User ' || n from generate_series(1, :'count'::integer) as n;
