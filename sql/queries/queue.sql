-- One queue's settings. Headers that look like secrets come by name only.
select * from qctl.describe(:'queue');
