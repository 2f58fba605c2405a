-- Label: the name of this database for people.

create or replace function qctl.label() returns table (label text, protected boolean, is_copy boolean)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select l.label, l.protected and not c.is_copy, c.is_copy
  from qctl.label l
  cross join lateral (
    select l.system_identifier <> (select s.system_identifier from pg_control_system() s)
        or l.database_oid <> (select d.oid from pg_database d where d.datname = current_database())) c (is_copy)
$$;
comment on function qctl.label() is
  'The label, if there is one. In a copy, that is another cluster or database, the label does not protect.';

create or replace function qctl.set_label(p_label text, p_protected boolean default null)
returns table (label text, protected boolean, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_before record;
  v_protected boolean;
begin
  select l.label, l.protected, l.is_copy into v_before from qctl.label() l;
  if p_label is null then
    delete from qctl.label;
    if v_before.label is not null then
      perform qctl._audit('label', null, jsonb_build_object('was', v_before.label));
    end if;
    return query select null::text, false, v_before.label is not null;
    return;
  end if;
  if p_label !~ '^[[:alnum:]][[:alnum:]_.-]{0,39}$' then
    raise exception '% is not a valid label', quote_literal(left(p_label, 50))
      using errcode = 'QC002', hint = 'use 1 to 40 letters, digits, _, . or -, beginning with a letter or digit; for example prod';
  end if;
  v_protected := coalesce(p_protected, v_before.label = p_label and v_before.protected, false);
  insert into qctl.label as l (label, protected, system_identifier, database_oid)
  select p_label, v_protected, c.system_identifier, d.oid from pg_control_system() c, pg_database d where d.datname = current_database()
  on conflict (one) do update
    set (label, protected, system_identifier, database_oid, set_at, set_by)
      = (excluded.label, excluded.protected, excluded.system_identifier, excluded.database_oid, excluded.set_at, excluded.set_by);
  perform qctl._audit('label', null, jsonb_build_object('label', p_label, 'protected', v_protected, 'was', v_before.label));
  return query select p_label, v_protected, (v_before.label, v_before.protected, v_before.is_copy) is distinct from (p_label, v_protected, false);
end
$$;
comment on function qctl.set_label(text, boolean) is
  'Names this database for people. Protected: before a step that cannot be undone qctl asks for the label. '
  'p_protected null leaves the protection unchanged; p_label null removes the label.';
