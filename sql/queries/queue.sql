-- One queue's settings.
select * from qctl._queue(:'queue');
