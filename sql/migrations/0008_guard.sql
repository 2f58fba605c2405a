-- Which addresses a queue may send to. ACCESS EXCLUSIVE on qctl.queue for milliseconds. Queues that are there go on as before, to whatever
-- address their URL leads; new ones reach public addresses only.

alter table qctl.queue add column allow_networks cidr[] not null default '{0.0.0.0/0,::/0}';
alter table qctl.queue alter column allow_networks set default '{}';
comment on column qctl.queue.allow_networks is 'Networks that requests may go to although they are not public: loopback, private, link-local …';

drop function if exists qctl.describe(text);
drop function if exists qctl._apply_settings(text, jsonb);
