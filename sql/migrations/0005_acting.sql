-- What acting needs: replay spread over time and under new ids. Replaces functions only; no lock, milliseconds.

drop function if exists qctl.replay(text, bigint[], text);
