-- What acting needs: replay spread over time, under new ids, of what was seen; discard of what was seen. Replaces functions only; no lock, milliseconds.

drop function if exists qctl.replay(text, bigint[], text);
drop function if exists qctl.discard(text, bigint[], text);
