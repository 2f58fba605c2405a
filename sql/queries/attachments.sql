-- Attached tables, of one queue or of all, with the state of their triggers.
select case when c.oid is null then a.relation::oid::text else format('%I.%I', n.nspname, c.relname) end as relation, q.queue_name, a.operations, a.when_sql, a.columns, a.payload, a.unchanged,
       a.level, a.replicated, a.on_error, a.max_bytes, a.order_by,
       case when count(t.oid) < cardinality(a.operations) then 'missing'
            when bool_or(t.tgenabled = 'D') then 'disabled'
            else 'ok' end as triggers,
       min(pg_get_userbyid(p.proowner))::text as runs_as, a.created_at
from qctl.attachment a
join qctl.queue q using (queue_id)
left join pg_class c on c.oid = a.relation
left join pg_namespace n on n.oid = c.relnamespace
left join pg_trigger t on t.tgrelid = a.relation and t.tgname like format('qctl\_capture\_%s\_%%', a.attachment_id)
left join pg_proc p on p.oid = t.tgfoid
where :'queue'::text is null or q.queue_name = :'queue'
group by a.attachment_id, q.queue_name, n.nspname, c.oid, c.relname
order by 1, 2;
