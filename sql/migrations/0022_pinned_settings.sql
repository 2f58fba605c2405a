-- Trigger functions pin only the settings that change the text of their table's columns; the facts that knew only all or none go.
-- The epilogue makes the trigger functions anew. Locks nothing.

drop function if exists qctl._folded_direct(text, boolean);
drop function if exists qctl._folded_pin(text, boolean);
drop function if exists qctl._depends_on_settings(oid);
drop function if exists qctl._is_pinned(text[]);
drop function if exists qctl._capture_body(qctl.attachment, text, text, boolean);
drop function if exists qctl._statement_body(qctl.attachment, text, text, boolean);
drop function if exists qctl._careful_sql(qctl.attachment, text, text, boolean);
drop function if exists qctl._direct_sql(qctl.attachment, text, text, boolean);
drop function if exists qctl._statement_parts(qctl.attachment, text, boolean);
drop function if exists qctl._fits_sql(qctl.attachment, boolean, text, text);
drop function if exists qctl._notify_sql(text);
