-- Every tenth user changes.
update public.users set active = false where id % 10 = 0;
