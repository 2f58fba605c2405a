set check_function_bodies = false;
--
-- PostgreSQL database dump
--




--
-- Name: pgmq; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA pgmq;


--
-- Name: qctl; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA qctl;


--
-- Name: SCHEMA qctl; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA qctl IS 'Webhook delivery from PostgreSQL: pgmq queue to HTTP endpoint, at least once.';


--
-- Name: message_record; Type: TYPE; Schema: pgmq; Owner: -
--

CREATE TYPE pgmq.message_record AS (
	msg_id bigint,
	read_ct integer,
	enqueued_at timestamp with time zone,
	last_read_at timestamp with time zone,
	vt timestamp with time zone,
	message jsonb,
	headers jsonb
);


--
-- Name: metrics_result; Type: TYPE; Schema: pgmq; Owner: -
--

CREATE TYPE pgmq.metrics_result AS (
	queue_name text,
	queue_length bigint,
	newest_msg_age_sec integer,
	oldest_msg_age_sec integer,
	total_messages bigint,
	scrape_time timestamp with time zone,
	queue_visible_length bigint,
	default_partition_length bigint
);


--
-- Name: queue_record; Type: TYPE; Schema: pgmq; Owner: -
--

CREATE TYPE pgmq.queue_record AS (
	queue_name character varying,
	is_partitioned boolean,
	is_unlogged boolean,
	created_at timestamp with time zone
);


--
-- Name: ailment; Type: TYPE; Schema: qctl; Owner: -
--

CREATE TYPE qctl.ailment AS (
	health text,
	since timestamp with time zone,
	reason text,
	mend text
);


--
-- Name: TYPE ailment; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TYPE qctl.ailment IS 'What is wrong with a queue, since when as far as is known, and the command that mends it.';


--
-- Name: finding; Type: TYPE; Schema: qctl; Owner: -
--

CREATE TYPE qctl.finding AS (
	severity text,
	kind text,
	object text,
	problem text,
	mend text
);


--
-- Name: TYPE finding; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TYPE qctl.finding IS 'broken, warning or note; what it is about; what is wrong; what to type.';


--
-- Name: purge_place; Type: TYPE; Schema: qctl; Owner: -
--

CREATE TYPE qctl.purge_place AS (
	after timestamp with time zone,
	after_id bigint
);


--
-- Name: TYPE purge_place; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TYPE qctl.purge_place IS 'Where a purge goes on.';


--
-- Name: work_plan; Type: TYPE; Schema: qctl; Owner: -
--

CREATE TYPE qctl.work_plan AS (
	collect integer[],
	review integer[],
	dispatch text[]
);


--
-- Name: TYPE work_plan; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TYPE qctl.work_plan IS 'One step of qctl.work: queues with requests under way, those whose requests are to be judged, those with ready messages.';


--
-- Name: work_run; Type: TYPE; Schema: qctl; Owner: -
--

CREATE TYPE qctl.work_run AS (
	slot integer,
	queue_id integer,
	dedicated boolean,
	worker_id bigint,
	generation bigint,
	deadline timestamp with time zone,
	reviewed_at timestamp with time zone
);


--
-- Name: TYPE work_run; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TYPE qctl.work_run IS 'What one CALL of qctl.work knows of itself.';


--
-- Name: _belongs_to_pgmq(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._belongs_to_pgmq(table_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    sql TEXT;
    result BOOLEAN;
BEGIN
  SELECT EXISTS (
    SELECT 1
    FROM pg_depend
    WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgmq')
    AND objid = (
        SELECT oid
        FROM pg_class
        WHERE relname = table_name
    )
  ) INTO result;
  RETURN result;
END;
$$;


--
-- Name: _create_fifo_index_if_not_exists(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._create_fifo_index_if_not_exists(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    index_name TEXT := qtable || '_fifo_idx';
BEGIN
    -- Create GIN index on headers for efficient FIFO key lookups
    EXECUTE FORMAT(
        $QUERY$
        CREATE INDEX IF NOT EXISTS %I ON pgmq.%I USING GIN (headers);
        $QUERY$,
        index_name, qtable
    );
END;
$_$;


--
-- Name: _ensure_pg_partman_installed(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._ensure_pg_partman_installed() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF NOT pgmq._extension_exists('pg_partman') THEN
    RAISE EXCEPTION 'pg_partman is required for partitioned queues';
  END IF;
END;
$$;


--
-- Name: _extension_exists(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._extension_exists(extension_name text) RETURNS boolean
    LANGUAGE sql
    AS $$
SELECT EXISTS (
    SELECT 1
    FROM pg_extension
    WHERE extname = extension_name
)
$$;


--
-- Name: _get_partition_col(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._get_partition_col(partition_interval text) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
  num INTEGER;
BEGIN
    BEGIN
        num := partition_interval::INTEGER;
        RETURN 'msg_id';
    EXCEPTION
        WHEN others THEN
            RETURN 'enqueued_at';
    END;
END;
$$;


--
-- Name: _get_pg_partman_major_version(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._get_pg_partman_major_version() RETURNS integer
    LANGUAGE sql
    AS $$
  SELECT split_part(extversion, '.', 1)::INT
  FROM pg_extension
  WHERE extname = 'pg_partman'
$$;


--
-- Name: _get_pg_partman_schema(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._get_pg_partman_schema() RETURNS text
    LANGUAGE sql
    AS $$
  SELECT
    extnamespace::regnamespace::text
  FROM
    pg_extension
  WHERE
    extname = 'pg_partman';
$$;


--
-- Name: _send_batch(text, jsonb[], jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
            $QUERY$
        INSERT INTO pgmq.%I (vt, message, headers)
        SELECT $2, unnest($1), unnest(coalesce($3, ARRAY[]::jsonb[]))
        RETURNING msg_id;
        $QUERY$,
            qtable
           );
    RETURN QUERY EXECUTE sql USING msgs, delay, headers;
END;
$_$;


--
-- Name: _validate_batch_params(jsonb[], jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq._validate_batch_params(msgs jsonb[], headers jsonb[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Validate that msgs is not NULL or empty
    IF msgs IS NULL OR array_length(msgs, 1) IS NULL THEN
        RAISE EXCEPTION 'msgs cannot be NULL or empty';
    END IF;

    -- Validate that headers array length matches msgs array length if headers is provided
    -- Note: array_length returns NULL for empty arrays, so we use COALESCE to treat empty arrays as length 0
    IF headers IS NOT NULL AND COALESCE(array_length(headers, 1), 0) != COALESCE(array_length(msgs, 1), 0) THEN
        RAISE EXCEPTION 'headers array length (%) must match msgs array length (%)',
            COALESCE(array_length(headers, 1), 0), COALESCE(array_length(msgs, 1), 0);
    END IF;
END;
$$;


--
-- Name: acquire_queue_lock(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.acquire_queue_lock(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue_name));
END;
$$;


--
-- Name: archive(text, bigint[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.archive(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH archived AS (
            DELETE FROM pgmq.%I
            WHERE msg_id = ANY($1)
            RETURNING msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        )
        INSERT INTO pgmq.%I (msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers)
        SELECT msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        FROM archived
        RETURNING msg_id;
        $QUERY$,
        qtable, atable
    );
    RETURN QUERY EXECUTE sql USING msg_ids;
END;
$_$;


--
-- Name: archive(text, bigint); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result BIGINT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH archived AS (
            DELETE FROM pgmq.%I
            WHERE msg_id = $1
            RETURNING msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        )
        INSERT INTO pgmq.%I (msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers)
        SELECT msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        FROM archived
        RETURNING msg_id;
        $QUERY$,
        qtable, atable
    );
    EXECUTE sql USING msg_id INTO result;
    RETURN NOT (result IS NULL);
END;
$_$;


--
-- Name: bind_topic(text, text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.bind_topic(pattern text, queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq.validate_topic_pattern(pattern);
    IF queue_name IS NULL OR queue_name = '' THEN
        RAISE EXCEPTION 'queue_name cannot be NULL or empty';
    END IF;

    IF NOT EXISTS (SELECT 1 FROM pgmq.meta WHERE meta.queue_name = bind_topic.queue_name) THEN
        RAISE EXCEPTION 'Queue "%" does not exist. Create the queue first using pgmq.create()', queue_name;
    END IF;

    INSERT INTO pgmq.topic_bindings (pattern, queue_name)
    VALUES (pattern, queue_name)
    ON CONFLICT ON CONSTRAINT topic_bindings_unique_pattern_queue DO NOTHING;
END;
$$;


--
-- Name: convert_archive_partitioned(text, text, text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.convert_archive_partitioned(table_name text, partition_interval text DEFAULT '10000'::text, retention_interval text DEFAULT '100000'::text, leading_partition integer DEFAULT 10) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  a_table_name TEXT := pgmq.format_table_name(table_name, 'a');
  a_table_name_old TEXT := pgmq.format_table_name(table_name, 'a') || '_old';
  qualified_a_table_name TEXT := format('pgmq.%I', a_table_name);
  partition_col TEXT;
  a_partition_col TEXT;
BEGIN

  PERFORM c.relkind
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = a_table_name
    AND c.relkind = 'p';

  IF FOUND THEN
    RAISE NOTICE 'Table %s is already partitioned', a_table_name;
    RETURN;
  END IF;

  PERFORM c.relkind
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = a_table_name
    AND c.relkind = 'r';

  IF NOT FOUND THEN
    RAISE NOTICE 'Table %s does not exists', a_table_name;
    RETURN;
  END IF;

  SELECT pgmq._get_partition_col(partition_interval) INTO partition_col;

  -- For archive tables, use archived_at for time-based partitioning
  IF partition_col = 'enqueued_at' THEN
    a_partition_col := 'archived_at';
  ELSE
    a_partition_col := partition_col;
  END IF;

  EXECUTE 'ALTER TABLE ' || qualified_a_table_name || ' RENAME TO ' || a_table_name_old;

  -- When partitioning by time (archived_at), we need to exclude constraints and indexes
  -- because the existing PRIMARY KEY on msg_id alone is incompatible with partitioning by archived_at.
  -- When partitioning by msg_id, we can keep all constraints including PRIMARY KEY.
  IF a_partition_col = 'archived_at' THEN
    EXECUTE format( 'CREATE TABLE pgmq.%I (LIKE pgmq.%I including defaults including generated including storage including comments) PARTITION BY RANGE (%I)', a_table_name, a_table_name_old, a_partition_col );
  ELSE
    EXECUTE format( 'CREATE TABLE pgmq.%I (LIKE pgmq.%I including all) PARTITION BY RANGE (%I)', a_table_name, a_table_name_old, a_partition_col );
  END IF;

  EXECUTE 'ALTER INDEX pgmq.archived_at_idx_' || table_name || ' RENAME TO archived_at_idx_' || table_name || '_old';
  EXECUTE 'CREATE INDEX archived_at_idx_'|| table_name || ' ON ' || qualified_a_table_name ||'(archived_at)';

  -- https://github.com/pgpartman/pg_partman/blob/master/doc/pg_partman.md
  -- p_parent_table - the existing parent table. MUST be schema qualified, even if in public schema.
  EXECUTE FORMAT(
    $QUERY$
    SELECT %I.create_parent(
      p_parent_table := %L,
      p_control := %L,
      p_interval := %L,
      p_type := case
        when pgmq._get_pg_partman_major_version() = 5 then 'range'
        else 'native'
      end
    )
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    qualified_a_table_name,
    a_partition_col,
    partition_interval
  );

  EXECUTE FORMAT(
    $QUERY$
    UPDATE %I.part_config
    SET
      retention = %L,
      retention_keep_table = false,
      retention_keep_index = false,
      infinite_time_partitions = true
    WHERE
      parent_table = %L;
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    retention_interval,
    qualified_a_table_name
  );
END;
$_$;


--
-- Name: create(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq."create"(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq.create_non_partitioned(queue_name);
END;
$$;


--
-- Name: create_fifo_index(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.create_fifo_index(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq._create_fifo_index_if_not_exists(queue_name);
END;
$$;


--
-- Name: create_fifo_indexes_all(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.create_fifo_indexes_all() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    queue_record RECORD;
BEGIN
    FOR queue_record IN SELECT queue_name FROM pgmq.meta LOOP
        PERFORM pgmq.create_fifo_index(queue_record.queue_name);
    END LOOP;
END;
$$;


--
-- Name: create_non_partitioned(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.create_non_partitioned(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  qtable_seq TEXT := qtable || '_msg_id_seq';
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq.acquire_queue_lock(queue_name);

  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
        msg_id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        read_ct INT DEFAULT 0 NOT NULL,
        enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        last_read_at TIMESTAMP WITH TIME ZONE,
        vt TIMESTAMP WITH TIME ZONE NOT NULL,
        message JSONB,
        headers JSONB
    )
    $QUERY$,
    qtable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
      msg_id BIGINT PRIMARY KEY,
      read_ct INT DEFAULT 0 NOT NULL,
      enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      last_read_at TIMESTAMP WITH TIME ZONE,
      archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      vt TIMESTAMP WITH TIME ZONE NOT NULL,
      message JSONB,
      headers JSONB
    );
    $QUERY$,
    atable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt ASC);
    $QUERY$,
    qtable || '_vt_idx', qtable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (archived_at);
    $QUERY$,
    'archived_at_idx_' || queue_name, atable
  );

  EXECUTE FORMAT(
    $QUERY$
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (%L, false, false)
    ON CONFLICT
    DO NOTHING;
    $QUERY$,
    queue_name
  );

END;
$_$;


--
-- Name: create_partitioned(text, text, text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.create_partitioned(queue_name text, partition_interval text DEFAULT '10000'::text, retention_interval text DEFAULT '100000'::text, premake integer DEFAULT 4) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  partition_col TEXT;
  a_partition_col TEXT;
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  qtable_seq TEXT := qtable || '_msg_id_seq';
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
  fq_qtable TEXT := 'pgmq.' || qtable;
  fq_atable TEXT := 'pgmq.' || atable;
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq.acquire_queue_lock(queue_name);
  PERFORM pgmq._ensure_pg_partman_installed();
  IF premake < 1 THEN
    RAISE EXCEPTION 'premake must be at least 1, got %', premake;
  END IF;
  SELECT pgmq._get_partition_col(partition_interval) INTO partition_col;

  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
        msg_id BIGINT GENERATED BY DEFAULT AS IDENTITY,
        read_ct INT DEFAULT 0 NOT NULL,
        enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        last_read_at TIMESTAMP WITH TIME ZONE,
        vt TIMESTAMP WITH TIME ZONE NOT NULL,
        message JSONB,
        headers JSONB
    ) PARTITION BY RANGE (%I)
    $QUERY$,
    qtable, partition_col
  );

  -- https://github.com/pgpartman/pg_partman/blob/master/doc/pg_partman.md
  -- p_parent_table - the existing parent table. MUST be schema qualified, even if in public schema.
  EXECUTE FORMAT(
    $QUERY$
    SELECT %I.create_parent(
      p_parent_table := %L,
      p_control := %L,
      p_interval := %L,
      p_premake := %s,
      p_type := case
        when pgmq._get_pg_partman_major_version() = 5 then 'range'
        else 'native'
      end
    )
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    fq_qtable,
    partition_col,
    partition_interval,
    premake
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (%I);
    $QUERY$,
    qtable || '_part_idx', qtable, partition_col
  );

  EXECUTE FORMAT(
    $QUERY$
    UPDATE %I.part_config
    SET
        retention = %L,
        retention_keep_table = false,
        retention_keep_index = true,
        automatic_maintenance = 'on'
    WHERE parent_table = %L;
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    retention_interval,
    'pgmq.' || qtable
  );

  EXECUTE FORMAT(
    $QUERY$
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (%L, true, false)
    ON CONFLICT
    DO NOTHING;
    $QUERY$,
    queue_name
  );

  IF partition_col = 'enqueued_at' THEN
    a_partition_col := 'archived_at';
  ELSE
    a_partition_col := partition_col;
  END IF;

  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
      msg_id BIGINT NOT NULL,
      read_ct INT DEFAULT 0 NOT NULL,
      enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      last_read_at TIMESTAMP WITH TIME ZONE,
      archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      vt TIMESTAMP WITH TIME ZONE NOT NULL,
      message JSONB,
      headers JSONB
    ) PARTITION BY RANGE (%I);
    $QUERY$,
    atable, a_partition_col
  );

  -- https://github.com/pgpartman/pg_partman/blob/master/doc/pg_partman.md
  -- p_parent_table - the existing parent table. MUST be schema qualified, even if in public schema.
  EXECUTE FORMAT(
    $QUERY$
    SELECT %I.create_parent(
      p_parent_table := %L,
      p_control := %L,
      p_interval := %L,
      p_premake := %s,
      p_type := case
        when pgmq._get_pg_partman_major_version() = 5 then 'range'
        else 'native'
      end
    )
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    fq_atable,
    a_partition_col,
    partition_interval,
    premake
  );

  EXECUTE FORMAT(
    $QUERY$
    UPDATE %I.part_config
    SET
        retention = %L,
        retention_keep_table = false,
        retention_keep_index = true,
        automatic_maintenance = 'on'
    WHERE parent_table = %L;
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    retention_interval,
    'pgmq.' || atable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (archived_at);
    $QUERY$,
    'archived_at_idx_' || queue_name, atable
  );

END;
$_$;


--
-- Name: create_unlogged(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.create_unlogged(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  qtable_seq TEXT := qtable || '_msg_id_seq';
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq.acquire_queue_lock(queue_name);

  EXECUTE FORMAT(
    $QUERY$
    CREATE UNLOGGED TABLE IF NOT EXISTS pgmq.%I (
        msg_id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        read_ct INT DEFAULT 0 NOT NULL,
        enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        last_read_at TIMESTAMP WITH TIME ZONE,
        vt TIMESTAMP WITH TIME ZONE NOT NULL,
        message JSONB,
        headers JSONB
    )
    $QUERY$,
    qtable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
      msg_id BIGINT PRIMARY KEY,
      read_ct INT DEFAULT 0 NOT NULL,
      enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      last_read_at TIMESTAMP WITH TIME ZONE,
      archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      vt TIMESTAMP WITH TIME ZONE NOT NULL,
      message JSONB,
      headers JSONB
    );
    $QUERY$,
    atable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt ASC);
    $QUERY$,
    qtable || '_vt_idx', qtable
  );

  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (archived_at);
    $QUERY$,
    'archived_at_idx_' || queue_name, atable
  );

  EXECUTE FORMAT(
    $QUERY$
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (%L, false, true)
    ON CONFLICT
    DO NOTHING;
    $QUERY$,
    queue_name
  );
END;
$_$;


--
-- Name: delete(text, bigint[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.delete(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        DELETE FROM pgmq.%I
        WHERE msg_id = ANY($1)
        RETURNING msg_id
        $QUERY$,
        qtable
    );
    RETURN QUERY EXECUTE sql USING msg_ids;
END;
$_$;


--
-- Name: delete(text, bigint); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result BIGINT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        DELETE FROM pgmq.%I
        WHERE msg_id = $1
        RETURNING msg_id
        $QUERY$,
        qtable
    );
    EXECUTE sql USING msg_id INTO result;
    RETURN NOT (result IS NULL);
END;
$_$;


--
-- Name: detach_archive(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.detach_archive(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
  RAISE WARNING 'detach_archive(queue_name) is deprecated and is a no-op. It will be removed in PGMQ v2.0. Archive tables are no longer member objects.';
END
$$;


--
-- Name: disable_notify_insert(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.disable_notify_insert(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  v_queue_name TEXT := queue_name;
BEGIN
  EXECUTE FORMAT(
    $QUERY$
    DROP TRIGGER IF EXISTS trigger_notify_queue_insert_listeners ON pgmq.%I;
    $QUERY$,
    qtable
  );

  DELETE FROM pgmq.notify_insert_throttle nit WHERE nit.queue_name = v_queue_name;
END;
$_$;


--
-- Name: drop_queue(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
DECLARE
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    qtable_seq TEXT := qtable || '_msg_id_seq';
    fq_qtable TEXT := 'pgmq.' || qtable;
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
    fq_atable TEXT := 'pgmq.' || atable;
    partitioned BOOLEAN;
BEGIN
    PERFORM pgmq.acquire_queue_lock(queue_name);
    EXECUTE FORMAT(
        $QUERY$
        SELECT is_partitioned FROM pgmq.meta WHERE queue_name = %L
        $QUERY$,
        queue_name
    ) INTO partitioned;

    -- check if the queue exists
    IF NOT EXISTS (
        SELECT 1
        FROM information_schema.tables
        WHERE table_name = qtable and table_schema = 'pgmq'
    ) THEN
        RAISE NOTICE 'pgmq queue `%` does not exist', queue_name;
        RETURN FALSE;
    END IF;

    EXECUTE FORMAT(
        $QUERY$
        DROP TABLE IF EXISTS pgmq.%I
        $QUERY$,
        qtable
    );

    EXECUTE FORMAT(
        $QUERY$
        DROP TABLE IF EXISTS pgmq.%I
        $QUERY$,
        atable
    );

     IF EXISTS (
          SELECT 1
          FROM information_schema.tables
          WHERE table_name = 'meta' and table_schema = 'pgmq'
     ) THEN
        EXECUTE FORMAT(
            $QUERY$
            DELETE FROM pgmq.meta WHERE queue_name = %L
            $QUERY$,
            queue_name
        );
     END IF;

     IF partitioned THEN
        EXECUTE FORMAT(
          $QUERY$
          DELETE FROM %I.part_config where parent_table in (%L, %L)
          $QUERY$,
          pgmq._get_pg_partman_schema(), fq_qtable, fq_atable
        );
     END IF;

    RETURN TRUE;
END;
$_$;


--
-- Name: drop_queue(text, boolean); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.drop_queue(queue_name text, partitioned boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    fq_qtable TEXT := 'pgmq.' || qtable;
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
    fq_atable TEXT := 'pgmq.' || atable;
BEGIN
    RAISE WARNING 'drop_queue(queue_name, partitioned) is deprecated and will be removed in PGMQ v2.0. Use drop_queue(queue_name) instead';

    PERFORM pgmq.drop_queue(queue_name);

    RETURN TRUE;
END;
$$;


--
-- Name: enable_notify_insert(text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms integer DEFAULT 250) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  v_queue_name TEXT := queue_name;
  v_throttle_interval_ms INTEGER := throttle_interval_ms;
BEGIN
  -- Validate that throttle_interval_ms is non-negative
  IF v_throttle_interval_ms < 0 THEN
    RAISE EXCEPTION 'throttle_interval_ms must be non-negative';
  END IF;

  -- Validate that the queue table exists
  IF NOT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = 'pgmq' AND table_name = qtable) THEN
    RAISE EXCEPTION 'Queue "%" does not exist. Create it first using pgmq.create()', v_queue_name;
  END IF;

  PERFORM pgmq.disable_notify_insert(v_queue_name);

  INSERT INTO pgmq.notify_insert_throttle (queue_name, throttle_interval_ms)
  VALUES (v_queue_name, v_throttle_interval_ms)
  ON CONFLICT ON CONSTRAINT notify_insert_throttle_queue_name_key DO UPDATE
      SET throttle_interval_ms = EXCLUDED.throttle_interval_ms,
          last_notified_at = to_timestamp(0);

  EXECUTE FORMAT(
    $QUERY$
    CREATE CONSTRAINT TRIGGER trigger_notify_queue_insert_listeners
    AFTER INSERT ON pgmq.%I
    DEFERRABLE FOR EACH ROW
    EXECUTE PROCEDURE pgmq.notify_queue_listeners()
    $QUERY$,
    qtable
  );
END;
$_$;


--
-- Name: format_table_name(text, text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.format_table_name(queue_name text, prefix text) RETURNS text
    LANGUAGE plpgsql
    AS $_$
BEGIN
    IF queue_name ~ '\$|;|--|'''
    THEN
        RAISE EXCEPTION 'queue name contains invalid characters: $, ;, --, or \''';
    END IF;
    RETURN lower(prefix || '_' || queue_name);
END;
$_$;


--
-- Name: list_notify_insert_throttles(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.list_notify_insert_throttles() RETURNS TABLE(queue_name text, throttle_interval_ms integer, last_notified_at timestamp with time zone)
    LANGUAGE sql STABLE
    AS $$
    SELECT queue_name, throttle_interval_ms, last_notified_at
    FROM pgmq.notify_insert_throttle
    ORDER BY queue_name;
$$;


--
-- Name: list_queues(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record
    LANGUAGE plpgsql
    AS $$
BEGIN
  RETURN QUERY SELECT * FROM pgmq.meta;
END
$$;


--
-- Name: list_topic_bindings(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.list_topic_bindings() RETURNS TABLE(pattern text, queue_name text, bound_at timestamp with time zone, compiled_regex text)
    LANGUAGE sql STABLE
    AS $$
    SELECT pattern, queue_name, bound_at, compiled_regex
    FROM pgmq.topic_bindings
    ORDER BY bound_at DESC, pattern, queue_name;
$$;


--
-- Name: list_topic_bindings(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.list_topic_bindings(queue_name text) RETURNS TABLE(pattern text, queue_name text, bound_at timestamp with time zone, compiled_regex text)
    LANGUAGE sql STABLE
    AS $$
    SELECT pattern, tb.queue_name, bound_at, compiled_regex
    FROM pgmq.topic_bindings tb
    WHERE tb.queue_name = list_topic_bindings.queue_name
    ORDER BY bound_at DESC, pattern;
$$;


--
-- Name: metrics(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result
    LANGUAGE plpgsql
    AS $_$
DECLARE
    result_row pgmq.metrics_result;
    query TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    q_default_partition TEXT := qtable || '_default';
    a_default_partition TEXT := pgmq.format_table_name(queue_name, 'a') || '_default';
    default_partition_length BIGINT;
BEGIN
    -- Only partitioned queues have default partitions. Messages in them have no
    -- partition of their own, which means pg_partman maintenance is failing for
    -- this queue; a non-zero value here is the signal to act on. The planner's
    -- estimate is used so that a large spill does not slow down every scrape.
    IF to_regclass(FORMAT('pgmq.%I', q_default_partition)) IS NOT NULL THEN
        SELECT COALESCE(SUM(GREATEST(c.reltuples, 0))::bigint, 0)
        INTO default_partition_length
        FROM pg_class c
        WHERE c.oid IN (
            to_regclass(FORMAT('pgmq.%I', q_default_partition)),
            to_regclass(FORMAT('pgmq.%I', a_default_partition))
        );
    END IF;

    query := FORMAT(
        $QUERY$
        WITH q_summary AS (
            SELECT
                count(*) as queue_length,
                count(CASE WHEN vt <= NOW() THEN 1 END) as queue_visible_length,
                EXTRACT(epoch FROM (NOW() - max(enqueued_at)))::int as newest_msg_age_sec,
                EXTRACT(epoch FROM (NOW() - min(enqueued_at)))::int as oldest_msg_age_sec,
                NOW() as scrape_time
            FROM pgmq.%I
        ),
        all_metrics AS (
            SELECT CASE
                WHEN is_called THEN last_value ELSE 0
                END as total_messages
            FROM pgmq.%I
        )
        SELECT
            %L as queue_name,
            q_summary.queue_length,
            q_summary.newest_msg_age_sec,
            q_summary.oldest_msg_age_sec,
            all_metrics.total_messages,
            q_summary.scrape_time,
            q_summary.queue_visible_length,
            %L::bigint as default_partition_length
        FROM q_summary, all_metrics
        $QUERY$,
        qtable, qtable || '_msg_id_seq', queue_name, default_partition_length
    );
    EXECUTE query INTO result_row;
    RETURN result_row;
END;
$_$;


--
-- Name: metrics_all(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.metrics_all() RETURNS SETOF pgmq.metrics_result
    LANGUAGE plpgsql
    AS $$
DECLARE
    row_name RECORD;
    result_row pgmq.metrics_result;
BEGIN
    FOR row_name IN SELECT queue_name FROM pgmq.meta LOOP
        result_row := pgmq.metrics(row_name.queue_name);
        RETURN NEXT result_row;
    END LOOP;
END;
$$;


--
-- Name: notify_queue_listeners(); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
  queue_name_extracted TEXT; -- Queue name extracted from trigger table name
  updated_count        INTEGER; -- Number of rows updated (0 or 1)
BEGIN
  queue_name_extracted := substring(TG_TABLE_NAME from 3);

  UPDATE pgmq.notify_insert_throttle
  SET last_notified_at = clock_timestamp()
  WHERE queue_name = queue_name_extracted
    AND (
      throttle_interval_ms = 0 -- No throttling configured
          OR clock_timestamp() - last_notified_at >=
             (throttle_interval_ms * INTERVAL '1 millisecond') -- Throttle interval has elapsed
    );

  -- Check how many rows were updated (will be 0 or 1)
  GET DIAGNOSTICS updated_count = ROW_COUNT;

  IF updated_count > 0 THEN
    PERFORM PG_NOTIFY('pgmq.' || TG_TABLE_NAME || '.' || TG_OP, NULL);
  END IF;

RETURN NEW;
END;
$$;


--
-- Name: pop(text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.pop(queue_name text, qty integer DEFAULT 1) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result pgmq.message_record;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH cte AS
            (
                SELECT msg_id
                FROM pgmq.%I
                WHERE vt <= clock_timestamp()
                ORDER BY msg_id ASC
                LIMIT $1
                FOR UPDATE SKIP LOCKED
            )
        DELETE from pgmq.%I
        WHERE msg_id IN (select msg_id from cte)
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers;
        $QUERY$,
        qtable, qtable
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;


--
-- Name: purge_queue(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
  deleted_count INTEGER;
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
  -- Get the row count before truncating
  EXECUTE format('SELECT count(*) FROM pgmq.%I', qtable) INTO deleted_count;

  -- Use TRUNCATE for better performance on large tables
  EXECUTE format('TRUNCATE TABLE pgmq.%I', qtable);

  -- Return the number of purged rows
  RETURN deleted_count;
END
$$;


--
-- Name: read(text, integer, integer, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb DEFAULT '{}'::jsonb) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH cte AS
        (
            SELECT msg_id
            FROM pgmq.%I
            WHERE vt <= clock_timestamp() AND CASE
                WHEN %L != '{}'::jsonb THEN (message @> %2$L)::integer
                ELSE 1
            END = 1
            ORDER BY msg_id ASC
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%I m
        SET
            last_read_at = clock_timestamp(),
            vt = clock_timestamp() + %L,
            read_ct = read_ct + 1
        FROM cte
        WHERE m.msg_id = cte.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
        $QUERY$,
        qtable, conditional, qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;


--
-- Name: read_grouped(text, integer, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_grouped(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH fifo_groups AS (
            -- Find the minimum msg_id for each FIFO group that's ready to be processed
            SELECT
                COALESCE(headers->>'x-pgmq-group', '_default_fifo_group') as fifo_key,
                MIN(msg_id) as min_msg_id
            FROM pgmq.%I
            WHERE vt <= clock_timestamp()
            GROUP BY COALESCE(headers->>'x-pgmq-group', '_default_fifo_group')
        ),
        locked_groups AS (
            -- Lock the first available message in each FIFO group
            SELECT
                m.msg_id,
                fg.fifo_key
            FROM pgmq.%I m
            INNER JOIN fifo_groups fg ON
                COALESCE(m.headers->>'x-pgmq-group', '_default_fifo_group') = fg.fifo_key
                AND m.msg_id = fg.min_msg_id
            WHERE m.vt <= clock_timestamp()
            ORDER BY m.msg_id ASC
            FOR UPDATE SKIP LOCKED
        ),
        group_priorities AS (
            -- Assign priority to groups based on their oldest message
            SELECT
                fifo_key,
                msg_id as min_msg_id,
                ROW_NUMBER() OVER (ORDER BY msg_id) as group_priority
            FROM locked_groups
        ),
        filtered_groups as (
            SELECT * FROM group_priorities gp
            WHERE NOT EXISTS (
                -- Ensure no earlier message in this group is currently being processed
                SELECT 1
                FROM pgmq.%I m2
                WHERE COALESCE(m2.headers->>'x-pgmq-group', '_default_fifo_group') = gp.fifo_key
                AND m2.vt > clock_timestamp()
                AND m2.msg_id < gp.min_msg_id
            )
        ),
        available_messages as (
            SELECT gp.fifo_key, t.msg_id,gp.group_priority,
                ROW_NUMBER() OVER (PARTITION BY gp.fifo_key ORDER BY t.msg_id) as msg_rank_in_group
            FROM filtered_groups gp
            CROSS JOIN LATERAL (
                SELECT *
                FROM pgmq.%I t
                WHERE COALESCE(t.headers->>'x-pgmq-group', '_default_fifo_group') = gp.fifo_key
                AND t.vt <= clock_timestamp()
                ORDER BY msg_id
                LIMIT $1  -- tip to limit query impact, we know we need at most qty in each group
            ) t
            ORDER BY gp.group_priority
        ),
        batch_selection AS (
            -- Select messages to fill batch, prioritizing earliest group
            SELECT
                msg_id,
                ROW_NUMBER() OVER (ORDER BY group_priority, msg_rank_in_group) as overall_rank
            FROM available_messages
        ),
        selected_messages AS (
            -- Limit to requested quantity
            SELECT msg_id
            FROM batch_selection
            WHERE overall_rank <= $1
            ORDER BY msg_id
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%I m
        SET
            vt = clock_timestamp() + %L,
            read_ct = read_ct + 1,
            last_read_at = clock_timestamp()
        FROM selected_messages sm
        WHERE m.msg_id = sm.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
        $QUERY$,
        qtable, qtable, qtable, qtable, qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;


--
-- Name: read_grouped_head(text, integer, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_grouped_head(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH fifo_groups AS (
            -- Determine the absolute head (oldest) message id per FIFO group, regardless of visibility
            SELECT
                COALESCE(headers->>'x-pgmq-group', '_default_fifo_group') AS fifo_key,
                MIN(msg_id) AS head_msg_id
            FROM pgmq.%1$I
            GROUP BY COALESCE(headers->>'x-pgmq-group', '_default_fifo_group')
        ),
        selected_messages AS (
            -- Take at most 1 message per group
            SELECT g.head_msg_id msg_id
            FROM fifo_groups g
            JOIN pgmq.%1$I q ON q.msg_id = g.head_msg_id
	        WHERE q.vt <= clock_timestamp()
            ORDER BY q.msg_id
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%1$I m
        SET
            vt = clock_timestamp() + %2$L,
            read_ct = read_ct + 1,
            last_read_at = clock_timestamp()
        FROM selected_messages sm
        WHERE m.msg_id = sm.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
        $QUERY$,
        qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;


--
-- Name: read_grouped_head_with_poll(text, integer, integer, integer, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_grouped_head_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMPTZ;
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF clock_timestamp() >= stop_at THEN
        RETURN;
      END IF;

      FOR r IN
        SELECT * FROM pgmq.read_grouped_head(queue_name, vt, qty)
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$$;


--
-- Name: read_grouped_rr(text, integer, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_grouped_rr(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH fifo_groups AS (
            -- Determine the absolute head (oldest) message id per FIFO group, regardless of visibility
            SELECT
                COALESCE(headers->>'x-pgmq-group', '_default_fifo_group') AS fifo_key,
                MIN(msg_id) AS head_msg_id
            FROM pgmq.%1$I
            GROUP BY COALESCE(headers->>'x-pgmq-group', '_default_fifo_group')
        ),
        eligible_groups AS (
            -- Only groups whose head message is currently visible
            -- Acquire a transaction-level advisory lock per group to prevent concurrent selection
            SELECT
                g.fifo_key,
                g.head_msg_id,
                ROW_NUMBER() OVER (ORDER BY g.head_msg_id) AS group_priority
            FROM fifo_groups g
            JOIN pgmq.%2$I h ON h.msg_id = g.head_msg_id
            WHERE h.vt <= clock_timestamp()
              AND pg_try_advisory_xact_lock(pg_catalog.hashtextextended(g.fifo_key, 0))
        ),
        available_messages AS (
            -- All currently visible messages starting at the head for each eligible group
            SELECT
                m.msg_id,
                eg.group_priority,
                ROW_NUMBER() OVER (
                    PARTITION BY eg.fifo_key
                    ORDER BY m.msg_id
                ) AS msg_rank_in_group
            FROM pgmq.%3$I m
            JOIN eligible_groups eg
              ON COALESCE(m.headers->>'x-pgmq-group', '_default_fifo_group') = eg.fifo_key
            WHERE m.vt <= clock_timestamp()
              AND m.msg_id >= eg.head_msg_id
        ),
        ordered_messages AS (
            -- Layered round-robin: take rank 1 of all groups by group_priority, then rank 2, etc.
            -- Assign selection order before locking
            SELECT msg_id, ROW_NUMBER() OVER (ORDER BY msg_rank_in_group, group_priority) as selection_order
            FROM available_messages
        ),
        selected_messages AS (
            -- Lock the messages in the correct order, preserving selection_order
            SELECT om.msg_id, om.selection_order
            FROM ordered_messages om
            JOIN pgmq.%4$I m ON m.msg_id = om.msg_id
            WHERE om.selection_order <= $1
            ORDER BY om.selection_order
            FOR UPDATE OF m SKIP LOCKED
        ),
        updated_messages AS (
            UPDATE pgmq.%5$I m
            SET
                vt = clock_timestamp() + %6$L,
                read_ct = read_ct + 1,
                last_read_at = clock_timestamp()
            FROM selected_messages sm
            WHERE m.msg_id = sm.msg_id
              AND m.vt <= clock_timestamp() -- final guard to avoid duplicate reads under races
            RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers, sm.selection_order
        )
        SELECT msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
        FROM updated_messages
        ORDER BY selection_order;
        $QUERY$,
        qtable, qtable, qtable, qtable, qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;


--
-- Name: read_grouped_rr_with_poll(text, integer, integer, integer, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_grouped_rr_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMP;
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF (SELECT clock_timestamp() >= stop_at) THEN
        RETURN;
      END IF;

      FOR r IN
        SELECT * FROM pgmq.read_grouped_rr(queue_name, vt, qty)
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$$;


--
-- Name: read_grouped_with_poll(text, integer, integer, integer, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_grouped_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMP;
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF (SELECT clock_timestamp() >= stop_at) THEN
        RETURN;
      END IF;

      FOR r IN
        SELECT * FROM pgmq.read_grouped(queue_name, vt, qty)
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$$;


--
-- Name: read_with_poll(text, integer, integer, integer, integer, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.read_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100, conditional jsonb DEFAULT '{}'::jsonb) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMP;
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF (SELECT clock_timestamp() >= stop_at) THEN
        RETURN;
      END IF;

      sql := FORMAT(
          $QUERY$
          WITH cte AS
          (
              SELECT msg_id
              FROM pgmq.%I
              WHERE vt <= clock_timestamp() AND CASE
                  WHEN %L != '{}'::jsonb THEN (message @> %2$L)::integer
                  ELSE 1
              END = 1
              ORDER BY msg_id ASC
              LIMIT $1
              FOR UPDATE SKIP LOCKED
          )
          UPDATE pgmq.%I m
          SET
              last_read_at = clock_timestamp(),
              vt = clock_timestamp() + %L,
              read_ct = read_ct + 1
          FROM cte
          WHERE m.msg_id = cte.msg_id
          RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
          $QUERY$,
          qtable, conditional, qtable, make_interval(secs => vt)
      );

      FOR r IN
        EXECUTE sql USING qty
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$_$;


--
-- Name: send(text, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, NULL, clock_timestamp());
$$;


--
-- Name: send(text, jsonb, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, NULL, clock_timestamp() + make_interval(secs => delay));
$$;


--
-- Name: send(text, jsonb, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, headers, clock_timestamp());
$$;


--
-- Name: send(text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, NULL, delay);
$$;


--
-- Name: send(text, jsonb, jsonb, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb, delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, headers, clock_timestamp() + make_interval(secs => delay));
$$;


--
-- Name: send(text, jsonb, jsonb, timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb, delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
            $QUERY$
        INSERT INTO pgmq.%I (vt, message, headers)
        VALUES ($2, $1, $3)
        RETURNING msg_id;
        $QUERY$,
            qtable
           );
    RETURN QUERY EXECUTE sql USING msg, delay, headers;
END;
$_$;


--
-- Name: send_batch(text, jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[]) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, NULL, clock_timestamp());
$$;


--
-- Name: send_batch(text, jsonb[], jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[]) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, headers, clock_timestamp());
$$;


--
-- Name: send_batch(text, jsonb[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, NULL, clock_timestamp() + make_interval(secs => delay));
$$;


--
-- Name: send_batch(text, jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, NULL, delay);
$$;


--
-- Name: send_batch(text, jsonb[], jsonb[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, headers, clock_timestamp() + make_interval(secs => delay));
$$;


--
-- Name: send_batch(text, jsonb[], jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq._validate_batch_params(msgs, headers);
    RETURN QUERY SELECT * FROM pgmq._send_batch(queue_name, msgs, headers, delay);
END;
$$;


--
-- Name: send_batch_topic(text, jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[]) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL, clock_timestamp());
$$;


--
-- Name: send_batch_topic(text, jsonb[], jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[]) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, headers, clock_timestamp());
$$;


--
-- Name: send_batch_topic(text, jsonb[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], delay integer) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL, clock_timestamp() + make_interval(secs => delay));
$$;


--
-- Name: send_batch_topic(text, jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], delay timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL, delay);
$$;


--
-- Name: send_batch_topic(text, jsonb[], jsonb[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay integer) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, headers, clock_timestamp() + make_interval(secs => delay));
$$;


--
-- Name: send_batch_topic(text, jsonb[], jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE plpgsql
    AS $$
DECLARE
    b RECORD;
BEGIN
    PERFORM pgmq.validate_routing_key(routing_key);

    -- Validate batch parameters once (not per queue)
    PERFORM pgmq._validate_batch_params(msgs, headers);

    -- Filter matching patterns in SQL for better performance (uses index)
    -- Any failure will rollback the entire transaction
    FOR b IN
        SELECT DISTINCT tb.queue_name
        FROM pgmq.topic_bindings tb
        WHERE routing_key ~ tb.compiled_regex
        ORDER BY tb.queue_name -- Deterministic ordering, deduplicated by queue_name
        LOOP
            -- Use private _send_batch to avoid redundant validation
            RETURN QUERY
            SELECT b.queue_name, batch_result.msg_id
            FROM pgmq._send_batch(b.queue_name, msgs, headers, delay) AS batch_result(msg_id);
        END LOOP;

    RETURN;
END;
$$;


--
-- Name: send_topic(text, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb) RETURNS integer
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN pgmq.send_topic(routing_key, msg, NULL, 0);
END;
$$;


--
-- Name: send_topic(text, jsonb, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, delay integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN pgmq.send_topic(routing_key, msg, NULL, delay);
END;
$$;


--
-- Name: send_topic(text, jsonb, jsonb, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, headers jsonb, delay integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    b             RECORD;
    matched_count integer := 0;
BEGIN
    PERFORM pgmq.validate_routing_key(routing_key);

    IF msg IS NULL THEN
        RAISE EXCEPTION 'msg cannot be NULL';
    END IF;

    IF delay < 0 THEN
        RAISE EXCEPTION 'delay cannot be negative, got: %', delay;
    END IF;

    -- Filter matching patterns in SQL for better performance (uses index)
    -- Any failure will rollback the entire transaction
    FOR b IN
        SELECT DISTINCT tb.queue_name
        FROM pgmq.topic_bindings tb
        WHERE routing_key ~ tb.compiled_regex
        ORDER BY tb.queue_name -- Deterministic ordering, deduplicated by queue_name
        LOOP
            PERFORM pgmq.send(b.queue_name, msg, headers, delay);
            matched_count := matched_count + 1;
        END LOOP;

    RETURN matched_count;
END;
$$;


--
-- Name: set_vt(text, bigint[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt integer) RETURNS SETOF pgmq.message_record
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.set_vt(queue_name, msg_ids, clock_timestamp() + make_interval(secs => vt));
$$;


--
-- Name: set_vt(text, bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt timestamp with time zone) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        UPDATE pgmq.%I
        SET vt = $1
        WHERE msg_id = ANY($2)
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers;
        $QUERY$,
        qtable
    );
    RETURN QUERY EXECUTE sql USING vt, msg_ids;
END;
$_$;


--
-- Name: set_vt(text, bigint, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer) RETURNS SETOF pgmq.message_record
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.set_vt(queue_name, msg_id, clock_timestamp() + make_interval(secs => vt));
$$;


--
-- Name: set_vt(text, bigint, timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt timestamp with time zone) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result pgmq.message_record;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        UPDATE pgmq.%I
        SET vt = $1
        WHERE msg_id = $2
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers;
        $QUERY$, 
        qtable
    );
    RETURN QUERY EXECUTE sql USING vt, msg_id;
END;
$_$;


--
-- Name: test_routing(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.test_routing(routing_key text) RETURNS TABLE(pattern text, queue_name text, compiled_regex text)
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    PERFORM pgmq.validate_routing_key(routing_key);
    RETURN QUERY
        SELECT b.pattern,
               b.queue_name,
               b.compiled_regex
        FROM pgmq.topic_bindings b
        WHERE routing_key ~ b.compiled_regex
        ORDER BY b.pattern;
END;
$$;


--
-- Name: unbind_topic(text, text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.unbind_topic(pattern text, queue_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    rows_deleted integer;
BEGIN
    IF pattern IS NULL OR pattern = '' THEN
        RAISE EXCEPTION 'pattern cannot be NULL or empty';
    END IF;

    IF queue_name IS NULL OR queue_name = '' THEN
        RAISE EXCEPTION 'queue_name cannot be NULL or empty';
    END IF;

    DELETE
    FROM pgmq.topic_bindings
    WHERE topic_bindings.pattern = unbind_topic.pattern
      AND topic_bindings.queue_name = unbind_topic.queue_name;

    GET DIAGNOSTICS rows_deleted = ROW_COUNT;

    IF rows_deleted > 0 THEN
        RETURN true;
    ELSE
        RETURN false;
    END IF;
END;
$$;


--
-- Name: update_notify_insert(text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.update_notify_insert(queue_name text, throttle_interval_ms integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF throttle_interval_ms < 0 THEN
        RAISE EXCEPTION 'throttle_interval_ms must be non-negative, got: %', throttle_interval_ms;
    END IF;

    IF NOT EXISTS (SELECT 1 FROM pgmq.meta WHERE meta.queue_name = update_notify_insert.queue_name) THEN
        RAISE EXCEPTION 'Queue "%" does not exist. Create the queue first using pgmq.create()', queue_name;
    END IF;

    IF NOT EXISTS (SELECT 1 FROM pgmq.notify_insert_throttle WHERE notify_insert_throttle.queue_name = update_notify_insert.queue_name) THEN
        RAISE EXCEPTION 'Queue "%" does not have notify_insert enabled. Enable it first using pgmq.enable_notify_insert()', queue_name;
    END IF;

    UPDATE pgmq.notify_insert_throttle
    SET throttle_interval_ms = update_notify_insert.throttle_interval_ms,
        last_notified_at = to_timestamp(0)
    WHERE notify_insert_throttle.queue_name = update_notify_insert.queue_name;
END;
$$;


--
-- Name: validate_queue_name(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.validate_queue_name(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF length(queue_name) > 47 THEN
    -- complete table identifier must be <= 63
    -- https://www.postgresql.org/docs/17/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    -- e.g. template_pgmq_q_my_queue is an identifier for my_queue when partitioned
    -- template_pgmq_q_ (16) + <a max length queue name> (47) = 63 
    RAISE EXCEPTION 'queue name is too long, maximum length is 47 characters';
  END IF;
END;
$$;


--
-- Name: validate_routing_key(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.validate_routing_key(routing_key text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
BEGIN
    -- Valid routing key examples:
    --   "logs.error"
    --   "app.user-service.auth"
    --   "system_events.db.connection_failed"
    --
    -- Invalid routing key examples:
    --   ""                     - empty
    --   ".logs.error"          - starts with dot
    --   "logs.error."          - ends with dot
    --   "logs..error"          - consecutive dots
    --   "logs.error!"          - invalid character
    --   "logs error"           - space not allowed
    --   "logs.*"               - wildcards not allowed in routing keys

    IF routing_key IS NULL OR routing_key = '' THEN
        RAISE EXCEPTION 'routing_key cannot be NULL or empty';
    END IF;

    IF length(routing_key) > 255 THEN
        RAISE EXCEPTION 'routing_key length cannot exceed 255 characters, got % characters', length(routing_key);
    END IF;

    IF routing_key !~ '^[a-zA-Z0-9._-]+$' THEN
        RAISE EXCEPTION 'routing_key contains invalid characters. Only alphanumeric, dots, hyphens, and underscores are allowed. Got: %', routing_key;
    END IF;

    IF routing_key ~ '^\.' THEN
        RAISE EXCEPTION 'routing_key cannot start with a dot. Got: %', routing_key;
    END IF;

    IF routing_key ~ '\.$' THEN
        RAISE EXCEPTION 'routing_key cannot end with a dot. Got: %', routing_key;
    END IF;

    IF routing_key ~ '\.\.' THEN
        RAISE EXCEPTION 'routing_key cannot contain consecutive dots. Got: %', routing_key;
    END IF;

    RETURN true;
END;
$_$;


--
-- Name: validate_topic_pattern(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

CREATE FUNCTION pgmq.validate_topic_pattern(pattern text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
BEGIN
    -- Valid pattern examples:
    --   "logs.*"           - matches one segment after logs. (e.g., logs.error, logs.info)
    --   "logs.#"           - matches one or more segments after logs. (e.g., logs.error, logs.api.error)
    --   "*.error"          - matches one segment before .error (e.g., app.error, db.error)
    --   "#.error"          - matches one or more segments before .error (e.g., app.error, x.y.error)
    --   "app.*.#"          - mixed wildcards (one segment then one or more)
    --   "#"                - catch-all pattern, matches any routing key
    --
    -- Invalid pattern examples:
    --   ".logs.*"          - starts with dot
    --   "logs.*."          - ends with dot
    --   "logs..error"      - consecutive dots
    --   "logs.**"          - consecutive stars
    --   "logs.##"          - consecutive hashes
    --   "logs.*#"          - adjacent wildcards
    --   "logs.error!"      - invalid character

    IF pattern IS NULL OR pattern = '' THEN
        RAISE EXCEPTION 'pattern cannot be NULL or empty';
    END IF;

    IF length(pattern) > 255 THEN
        RAISE EXCEPTION 'pattern length cannot exceed 255 characters, got % characters', length(pattern);
    END IF;

    IF pattern !~ '^[a-zA-Z0-9._\-*#]+$' THEN
        RAISE EXCEPTION 'pattern contains invalid characters. Only alphanumeric, dots, hyphens, underscores, *, and # are allowed. Got: %', pattern;
    END IF;

    IF pattern ~ '^\.' THEN
        RAISE EXCEPTION 'pattern cannot start with a dot. Got: %', pattern;
    END IF;

    IF pattern ~ '\.$' THEN
        RAISE EXCEPTION 'pattern cannot end with a dot. Got: %', pattern;
    END IF;

    IF pattern ~ '\.\.' THEN
        RAISE EXCEPTION 'pattern cannot contain consecutive dots. Got: %', pattern;
    END IF;

    IF pattern ~ '\*\*' THEN
        RAISE EXCEPTION 'pattern cannot contain consecutive stars (**). Use # for multi-segment matching. Got: %', pattern;
    END IF;

    IF pattern ~ '##' THEN
        RAISE EXCEPTION 'pattern cannot contain consecutive hashes (##). A single # already matches zero or more segments. Got: %', pattern;
    END IF;

    IF pattern ~ '\*#' OR pattern ~ '#\*' THEN
        RAISE EXCEPTION 'pattern cannot contain adjacent wildcards (*# or #*). Separate wildcards with dots. Got: %', pattern;
    END IF;

    RETURN true;
END;
$_$;




--
-- Name: queue; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.queue (
    queue_id integer NOT NULL,
    queue_uuid uuid DEFAULT gen_random_uuid() NOT NULL,
    queue_name text NOT NULL,
    transport text DEFAULT 'http'::text NOT NULL,
    url text NOT NULL,
    headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    timeout_ms integer DEFAULT 15000 NOT NULL,
    concurrency integer DEFAULT 50 NOT NULL,
    max_in_flight integer DEFAULT 1000 NOT NULL,
    retry_schedule_s integer[] DEFAULT '{5,300,1800,7200,18000,36000,50400,72000,86400}'::integer[] NOT NULL,
    retry_jitter double precision DEFAULT 0.2 NOT NULL,
    retry_after_max_s integer DEFAULT 86400 NOT NULL,
    reject_after integer DEFAULT 3 NOT NULL,
    max_lost integer DEFAULT 10 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by text DEFAULT SESSION_USER NOT NULL,
    batch integer DEFAULT 200 NOT NULL,
    dedicated boolean DEFAULT false NOT NULL,
    trust_location boolean DEFAULT false NOT NULL,
    retention_s integer,
    rate_per_s double precision,
    concurrency_auto boolean DEFAULT false NOT NULL,
    breaker_after integer DEFAULT 10 NOT NULL,
    breaker_share double precision DEFAULT 0.7 NOT NULL,
    breaker_pause_max_s integer DEFAULT 10 NOT NULL,
    expect_text text,
    expect_json jsonb,
    ordered boolean DEFAULT false NOT NULL,
    order_schedule_s integer[] DEFAULT '{1,5,15,60,300,900}'::integer[] NOT NULL,
    on_dead text DEFAULT 'skip'::text NOT NULL,
    net_secrets boolean DEFAULT false NOT NULL,
    allow_networks cidr[] DEFAULT '{}'::cidr[] NOT NULL,
    CONSTRAINT queue_batch_check CHECK (((batch >= 1) AND (batch <= 10000))),
    CONSTRAINT queue_breaker_after_check CHECK (((breaker_after >= 0) AND (breaker_after <= 10000))),
    CONSTRAINT queue_breaker_pause_check CHECK (((breaker_pause_max_s >= 1) AND (breaker_pause_max_s <= 3600))),
    CONSTRAINT queue_breaker_share_check CHECK (((breaker_share >= (0.05)::double precision) AND (breaker_share <= (1)::double precision))),
    CONSTRAINT queue_concurrency_check CHECK (((concurrency >= 1) AND (concurrency <= 10000))),
    CONSTRAINT queue_expect_text_check CHECK (((length(expect_text) >= 1) AND (length(expect_text) <= 1000))),
    CONSTRAINT queue_headers_check CHECK ((jsonb_typeof(headers) = 'object'::text)),
    CONSTRAINT queue_max_in_flight_check CHECK (((max_in_flight >= 1) AND (max_in_flight <= 100000))),
    CONSTRAINT queue_max_lost_check CHECK ((max_lost >= 0)),
    CONSTRAINT queue_name_check CHECK ((queue_name ~ '^[a-z_][a-z0-9_]{0,46}$'::text)),
    CONSTRAINT queue_on_dead_check CHECK ((on_dead = ANY (ARRAY['skip'::text, 'block'::text]))),
    CONSTRAINT queue_order_schedule_check CHECK (((cardinality(order_schedule_s) <= 100) AND (0 < ALL (order_schedule_s)) AND (2592000 >= ALL (order_schedule_s)) AND (array_position(order_schedule_s, NULL::integer) IS NULL))),
    CONSTRAINT queue_rate_check CHECK (((rate_per_s >= (0.0001)::double precision) AND (rate_per_s <= (100000)::double precision))),
    CONSTRAINT queue_reject_after_check CHECK ((reject_after >= 1)),
    CONSTRAINT queue_retention_check CHECK (((retention_s >= 60) AND (retention_s <= 315360000))),
    CONSTRAINT queue_retry_after_max_check CHECK (((retry_after_max_s >= 0) AND (retry_after_max_s <= 2592000))),
    CONSTRAINT queue_retry_jitter_check CHECK (((retry_jitter >= (0)::double precision) AND (retry_jitter <= (1)::double precision))),
    CONSTRAINT queue_retry_schedule_check CHECK (((cardinality(retry_schedule_s) <= 100) AND (0 < ALL (retry_schedule_s)) AND (2592000 >= ALL (retry_schedule_s)) AND (array_position(retry_schedule_s, NULL::integer) IS NULL))),
    CONSTRAINT queue_timeout_check CHECK (((timeout_ms >= 100) AND (timeout_ms <= 300000))),
    CONSTRAINT queue_transport_check CHECK ((transport = ANY (ARRAY['http'::text, 'pg_net'::text])))
);


--
-- Name: TABLE queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.queue IS 'A pgmq queue and its delivery settings; one endpoint per queue.';


--
-- Name: COLUMN queue.queue_uuid; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.queue_uuid IS 'Part of each webhook-id: a queue created again never repeats an id.';


--
-- Name: COLUMN queue.concurrency; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.concurrency IS 'Simultaneous requests of one qctl worker process.';


--
-- Name: COLUMN queue.max_in_flight; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.max_in_flight IS 'Live leases of all workers together; held by the lock on the gate row.';


--
-- Name: COLUMN queue.retry_schedule_s; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.retry_schedule_s IS 'Wait in seconds after failed attempt 1, 2, …; one attempt more than waits, then dead.';


--
-- Name: COLUMN queue.reject_after; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.reject_after IS 'Attempts answered 400, 413, 415 or 422 before the message is dead.';


--
-- Name: COLUMN queue.max_lost; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.max_lost IS 'Leases that may run out unanswered before the message is dead.';


--
-- Name: COLUMN queue.batch; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.batch IS 'pg_net: messages handed over at once, at most.';


--
-- Name: COLUMN queue.dedicated; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.dedicated IS 'pg_net: a job of its own delivers this queue; the shared ones pass over it.';


--
-- Name: COLUMN queue.trust_location; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.trust_location IS 'pg_net: a 2xx with a Location header is the endpoint''s own answer, not the end of a redirect.';


--
-- Name: COLUMN queue.retention_s; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.retention_s IS 'How long delivered messages are kept; null: for ever.';


--
-- Name: COLUMN queue.rate_per_s; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.rate_per_s IS 'Claims a second of all workers together; null: no limit.';


--
-- Name: COLUMN queue.concurrency_auto; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.concurrency_auto IS 'Each qctl worker finds its concurrency by the endpoint''s latency, up to max_in_flight.';


--
-- Name: COLUMN queue.breaker_after; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.breaker_after IS 'Failures of the endpoint in a row that open the breaker; 0: it never opens.';


--
-- Name: COLUMN queue.breaker_share; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.breaker_share IS 'Or this share of failures among 20 or more answers within 30 s.';


--
-- Name: COLUMN queue.breaker_pause_max_s; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.breaker_pause_max_s IS 'Pauses between probes grow from 1 s to this.';


--
-- Name: COLUMN queue.expect_text; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.expect_text IS 'A 2xx whose body lacks this text is a failure.';


--
-- Name: COLUMN queue.expect_json; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.expect_json IS 'A 2xx whose body is no JSON that contains this is a failure.';


--
-- Name: COLUMN queue.ordered; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.ordered IS 'Messages with an order key go out one at a time per key, by msg_id.';


--
-- Name: COLUMN queue.order_schedule_s; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.order_schedule_s IS 'In place of retry_schedule_s for messages with an order key, for others wait behind them.';


--
-- Name: COLUMN queue.on_dead; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.on_dead IS 'What a dead letter does to the messages of its order key: skip (they go on) or block (they wait until it is replayed or discarded).';


--
-- Name: COLUMN queue.net_secrets; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.net_secrets IS 'pg_net: accepted that every role can read the secret headers in schema net.';


--
-- Name: COLUMN queue.allow_networks; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.queue.allow_networks IS 'Networks that requests may go to although they are not public: loopback, private, link-local …';


--
-- Name: CONSTRAINT queue_batch_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_batch_check ON qctl.queue IS 'a batch is 1 to 10000';


--
-- Name: CONSTRAINT queue_breaker_after_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_breaker_after_check ON qctl.queue IS 'the breaker opens after 1 to 10000 failures, or 0: never';


--
-- Name: CONSTRAINT queue_breaker_pause_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_breaker_pause_check ON qctl.queue IS 'the longest pause of the breaker is 1s to 1h';


--
-- Name: CONSTRAINT queue_breaker_share_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_breaker_share_check ON qctl.queue IS 'the share of failures that opens the breaker is 5% to 100%';


--
-- Name: CONSTRAINT queue_concurrency_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_concurrency_check ON qctl.queue IS 'concurrency is 1 to 10000';


--
-- Name: CONSTRAINT queue_expect_text_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_expect_text_check ON qctl.queue IS 'an expected text has 1 to 1000 characters';


--
-- Name: CONSTRAINT queue_max_in_flight_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_max_in_flight_check ON qctl.queue IS 'max in flight is 1 to 100000';


--
-- Name: CONSTRAINT queue_max_lost_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_max_lost_check ON qctl.queue IS 'max_lost is at least 0';


--
-- Name: CONSTRAINT queue_on_dead_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_on_dead_check ON qctl.queue IS 'on dead: skip or block';


--
-- Name: CONSTRAINT queue_order_schedule_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_order_schedule_check ON qctl.queue IS 'the schedule of ordered messages has at most 100 waits of 1s to 30d';


--
-- Name: CONSTRAINT queue_rate_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_rate_check ON qctl.queue IS 'a rate is 1/h to 100000/s, or none';


--
-- Name: CONSTRAINT queue_reject_after_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_reject_after_check ON qctl.queue IS 'reject_after is at least 1';


--
-- Name: CONSTRAINT queue_retention_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_retention_check ON qctl.queue IS 'retention is 1m to 3650d, or none';


--
-- Name: CONSTRAINT queue_retry_after_max_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_retry_after_max_check ON qctl.queue IS 'retry_after_max_s is 0 to 2592000';


--
-- Name: CONSTRAINT queue_retry_jitter_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_retry_jitter_check ON qctl.queue IS 'retry_jitter is 0 to 1';


--
-- Name: CONSTRAINT queue_retry_schedule_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_retry_schedule_check ON qctl.queue IS 'the retry schedule has at most 100 waits of 1s to 30d';


--
-- Name: CONSTRAINT queue_timeout_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_timeout_check ON qctl.queue IS 'timeout is 100ms to 5m';


--
-- Name: _ailments(qctl.queue, boolean, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ailments(p_queue qctl.queue, p_first boolean, p_workers_seen interval DEFAULT NULL::interval) RETURNS SETOF qctl.ailment
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_there boolean;
begin
  return query select * from qctl._ails_unarmed();
  if found and p_first then return; end if;
  return query select * from qctl._ails_schema();
  if found and p_first then return; end if;
  return query select * from qctl._ails_worker(p_queue, p_workers_seen);
  if found and p_first then return; end if;
  return query select * from qctl._ails_gate(p_queue);
  if found and p_first then return; end if;
  return query
  select 'capture_broken', null::timestamptz, v.object || ': ' || v.problem, v.mend from qctl._verify_attachments(p_queue.queue_id) v;
  if found and p_first then return; end if;
  v_there := not qctl._unseen(to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)))
         and not qctl._unseen(to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)));
  if v_there then
    return query select * from qctl._ails_endpoint(p_queue);
    return query select * from qctl._ails_growing(p_queue);
  end if;
end
$$;


--
-- Name: FUNCTION _ailments(p_queue qctl.queue, p_first boolean, p_workers_seen interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._ailments(p_queue qctl.queue, p_first boolean, p_workers_seen interval) IS 'All that is wrong with a queue, the worst first; or what is found first.';


--
-- Name: _ails_endpoint(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ails_endpoint(p_queue qctl.queue) RETURNS SETOF qctl.ailment
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  c_rate constant double precision := 0.2;
  v_ailment qctl.ailment;
  v_rate double precision := qctl._failure_rate(p_queue);
  v_last record;
  v_from timestamptz;
begin
  select count(*), count(*) filter (where t.outcome = 'delivered') as delivered, min(t.settled_at) as first_at,
         (array_agg(coalesce(t.error, 'HTTP ' || t.status_code, 'no answer') order by t.settled_at desc)
            filter (where t.outcome <> 'delivered'))[1] as error
  into v_last
  from (select t.outcome, t.settled_at, t.error, t.status_code from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '24 h' and t.outcome <> 'late'
        order by t.settled_at desc limit 5) t;
  -- Few messages, and long waits between the attempts at them: no rate would show that nothing gets through.
  -- Answers that were settled together have one time, and no order: one delivery among them is enough.
  if v_last.count >= 3 and v_last.delivered = 0
     and not exists (select from qctl.attempt t
                     where t.queue_id = p_queue.queue_id and t.settled_at >= v_last.first_at and t.outcome = 'delivered')
     and exists (select from qctl.retry r where r.queue_id = p_queue.queue_id and r.attempts > 0) then
    v_ailment.reason := format('the last %s attempts at %s failed: %s', v_last.count, p_queue.url, v_last.error);
  elsif v_rate >= c_rate then
    v_ailment.reason := format('%s %% of the attempts of 10 min at %s failed%s', round(v_rate * 100), p_queue.url, coalesce(': ' || v_last.error, ''));
  else
    return;
  end if;
  v_ailment.health := 'endpoint_failing';
  -- The first failure after the last delivery, or within the time that was looked at.
  v_from := coalesce(case when v_last.delivered = 0 then qctl._last_delivered(p_queue.queue_name) end,
                     statement_timestamp() - case when v_last.delivered = 0 then interval '24 h' else interval '10 min' end);
  select min(f.settled_at) into v_ailment.since
  from (select t.settled_at from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.outcome <> 'delivered' and t.outcome <> 'late'
          and t.settled_at > v_from
        order by t.settled_at limit 1) f;
  v_ailment.mend := format('qctl messages -q %s --retrying --ids | qctl replay -', p_queue.queue_name);
  return next v_ailment;
end
$$;


--
-- Name: _ails_gate(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ails_gate(p_queue qctl.queue) RETURNS SETOF qctl.ailment
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'paused', g.paused_at, 'paused by ' || g.paused_by || coalesce(': ' || g.pause_reason, ''), 'qctl resume -q ' || p_queue.queue_name
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.paused_at is not null and not g.gone
  union all
  select 'gone', g.paused_at, 'the endpoint answered 410 Gone: it is there no more',
         format('qctl set -q %s --url NEW_URL && qctl resume -q %s', p_queue.queue_name, p_queue.queue_name)
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.paused_at is not null and g.gone
  union all
  select 'gone', null, v.problem, v.mend from qctl._verify_tables(p_queue.queue_name) v
  union all
  select 'secret_missing', null, format('nothing is sent: there is no %s', qctl._missing_secrets(p_queue.headers)),
         qctl._secret_hint(qctl._missing_secrets(p_queue.headers))
  where p_queue.headers::text ~ '"(secret|vault):' and qctl._missing_secrets(p_queue.headers) is not null
  union all
  select 'circuit_open', g.opened_at,
         format('%s; %s', g.open_reason, case
           when g.probe_lease is not null and g.probe_ends > clock_timestamp() then 'a probe is under way'
           when g.probe_at > clock_timestamp() then format('the next probe is at %s UTC', to_char(g.probe_at at time zone 'UTC', 'HH24:MI:SS'))
           else 'the next message is a probe' end),
         'qctl resume -q ' || p_queue.queue_name
  from qctl.gate g where g.queue_id = p_queue.queue_id and g.opened_at is not null
  union all
  select 'circuit_open', qctl._last_delivered(p_queue.queue_name),
         format('every request to %s ran into its timeout; one is tried after %s UTC', p_queue.url,
                to_char(g.net_hold_until at time zone 'UTC', 'HH24:MI:SS')),
         'qctl resume -q ' || p_queue.queue_name
  from qctl.gate g
  where g.queue_id = p_queue.queue_id and g.net_hold_until is not null and g.opened_at is null and p_queue.transport = 'pg_net'
    and to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)) is not null
$$;


--
-- Name: _ails_growing(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ails_growing(p_queue qctl.queue) RETURNS SETOF qctl.ailment
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  c_lag_s constant double precision := 60;
  c_drain_s constant double precision := 3600;
  c_dead_rows constant bigint := 50000;
  v_ailment qctl.ailment;
  v_lag_s double precision;
  v_growth record;
  v_capacity record;
  v_dead_rows bigint;
  v_old record;
begin
  v_ailment.health := 'growing';
  v_lag_s := (select l.lag_s from qctl.lag(p_queue.queue_name) l);
  if v_lag_s > c_lag_s then
    select * into v_growth from qctl.growth(p_queue.queue_name);
    if coalesce(v_growth.per_s, 0) >= 0 or v_growth.drain_s > c_drain_s then
      select * into v_capacity from qctl.capacity(p_queue.queue_name);
      v_ailment.since := clock_timestamp() - make_interval(secs => v_lag_s);
      v_ailment.reason := format('ready messages wait %s s, and it %s; it is held to %s a second by %s', round(v_lag_s),
        case when v_growth.drain_s is null then 'does not drain' else format('is empty only in %s', make_interval(secs => round(v_growth.drain_s))) end,
        round(v_capacity.ceiling_per_s::numeric, 1), v_capacity.limited_by);
      v_ailment.mend := case
        when v_capacity.limited_by like 'its rate%' then format('qctl set -q %s --rate none', p_queue.queue_name)
        when v_capacity.limited_by like 'max_in_flight%' then format('qctl scale -q %s --max-in-flight %s', p_queue.queue_name, least(p_queue.max_in_flight * 4, 100000))
        when p_queue.transport = 'http' then format('qctl scale -q %s --concurrency %s', p_queue.queue_name, least(p_queue.concurrency * 4, 10000))
        when v_capacity.limited_by like 'pg_net.batch_size%' then format('qctl set -q %s --transport http && qctl worker -q %s', p_queue.queue_name, p_queue.queue_name)
        else format('qctl scale -q %s --batch %s', p_queue.queue_name, least(p_queue.batch * 2, 10000)) end;
      return next v_ailment;
      return;
    end if;
  end if;
  v_dead_rows := (select sum(pg_stat_get_dead_tuples(t.oid))
                  from (values (to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name))::oid)) as t (oid));
  if v_dead_rows > c_dead_rows then
    select * into v_old from qctl._oldest_transaction();
    if v_old.since < clock_timestamp() - coalesce(qctl._setting('qctl.old_transaction')::interval, '15 min') then
      v_ailment.since := v_old.since;
      v_ailment.reason := format('%s dead rows in its table, which vacuum may not remove while pid %s (role %s, %s) keeps its transaction open',
                                 v_dead_rows, v_old.pid, v_old.role_name, v_old.state);
      v_ailment.mend := format('select pg_terminate_backend(%s);', v_old.pid);
      return next v_ailment;
    end if;
  end if;
end
$$;


--
-- Name: FUNCTION _ails_growing(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._ails_growing(p_queue qctl.queue) IS 'Messages become ready faster than they are sent, or dead rows pile up behind a transaction that is older than 15 minutes (setting qctl.old_transaction). A long queue that drains within the hour is well.';


--
-- Name: _ails_schema(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ails_schema() RETURNS SETOF qctl.ailment
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'schema_outdated', min(w.started_at),
         format('a worker of version %s runs, the schema is of %s', max(w.qctl_version), qctl._version()), 'qctl upgrade'
  from qctl.worker w
  where qctl._is_live(w) and qctl._version_number(w.qctl_version) > qctl._version_number(qctl._version())
  having count(*) > 0
$$;


--
-- Name: _ails_unarmed(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ails_unarmed() RETURNS SETOF qctl.ailment
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'unarmed',
         case when a.database_oid = 0 then (select u.at from qctl.audit u where u.verb in ('arm', 'disarm') order by u.at desc limit 1) end,
         case when a.database_oid = 0 then 'it was disarmed, so nothing is sent' else 'this database is a copy of the one that was armed, so nothing is sent' end,
         'qctl arm'
  from qctl.arming a where not qctl.is_armed()
$$;


--
-- Name: _ails_worker(qctl.queue, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._ails_worker(p_queue qctl.queue, p_within interval DEFAULT NULL::interval) RETURNS SETOF qctl.ailment
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_ailment qctl.ailment;
  v_jobs integer := (select count(*) from qctl._wanted_jobs() w where w.command <> 'call qctl.maintenance()');
  v_job record;
begin
  v_ailment.health := 'no_worker';
  if p_queue.transport = 'pg_net' then
    if qctl._net_relation('http_request_queue') is null then
      v_ailment.reason := 'pg_net is not in this database any more';
      v_ailment.mend := format('qctl set -q %s --transport http && qctl worker -q %s', p_queue.queue_name, p_queue.queue_name);
      return next v_ailment;
      return;
    end if;
    select s.net_held_since, s.net_held_reason into v_ailment.since, v_ailment.reason
    from qctl.scheduler s where s.net_held_since is not null;
    if found then
      v_ailment.mend := 'select net.worker_restart();';
      return next v_ailment;
      return;
    end if;
  end if;
  if exists (select from qctl.worker w where p_queue.queue_name = any (w.queues) and w.transport = p_queue.transport
             and qctl._is_live(w, p_within)) then
    return;
  end if;
  select coalesce(max(w.last_seen_at), p_queue.created_at) into v_ailment.since from qctl.worker w
  where p_queue.queue_name = any (w.queues) and w.transport = p_queue.transport;
  if p_queue.transport = 'http' then
    v_ailment.reason := 'no qctl worker process serves it';
    v_ailment.mend := 'qctl worker -q ' || p_queue.queue_name;
  else
    v_ailment.mend := format('qctl scale --workers %s', greatest(1, (select s.workers from qctl.scheduler s)));
    select j.job_name, j.active, j.command, r.status, r.message into v_job
    from qctl.jobs() j left join lateral qctl._last_run(j.job_id) r on true
    where j.command ~ '^call qctl\.work' or j.job_name ~ '^qctl-worker'
    order by j.active, r.status limit 1;
    if v_job.active and v_job.status is distinct from 'failed' and v_ailment.since > clock_timestamp() - interval '90 s' then
      return;
    end if;
    v_ailment.reason := case
      when (select s.workers from qctl.scheduler s) < 1 then 'workers are set to 0'
      when not qctl._cron_here() then 'pg_cron is not to be seen here'
      when v_job.job_name is null then 'no job of pg_cron delivers'
      when not v_job.active then format('job %s is switched off', v_job.job_name)
      when v_job.status = 'failed' then format('job %s fails: %s', v_job.job_name, left(btrim(v_job.message), 200))
      when v_jobs >= qctl._cron_slots() then format('%s jobs are more than the %s that pg_cron runs at once', v_jobs, qctl._cron_slots())
      else format('job %s has not been seen at work', v_job.job_name) end;
  end if;
  return next v_ailment;
end
$$;


--
-- Name: FUNCTION _ails_worker(p_queue qctl.queue, p_within interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._ails_worker(p_queue qctl.queue, p_within interval) IS 'Nobody delivers: known from qctl.worker, so that it is right for a role that sees no jobs; they only give the reason.';


--
-- Name: _answers(integer[], interval, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._answers(p_queue_ids integer[], p_margin interval DEFAULT '00:00:10'::interval, p_lapsed boolean DEFAULT false) RETURNS TABLE(queue_id integer, lease uuid[], msg_id bigint[], status integer[], error text[], response bytea[], retry_after_s integer[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_nestloop TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
#variable_conflict use_column
declare
  c_most constant integer := 1000;
  v_now timestamptz := clock_timestamp();
  v_epoch uuid;
begin
  if p_queue_ids is null or not qctl._net_readable() then
    return;
  end if;
  v_epoch := qctl._net_epoch();
  if v_epoch is null then
    return;
  end if;
  return query
  with sent as materialized (
    select f.queue_id, f.msg_id, f.lease, f.request_id, f.claimed_at, q.trust_location,
           case when q.expect_text is null and q.expect_json is null then 4096 else 65536 end as kept
    from qctl.in_flight f join qctl.queue q on q.queue_id = f.queue_id
    where f.epoch = v_epoch and f.request_id is not null and f.queue_id = any (p_queue_ids)
      and case when p_lapsed then f.lapsed_at > v_now - interval '10 min' else f.lapsed_at is null end
  ), answered as materialized (
    select s.queue_id, s.msg_id, s.lease, case when not redirected.it then r.status_code end as status_code,
           case when redirected.it then 'redirected to ' || qctl._header(r.headers, 'location') || ', and the POST became a GET: set the URL it leads to'
                else coalesce(r.error_msg, case when r.timed_out then 'timeout' end) end as error,
           r.content, r.headers, s.kept
    from net._http_response r join sent s on s.request_id = r.id and r.created >= s.claimed_at - p_margin
    -- pg_net follows a redirect and reports the status of its end with the headers of its begin. 201 and 202 have a
    -- Location of their own.
    cross join lateral (
      select r.status_code between 200 and 299 and r.status_code not in (201, 202) and not s.trust_location
             and qctl._header(r.headers, 'location') is not null as it) redirected
    where r.created >= greatest((select min(o.claimed_at) from sent o) - p_margin, (select e.began_at from qctl.net_epoch e))
    limit c_most
  )
  select a.queue_id, array_agg(a.lease), array_agg(a.msg_id), array_agg(a.status_code),
         array_agg(case when a.status_code is null then coalesce(a.error, 'no answer') end),
         array_agg(qctl._octets(a.content, a.kept)), array_agg(qctl._retry_after_s(a.headers, v_now))
  from answered a group by a.queue_id;
exception when others then
  perform qctl._audit_rarely('collect_failed', null, sqlstate, sqlerrm);
end
$$;


--
-- Name: FUNCTION _answers(p_queue_ids integer[], p_margin interval, p_lapsed boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._answers(p_queue_ids integer[], p_margin interval, p_lapsed boolean) IS 'pg_net''s answers to attempts of these queues, a row per queue: to live ones, or to those that lapsed within 10 minutes. p_margin: how long before the claim the batch of an answer may have begun, for pg_net dates answers by the begin of their batch.';


--
-- Name: _apply_grants(name, text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._apply_grants(p_role name, p_level text, p_payloads boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_item record;
begin
  execute format('grant usage on schema qctl to %I', p_role);
  for v_item in select t as name from qctl._readable_tables() t loop
    execute format('grant select (%s) on %s to %I', qctl._readable_columns(v_item.name), v_item.name, p_role);
  end loop;
  for v_item in select r as name from qctl._level_routines(p_level, p_payloads) r loop
    execute format('grant execute on routine %s to %I', v_item.name, p_role);
  end loop;
end
$$;


--
-- Name: _apply_settings(text, jsonb, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._apply_settings(p_queue text, p_settings jsonb, p_url_is_new boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_unknown text;
  v_constraint text;
  v_transport text;
begin
  select string_agg(k, ', ') into v_unknown from jsonb_object_keys(p_settings) as k
  where k not in ('timeout_ms', 'concurrency', 'concurrency_auto', 'max_in_flight', 'retry_schedule_s', 'retry_jitter',
                  'retry_after_max_s', 'reject_after', 'max_lost', 'transport', 'batch', 'dedicated', 'trust_location', 'retention_s',
                  'rate_per_s', 'breaker_after', 'breaker_share', 'breaker_pause_max_s', 'expect_text', 'expect_json', 'ordered',
                  'order_schedule_s', 'on_dead', 'net_secrets', 'allow_networks');
  if v_unknown is not null then
    raise exception 'no such setting: %', v_unknown using errcode = 'QC002';
  end if;
  if p_settings ? 'transport' then
    select c.transport into v_transport from qctl.choose_transport(p_settings ->> 'transport') c;
  end if;
  begin
    update qctl.queue q set
      timeout_ms        = coalesce((p_settings ->> 'timeout_ms')::integer, q.timeout_ms),
      concurrency       = coalesce((p_settings ->> 'concurrency')::integer, q.concurrency),
      max_in_flight     = coalesce((p_settings ->> 'max_in_flight')::integer, q.max_in_flight),
      retry_schedule_s  = case when p_settings ? 'retry_schedule_s'
                               then array(select e::integer from jsonb_array_elements_text(p_settings -> 'retry_schedule_s') as e)
                               else q.retry_schedule_s end,
      retry_jitter      = coalesce((p_settings ->> 'retry_jitter')::double precision, q.retry_jitter),
      retry_after_max_s = coalesce((p_settings ->> 'retry_after_max_s')::integer, q.retry_after_max_s),
      reject_after      = coalesce((p_settings ->> 'reject_after')::integer, q.reject_after),
      max_lost          = coalesce((p_settings ->> 'max_lost')::integer, q.max_lost),
      transport         = coalesce(v_transport, q.transport),
      batch             = coalesce((p_settings ->> 'batch')::integer, q.batch),
      dedicated         = coalesce((p_settings ->> 'dedicated')::boolean, q.dedicated),
      trust_location    = coalesce((p_settings ->> 'trust_location')::boolean, q.trust_location),
      retention_s       = case when p_settings ? 'retention_s' then (p_settings ->> 'retention_s')::integer else q.retention_s end,
      -- A number of one's own ends the search for it.
      concurrency_auto  = coalesce((p_settings ->> 'concurrency_auto')::boolean, q.concurrency_auto and not p_settings ? 'concurrency'),
      rate_per_s        = case when p_settings ? 'rate_per_s' then (p_settings ->> 'rate_per_s')::double precision else q.rate_per_s end,
      breaker_after     = coalesce((p_settings ->> 'breaker_after')::integer, q.breaker_after),
      breaker_share     = coalesce((p_settings ->> 'breaker_share')::double precision, q.breaker_share),
      breaker_pause_max_s = coalesce((p_settings ->> 'breaker_pause_max_s')::integer, q.breaker_pause_max_s),
      expect_text       = case when p_settings ? 'expect_text' then p_settings ->> 'expect_text'
                               when p_settings ? 'expect_json' then null else q.expect_text end,
      expect_json       = case when p_settings ? 'expect_json' then nullif(p_settings -> 'expect_json', 'null')
                               when p_settings ? 'expect_text' then null else q.expect_json end,
      ordered           = coalesce((p_settings ->> 'ordered')::boolean, q.ordered),
      order_schedule_s  = case when p_settings ? 'order_schedule_s'
                               then array(select e::integer from jsonb_array_elements_text(p_settings -> 'order_schedule_s') as e)
                               else q.order_schedule_s end,
      on_dead           = coalesce(p_settings ->> 'on_dead', q.on_dead),
      net_secrets       = coalesce((p_settings ->> 'net_secrets')::boolean, q.net_secrets),
      allow_networks    = case when p_settings ? 'allow_networks'
                               then array(select e::cidr from jsonb_array_elements_text(p_settings -> 'allow_networks') as e)
                               else q.allow_networks end
    where q.queue_name = p_queue;
  exception
    when check_violation then
      get stacked diagnostics v_constraint = constraint_name;
      raise exception 'a setting is out of range: %', coalesce(
          (select obj_description(oid, 'pg_constraint') from pg_constraint
           where conname = v_constraint and conrelid = 'qctl.queue'::regclass), v_constraint)
        using errcode = 'QC002';
    when data_exception then
      raise exception 'a setting is out of range or no number: %', sqlerrm using errcode = 'QC002';
  end;
  perform qctl._check_address(q) from qctl.queue q where q.queue_name = p_queue and (p_settings ?| array['allow_networks', 'transport'] or p_url_is_new);
  perform qctl._check_net_url(q.url), qctl._check_net_headers(q)
  from qctl.queue q where q.queue_name = p_queue and q.transport = 'pg_net';
  if p_settings ? 'ordered' then
    if not (p_settings ->> 'ordered')::boolean and exists (select from qctl.attachment a join qctl.queue q using (queue_id)
                                                           where q.queue_name = p_queue and a.order_by is not null) then
      raise exception 'a table is attached to % with --order-by', p_queue
        using errcode = 'QC007', hint = 'detach it, or attach it anew without: qctl describe ' || p_queue;
    end if;
    perform qctl._order_index(q, q.ordered) from qctl.queue q where q.queue_name = p_queue;
  end if;
  if (p_settings ->> 'breaker_after')::integer = 0 then
    perform qctl._close_breaker(q, 'switched off') from qctl.queue q where q.queue_name = p_queue;
  end if;
end
$$;


--
-- Name: _archive_dead(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._archive_dead(p_queue qctl.queue) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_count bigint;
  v_last bigint := 0;
begin
  if to_regclass(format('pgmq.%I', 'a_' || p_queue.queue_name)) is null then
    if exists (select from qctl.dead_letter d where d.queue_id = p_queue.queue_id) then
      raise exception 'queue % has dead letters, and no archive that could keep them', p_queue.queue_name
        using errcode = 'QC007', hint = format('to give them up: qctl drop %s --with-archive', p_queue.queue_name);
    end if;
    return 0;
  end if;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is not null then
    execute format('select coalesce(max(msg_id), 0) from pgmq.%I', 'q_' || p_queue.queue_name) into v_last;
  end if;
  execute format($q$
    with dead as (
      delete from qctl.dead_letter d where d.queue_id = $1 returning d.*
    ), ranked as (
      select d.*, row_number() over (partition by d.msg_id order by d.enqueued_at desc) > 1
                  or exists (select from pgmq.%1$I a where a.msg_id = d.msg_id) as taken
      from dead d
    ), numbered as (
      -- A number that was handed out twice: the other one keeps it, this one gets a new one and remembers.
      select r.*, case when r.taken then (select coalesce(max(a.msg_id), 0) from pgmq.%1$I a)
                                         + (select max(m.msg_id) from dead m) + $2 + row_number() over (partition by r.taken)
                       else r.msg_id end as number
      from ranked r
    ), archived as (
      insert into pgmq.%1$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
      select d.number, d.read_ct, d.enqueued_at, d.died_at, d.died_at, d.message,
             case when jsonb_typeof(d.headers) = 'object' then d.headers else '{}' end
             || jsonb_build_object('qctl', jsonb_strip_nulls(jsonb_build_object(
                  'outcome', 'dead', 'reason', d.reason, 'note', d.note, 'status', d.status_code, 'error', d.error,
                  'attempts', d.attempts, 'delivery_no', d.delivery_no, 'webhook_id', d.webhook_id,
                  'msg_id', case when d.taken then d.msg_id end)))
      from numbered d
      returning 1
    )
    select count(*) from archived
  $q$, 'a_' || p_queue.queue_name) into v_count using p_queue.queue_id, v_last;
  return v_count;
end
$_$;


--
-- Name: FUNCTION _archive_dead(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._archive_dead(p_queue qctl.queue) IS 'Moves a queue''s dead letters to its archive, where they outlive the queue; returns how many.';


--
-- Name: audit; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.audit (
    audit_id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text DEFAULT SESSION_USER NOT NULL,
    application text DEFAULT current_setting('application_name'::text) NOT NULL,
    verb text NOT NULL,
    queue_name text,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
);


--
-- Name: TABLE audit; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.audit IS 'Who changed what, when. Never a payload, never a secret.';


--
-- Name: _audit(text, text, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._audit(p_verb text, p_queue_name text, p_detail jsonb DEFAULT '{}'::jsonb) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 INSERT INTO qctl.audit (verb, queue_name, detail)
   VALUES (_audit.p_verb, _audit.p_queue_name, jsonb_strip_nulls(COALESCE(_audit.p_detail, '{}'::jsonb)));
END;


--
-- Name: _audit_rarely(text, text, text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._audit_rarely(p_verb text, p_queue_name text, p_sqlstate text, p_error text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_since timestamptz := clock_timestamp() - interval '1 min';
begin
  if not exists (select from qctl.audit a
                 where a.at > v_since and a.verb = p_verb
                   and a.queue_name is not distinct from p_queue_name and a.detail ->> 'sqlstate' = p_sqlstate) then
    perform qctl._audit(p_verb, p_queue_name, jsonb_build_object('sqlstate', p_sqlstate, 'error', left(p_error, 500)));
  end if;
end
$$;


--
-- Name: FUNCTION _audit_rarely(p_verb text, p_queue_name text, p_sqlstate text, p_error text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._audit_rarely(p_verb text, p_queue_name text, p_sqlstate text, p_error text) IS 'Records a failure of something that is tried again and again, once a minute.';


--
-- Name: _backoff_s(integer[], integer, double precision); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._backoff_s(p_schedule_s integer[], p_failures integer, p_jitter double precision) RETURNS double precision
    LANGUAGE sql PARALLEL SAFE
    RETURN ((COALESCE((p_schedule_s)[LEAST(p_failures, cardinality(p_schedule_s))], 0))::double precision * ((1)::double precision + (p_jitter * (((2)::double precision * random()) - (1)::double precision))));


--
-- Name: FUNCTION _backoff_s(p_schedule_s integer[], p_failures integer, p_jitter double precision); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._backoff_s(p_schedule_s integer[], p_failures integer, p_jitter double precision) IS 'Seconds to wait after that many failures: the schedule''s step, spread evenly by plus or minus the jitter.';


--
-- Name: _before(timestamp with time zone, qctl.purge_place); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._before(p_deadline timestamp with time zone, p_place qctl.purge_place) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p_place.after is not null and clock_timestamp() < p_deadline
$$;


--
-- Name: _breaker_pause(integer, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._breaker_pause(p_pauses integer, p_most_s integer) RETURNS interval
    LANGUAGE sql PARALLEL SAFE
    RETURN make_interval(secs => (LEAST((p_most_s)::double precision, ((2)::double precision ^ (LEAST(p_pauses, 12))::double precision)) * ((0.9)::double precision + ((0.2)::double precision * random()))));


--
-- Name: FUNCTION _breaker_pause(p_pauses integer, p_most_s integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._breaker_pause(p_pauses integer, p_most_s integer) IS 'How long to wait after that many probes failed: 1 s, 2 s, 4 s … up to the most.';


--
-- Name: _by_row(regclass, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._by_row(p_relation regclass, p_replicated boolean) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p_replicated or c.relkind = 'p' or exists (select from pg_inherits i where i.inhparent = p_relation)
  from pg_class c where c.oid = p_relation
$$;


--
-- Name: attachment; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.attachment (
    attachment_id integer NOT NULL,
    queue_id integer NOT NULL,
    relation regclass NOT NULL,
    operations text[] NOT NULL,
    when_sql text,
    columns text[],
    payload text DEFAULT 'qctl'::text NOT NULL,
    unchanged boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by text DEFAULT SESSION_USER NOT NULL,
    level text DEFAULT 'statement'::text NOT NULL,
    replicated boolean DEFAULT false NOT NULL,
    as_me boolean DEFAULT false NOT NULL,
    on_error text DEFAULT 'fail'::text NOT NULL,
    max_bytes integer DEFAULT 524288 NOT NULL,
    order_by text,
    CONSTRAINT attachment_level_check CHECK ((level = ANY (ARRAY['statement'::text, 'row'::text]))),
    CONSTRAINT attachment_max_bytes_check CHECK (((max_bytes >= 1024) AND (max_bytes <= 1048576))),
    CONSTRAINT attachment_on_error_check CHECK ((on_error = ANY (ARRAY['fail'::text, 'skip'::text]))),
    CONSTRAINT attachment_payload_check CHECK ((payload = ANY (ARRAY['qctl'::text, 'supabase'::text])))
);


--
-- Name: TABLE attachment; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.attachment IS 'A table whose changes are captured into a queue.';


--
-- Name: COLUMN attachment.when_sql; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.when_sql IS 'Condition over new and old; null captures all.';


--
-- Name: COLUMN attachment.columns; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.columns IS 'An UPDATE counts only if one of these changed; null: any column.';


--
-- Name: COLUMN attachment.unchanged; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.unchanged IS 'Capture updates that change nothing, too.';


--
-- Name: COLUMN attachment.level; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.level IS 'statement: one insert for all rows of a statement. row: for partitioned, inherited and replicated tables.';


--
-- Name: COLUMN attachment.replicated; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.replicated IS 'Capture also what replication applies, and writes with session_replication_role = replica.';


--
-- Name: COLUMN attachment.as_me; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.as_me IS 'The capture runs as who attached, not as the table''s owner, and that was accepted.';


--
-- Name: COLUMN attachment.on_error; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.on_error IS 'What an error in the capture does: fail the statement, so that no event is lost, or skip the event.';


--
-- Name: COLUMN attachment.max_bytes; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.max_bytes IS 'A row that takes more, compressed, is captured by its primary key. Half a MiB compressed is what jsonb takes in any case.';


--
-- Name: COLUMN attachment.order_by; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attachment.order_by IS 'The column whose value is the order key of the captured messages.';


--
-- Name: _capture_body(qctl.attachment, text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._capture_body(p_attachment qctl.attachment, p_queue_name text, p_operation text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_schema text;
  v_table text;
  v_json boolean := qctl._holds_json(p_attachment.relation);
  v_by_row boolean := p_attachment.level = 'row';
  v_new_row text;
  v_old_row text;
  v_new text := 'null::jsonb';
  v_old text := 'null::jsonb';
  v_cut text;
  v_message text;
  v_from text;
  v_where text := '';
  v_insert text;
  v_order_key text;
begin
  select n.nspname, c.relname into v_schema, v_table
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_attachment.relation;
  if p_operation in ('INSERT', 'UPDATE') then
    v_new_row := case when v_by_row then 'new' when p_operation = 'INSERT' then 'new.*' else 'n.new' end;
    v_new := qctl._row_expression(v_new_row, v_json, p_attachment.max_bytes, p_attachment.attachment_id);
  end if;
  if p_operation in ('UPDATE', 'DELETE') then
    v_old_row := case when v_by_row then 'old' when p_operation = 'DELETE' then 'old.*' else 'o.old' end;
    v_old := qctl._row_expression(v_old_row, v_json, p_attachment.max_bytes, p_attachment.attachment_id);
  end if;
  -- PostgreSQL fills both transition tables in one order, so old and new of one row stand at the same place. The odd
  -- names are none that a column has, for a column would be taken before the row.
  v_from := case
    when p_operation = 'TRUNCATE' or v_by_row then '(values (1)) as once'
    when p_operation = 'INSERT' then 'new_rows as new'
    when p_operation = 'DELETE' then 'old_rows as old'
    else '(select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n'
         ' join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)'
         || case when p_attachment.when_sql is null then ''
                 else ' cross join lateral (select (n.new).*) as new cross join lateral (select (o.old).*) as old' end
  end;
  if p_operation <> 'TRUNCATE' then
    -- Computed once: a row that cannot be had whole is captured by its key.
    v_from := v_from || format(' cross join lateral (select %s as after, %s as before offset 0) as changed', v_new, v_old);
    v_cut := concat_ws(' or ', case when v_new_row is not null then 'changed.after is null' end,
                               case when v_old_row is not null then 'changed.before is null' end);
    v_new := case when v_new_row is null then 'null::jsonb' else format('coalesce(changed.after, case when v_owned then qctl.%I(%s) else ''{}'' end)',
      qctl._capture_function(p_attachment.attachment_id, 'key'), v_new_row) end;
    v_old := case when v_old_row is null then 'null::jsonb' else format('coalesce(changed.before, case when v_owned then qctl.%I(%s) else ''{}'' end)',
      qctl._capture_function(p_attachment.attachment_id, 'key'), v_old_row) end;
  end if;
  if p_operation = 'UPDATE' then
    if p_attachment.columns is not null then
      -- By name in the json, so that a column that is renamed later captures more instead of failing the statement.
      v_where := format(' and (changed.after is null or changed.before is null or %s)', (select string_agg(format(
        'not changed.after ? %1$L or changed.after -> %1$L is distinct from changed.before -> %1$L', c), ' or ' order by o)
        from unnest(p_attachment.columns) with ordinality as u (c, o)));
    elsif not p_attachment.unchanged then
      v_where := format(' and %s operator(pg_catalog.*<>) %s', v_new_row, v_old_row);
    end if;
  end if;
  if p_attachment.when_sql is not null and p_operation <> 'TRUNCATE' then
    v_where := v_where || format(E' and case when v_owned then (%s\n) else true end', p_attachment.when_sql);
  end if;

  v_message := case p_attachment.payload
    when 'supabase' then format('jsonb_build_object(''type'', %L, ''table'', %L, ''schema'', %L, ''record'', %s, ''old_record'', %s)',
                                p_operation, v_table, v_schema, v_new, v_old)
    else format('jsonb_build_object(''record'', %s, ''old_record'', %s, ''operation'', %L, ''table'', %L, ''schema'', %L)',
                v_new, v_old, p_operation, v_table, v_schema)
  end || case when v_cut is null then '' else format(' || case when %s then ''{"truncated": true}''::jsonb else ''{}''::jsonb end', v_cut) end;
  if p_attachment.order_by is not null and p_operation <> 'TRUNCATE' then
    v_order_key := format('left(coalesce(changed.%1$I ->> %2$L, case when changed.%1$I is null and v_owned then qctl.%3$I(%4$s) end), 200)',
      case p_operation when 'DELETE' then 'before' else 'after' end, p_attachment.order_by,
      qctl._capture_function(p_attachment.attachment_id, 'order'), coalesce(v_new_row, v_old_row));
  end if;
  v_insert := format($insert$insert into pgmq.%I (vt, message%6$s)
  select clock_timestamp(), %2$s%7$s
  from %3$s
  where true%4$s;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, %5$s) then
    perform pg_notify('qctl', '%5$s');
  end if;$insert$, 'q_' || p_queue_name, v_message, v_from, v_where, p_attachment.queue_id, case when v_order_key is not null then ', headers' end,
    case when v_order_key is not null then format(', case when %1$s is not null then jsonb_build_object(''x-pgmq-group'', %1$s) end', v_order_key) end);
  if p_attachment.on_error = 'skip' then
    v_insert := format($skip$begin
  %s
  exception when others then
    begin
      perform qctl._capture_failed(%s, sqlstate, sqlerrm);
    exception when others then
      raise warning 'qctl: an event was not captured, SQLSTATE %%', sqlstate;
    end;
  end;$skip$, v_insert, p_attachment.attachment_id);
  end if;
  return format($body$
#variable_conflict use_column
declare
  -- After ALTER TABLE … OWNER the new owner's types must not run as the old one: keys and conditions are left out until
  -- the table is attached again. Asked of the table that fired, for in a restored database it has another oid.
  v_owned boolean := %s;
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  %s
  return null;
end
$body$, case when p_attachment.as_me then 'true'
             else '(select pg_get_userbyid(c.relowner) = current_user from pg_class c where c.oid = coalesce(pg_partition_root(tg_relid), tg_relid))' end,
  v_insert);
end
$_$;


--
-- Name: _capture_failed(integer, text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._capture_failed(p_attachment_id integer, p_sqlstate text, p_error text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  -- Writers never wait for one another here; who does not get the lock is not counted.
  if p_sqlstate !~ '^[0-9A-Z]{5}$' or not exists (select from qctl.attachment a where a.attachment_id = p_attachment_id and a.on_error = 'skip')
     or not pg_try_advisory_xact_lock(1902343281, p_attachment_id) then
    return;
  end if;
  insert into qctl.capture_error as e (attachment_id, minute, sqlstate, error, statements)
  values (p_attachment_id, date_trunc('minute', clock_timestamp()), p_sqlstate,
          -- Only errors that name objects, never those that may quote a value.
          case when left(p_sqlstate, 2) in ('42', '3F', '53', '55', '57') then left(p_error, 300) end, 1)
  on conflict (attachment_id, minute, sqlstate) do update set statements = e.statements + 1;
end
$_$;


--
-- Name: FUNCTION _capture_failed(p_attachment_id integer, p_sqlstate text, p_error text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._capture_failed(p_attachment_id integer, p_sqlstate text, p_error text) IS 'Records a skipped event. SECURITY DEFINER, for capture runs as the table''s owner, who has no right on the pipeline.';


--
-- Name: _capture_function(integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._capture_function(p_attachment_id integer, p_operation text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN format('capture_%s_%s'::text, p_attachment_id, lower(p_operation));


--
-- Name: _capture_functions(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._capture_functions(p_attachment_id integer) RETURNS SETOF regprocedure
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and p.proname ~ format('^capture_%s_', p_attachment_id) order by p.proname
$$;


--
-- Name: _capture_trigger(integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._capture_trigger(p_attachment_id integer, p_operation text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN format('qctl_capture_%s_%s'::text, p_attachment_id, lower(p_operation));


--
-- Name: _captured_from(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._captured_from(p_message jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  -- Names come from the catalog and verbs from the list: whoever sends may write anything there, and it is part of the payload.
  select format('captured from %s on %s', v.verb, c.oid::regclass)
  from unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) as v (verb), pg_namespace n join pg_class c on c.relnamespace = n.oid
  where jsonb_typeof(p_message) = 'object' and v.verb in (p_message ->> 'operation', p_message ->> 'type')
    and n.nspname = p_message ->> 'schema' and c.relname = p_message ->> 'table'
  limit 1
$$;


--
-- Name: _captured_relations(regclass); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._captured_relations(p_relation regclass) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive tree as (
    select p_relation::oid as id
    union
    select i.inhrelid from tree t join pg_inherits i on i.inhparent = t.id join pg_class c on c.oid = i.inhrelid and not c.relispartition
  )
  select t.id::regclass from tree t join pg_class c on c.oid = t.id order by t.id
$$;


--
-- Name: FUNCTION _captured_relations(p_relation regclass); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._captured_relations(p_relation regclass) IS 'The tables that carry the triggers: the table itself and what inherits from it. Partitions get their parent''s from PostgreSQL.';


--
-- Name: _changed(text, bigint[], text[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._changed(p_queue text, p_msg_ids bigint[], p_seen_states text[], p_seen_delivery_nos integer[]) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(array_agg(w.id), '{}')
  from unnest(p_msg_ids, p_seen_states, p_seen_delivery_nos) as w (id, state, delivery_no)
  left join qctl.message_states(p_queue, p_msg_ids) n on n.msg_id = w.id
  where w.state is not null
    and (n.msg_id is null or n.delivery_no <> w.delivery_no
         or (n.state in ('delivered', 'dead', 'archived')) <> (w.state in ('delivered', 'dead', 'archived')))
$$;


--
-- Name: FUNCTION _changed(p_queue text, p_msg_ids bigint[], p_seen_states text[], p_seen_delivery_nos integer[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._changed(p_queue text, p_msg_ids bigint[], p_seen_states text[], p_seen_delivery_nos integer[]) IS 'Those that are no longer as somebody saw them: finished meanwhile, replayed meanwhile, or gone.';


--
-- Name: _check_address(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_address(p_queue qctl.queue) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_host text := qctl._forbidden_host(p_queue);
begin
  if v_host is null then
    return;
  elsif p_queue.transport = 'pg_net' then
    raise exception '% is no public address, and on pg_net nothing else keeps requests out of your networks', v_host
      using errcode = 'QC007', hint = '--allow-private, if that is where they shall go; or --allow-network 10.0.0.0/8';
  end if;
  raise warning '% is no public address: qctl worker sends nothing there', v_host
    using hint = format('qctl set -q %s --allow-private, or --allow-network 10.0.0.0/8', p_queue.queue_name);
end
$$;


--
-- Name: _check_headers(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_headers(p_headers jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_name text;
begin
  if jsonb_typeof(p_headers) is distinct from 'object' then
    raise exception 'headers must be a JSON object' using errcode = 'QC002', hint = 'for example {"X-Tenant": "acme"}';
  end if;
  select h.key into v_name from jsonb_each(p_headers) as h where not qctl._is_header(h.key, h.value) limit 1;
  if found then
    raise exception 'header % cannot be sent', quote_literal(left(v_name, 100))
      using errcode = 'QC002',
            hint = 'a name of letters, digits and -, a value on one line; qctl itself sets webhook-*, host and content-length';
  end if;
end
$$;


--
-- Name: _check_name(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_name(p_queue text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  if p_queue is null or p_queue !~ '^[a-z_][a-z0-9_]{0,46}$' then
    raise exception 'not a queue name: %', quote_literal(coalesce(left(p_queue, 100), ''))
      using errcode = 'QC002',
            hint = 'a name is 1 to 47 of a-z, 0-9 and _, and begins with a letter or _';
  end if;
end
$_$;


--
-- Name: _check_net_headers(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_net_headers(p_queue qctl.queue) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  p_headers jsonb := p_queue.headers;
  v_names text;
begin
  select string_agg(h.key, ', ') into v_names from jsonb_each_text(p_headers) as h where qctl._is_reference(h.value);
  if v_names is not null and not p_queue.net_secrets and qctl._net_is_open() then
    raise exception 'on pg_net every role of this database can read the secret in header %', v_names
      using errcode = 'QC007', detail = 'Schema net is open to PUBLIC.',
            hint = 'use --transport http; or --accept-net-secrets, if nobody else may log in here';
  end if;
  if coalesce(p_headers ->> 'content-type', 'application/json') <> 'application/json' then
    raise exception 'pg_net sends no content type but application/json'
      using errcode = 'QC002', hint = 'leave the header out, or use --transport http';
  end if;
end
$$;


--
-- Name: _check_net_url(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_net_url(p_url text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname = 'net' and p.proname = '_encode_url_with_params_array') then
    perform net._encode_url_with_params_array(p_url, '{}'::text[]);
  end if;
exception when others then
  raise exception 'pg_net refuses this URL: %', left(sqlerrm, 200)
    using errcode = 'QC002', hint = 'write it as curl takes it, or use --transport http';
end
$$;


--
-- Name: _check_schedule(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_schedule(p_schedule text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  if p_schedule !~ '^\s*([0-9*/,$A-Za-z-]+\s+){4}[0-9*/,$A-Za-z-]+\s*$' and p_schedule !~ '^[1-5]?[0-9] seconds?$' then
    raise exception 'not a schedule: %', quote_literal(left(p_schedule, 100))
      using errcode = 'QC002',
            detail = 'pg_cron takes five fields; it ignores a sixth, so */30 * * * * * would run every 30 minutes.',
            hint = 'for example * * * * *';
  end if;
end
$_$;


--
-- Name: _check_url(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_url(p_url text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  if p_url is null or length(p_url) > 2000 or p_url !~ '^[!-~]+$'
     or p_url !~* '^https?://(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?)(:[0-9]{1,5})?([/?#].*)?$'
     or coalesce(substring(p_url from '^[a-zA-Z]+://[^/?#]*:([0-9]+)(?:[/?#]|$)')::integer, 1) not between 1 and 65535 then
    if p_url ~* '^https?://[^/?#]*@' then
      raise exception 'a URL may not hold a user name or password'
        using errcode = 'QC002', hint = 'it would stand in plain sight; put credentials into a header';
    end if;
    raise exception 'not an http or https URL: %', quote_literal(coalesce(left(p_url, 200), ''))
      using errcode = 'QC002', hint = 'for example https://n8n.example.com/webhook/orders';
  end if;
end
$_$;


--
-- Name: _check_when(regclass, text[], text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_when(p_relation regclass, p_operations text[], p_when text, p_by_row boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_cursor refcursor;
  v_operation text;
begin
  foreach v_operation in array p_operations loop
    continue when v_operation = 'TRUNCATE';
    -- A cursor takes one query only, so the text cannot end the condition and begin another statement.
    open v_cursor for execute format(E'select 1 from %s where (%s\n)', concat_ws(' cross join ',
      case when v_operation <> 'DELETE' then format('%s as new', p_relation) end,
      case when v_operation <> 'INSERT' then format('%s as old', p_relation) end,
      -- A trigger per row knows columns only as new.x and old.x: two more of each make a bare name ambiguous.
      case when p_by_row then format('%1$s as "qctl 1" cross join %1$s as "qctl 2"', p_relation) end), p_when);
    close v_cursor;
  end loop;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table then
  raise exception '--when is not a condition for %: %', v_operation, sqlerrm
    using errcode = 'QC002',
          hint = 'for example --when "new.status = ''paid''"; INSERT has no old and DELETE no new: choose with --on';
end
$_$;


--
-- Name: _claim(text, integer, bigint, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._claim(p_queue text, p_limit integer, p_worker_id bigint, p_transport text) RETURNS TABLE(msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer, url text, timeout_ms integer, headers jsonb, body text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_material TO 'off'
    AS $_$
#variable_conflict use_column
declare
  -- An http lease outlives its request by 15 s. A pg_net request may wait 60 s to be started, and its answer comes into sight
  -- with those of its whole batch.
  c_slack constant interval := case p_transport when 'pg_net' then '120 s' else '15 s' end;
  -- How far claims may run ahead of an even pace: a job looks about once a second, a process much more often.
  c_burst_s constant double precision := case p_transport when 'pg_net' then 2 else 1 end;
  v_queue qctl.queue := qctl._queue(p_queue);
  v_gate qctl.gate;
  v_probe_id bigint;
  v_probe_early boolean;
  v_allowed integer;
  v_now timestamptz;
  v_live integer;
  v_expired boolean;
  v_room integer;
  v_lease uuid := gen_random_uuid();
  v_term interval;
  v_q text := 'q_' || p_queue;
  v_headers jsonb;
  v_inner bytea[];
  v_outer bytea[];
  v_count integer;
begin
  if coalesce(p_limit, 0) < 1 then
    return;
  end if;
  select * into v_gate from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if not found or v_gate.paused_at is not null then
    return;
  end if;
  -- Read under the lock: the queue may have moved to another transport meanwhile.
  select * into v_queue from qctl.queue q where q.queue_id = v_queue.queue_id;
  if v_queue.transport <> p_transport or not qctl.is_armed() then
    return;
  end if;
  v_now := clock_timestamp();
  v_term := make_interval(secs => v_queue.timeout_ms / 1000.0) + c_slack;

  select count(*), coalesce(bool_or(f.request_id is null and f.expires_at <= v_now), false) into v_live, v_expired
  from qctl.in_flight f where f.queue_id = v_queue.queue_id and f.lapsed_at is null;
  if v_expired then
    v_live := v_live - qctl._lapse(v_queue, v_now);
  end if;
  v_room := least(p_limit, least(v_queue.max_in_flight, v_gate.slow_limit) - v_live);
  if v_queue.rate_per_s is not null then
    v_gate.paced_at := greatest(v_gate.paced_at, v_now);
    v_allowed := floor((greatest(c_burst_s, 1 / v_queue.rate_per_s) - extract(epoch from v_gate.paced_at - v_now)::double precision)
                       * v_queue.rate_per_s + 0.001);
    -- A few at a time cost less than each by itself, and at 20 a second nobody sees the difference.
    if v_allowed < least(v_room, ceil(v_queue.rate_per_s * 0.05)) then
      return;
    end if;
    v_room := least(v_room, v_allowed);
  end if;
  if v_room < 1 then
    return;
  end if;

  if v_gate.opened_at is not null then
    if v_now < v_gate.probe_at or v_gate.probe_lease is not null and v_now < v_gate.probe_ends then
      return;
    end if;
    select p.msg_id, p.early into v_probe_id, v_probe_early from qctl._probe(v_queue, v_now) p;
    if v_probe_id is null then
      return;
    end if;
    v_room := 1;
  else
    if v_gate.recall_after is not null then
      perform qctl._recall(v_queue, v_gate, v_now);
    end if;
    if v_queue.ordered then
      perform qctl._park_followers(v_queue, v_now, v_room);
    end if;
  end if;
  v_headers := qctl._resolved_headers(v_queue);
  select array_agg(s.inner_pad order by s.secret_id desc), array_agg(s.outer_pad order by s.secret_id desc) into v_inner, v_outer
  from qctl.signing_secret s where s.queue_id = v_queue.queue_id and (s.expires_at is null or s.expires_at > v_now);

  -- visible_at is only the safety net behind the lease: qctl._lapse shows the message again, and decides when.
  return query execute format($q$
    with picked as materialized (
      select q.msg_id, q.enqueued_at, q.message, q.headers
      from pgmq.%1$I q
      where q.vt <= $2 and %2$s
        and not exists (select from qctl.in_flight f
                        where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null)
      order by q.vt limit $3
      for update of q skip locked
    ), numbered as materialized (
      select p.*, coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempt_no, 0) + 1 as attempt_no, r.webhook_id
      from picked p
      left join qctl.retry r
        on r.queue_id = $1 and r.msg_id = p.msg_id and r.enqueued_at = p.enqueued_at
    ), hidden as (
      update pgmq.%1$I q set vt = $2 + $5 + interval '60 s', read_ct = q.read_ct + 1,
             headers = case when q.headers ? 'qctl' then q.headers - 'qctl' else q.headers end
      from picked p where q.msg_id = p.msg_id
    ), leased as (
      insert into qctl.in_flight (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, worker_id, transport, claimed_at,
                                  expires_at, order_key)
      select $1, n.msg_id, n.enqueued_at, $4, n.delivery_no, n.attempt_no, $6, $7, $2, $2 + $5,
             case when $13 then left(n.headers ->> 'x-pgmq-group', 200) end from numbered n
    )
    select n.msg_id, $4, $8, n.delivery_no, n.attempt_no, $9, $10,
           case when n.headers is null then $11 else qctl._request_headers($11, n.headers) end || qctl._webhook_headers(
             coalesce(n.webhook_id, qctl.webhook_id($12, n.msg_id, n.enqueued_at)), $16, coalesce(n.message::text, 'null'), $14, $15),
           coalesce(n.message::text, 'null')
    from numbered n order by n.msg_id
  $q$, v_q, case when v_probe_id is not null then 'q.msg_id = ' || v_probe_id when v_queue.ordered then qctl._first_heads(p_queue) else 'true' end)
  using v_queue.queue_id, v_now, v_room, v_lease, v_term, p_worker_id, v_queue.transport,
        (extract(epoch from v_term) * 1000)::integer, v_queue.url, v_queue.timeout_ms, v_headers, v_queue.queue_uuid, v_queue.ordered,
        v_inner, v_outer, extract(epoch from v_now)::bigint::text;
  get diagnostics v_count = row_count;
  if v_count > 0 and (v_queue.rate_per_s is not null or v_gate.opened_at is not null) then
    update qctl.gate g
    set paced_at = v_gate.paced_at + make_interval(secs => v_count / v_queue.rate_per_s),
        probe_lease = case when g.opened_at is not null then v_lease end, probe_early = coalesce(v_probe_early, false),
        probe_ends = case when g.opened_at is not null then v_now + v_term end
    where g.queue_id = v_queue.queue_id;
  end if;
end
$_$;


--
-- Name: _close_breaker(qctl.queue, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._close_breaker(p_queue qctl.queue, p_why text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_gate qctl.gate;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  if v_gate.opened_at is null then
    return;
  end if;
  update qctl.gate g
  set opened_at = null, open_reason = null, pauses = 0, probe_at = null, probe_lease = null, probe_ends = null, probe_early = false,
      failures = 0, failing_since = null, window_at = null, recall_after = 0, slow_limit = qctl._slow_start()
  where g.queue_id = p_queue.queue_id;
  perform qctl._audit('breaker_closed', p_queue.queue_name, jsonb_build_object('why', p_why, 'open_s', round(extract(epoch from clock_timestamp() - v_gate.opened_at))));
  perform qctl._emit('breaker.closed', p_queue.queue_name,
                     jsonb_build_object('open_s', round(extract(epoch from clock_timestamp() - v_gate.opened_at)), 'url', p_queue.url));
  perform qctl._notify(p_queue.queue_id);
end
$$;


--
-- Name: FUNCTION _close_breaker(p_queue qctl.queue, p_why text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._close_breaker(p_queue qctl.queue, p_why text) IS 'Lets claims go on, slowly at first; what failed in the outage becomes due as they come to it.';


--
-- Name: _close_routines(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._close_routines() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_routine record;
begin
  for v_routine in
    select p.oid::regprocedure as name from pg_proc p
    where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'USAGE')
      and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0))
  loop
    execute format('revoke all on routine %s from public', v_routine.name);
  end loop;
end
$$;


--
-- Name: FUNCTION _close_routines(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._close_routines() IS 'Nothing in schema qctl is executable by PUBLIC, for owners of attached tables may look into it.';


--
-- Name: _code_of(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._code_of(p_command text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_code text := p_command;
  v_seen oid[] := '{}';
  v_new oid[];
begin
  for v_depth in 1..5 loop
    select array_agg(p.oid) into v_new
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prokind in ('f', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'pgmq', 'qctl', 'cron', 'net')
      and not p.oid = any (v_seen)
      and p.proname = any (array(select unnest(array[m[1], lower(m[1])]) from regexp_matches(v_code, '([[:alpha:]_][[:alnum:]_$]*)"?\s*\(', 'g') as m));
    exit when v_new is null;
    v_seen := v_seen || v_new;
    v_code := v_code || E'\n' || (select string_agg(pg_get_functiondef(o), E'\n') from unnest(v_new) as o);
  end loop;
  return v_code;
end
$_$;


--
-- Name: FUNCTION _code_of(p_command text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._code_of(p_command text) IS 'A command, and the source of the functions that it calls, down to the fifth call.';


--
-- Name: _counts(integer, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._counts(p_queue_id integer, p_since timestamp with time zone) RETURNS TABLE(delivered bigint, failed bigint, dead bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_rolled_to timestamptz := greatest(p_since, (select u.rolled_to from qctl.upkept u));
begin
  -- Whole minutes come from the rolled up table, the rest from the log.
  return query
  select coalesce(sum(p.delivered), 0)::bigint, coalesce(sum(p.failed), 0)::bigint, coalesce(sum(p.dead), 0)::bigint
  from (
    select sum(t.delivered) as delivered, sum(t.failed + t.dead + t.lost) as failed, sum(t.dead) as dead
    from qctl.throughput t
    where t.queue_id = p_queue_id and t.minute >= date_trunc('minute', p_since) and t.minute < v_rolled_to
    union all
    select count(*) filter (where t.outcome = 'delivered'), count(*) filter (where t.outcome <> 'delivered'),
           count(*) filter (where t.outcome = 'dead')
    from qctl.attempt t where t.queue_id = p_queue_id and t.settled_at >= v_rolled_to and t.outcome <> 'late'
  ) p;
end
$$;


--
-- Name: FUNCTION _counts(p_queue_id integer, p_since timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._counts(p_queue_id integer, p_since timestamp with time zone) IS 'Attempts since then, to the minute: delivered; failed, dead and lost ones among them; dead. Late answers count nowhere.';


--
-- Name: _cron_here(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._cron_here() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (
    select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'cron' and p.proname = 'schedule' and p.pronargs = 3
      and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute'))
$$;


--
-- Name: FUNCTION _cron_here(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._cron_here() IS 'Can this role schedule jobs in this database?';


--
-- Name: _cron_slots(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._cron_slots() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(qctl._setting('cron.max_running_jobs')::integer,
                  case when qctl._setting('cron.use_background_workers') = 'on' then 5 else 32 end)
$$;


--
-- Name: FUNCTION _cron_slots(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._cron_slots() IS 'Jobs that pg_cron runs at the same time, everybody''s.';


--
-- Name: _discard(qctl.queue, bigint[], text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._discard(p_queue qctl.queue, p_msg_ids bigint[], p_reason text) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_discarded bigint[];
  v_keys text[];
begin
  execute format($q$
    with known as materialized (
      select q.msg_id, q.enqueued_at, coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempts, 0) as attempts,
             coalesce(r.lost, 0) as lost, r.last_status, r.last_error, r.webhook_id
      from pgmq.%1$I q
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
      where $2 is null or q.msg_id = any ($2)
    ), gone as (
      delete from pgmq.%1$I q using known k where q.msg_id = k.msg_id
      returning q.msg_id, q.enqueued_at, q.read_ct, q.message, q.headers, k.delivery_no, k.attempts, k.lost, k.last_status,
                k.last_error, k.webhook_id
    ), buried as (
      insert into qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, note, status_code, error,
                                    enqueued_at, read_ct, message, headers, webhook_id, died_at)
      select $1, g.msg_id, g.delivery_no, g.attempts, g.lost, 'discarded', left($3, 500), g.last_status, g.last_error,
             g.enqueued_at, g.read_ct, g.message, g.headers, g.webhook_id, clock_timestamp()
      from gone g
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempts, lost, reason, note, status_code, error, read_ct, message, headers, webhook_id, died_at)
          = (excluded.delivery_no, excluded.attempts, excluded.lost, excluded.reason, excluded.note, excluded.status_code,
             excluded.error, excluded.read_ct, excluded.message, excluded.headers, excluded.webhook_id, excluded.died_at)
    ), forgotten as (
      delete from qctl.retry r using known k where r.queue_id = $1 and r.msg_id = k.msg_id and r.enqueued_at = k.enqueued_at
    )
    select array_agg(g.msg_id order by g.msg_id), array_agg(distinct left(g.headers ->> 'x-pgmq-group', 200)) filter (where g.headers ? 'x-pgmq-group')
    from gone g
  $q$, 'q_' || p_queue.queue_name) into v_discarded, v_keys using p_queue.queue_id, p_msg_ids, p_reason;
  if p_queue.ordered and v_keys is not null then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  return coalesce(v_discarded, '{}');
end
$_$;


--
-- Name: FUNCTION _discard(p_queue qctl.queue, p_msg_ids bigint[], p_reason text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._discard(p_queue qctl.queue, p_msg_ids bigint[], p_reason text) IS 'Without ids: every message of the queue.';


--
-- Name: _drop_keeping_archive(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._drop_keeping_archive(p_queue text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_table text;
begin
  -- Up to pgmq 1.5 a queue's tables belong to the extension.
  for v_table in
    select c.relname from pg_class c
    join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    where c.relnamespace = 'pgmq'::regnamespace and c.relname in ('q_' || p_queue, 'a_' || p_queue)
  loop
    execute format('alter extension pgmq drop table pgmq.%I', v_table);
  end loop;
  execute format('drop table if exists pgmq.%I', 'q_' || p_queue);
  delete from pgmq.meta m where m.queue_name = p_queue;
end
$$;


--
-- Name: _due_retention(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._due_retention() RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if exists (select from qctl.upkept u where u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min') then
    return query
    select q.queue_name from qctl.queue q
    where q.retention_s is not null and to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null
    order by random();
  end if;
end
$$;


--
-- Name: _durations(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._durations(p_queue_name text) RETURNS TABLE(p50_s double precision, p95_s double precision, measured bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
begin
  return query execute format($q$
    select percentile_cont(0.5) within group (order by a.s), percentile_cont(0.95) within group (order by a.s), count(*)
    from (select extract(epoch from a.archived_at - a.enqueued_at)::double precision as s
          from (select * from pgmq.%I a where a.archived_at > statement_timestamp() - interval '1 h' order by a.archived_at desc limit 5000) a
          where a.headers #>> '{qctl,outcome}' = 'delivered' and coalesce(a.headers #>> '{qctl,delivery_no}', '1') = '1' and isfinite(a.enqueued_at)
          order by a.archived_at desc limit 1000) a
  $q$, 'a_' || p_queue_name);
end
$_$;


--
-- Name: FUNCTION _durations(p_queue_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._durations(p_queue_name text) IS 'Seconds from enqueued to delivered, of the last 1000 delivered without a replay among the newest 5000 of the last hour.';


--
-- Name: _emit(text, text, jsonb, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._emit(p_type text, p_queue text, p_data jsonb DEFAULT '{}'::jsonb, p_throttle interval DEFAULT NULL::interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_route record;
  v_held integer;
  v_now timestamptz := clock_timestamp();
begin
  select r.queue_id, q.queue_name, r.throttle_s into v_route from qctl.event_route r join qctl.queue q using (queue_id);
  -- The queue of the events does not report on itself, for each report would be one more message in it.
  if not found or v_route.queue_name = p_queue then
    return;
  end if;
  insert into qctl.event_last as l (event_type, subject, at) values (p_type, coalesce(p_queue, ''), v_now)
  on conflict (event_type, subject) do update
    set suppressed = case when l.at <= v_now - coalesce(p_throttle, make_interval(secs => v_route.throttle_s)) then 0 else l.suppressed + 1 end,
        at = case when l.at <= v_now - coalesce(p_throttle, make_interval(secs => v_route.throttle_s)) then v_now else l.at end
  returning case when l.at = v_now then 0 else l.suppressed end into v_held;
  if v_held > 0 then
    return;
  end if;
  execute format('insert into pgmq.%I (vt, message) values ($1, $2)', 'q_' || v_route.queue_name)
    using v_now, jsonb_build_object('type', p_type, 'timestamp', to_char(v_now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                                    'data', jsonb_strip_nulls(jsonb_build_object('database', current_database(), 'queue', p_queue) || p_data));
  perform qctl._notify(v_route.queue_id);
exception when others then
  perform qctl._audit_rarely('event_failed', p_queue, sqlstate, sqlerrm);
end
$_$;


--
-- Name: FUNCTION _emit(p_type text, p_queue text, p_data jsonb, p_throttle interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._emit(p_type text, p_queue text, p_data jsonb, p_throttle interval) IS 'Puts an event into the queue of events, at most one of a type about a queue in the throttle''s time. Its trouble is recorded and stops nothing.';


--
-- Name: _examine_copies(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_copies() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'warning', 'arming', current_database()::text,
         format('%s standbys are attached; a promoted one would deliver nothing until it is armed', count(*)), 'qctl arm --survive-failover'
  from pg_stat_replication r
  where coalesce(r.state, 'streaming') = 'streaming' and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
    and not (select a.survive_failover from qctl.arming a)
  having count(*) > 0
$$;


--
-- Name: _examine_failures(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_failures() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select 'warning', 'audit', coalesce(a.queue_name, current_database()), format('%s, last %s UTC: %s', a.verb,
           to_char(max(a.at) at time zone 'UTC', 'HH24:MI:SS'), (array_agg(a.detail ->> 'error' order by a.at desc))[1]),
         format('select * from qctl.audit where verb = %L order by audit_id desc limit 10;', a.verb)
  from qctl.audit a where a.at > statement_timestamp() - interval '15 min' and a.verb ~ '_failed$'
  group by a.verb, a.queue_name
$_$;


--
-- Name: _examine_jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_jobs() RETURNS SETOF qctl.finding
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_busy integer;
  v_size bigint;
begin
  if not qctl._cron_here() then
    return;
  end if;
  return query
  select 'broken', 'job', coalesce(j.jobname::text, j.jobid::text),
         format('its owner %s is gone; pg_cron stops, with the jobs of all, when it is due', j.username), format('select cron.unschedule(%s);', j.jobid)
  from cron.job j where j.active and not exists (select from pg_roles r where r.rolname = j.username::text);
  return query
  select 'broken', 'job', j.job_name, format('its owner %s may not log in', j.owner), format('alter role %I login;', j.owner)
  from qctl.jobs() j join pg_roles r on r.rolname = j.owner where not r.rolcanlogin and qctl._setting('cron.use_background_workers') is distinct from 'on';
  return query
  select 'broken', 'job', j.job_name, 'it fails: ' || left(btrim(r.message), 300),
         case when w.command is distinct from j.command or j.schedule <> w.schedule
              then format('qctl scale --workers %s', greatest(1, (select s.workers from qctl.scheduler s)))
              else format('select * from cron.job_run_details where jobid = %s order by runid desc limit 5;', j.job_id) end
  from qctl.jobs() j cross join lateral qctl._last_run(j.job_id) r left join qctl._wanted_jobs() w on w.job_name = j.job_name
  where r.status = 'failed' and r.at > statement_timestamp() - interval '10 min';
  return query
  select 'broken', 'queue', q.queue_name,
         format('its jobs succeed, but nothing has been sent for 2 min while messages wait%s',
                coalesce((select format(': %s, %s', a.verb, a.detail ->> 'error') from qctl.audit a
                          where a.verb ~ '_failed$' and a.at > statement_timestamp() - interval '1 h' and coalesce(a.queue_name, q.queue_name) = q.queue_name
                          order by a.at desc limit 1), '')),
         'select * from qctl.audit where verb ~ ''_failed$'' order by audit_id desc limit 10;'
  from qctl.queue q join qctl.gate g using (queue_id) cross join lateral qctl.lag(q.queue_name) l
  where q.transport = 'pg_net' and g.paused_at is null and l.lag_s > 120 and qctl.is_armed()
    and exists (select from qctl.jobs() j cross join lateral qctl._last_run(j.job_id) r
                where j.command ~ '^call qctl\.work' and r.status in ('running', 'succeeded') and r.at > statement_timestamp() - interval '3 min')
    and not exists (select from qctl.in_flight f where f.queue_id = q.queue_id and f.claimed_at > statement_timestamp() - interval '2 min')
    and not exists (select from qctl.attempt t where t.queue_id = q.queue_id and t.settled_at > statement_timestamp() - interval '2 min');
  select count(*) into v_busy from cron.job j where j.active and (j.schedule ~ 'second' or j.schedule ~ '^\s*\*(/1)?\s');
  if v_busy > qctl._cron_slots() then
    return query select 'warning', 'pg_cron', 'slots', format('%s jobs run each minute or more often, pg_cron runs %s at once', v_busy, qctl._cron_slots()),
                        format('alter system set cron.max_running_jobs = %s; -- then restart the server', v_busy * 2);
  end if;
  v_size := pg_total_relation_size('cron.job_run_details');
  if v_size > 200 * 1024 ^ 2 then
    return query select 'warning', 'pg_cron', 'cron.job_run_details', format('the history of all jobs is %s and has no index but its number', pg_size_pretty(v_size)),
                        'delete from cron.job_run_details where end_time < now() - interval ''7 days'';';
  end if;
end
$_$;


--
-- Name: _examine_load(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_load() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'warning', 'load', 'jobs', format('delivering keeps one backend busy %s %% of the time', round(100 * sum(w.busy_s / w.busy_of_s))),
         format('qctl set -q %s --transport http && qctl worker -q %s', min(q.queue_name), min(q.queue_name))
  from qctl.worker w cross join lateral (select unnest(w.queues) limit 1) as q (queue_name)
  where w.transport = 'pg_net' and w.busy_of_s > 0 and qctl._is_live(w)
  having sum(w.busy_s / w.busy_of_s) > 0.3
$$;


--
-- Name: FUNCTION _examine_load(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._examine_load() IS 'The share of a backend''s time that the jobs were not asleep, as they recorded it themselves.';


--
-- Name: _examine_queue(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_queue(p_queue qctl.queue) RETURNS SETOF qctl.finding
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_size record;
  v_depth record;
  v_growth record;
begin
  if p_queue.transport = 'pg_net' and (qctl._shown_headers(p_queue.headers) <> p_queue.headers or p_queue.headers::text ~ '"(secret|vault):')
     and exists (select from pg_namespace n where n.nspname = 'net' and has_schema_privilege('public', n.oid, 'usage')) then
    return query select 'warning', 'queue', p_queue.queue_name, 'every role of this database can read its secret headers in schema net',
                        format('qctl set -q %s --transport http && qctl worker -q %s', p_queue.queue_name, p_queue.queue_name);
  end if;
  if exists (select from qctl.signing_secret s where s.queue_id = p_queue.queue_id)
     and not exists (select from qctl.signing_secret s where s.queue_id = p_queue.queue_id and (s.expires_at is null or s.expires_at > clock_timestamp())) then
    return query select 'broken', 'queue', p_queue.queue_name, 'its last signing secret has expired, so its requests go out unsigned',
                        'qctl secret rotate -q ' || p_queue.queue_name;
  end if;
  if qctl._forbidden_host(p_queue) is not null then
    return query select 'broken', 'queue', p_queue.queue_name, format('%s is no public address, and its requests may go to no other', qctl._forbidden_host(p_queue)),
                        format('qctl set -q %s --allow-private', p_queue.queue_name);
  elsif '0.0.0.0/0' = any (p_queue.allow_networks) and qctl._literal_address(qctl._host_of(p_queue.url)) is null
        and qctl._host_of(p_queue.url) ~ '\.' and p_queue.transport = 'http' then
    return query select 'note', 'queue', p_queue.queue_name, 'its requests may go to any address, also inside your networks',
                        format('qctl set -q %s --no-allow-private; or --allow-network 10.0.0.0/8', p_queue.queue_name);
  end if;
  if p_queue.ordered and to_regclass(format('pgmq.%I', 'qctl_order_' || p_queue.queue_id)) is null
     and to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is not null then
    return query select 'broken', 'queue', p_queue.queue_name, 'its index by order key is gone, so each claim reads the whole queue',
                        format('qctl set -q %s --ordered', p_queue.queue_name);
  end if;
  select * into v_depth from qctl.depth(p_queue.queue_name);
  if v_depth.dead > 0 then
    return query select 'warning', 'queue', p_queue.queue_name, format('%s dead letters', v_depth.dead), 'qctl dead -q ' || p_queue.queue_name;
  end if;
  if v_depth.depth > 1000 then
    select * into v_growth from qctl._growth(p_queue, v_depth.depth, v_depth.exact, v_depth.estimate);
    return query select 'note', 'queue', p_queue.queue_name,
      format('%s messages wait; %s', v_depth.estimate, case
        when v_growth.drain_s is not null then format('at this pace it is empty in %s', make_interval(secs => round(v_growth.drain_s)))
        when v_growth.per_s is null then 'whether it drains is not known: no maintenance has run'
        else format('it grows by %s a second', round(v_growth.per_s::numeric, 1)) end),
      'qctl scale -q ' || p_queue.queue_name;
  end if;
  select * into v_size from qctl.archive_size(p_queue.queue_name);
  if v_size.retention_s is null and v_size.bytes > 100 * 1024 ^ 2 then
    return query select 'note', 'queue', p_queue.queue_name,
      format('delivered messages are kept for ever: %s%s', pg_size_pretty(v_size.bytes), ', about ' || pg_size_pretty(v_size.bytes_per_day) || ' more a day'),
      format('qctl set -q %s --retention 7d', p_queue.queue_name);
  end if;
end
$$;


--
-- Name: _examine_roles(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_roles() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with caller as (
    select distinct r.oid, r.rolname, w.queues, w.transport
    from qctl.worker w join pg_roles r on r.rolname = w.role_name where w.last_seen_at > statement_timestamp() - interval '1 day'
  ), worker as (
    -- A process calls functions that run as the owner of qctl; the CALL of a job runs as the job's own role.
    select distinct r.oid, r.rolname, r.rolsuper, r.rolbypassrls, c.queues
    from caller c join pg_roles r on r.oid = case c.transport when 'http' then (select n.nspowner from pg_namespace n where n.nspname = 'qctl') else c.oid end
  ), served as (
    select w.*, q.queue_name, c.oid as relation, c.relowner, c.relrowsecurity, c.relforcerowsecurity
    from worker w join qctl.queue q on q.queue_name = any (w.queues)
    join pg_class c on c.oid in (to_regclass(format('pgmq.%I', 'q_' || q.queue_name)), to_regclass(format('pgmq.%I', 'a_' || q.queue_name)))
  )
  select distinct 'broken', 'role', s.rolname::text, format('row level security hides messages of %s from it', s.relation::regclass),
         format('create policy qctl_worker on %s to %I using (true) with check (true);', s.relation::regclass, s.rolname)
  from served s
  where s.relrowsecurity and not s.rolsuper and not s.rolbypassrls and (not pg_has_role(s.oid, s.relowner, 'usage') or s.relforcerowsecurity)
    and not exists (select from pg_policy p where p.polrelid = s.relation and p.polpermissive and p.polcmd = '*'
                      and pg_get_expr(p.polqual, p.polrelid) = 'true'
                      and exists (select from unnest(p.polroles) as o (id) where o.id = 0 or pg_has_role(s.oid, o.id, 'usage')))
  union all
  select distinct 'broken', 'role', s.rolname::text, format('it works, but may not %s %s', lower(p.privilege), s.relation::regclass),
         format('grant select, insert, update, delete on %s to %I;', s.relation::regclass, s.rolname)
  from served s cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as p (privilege)
  where not has_table_privilege(s.oid, s.relation, p.privilege)
  union all
  select 'broken', 'role', m.rolname::text, 'it works, but may not execute ' || string_agg(m.name::text, ', ' order by m.name::text),
         case when m.transport = 'http' and not exists (select from qctl.grantee g where g.role_name = m.rolname and g.level <> 'work')
              then format('qctl grant %s --as work', qctl._word(m.rolname::text))
              else format('grant execute on routine %s to %I;', string_agg(m.name::text, ', ' order by m.name::text), m.rolname) end
  from (select distinct c.rolname, c.transport, p.oid::regprocedure as name
        from caller c cross join pg_proc p
        where p.pronamespace = 'qctl'::regnamespace
          and (c.transport = 'http' and p.oid in (select r from qctl._level_routines('work', false) r)
               or c.transport <> 'http' and p.proname in ('work', 'maintenance', 'dispatch', 'collect'))
          and not has_function_privilege(c.oid, p.oid, 'execute')) m
  group by m.rolname, m.transport
$$;


--
-- Name: _examine_settings(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_settings() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'broken', 'setting', s.name, format('it is %s, so what it does happens there and not in this database, %s', qctl._setting(s.name), current_database()),
         format('alter system set %s = %L; -- then restart the server', s.name, current_database())
  from (values ('pg_net.database_name', 'pg_net'), ('cron.database_name', 'pg_cron')) as s (name, extension)
  where qctl._setting(s.name) <> current_database()
    and exists (select from pg_extension e where e.extname = s.extension) and exists (select from qctl.queue q where q.transport = 'pg_net')
  union all
  select 'warning', 'pg_net', 'worker', 'no process of pg_net is to be seen', 'select net.worker_restart();'
  where exists (select from qctl.queue q where q.transport = 'pg_net') and pg_has_role('pg_read_all_stats', 'usage')
    and exists (select from pg_extension e where e.extname = 'pg_net')
    and not exists (select from pg_stat_activity a where a.backend_type ~ '^pg_net' or a.application_name ~ '^pg_net')
$$;


--
-- Name: _examine_sight(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_sight() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'note', 'role', current_user::text, 'it may not see what other sessions do, so transactions that hold up vacuum stay unknown',
         format('grant pg_read_all_stats to %I;', current_user)
  where not pg_has_role('pg_read_all_stats', 'usage')
  union all
  select 'note', 'role', current_user::text, 'it may not use schema cron, so how the jobs fare stays unknown', format('grant usage on schema cron to %I;', current_user)
  where exists (select from pg_namespace n where n.nspname = 'cron') and not qctl._cron_here()
  union all
  select 'note', 'role', current_user::text, format('messages of %s are hidden from it, or closed to it, so its depth stays unknown', t.relation),
         format('grant select on %s to %I; -- and where row level security is on, a policy', t.relation, current_user)
  from (select to_regclass(format('pgmq.%I', p.prefix || q.queue_name)) as relation from qctl.queue q, (values ('q_'), ('a_')) as p (prefix)) t
  where t.relation is not null and qctl._unseen(t.relation)
$$;


--
-- Name: FUNCTION _examine_sight(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._examine_sight() IS 'What cannot be known here, for the role that installed qctl, as which all of this runs, may not see it.';


--
-- Name: _examine_vacuum(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_vacuum() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'warning', 'transaction', 'pid ' || o.pid, format('open since %s (role %s, %s): no dead row is removed since then', o.since::timestamptz(0), o.role_name, o.state),
         format('select pg_terminate_backend(%s);', o.pid)
  from qctl._oldest_transaction() o
  where o.since < statement_timestamp() - coalesce(qctl._setting('qctl.old_transaction')::interval, '15 min')
  union all
  select 'warning', 'transaction', x.gid, format('prepared at %s and never finished: no dead row is removed since then', x.prepared::timestamptz(0)),
         format('rollback prepared %L;', x.gid)
  from pg_prepared_xacts x where x.database = current_database() and x.prepared < statement_timestamp() - interval '15 min'
  union all
  select 'note', 'replication slot', s.slot_name::text, 'nobody reads it now, and meanwhile it keeps dead rows and WAL',
         format('select * from pg_replication_slots where slot_name = %L; -- pg_drop_replication_slot() only if its reader never comes back', s.slot_name)
  from pg_replication_slots s where not s.active and coalesce(s.xmin, s.catalog_xmin) is not null
  union all
  select 'warning', 'table', t.oid::regclass::text, format('%s dead rows', pg_stat_get_dead_tuples(t.oid)), format('vacuum %s;', t.oid::regclass)
  from (select to_regclass(format('pgmq.%I', 'q_' || q.queue_name))::oid as oid from qctl.queue q
        union all select unnest(array['qctl.in_flight'::regclass, 'qctl.retry'])::oid) t
  where pg_stat_get_dead_tuples(t.oid) > 200000
$$;


--
-- Name: _examine_versions(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._examine_versions() RETURNS SETOF qctl.finding
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when e.extname = 'pgmq' and e.extversion in ('1.10.0', '1.10.1') then 'broken' else 'warning' end, 'extension', e.extname::text,
         case when e.extname = 'pgmq' and e.extversion in ('1.10.0', '1.10.1')
              then format('version %s breaks existing queues', e.extversion)
              else format('its SQL objects are of %s, its library of %s', e.extversion, a.default_version) end,
         format('alter extension %I update;', e.extname)
  from pg_extension e join pg_available_extensions a on a.name = e.extname
  where e.extname in ('pgmq', 'pg_net', 'pg_cron') and e.extversion <> a.default_version
$$;


--
-- Name: _expire_missing(qctl.queue, uuid, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._expire_missing(p_queue qctl.queue, p_epoch uuid, p_before timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_nestloop TO 'off'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_request_ids bigint[];
  v_since timestamptz;
  v_count integer;
begin
  select array_agg(f.request_id), min(f.claimed_at) - interval '5 min' into v_request_ids, v_since from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = p_epoch and f.request_id is not null
    and f.claimed_at < p_before - make_interval(secs => p_queue.timeout_ms / 1000.0);
  if v_request_ids is null then
    return 0;
  end if;
  -- One statement, one snapshot: what is in neither table in it was in neither at one instant.
  with gone as materialized (
    select o.id from unnest(v_request_ids) as o (id)
    where not exists (select from net.http_request_queue h where h.id = o.id)
      and not exists (select from net._http_response r where r.id = o.id and r.created >= v_since)
  )
  update qctl.in_flight f set expires_at = f.claimed_at - interval '1 day' from gone g
  where f.queue_id = p_queue.queue_id and f.epoch = p_epoch and f.request_id = g.id and f.lapsed_at is null;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;


--
-- Name: FUNCTION _expire_missing(p_queue qctl.queue, p_epoch uuid, p_before timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._expire_missing(p_queue qctl.queue, p_epoch uuid, p_before timestamp with time zone) IS 'Marks requests that are in neither of pg_net''s tables and whose timeout was over by then; returns how many.';


--
-- Name: _failure_rate(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._failure_rate(p_queue qctl.queue) RETURNS double precision
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  c_over constant interval := '10 min';
  c_least constant integer := 10;
  v_counts record;
  v_last record;
begin
  select count(*), count(*) filter (where t.outcome <> 'delivered') as failed into v_last
  from (select t.outcome from qctl.attempt t
        where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - c_over and t.outcome <> 'late'
        order by t.settled_at desc limit c_least) t;
  if v_last.count < c_least then
    return null;
  end if;
  -- An endpoint that is well again is not failing, whatever it did before.
  if v_last.failed = 0
     and not exists (select from qctl.attempt t
                     where t.queue_id = p_queue.queue_id and t.settled_at > statement_timestamp() - interval '20 s'
                       and t.outcome <> 'delivered' and t.outcome <> 'late') then
    return null;
  end if;
  select * into v_counts from qctl._counts(p_queue.queue_id, statement_timestamp() - c_over);
  return v_counts.failed::double precision / nullif(v_counts.delivered + v_counts.failed, 0);
end
$$;


--
-- Name: FUNCTION _failure_rate(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._failure_rate(p_queue qctl.queue) IS 'The share of the attempts of the last ten minutes that failed; null for fewer than ten, and when it is over: the last ten were delivered and none failed within 20 s.';


--
-- Name: _first_heads(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._first_heads(p_queue_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select format('q.msg_id = any (array(select q.msg_id from (select q.* from pgmq.%I q where q.vt <= $2 order by q.vt limit 5000) q where %s order by q.vt limit $3))',
                'q_' || p_queue_name, qctl._may_go(p_queue_name))
$_$;


--
-- Name: FUNCTION _first_heads(p_queue_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._first_heads(p_queue_name text) IS 'The condition on a message q that it is among the first $3 that may go, of the first 5000 ready at $2: beyond them are followers not hidden yet.';


--
-- Name: _forbidden_host(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._forbidden_host(p_queue qctl.queue) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select h.host from (select qctl._host_of(p_queue.url) as host) h cross join lateral (select qctl._literal_address(h.host) as address) a
  where case when a.address is not null then not qctl._is_public(a.address) and not a.address <<= any (p_queue.allow_networks)
             else h.host ~ '^(localhost|.*\.(localhost|local|internal|home\.arpa|localdomain))$' and cardinality(p_queue.allow_networks) = 0 end
$_$;


--
-- Name: FUNCTION _forbidden_host(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._forbidden_host(p_queue qctl.queue) IS 'The host of the queue''s URL if it is, by its very name, inside a network and that is not allowed. What other names lead to is not known here.';


--
-- Name: _foreign_children(regclass); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._foreign_children(p_relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select string_agg(format('%s of %I', r.relation, pg_get_userbyid(c.relowner)), ', ' order by r.relation::text)
  from qctl._captured_relations(p_relation) as r (relation) join pg_class c on c.oid = r.relation
  where c.relowner <> (select p.relowner from pg_class p where p.oid = p_relation)
$$;


--
-- Name: FUNCTION _foreign_children(p_relation regclass); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._foreign_children(p_relation regclass) IS 'What inherits from the table but belongs to another role: types of it may bring that role''s code, which must not run as the parent''s owner.';


--
-- Name: _forget_dedup_keys(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._forget_dedup_keys() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_count integer;
begin
  delete from qctl.dedup d
  where d.ctid = any (array(select o.ctid from qctl.dedup o where o.expires_at <= statement_timestamp() order by o.expires_at limit 10000 for update skip locked));
  get diagnostics v_count = row_count;
  return v_count;
end
$$;


--
-- Name: FUNCTION _forget_dedup_keys(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._forget_dedup_keys() IS 'Deletes keys whose window is over, 10000 at most; returns how many.';


--
-- Name: _growth(qctl.queue, bigint, boolean, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._growth(p_queue qctl.queue, p_depth bigint, p_exact boolean, p_estimate bigint) RETURNS TABLE(per_s double precision, drain_s double precision)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_then qctl.sample;
  v_for_s double precision;
begin
  -- The oldest sample within six minutes; next to one that is too young, a burst looks like growth.
  select * into v_then from qctl.sample s
  where s.queue_id = p_queue.queue_id and s.at > statement_timestamp() - interval '6 min' and s.at < statement_timestamp() - interval '45 s'
  order by s.at limit 1;
  if p_depth = 0 then
    drain_s := 0;
  end if;
  if v_then.at is not null and p_depth is not null then
    v_for_s := extract(epoch from clock_timestamp() - v_then.at);
    if p_exact and v_then.depth is not null then
      per_s := (p_depth - v_then.depth) / v_for_s;
    else
      per_s := (qctl._last_msg_id(p_queue.queue_name) - v_then.last_msg_id
                - (select c.delivered + c.dead from qctl._counts(p_queue.queue_id, v_then.at) c)) / v_for_s;
    end if;
    if per_s < 0 and p_depth > 0 then
      drain_s := p_estimate / -per_s;
    end if;
  end if;
  return next;
end
$$;


--
-- Name: _header(jsonb, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._header(p_headers jsonb, p_name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_value text;
begin
  if jsonb_typeof(p_headers) is distinct from 'object' then
    return null;
  end if;
  -- pg_net keeps what the server sent, valid UTF-8 or not.
  select h.value into v_value from jsonb_each_text(p_headers) as h where lower(h.key collate "C") = p_name limit 1;
  if v_value is null then
    return null;
  end if;
  return btrim(coalesce(qctl._text(qctl._octets(v_value, 200)), left(v_value, 200)));
exception when others then
  return 'unreadable';
end
$$;


--
-- Name: FUNCTION _header(p_headers jsonb, p_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._header(p_headers jsonb, p_name text) IS 'A stored header by its lower-case name; servers choose the case.';


--
-- Name: _holds_json(regclass); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._holds_json(p_relation regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with recursive kinds as (
    select a.atttypid as id from pg_attribute a where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped
    union
    select u.id from kinds k
    join pg_type t on t.oid = k.id
    cross join lateral (
      select t.typelem as id where t.typelem <> 0
      union all select t.typbasetype where t.typtype = 'd'
      union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
      union all select a.atttypid from pg_attribute a where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped
    ) u
  )
  select exists (select from kinds k where k.id = 'json'::regtype)
$$;


--
-- Name: FUNCTION _holds_json(p_relation regclass); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._holds_json(p_relation regclass) IS 'Has the table json, not jsonb, in it, however deep? That may hold \u0000, which jsonb refuses.';


--
-- Name: _host_of(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._host_of(p_url text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(rtrim("substring"(p_url, '^[a-zA-Z]+://(\[[^]/?#]*\]|[^:/?#]*)'::text), '.'::text));


--
-- Name: _is_expected(bytea, text, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_expected(p_response bytea, p_text text, p_json jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if p_text is not null then
    -- Byte by byte, for an answer may be cut within a character.
    return position(convert_to(p_text, 'UTF8') in coalesce(p_response, '')) > 0;
  end if;
  return coalesce(convert_from(p_response, 'UTF8')::jsonb @> p_json, false);
exception when data_exception or program_limit_exceeded then
  return false;
end
$$;


--
-- Name: FUNCTION _is_expected(p_response bytea, p_text text, p_json jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_expected(p_response bytea, p_text text, p_json jsonb) IS 'Does the answer hold this text, or is it JSON that contains this? Judged by its first 64 KiB.';


--
-- Name: _is_header(text, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_header(p_name text, p_value jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((p_name ~ '^[!#$%&''*+.^_`|~0-9A-Za-z-]{1,200}$'::text) AND (jsonb_typeof(p_value) = 'string'::text) AND ((p_value #>> '{}'::text[]) ~ '^[^\u0001-\u001f\u007f]*$'::text) AND (length((p_value #>> '{}'::text[])) <= 4096) AND (lower(p_name) <> ALL (ARRAY['host'::text, 'content-length'::text, 'transfer-encoding'::text, 'connection'::text, 'keep-alive'::text, 'upgrade'::text, 'te'::text, 'trailer'::text, 'expect'::text, 'proxy-authorization'::text, 'proxy-connection'::text, 'webhook-id'::text, 'webhook-timestamp'::text, 'webhook-signature'::text, 'qctl'::text])) AND (lower(p_name) !~~ 'x-pgmq-%'::text));


--
-- Name: FUNCTION _is_header(p_name text, p_value jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_header(p_name text, p_value jsonb) IS 'May this name and value go out as one HTTP header: a token, no control character, not one that qctl or HTTP owns.';


--
-- Name: worker; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.worker (
    worker_id bigint NOT NULL,
    name text NOT NULL,
    transport text NOT NULL,
    queues text[] NOT NULL,
    qctl_version text NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    stopped_at timestamp with time zone,
    role_name text DEFAULT CURRENT_USER,
    busy_s double precision,
    busy_of_s double precision
)
WITH (fillfactor='50');


--
-- Name: TABLE worker; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.worker IS 'Whatever delivers, as it last reported.';


--
-- Name: COLUMN worker.role_name; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.worker.role_name IS 'The role that it works as.';


--
-- Name: COLUMN worker.busy_s; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.worker.busy_s IS 'Seconds in which the database worked for it, of the last busy_of_s seconds that it reported.';


--
-- Name: _is_live(qctl.worker, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_live(p_worker qctl.worker, p_within interval DEFAULT NULL::interval) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p_worker.stopped_at is null
     and p_worker.last_seen_at > clock_timestamp()
                                 - coalesce(p_within, case p_worker.transport when 'http' then interval '30 s' else interval '90 s' end)
$$;


--
-- Name: FUNCTION _is_live(p_worker qctl.worker, p_within interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_live(p_worker qctl.worker, p_within interval) IS 'A process reports each 5 s, a job at least once a minute.';


--
-- Name: _is_outage(integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_outage(p_status integer, p_error text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (p_status IS NULL) THEN COALESCE((p_error !~ '^(not sent: |the request cannot be made: )'::text), true) ELSE ((p_status = ANY (ARRAY[404, 408, 429])) OR (p_status >= 500) OR COALESCE((p_error = 'not there yet: n8n is starting'::text), false)) END;


--
-- Name: FUNCTION _is_outage(p_status integer, p_error text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_outage(p_status integer, p_error text) IS 'Does this answer, or its lack, speak of the endpoint and not of the message? 404 is what n8n answers for a workflow that is off.';


--
-- Name: _is_public(inet); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_public(p_address inet) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (NOT (p_address <<= ANY (('{0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,203.0.113.0/24,224.0.0.0/4,240.0.0.0/4,::/96,::ffff:0.0.0.0/96,::ffff:0:0:0/96,64:ff9b::/96,64:ff9b:1::/48,100::/64,2001::/23,2001:db8::/32,2002::/16,3fff::/20,5f00::/16,fc00::/7,fe80::/10,fec0::/10,ff00::/8}'::cidr[])::inet[])));


--
-- Name: FUNCTION _is_public(p_address inet); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_public(p_address inet) IS 'Outside of IANA''s special-purpose registries, and of IPv6 that stands for an IPv4 address.';


--
-- Name: _is_reference(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_reference(p_value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((p_value ~ '^(secret|vault):'::text), false);


--
-- Name: FUNCTION _is_reference(p_value text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_reference(p_value text) IS 'Does a queue''s header name a secret, instead of holding a value?';


--
-- Name: _is_rejection(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_rejection(p_status integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((p_status = ANY (ARRAY[400, 413, 415, 422])), false);


--
-- Name: FUNCTION _is_rejection(p_status integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._is_rejection(p_status integer) IS 'Answers that concern the payload, not the endpoint''s health.';


--
-- Name: _is_success(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._is_success(p_status integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(((p_status >= 200) AND (p_status <= 299)), false);


--
-- Name: _key_body(regclass); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._key_body(p_relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select format($body$
begin
  return jsonb_build_object(%s);
exception when undefined_column then
  return '{}';
end
$body$, coalesce((
    select string_agg(format('%L, r.%I', a.attname, a.attname), ', ' order by k.n)
    from pg_index i
    cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = p_relation and i.indisprimary), ''))
$_$;


--
-- Name: FUNCTION _key_body(p_relation regclass); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._key_body(p_relation regclass) IS 'What stands for a row that is too large: its primary key.';


--
-- Name: _key_of(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._key_of(p_secret text) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_text text := regexp_replace(btrim(p_secret, E' \t\r\n'), '^(v1,)?whsec_', '');
  v_key bytea;
begin
  -- Libraries take secrets without padding; decode() does not.
  v_key := decode(v_text || repeat('=', (4 - length(v_text) % 4) % 4), 'base64');
  if length(v_key) not between 24 and 64 then
    raise exception 'a signing secret has 24 to 64 bytes, this one has %', length(v_key)
      using errcode = 'QC002', hint = 'whsec_ and the base64 of the key; qctl secret rotate makes one by itself';
  end if;
  return v_key;
exception when data_exception then
  raise exception 'not a signing secret: it is no base64'
    using errcode = 'QC002', hint = 'whsec_ and the base64 of 24 to 64 bytes; qctl secret rotate makes one by itself';
end
$$;


--
-- Name: FUNCTION _key_of(p_secret text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._key_of(p_secret text) IS 'The bytes of whsec_…, with or without the v1, that Supabase writes before it.';


--
-- Name: _lapse(qctl.queue, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lapse(p_queue qctl.queue, p_now timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_q text := 'q_' || p_queue.queue_name;
  v_expired bigint[];
  v_anchored bigint[];
  v_present bigint[];
  v_count integer;
  v_keys text[];
begin
  select array_agg(f.msg_id) into v_expired from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.expires_at <= qctl._lapse_at(f.request_id, p_now);
  if v_expired is null then
    return 0;
  end if;

  -- Whoever holds the message's row is settling it right now; waiting for it under the gate could deadlock.
  execute format('select array_agg(x.msg_id) from (select q.msg_id from pgmq.%I q where q.msg_id = any ($1)
                  order by q.msg_id for update skip locked) x', v_q)
    into v_anchored using v_expired;
  execute format('select array_agg(q.msg_id) from pgmq.%I q where q.msg_id = any ($1)', v_q)
    into v_present using v_expired;

  execute format($q$
    with due as materialized (
      select f.msg_id, f.lease from qctl.in_flight f
      where f.queue_id = $1 and f.lapsed_at is null and f.expires_at <= qctl._lapse_at(f.request_id, $2)
        and (f.msg_id = any ($3) or not f.msg_id = any (coalesce($4, '{}')))
      order by f.msg_id for update skip locked
    ), lapsed as (
      update qctl.in_flight f set lapsed_at = $2 from due d
      where f.queue_id = $1 and f.msg_id = d.msg_id and f.lease = d.lease
      returning f.msg_id, f.enqueued_at, f.delivery_no, f.attempt_no, f.order_key
    ), plan as materialized (
      select l.msg_id, l.enqueued_at, l.delivery_no, greatest(l.attempt_no, coalesce(r.attempt_no, 0)) as attempt_no,
             coalesce(r.attempts, 0) as attempts, coalesce(r.lost, 0) + 1 as lost, r.webhook_id, r.last_status, r.last_error,
             l.order_key, case when coalesce(r.lost, 0) = 0 then $2
                  else $2 + make_interval(secs => qctl._backoff_s(case when l.order_key is null then $5 else $8 end, r.lost, $6)) end as next_at
      from lapsed l
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = l.msg_id and r.enqueued_at = l.enqueued_at
      where l.msg_id = any ($3)
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at)
      select $1, p.msg_id, p.enqueued_at, p.delivery_no, p.attempt_no, 0, 0, 1, p.next_at from plan p where p.lost <= $7
      on conflict (queue_id, msg_id, enqueued_at) do update
        set lost = r.lost + 1, attempt_no = greatest(r.attempt_no, excluded.attempt_no), next_at = excluded.next_at
    ), shown as (
      update pgmq.%1$I q set vt = p.next_at from plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at and p.lost <= $7
    ), dying as (
      delete from pgmq.%1$I q using plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at and p.lost > $7
      returning q.msg_id, q.enqueued_at, q.read_ct, q.message, q.headers, p.delivery_no, p.attempts, p.lost, p.last_status,
                p.last_error, p.webhook_id, p.order_key
    ), buried as (
      insert into qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, status_code, error,
                                    enqueued_at, read_ct, message, headers, webhook_id, died_at, blocks_key)
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost, 'lost', d.last_status,
             coalesce(d.last_error, 'no answer before the lease ran out'),
             d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $2,
             case when $9 = 'block' then d.order_key end
      from dying d
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempts, lost, reason, note, status_code, error, read_ct, message, headers, webhook_id, died_at, blocks_key)
          = (excluded.delivery_no, excluded.attempts, excluded.lost, excluded.reason, null, excluded.status_code, excluded.error,
             excluded.read_ct, excluded.message, excluded.headers, excluded.webhook_id, excluded.died_at, excluded.blocks_key)
    ), forgotten as (
      delete from qctl.retry r using dying d
      where r.queue_id = $1 and r.msg_id = d.msg_id and r.enqueued_at = d.enqueued_at
    )
    select count(*), array_agg(distinct l.order_key) filter (where l.order_key is not null) from lapsed l
  $q$, v_q)
  into v_count, v_keys
  using p_queue.queue_id, p_now, v_anchored, v_present, p_queue.retry_schedule_s, p_queue.retry_jitter, p_queue.max_lost,
        p_queue.order_schedule_s, p_queue.on_dead;
  if v_keys is not null and p_queue.ordered then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  return v_count;
end
$_$;


--
-- Name: FUNCTION _lapse(p_queue qctl.queue, p_now timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._lapse(p_queue qctl.queue, p_now timestamp with time zone) IS 'Marks expired leases of a queue and shows their messages again: the first time at once, later by the schedule.';


--
-- Name: _lapse_at(bigint, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lapse_at(p_request_id bigint, p_now timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (p_request_id IS NULL) THEN p_now ELSE (p_now - '00:10:00'::interval) END;


--
-- Name: FUNCTION _lapse_at(p_request_id bigint, p_now timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._lapse_at(p_request_id bigint, p_now timestamp with time zone) IS 'Leases that ended before this have run out. Those of pg_net requests are judged by qctl._net_review, which looks where the request is; time alone ends them only when nobody has looked for 10 minutes.';


--
-- Name: _lapse_gone(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lapse_gone(p_queue qctl.queue) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update qctl.in_flight f set lapsed_at = clock_timestamp()
  from (select o.msg_id, o.lease from qctl.in_flight o
        where o.queue_id = p_queue.queue_id and o.lapsed_at is null order by o.msg_id for update skip locked) o
  where f.queue_id = p_queue.queue_id and f.msg_id = o.msg_id and f.lease = o.lease
$$;


--
-- Name: FUNCTION _lapse_gone(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._lapse_gone(p_queue qctl.queue) IS 'Ends the leases of a queue whose pgmq table is gone.';


--
-- Name: _last_delivered(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._last_delivered(p_queue_name text) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
declare
  v_at timestamptz;
begin
  -- A long run of what others archived is not searched to its end.
  execute format($q$
    select max(a.archived_at) filter (where a.ours)
    from (select a.archived_at, a.headers #>> '{qctl,outcome}' = 'delivered' as ours from pgmq.%I a
          order by a.archived_at desc limit 1000) a
  $q$, 'a_' || p_queue_name) into v_at;
  return v_at;
end
$_$;


--
-- Name: FUNCTION _last_delivered(p_queue_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._last_delivered(p_queue_name text) IS 'When the last message was delivered; null if none of the last 1000 archived ones was.';


--
-- Name: _last_msg_id(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._last_msg_id(p_queue_name text) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(pg_sequence_last_value(pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue_name), 'msg_id')::regclass), 0)
$$;


--
-- Name: _last_run(bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._last_run(p_job_id bigint) RETURNS TABLE(status text, message text, at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return query
  select d.status, d.return_message, coalesce(d.end_time, d.start_time) from cron.job_run_details d
  where d.runid > (select max(m.runid) from cron.job_run_details m) - 5000 and d.jobid = p_job_id
  order by d.runid desc limit 1;
exception when insufficient_privilege or undefined_table or undefined_column then
  return;
end
$$;


--
-- Name: FUNCTION _last_run(p_job_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._last_run(p_job_id bigint) IS 'How a job runs or last ended, among the last 5000 runs of all jobs. pg_cron''s history has no index but its number.';


--
-- Name: _level_routines(text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._level_routines(p_level text, p_payloads boolean) RETURNS SETOF regprocedure
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = 'qctl'::regnamespace and pg_has_role(p.proowner, 'usage')
    and (p_level in ('read', 'operate', 'work')
         and (p.proname = any ('{depth,lag,growth,rates,health,silence,settled_until,archive_size,check,doctor,verify,workers,messages,dead,life,locate,capacity,sizing,'
                               'is_armed,_timeline,webhook_id,running_jobs,_status,describe,message_state,message_states,label,signing_secrets,header_secrets,event_route}')
              or p_payloads and p.proname in ('messages_where', 'payloads'))
         or p_level = 'operate'
         and (p.proname = any ('{send,send_once,replay,discard,pause,resume,purge,purgeable,purge_these,purge_dead,purgeable_dead,purge_leftovers,scale}')
              or p_payloads and p.proname = 'purge_preview')
         or p_level = 'work'
         and p.proname = any ('{claim,release,settle,register_worker,heartbeat,sign_off,upkeep,fall_asleep,wake_up,ready_queues,_queue,'
                              'maintenance,_forget_dedup_keys,_sweep_order,_queues_to_collect,_work_review,_roll_up,_take_samples,_due_retention,_retain,_retention_done,_sweep,_plan_jobs,_owns_jobs,'
                              '_maintenance_deadline,_before}'))
$$;


--
-- Name: FUNCTION _level_routines(p_level text, p_payloads boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._level_routines(p_level text, p_payloads boolean) IS 'What a role of that level may execute. Those that act run as the role that installed qctl; the audit names who called.';


--
-- Name: _literal_address(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._literal_address(p_host text) RETURNS inet
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_parts bigint[];
  v_count integer;
  v_value bigint;
begin
  if p_host like '[%' then
    return split_part(btrim(p_host, '[]'), '%', 1)::inet;
  end if;
  select array_agg(qctl._number_of(p) order by n), count(*) into v_parts, v_count from unnest(string_to_array(p_host, '.')) with ordinality as u (p, n);
  if v_count > 4 or array_position(v_parts, null) is not null then
    return null;
  end if;
  -- 127.1 is 127.0.0.1: the last part fills the bytes that are left.
  v_value := v_parts[v_count];
  for v_i in 1..v_count - 1 loop
    v_value := v_value + (v_parts[v_i] << (8 * (4 - v_i)));
  end loop;
  return '0.0.0.0'::inet + (v_value & 4294967295);
exception when data_exception then
  return null;
end
$$;


--
-- Name: FUNCTION _literal_address(p_host text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._literal_address(p_host text) IS 'The address that a host is written as, in any form that libcurl takes: 127.0.0.1, 127.1, 2130706433, 0x7f000001, 0177.0.0.1, [::1]. Null for a name.';


--
-- Name: _lock_tables(text[], text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lock_tables(p_relations text[], p_exclusively text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '300ms'
    AS $$
declare
  v_table record;
begin
  for v_table in
    select r.id, bool_or(r.exclusively) as exclusively
    from (select qctl._regclass(n) as id, false as exclusively from unnest(p_relations) n
          union all select qctl._regclass(n), true from unnest(p_exclusively) n) r
    where r.id is not null group by r.id order by r.id
  loop
    execute format('lock table %s in %s mode', v_table.id, case when v_table.exclusively then 'access exclusive' else 'share row exclusive' end);
  end loop;
end
$$;


--
-- Name: FUNCTION _lock_tables(p_relations text[], p_exclusively text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._lock_tables(p_relations text[], p_exclusively text[]) IS 'Takes the locks of several attaches at once, in one order, and rather gives up than holds one for long while it waits for the next.';


--
-- Name: _lower_keys(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lower_keys(p_headers jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((SELECT jsonb_object_agg(lower(h.key), h.value) AS jsonb_object_agg FROM jsonb_each(_lower_keys.p_headers) h(key, value)), '{}'::jsonb);


--
-- Name: _maintenance_deadline(interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._maintenance_deadline(p_for interval) RETURNS timestamp with time zone
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select statement_timestamp() + least(p_for, (
    select make_interval(secs => s.setting::integer / 1000.0) - interval '2 s' from pg_settings s
    where s.name = 'statement_timeout' and s.setting <> '0'))
$$;


--
-- Name: _make_capture(qctl.attachment, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._make_capture(p_attachment qctl.attachment, p_queue text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_function regprocedure;
  v_operation text;
  v_relation regclass;
begin
  perform qctl._make_functions(p_attachment, p_queue);
  for v_function in select qctl._capture_functions(p_attachment.attachment_id) loop
    execute format('revoke all on function %s from public', v_function);
    -- Whoever makes a partition must be allowed to execute what its triggers call.
    execute format('grant execute on function %s to %I', v_function,
                   (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = p_attachment.relation));
  end loop;
  foreach v_operation in array p_attachment.operations loop
    for v_relation in select qctl._captured_relations(p_attachment.relation) loop
      execute format('create trigger %I after %s on %s %s execute function qctl.%I()',
        qctl._capture_trigger(p_attachment.attachment_id, v_operation), v_operation, v_relation,
        case when v_operation = 'TRUNCATE' then 'for each statement'
             when p_attachment.level = 'row' then 'for each row'
             else format('referencing %s for each statement', case v_operation
               when 'INSERT' then 'new table as new_rows' when 'DELETE' then 'old table as old_rows'
               else 'old table as old_rows new table as new_rows' end) end,
        qctl._capture_function(p_attachment.attachment_id, v_operation));
      if p_attachment.replicated then
        execute format('alter table %s enable always trigger %I', v_relation, qctl._capture_trigger(p_attachment.attachment_id, v_operation));
      end if;
    end loop;
  end loop;
end
$$;


--
-- Name: _make_functions(qctl.attachment, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._make_functions(p_attachment qctl.attachment, p_queue text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_set constant text := 'set search_path = pg_catalog, pg_temp set standard_conforming_strings = on';
  v_operation text;
  v_name text;
begin
  execute format('create or replace function qctl.%I(r record) returns jsonb language plpgsql stable %s as %L',
                 qctl._capture_function(p_attachment.attachment_id, 'key'), v_set, qctl._key_body(p_attachment.relation));
  execute format('create or replace function qctl.%I(r record) returns jsonb language plpgsql stable %s as %L',
                 qctl._capture_function(p_attachment.attachment_id, 'row'), v_set, qctl._row_body());
  if p_attachment.order_by is not null then
    execute format('create or replace function qctl.%I(r record) returns text language plpgsql stable %s as %L',
                   qctl._capture_function(p_attachment.attachment_id, 'order'), v_set,
                   format(E'\nbegin\n  return r.%I::text;\nexception when undefined_column then\n  return null;\nend\n', p_attachment.order_by));
  end if;
  foreach v_operation in array p_attachment.operations loop
    v_name := qctl._capture_function(p_attachment.attachment_id, v_operation);
    execute format('create or replace function qctl.%I() returns trigger language plpgsql security definer %s%s as %L', v_name, v_set,
      -- Kept plans: one made for a single row would pair many rows by a nested loop.
      case when v_operation = 'UPDATE' and p_attachment.level = 'statement' then ' set enable_nestloop = off' end,
      qctl._capture_body(p_attachment, p_queue, v_operation));
    execute format('comment on function qctl.%I() is %L', v_name, format('%s of %s to queue %s', v_operation, p_attachment.relation, p_queue));
  end loop;
end
$$;


--
-- Name: _make_status_view(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._make_status_view(p_queue text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_grantee record;
  v_owner name := (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'qctl');
begin
  if exists (select from pg_class c where c.relnamespace = 'qctl'::regnamespace and c.relname = p_queue || '_status'
             and not pg_has_role(c.relowner, 'usage')) then
    return;
  end if;
  -- Over a function, so that nothing of pgmq depends on us and its upgrades may change its tables.
  execute format('create or replace view qctl.%I as select * from qctl.messages(%L, p_limit => 1000)', p_queue || '_status', p_queue);
  execute format('comment on view qctl.%I is %L', p_queue || '_status',
                 'The newest 1000 messages of the queue with their state and last attempt. More, and others: qctl.messages().');
  if v_owner <> current_user then
    execute format('alter view qctl.%I owner to %I', p_queue || '_status', v_owner);
  end if;
  for v_grantee in select g.role_name from qctl.grantee g join pg_roles r on r.rolname = g.role_name loop
    execute format('grant select on qctl.%I to %I', p_queue || '_status', v_grantee.role_name);
  end loop;
end
$$;


--
-- Name: FUNCTION _make_status_view(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._make_status_view(p_queue text) IS 'Each queue has a view of its own for people in an SQL editor.';


--
-- Name: _mark_number(jsonb, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._mark_number(p_headers jsonb, p_key text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((jsonb_typeof((p_headers #> ARRAY['qctl'::text, p_key])) = 'number'::text) AND ((p_headers #>> ARRAY['qctl'::text, p_key]) ~ '^[0-9]{1,8}$'::text)) THEN ((p_headers #>> ARRAY['qctl'::text, p_key]))::integer ELSE NULL::integer END;


--
-- Name: FUNCTION _mark_number(p_headers jsonb, p_key text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._mark_number(p_headers jsonb, p_key text) IS 'A number that settle left in an archived message''s headers; null if that is no number, for producers can write there too.';


--
-- Name: _mark_webhook_id(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._mark_webhook_id(p_headers jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((p_headers #>> '{qctl,webhook_id}'::text[]) ~ '^msg_[0-9a-f]{64}$'::text) THEN (p_headers #>> '{qctl,webhook_id}'::text[]) ELSE NULL::text END;


--
-- Name: FUNCTION _mark_webhook_id(p_headers jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._mark_webhook_id(p_headers jsonb) IS 'The override of a webhook-id in an archived message''s headers, if it is one.';


--
-- Name: _may_go(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._may_go(p_queue_name text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select format($q$(left(q.headers ->> 'x-pgmq-group', 200) is null
    or not exists (select from pgmq.%1$I o where o.headers ? 'x-pgmq-group'
                     and left(o.headers ->> 'x-pgmq-group', 200) = left(q.headers ->> 'x-pgmq-group', 200) and o.msg_id < q.msg_id)
       and not exists (select from qctl.in_flight f
                       where f.queue_id = $1 and f.order_key = left(q.headers ->> 'x-pgmq-group', 200) and f.lapsed_at is null)
       and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.blocks_key = left(q.headers ->> 'x-pgmq-group', 200)))$q$, 'q_' || p_queue_name)
$_$;


--
-- Name: FUNCTION _may_go(p_queue_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._may_go(p_queue_name text) IS 'The condition on a message q of queue $1 that nothing of its order key is before it, under way, or in the way.';


--
-- Name: _messages(text, text[], timestamp with time zone, timestamp with time zone, timestamp with time zone, text[], text, text, text, boolean, jsonb, integer, bigint, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._messages(p_queue text, p_states text[], p_since timestamp with time zone, p_until timestamp with time zone, p_captured_since timestamp with time zone, p_status_codes text[], p_error text, p_response text, p_not_response text, p_retrying boolean, p_where jsonb, p_limit integer, p_before_id bigint, p_before_at timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamp with time zone, visible_at timestamp with time zone, finished_at timestamp with time zone, delivery_no integer, attempts integer, lost integer, next_at timestamp with time zone, reason text, note text, last_attempt_at timestamp with time zone, status_code integer, error text, response text, duration_ms integer)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $_$
#variable_conflict use_column
declare
  c_states constant text[] := '{ready,delayed,in_flight,retrying,delivered,dead,archived}';
  v_queue qctl.queue := qctl._queue(p_queue);
  v_states text[] := coalesce(p_states, c_states);
  v_by_attempt boolean := coalesce(p_since, p_until) is not null or coalesce(p_error, p_response, p_not_response) is not null
                          or p_status_codes is not null;
  v_unfinished boolean := v_states && '{ready,delayed,in_flight,retrying}';
  v_places text[];
  v_pick text := '';
  v_tried text := '';
  v_all text;
begin
  if not v_states <@ c_states then
    raise exception 'no such state: %', (select string_agg(s, ', ') from unnest(v_states) s where not s = any (c_states))
      using errcode = 'QC002', hint = array_to_string(c_states, ', ');
  end if;
  if p_retrying then
    v_states := array(select s from unnest(v_states) s where s in ('ready', 'in_flight', 'retrying'));
    v_pick := 'and r.attempts > 0';
  end if;
  -- Few rows among many: they are found from the small tables.
  if not v_by_attempt and (p_retrying or v_states = '{retrying}') then
    v_pick := v_pick || ' and m.msg_id = any (array(select x.msg_id from qctl.retry x where x.queue_id = $1))';
  elsif not v_by_attempt and v_states = '{in_flight}' then
    v_pick := v_pick || ' and m.msg_id = any (array(select x.msg_id from qctl.in_flight x where x.queue_id = $1 and x.lapsed_at is null))';
  end if;
  -- Likewise the attempts: through the messages that are dead, retried or in flight; or those that failed, by their index.
  if p_retrying or v_states = '{retrying}' then
    v_tried := 'and t.msg_id = any (array(select x.msg_id from qctl.retry x where x.queue_id = $1))';
  elsif v_states = '{dead}' then
    v_tried := 'and t.msg_id = any (array(select x.msg_id from qctl.dead_letter x where x.queue_id = $1))';
  elsif v_states = '{in_flight}' then
    v_tried := 'and t.msg_id = any (array(select x.msg_id from qctl.in_flight x where x.queue_id = $1 and x.lapsed_at is null))';
  elsif p_status_codes is not null and not exists (select from unnest(p_status_codes) c where left(c, 1) in ('2', 'x', 'X')) then
    v_tried := 'and t.outcome <> ''delivered''';
  end if;
  if v_unfinished and to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    v_places := array_append(v_places, format($q$(
      select m.msg_id, m.state, m.webhook_id, case when isfinite(m.enqueued_at) then m.enqueued_at end as enqueued_at,
             case when isfinite(m.visible_at) then m.visible_at end as visible_at, null::timestamptz as finished_at, m.delivery_no, m.attempts, m.lost,
             m.next_at, null::text as reason, null::text as note
      from (
        select m.msg_id, case when f.msg_id is not null then 'in_flight' when m.vt <= $3 then 'ready'
                              when r.msg_id is not null then 'retrying' else 'delayed' end as state,
               coalesce(r.webhook_id, qctl.webhook_id($2, m.msg_id, m.enqueued_at)) as webhook_id, m.enqueued_at, m.vt as visible_at,
               coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempts, 0) as attempts, coalesce(r.lost, 0) as lost, r.next_at
        from pgmq.%I m
        left join qctl.retry r on r.queue_id = $1 and r.msg_id = m.msg_id and r.enqueued_at = m.enqueued_at
        left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = m.msg_id and f.lapsed_at is null
        where @ID@ and ($6 is null or m.message @> $6) and ($7 is null or m.enqueued_at >= $7) %s
        order by m.msg_id desc) m
      where m.state = any ($4)
      limit @LIMIT@)$q$, 'q_' || p_queue, v_pick));
  end if;
  if 'dead' = any (v_states) then
    v_places := array_append(v_places, $q$(
      select m.msg_id, 'dead', coalesce(m.webhook_id, qctl.webhook_id($2, m.msg_id, m.enqueued_at)),
             case when isfinite(m.enqueued_at) then m.enqueued_at end, null::timestamptz, m.died_at, m.delivery_no,
             m.attempts, m.lost, null::timestamptz, m.reason, m.note
      from qctl.dead_letter m
      where m.queue_id = $1 and @ID@ and ($6 is null or m.message @> $6) and ($7 is null or m.enqueued_at >= $7)
      order by m.msg_id desc limit @LIMIT@)$q$);
  end if;
  if v_states && '{delivered,archived}' and to_regclass(format('pgmq.%I', 'a_' || p_queue)) is not null then
    v_places := array_append(v_places, format($q$(
      select m.msg_id, case when m.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end,
             coalesce(qctl._mark_webhook_id(m.headers), qctl.webhook_id($2, m.msg_id, m.enqueued_at)),
             case when isfinite(m.enqueued_at) then m.enqueued_at end, null::timestamptz, m.archived_at,
             coalesce(qctl._mark_number(m.headers, 'delivery_no'), 1), coalesce(qctl._mark_number(m.headers, 'attempts'), 0), 0, null::timestamptz, null::text, null::text
      from pgmq.%I m
      where @ID@ and ($6 is null or m.message @> $6) and ($7 is null or m.enqueued_at >= $7 and m.archived_at >= $7)
        and case when m.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end = any ($4)
      order by m.msg_id desc limit @LIMIT@)$q$, 'a_' || p_queue));
  end if;
  if v_places is null then
    return;
  end if;
  v_all := array_to_string(v_places, ' union all ');

  if not v_by_attempt then
    return query execute format($q$
      select $5, m.*, t.settled_at, t.status_code, t.error, t.response, t.duration_ms
      from (select * from (%s) m order by m.msg_id desc limit $9) m
      left join lateral (select * from qctl.attempt t where t.queue_id = $1 and t.msg_id = m.msg_id
                         order by t.delivery_no desc, t.attempt_no desc limit 1) t on true
      order by m.msg_id desc
    $q$, replace(replace(v_all, '@ID@', 'm.msg_id < $8'), '@LIMIT@', '$9'))
    using v_queue.queue_id, v_queue.queue_uuid, clock_timestamp(), v_states, v_queue.queue_name, p_where, p_captured_since,
          coalesce(p_before_id, 9223372036854775807), p_limit;
    return;
  end if;

  return query execute format($q$
    select $5, m.*, t.settled_at, t.status_code, t.error, t.response, t.duration_ms
    from qctl.attempt t
    cross join lateral (select * from (%s) m limit 1) m
    where t.queue_id = $1 and t.settled_at >= $8 and t.settled_at < $9 and (t.settled_at, t.msg_id) < ($10, $11)
      and ($12 is null or t.status_code::text like any ($12))
      and ($13 is null or t.error ilike $13)
      and ($14 is null or position($14 in t.response) > 0)
      and ($15 is null or position($15 in coalesce(t.response, '')) = 0)
      and not exists (select from qctl.attempt n where n.queue_id = $1 and n.msg_id = t.msg_id
                        and (n.delivery_no, n.attempt_no) > (t.delivery_no, t.attempt_no))
      %s
    order by t.settled_at desc, t.msg_id desc limit $16
  $q$, replace(replace(v_all, '@ID@', 'm.msg_id = t.msg_id'), '@LIMIT@', '1'), v_tried)
  using v_queue.queue_id, v_queue.queue_uuid, clock_timestamp(), v_states, v_queue.queue_name, p_where, p_captured_since,
        coalesce(p_since, '-infinity'), coalesce(p_until, 'infinity'), coalesce(p_before_at, 'infinity'),
        coalesce(p_before_id, 9223372036854775807),
        (select array_agg(replace(lower(s), 'x', '_')) from unnest(p_status_codes) s),
        '%' || replace(replace(replace(p_error, '\', '\\'), '%', '\%'), '_', '\_') || '%', p_response, p_not_response, p_limit;
end
$_$;


--
-- Name: _missing_secrets(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._missing_secrets(p_headers jsonb) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select string_agg(distinct h.value, ', ') from jsonb_each_text(p_headers) as h
  where qctl._is_reference(h.value)
    and not coalesce(qctl._is_header('x', to_jsonb(qctl._secret_value(h.value))) and qctl._secret_value(h.value) <> '', false)
$$;


--
-- Name: FUNCTION _missing_secrets(p_headers jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._missing_secrets(p_headers jsonb) IS 'References in these headers behind which there is nothing that can be sent; null if all are there.';


--
-- Name: _net_allowed(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_allowed(p_timeout_ms integer) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select qctl._net_batch_size() * least(2, greatest(1, 60000 / (p_timeout_ms + 1000)))
$$;


--
-- Name: FUNCTION _net_allowed(p_timeout_ms integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_allowed(p_timeout_ms integer) IS 'Requests that may stand in pg_net''s queue: as many batches as it starts in 60 s if every one takes the whole timeout, at most two: more would only make a newcomer wait.';


--
-- Name: _net_batch_size(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_batch_size() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(qctl._setting('pg_net.batch_size')::integer, 200)
$$;


--
-- Name: FUNCTION _net_batch_size(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_batch_size() IS 'Requests that pg_net starts at once, and about how many it does in a second.';


--
-- Name: _net_epoch(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_epoch() RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_ident text := qctl._net_ident();
  v_epoch uuid;
begin
  if v_ident is null then
    return null;
  end if;
  for v_try in 1..2 loop
    select e.epoch into v_epoch from qctl.net_epoch e
    where e.ident = v_ident and coalesce(qctl._net_last_id() >= e.last_request_id, true);
    if found then
      return v_epoch;
    end if;
    if v_try = 1 then
      perform pg_advisory_xact_lock(1902343277, 2);
    end if;
  end loop;
  insert into qctl.net_epoch as e (epoch, ident, began_at) values (gen_random_uuid(), v_ident, clock_timestamp())
  on conflict (one) do update
    set (epoch, ident, began_at, last_request_id) = (excluded.epoch, excluded.ident, excluded.began_at, 0)
  returning e.epoch into v_epoch;
  return v_epoch;
end
$$;


--
-- Name: FUNCTION _net_epoch(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_epoch() IS 'The time between two losses of pg_net''s tables or ids: answers count only for requests of the same epoch, and only if they are not older than it. Null: there is no pg_net.';


--
-- Name: _net_free(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_free() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update qctl.scheduler s set net_held_since = null, net_held_reason = null, net_probe_at = null where s.net_held_since is not null;
  if found then
    perform qctl._audit('net_free', null);
  end if;
end
$$;


--
-- Name: _net_hold(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_hold(p_reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update qctl.scheduler s
  set net_held_since = clock_timestamp(), net_probe_at = clock_timestamp(),
      net_held_reason = p_reason || case
        when exists (select from pg_stat_activity a where a.application_name ~ '^pg_net' or a.backend_type ~ '^pg_net') then ''
        else '; its worker is not to be seen in pg_stat_activity' end
  where s.net_held_since is null;
  if found then
    perform qctl._audit('net_hold', null, jsonb_build_object('reason', p_reason));
  end if;
end
$$;


--
-- Name: FUNCTION _net_hold(p_reason text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_hold(p_reason text) IS 'pg_net stands still: hand it one message a minute until it answers one.';


--
-- Name: _net_ident(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_ident() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select format('%s/%s/%s/%s/%s', c.system_identifier, d.oid, qctl._net_relation('http_request_queue'),
                pg_relation_filenode(qctl._net_relation('http_request_queue_id_seq')::regclass), 'qctl.net_epoch'::regclass::oid)
  from pg_control_system() c, pg_database d
  where d.datname = current_database() and qctl._net_relation('http_request_queue') is not null
$$;


--
-- Name: FUNCTION _net_ident(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_ident() IS 'Names cluster, database, pg_net''s table, the present life of its sequence (TRUNCATE … RESTART IDENTITY begins another), and our marker; null where there is no pg_net.';


--
-- Name: _net_is_open(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_is_open() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (select from pg_namespace n join pg_class c on c.relnamespace = n.oid
                 where n.nspname = 'net' and c.relname = 'http_request_queue'
                   and has_schema_privilege('public', n.oid, 'usage') and has_table_privilege('public', c.oid, 'select'))
$$;


--
-- Name: FUNCTION _net_is_open(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_is_open() IS 'May every role of this database read what is handed to pg_net?';


--
-- Name: _net_last_id(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_last_id() RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_sequence oid := qctl._net_relation('http_request_queue_id_seq');
begin
  if v_sequence is not null and has_sequence_privilege(v_sequence, 'usage, select') then
    return coalesce(pg_sequence_last_value(v_sequence::regclass), 0);
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION _net_last_id(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_last_id() IS 'The last request id that anybody got; null where this role may not see it.';


--
-- Name: _net_max_body(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_max_body(p_version text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((p_version ~ '^\d+(\.\d+)+$'::text) AND (((string_to_array(p_version, '.'::text))::integer[] < '{0,11,0}'::integer[]) OR ((string_to_array(p_version, '.'::text))::integer[] > '{0,20,4}'::integer[]))) THEN NULL::integer ELSE 49152 END;


--
-- Name: FUNCTION _net_max_body(p_version text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_max_body(p_version text) IS 'Bytes that this pg_net version carries for certain: 0.11.0 to 0.20.4 hang on bodies over 64 KB, and 0.20.5 reports 0.20.4. Null: no limit.';


--
-- Name: _net_pending(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_pending(p_most integer) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return (select count(*) from (select from net.http_request_queue limit p_most) as p);
end
$$;


--
-- Name: FUNCTION _net_pending(p_most integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_pending(p_most integer) IS 'Requests of anybody that stand in pg_net''s queue, counted up to p_most.';


--
-- Name: _net_readable(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_readable() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(bool_and(has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')), true)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'net' and c.relname in ('http_request_queue', '_http_response')
$$;


--
-- Name: FUNCTION _net_readable(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_readable() IS 'May this role look into pg_net''s tables? Also true where there are none: then every request is known to be gone.';


--
-- Name: _net_relation(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_relation(p_name text) RETURNS oid
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'net' and c.relname = p_name
$$;


--
-- Name: _net_review(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_review(p_queue qctl.queue) RETURNS TABLE(other_epoch integer, taken_back integer, missing integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
declare
  c_start constant interval := '60 s';
  v_now timestamptz := clock_timestamp();
  v_epoch uuid;
begin
  other_epoch := 0;
  taken_back := 0;
  missing := 0;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is null then
    perform qctl._lapse_gone(p_queue);
    return next;
    return;
  elsif not qctl._net_readable() then
    return next;
    return;
  end if;
  v_epoch := qctl._net_epoch();

  update qctl.in_flight f set expires_at = f.claimed_at - interval '1 day'
  from (select o.queue_id, o.msg_id, o.lease from qctl.in_flight o
        where o.queue_id = p_queue.queue_id and o.lapsed_at is null and o.request_id is not null
          and o.epoch is distinct from v_epoch
        order by o.msg_id for update skip locked) as o
  where f.queue_id = o.queue_id and f.msg_id = o.msg_id and f.lease = o.lease;
  get diagnostics other_epoch = row_count;

  if v_epoch is not null then
    missing := qctl._expire_missing(p_queue, v_epoch, v_now - c_start);
  end if;
  if other_epoch + missing > 0 then
    perform qctl._lapse(p_queue, v_now);
  end if;
  if v_epoch is not null then
    taken_back := qctl._take_back(p_queue, c_start);
    if taken_back > 0 and not exists (select from net._http_response r where r.created > v_now - c_start) then
      perform qctl._net_hold('pg_net has started nothing for 60 s');
    end if;
  end if;
  return next;
end
$$;


--
-- Name: FUNCTION _net_review(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_review(p_queue qctl.queue) IS 'Judges the pg_net requests of a queue that have no answer: those of another epoch lapse at once; those not started within 60 s are taken back; those in neither of pg_net''s tables lapse 60 s after their timeout.';


--
-- Name: _net_room(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._net_room(p_queue qctl.queue) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  c_probe constant interval := '60 s';
  v_now timestamptz := clock_timestamp();
  v_allowed integer := qctl._net_allowed(p_queue.timeout_ms);
  v_pending integer := qctl._net_pending(v_allowed);
  v_state qctl.scheduler;
  v_hold_until timestamptz;
begin
  select * into v_state from qctl.scheduler;
  if v_pending >= v_allowed then
    if v_state.net_held_since is null and not exists (
         select from qctl.in_flight f where f.request_id is not null and f.lapsed_at is null and f.epoch = qctl._net_epoch()) then
      perform qctl._net_hold(format('%s or more requests of others stand before ours in pg_net''s queue', v_pending));
    end if;
    return 0;
  end if;

  if v_state.net_held_since is not null then
    if exists (select from net._http_response r where r.created > v_state.net_held_since) then
      perform qctl._net_free();
    else
      update qctl.scheduler s set net_probe_at = v_now where s.net_probe_at is null or s.net_probe_at < v_now - c_probe;
      return case when found then 1 else 0 end;
    end if;
  end if;

  select g.net_hold_until into v_hold_until from qctl.gate g where g.queue_id = p_queue.queue_id;
  if v_hold_until > v_now then
    return 0;
  elsif v_hold_until is not null then
    return case when exists (select from qctl.in_flight f
                             where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.request_id is not null) then 0 else 1 end;
  end if;
  return v_allowed - v_pending;
end
$$;


--
-- Name: FUNCTION _net_room(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._net_room(p_queue qctl.queue) IS 'How many requests of this queue pg_net may be handed now: none while it stands still, one to try whether it moves again.';


--
-- Name: _new_webhook_id(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._new_webhook_id() RETURNS text
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'msg_' || encode(sha256(uuid_send(gen_random_uuid())), 'hex')
$$;


--
-- Name: _note_answers(qctl.queue, integer, integer, timestamp with time zone, boolean, integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._note_answers(p_queue qctl.queue, p_alive integer, p_failed integer, p_failing_since timestamp with time zone, p_probe_alive boolean, p_retry_after_s integer, p_error text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  c_window constant interval := '30 s';
  c_least constant integer := 20;
  c_longest_wish constant integer := 600;
  v_gate qctl.gate;
  v_now timestamptz;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  if p_failed = 0 and p_probe_alive is null and v_gate.failures = 0 and v_gate.window_at is null and v_gate.slow_limit is null then
    return;
  end if;
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  v_now := clock_timestamp();

  if v_gate.opened_at is not null then
    -- Only the probe says how the endpoint is now; what was sent before it fell says how it was.
    if p_probe_alive then
      perform qctl._close_breaker(p_queue, 'a probe was answered');
    elsif not p_probe_alive then
      update qctl.gate g set pauses = g.pauses + 1, probe_lease = null, probe_ends = null,
        open_reason = coalesce(p_error, g.open_reason),
        probe_at = v_now + greatest(qctl._breaker_pause(g.pauses + 1, p_queue.breaker_pause_max_s),
                                    case when p_retry_after_s > 0 then make_interval(secs => least(p_retry_after_s, p_queue.retry_after_max_s, c_longest_wish)) end)
      where g.queue_id = p_queue.queue_id;
    end if;
    return;
  end if;

  if p_alive > 0 then
    v_gate.failures := 0;
    v_gate.failing_since := null;
  else
    v_gate.failures := v_gate.failures + p_failed;
    v_gate.failing_since := coalesce(v_gate.failing_since, p_failing_since);
  end if;
  if v_gate.window_at is null or v_gate.window_at < v_now - c_window then
    v_gate.window_at := case when p_failed > 0 then v_now end;
    v_gate.window_answers := 0;
    v_gate.window_failures := 0;
  end if;
  if v_gate.window_at is not null then
    v_gate.window_answers := v_gate.window_answers + p_alive + p_failed;
    v_gate.window_failures := v_gate.window_failures + p_failed;
  end if;
  v_gate.slow_limit := case when v_gate.slow_limit + p_alive < p_queue.max_in_flight then v_gate.slow_limit + p_alive end;
  update qctl.gate g
  set (failures, failing_since, window_at, window_answers, window_failures, slow_limit)
    = (v_gate.failures, v_gate.failing_since, v_gate.window_at, v_gate.window_answers, v_gate.window_failures, v_gate.slow_limit)
  where g.queue_id = p_queue.queue_id;

  if p_failed > 0 and p_queue.breaker_after > 0 then
    if v_gate.failures >= p_queue.breaker_after then
      perform qctl._open_breaker(p_queue, format('%s attempts in a row failed', v_gate.failures), p_error, v_gate.failing_since);
    elsif v_gate.window_answers >= c_least and v_gate.window_failures >= p_queue.breaker_share * v_gate.window_answers then
      perform qctl._open_breaker(p_queue, format('%s of %s attempts within 30 s failed', v_gate.window_failures, v_gate.window_answers), p_error,
                                 least(v_gate.window_at, p_failing_since));
    end if;
  end if;
end
$$;


--
-- Name: FUNCTION _note_answers(p_queue qctl.queue, p_alive integer, p_failed integer, p_failing_since timestamp with time zone, p_probe_alive boolean, p_retry_after_s integer, p_error text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._note_answers(p_queue qctl.queue, p_alive integer, p_failed integer, p_failing_since timestamp with time zone, p_probe_alive boolean, p_retry_after_s integer, p_error text) IS 'Counts answers of the endpoint: p_alive show that it is there, p_failed that it is not; p_probe_alive is null when the probe was not among them.';


--
-- Name: _notify(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._notify(p_queue_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, p_queue_id) then
    perform pg_notify('qctl', p_queue_id::text);
  end if;
end
$$;


--
-- Name: _number_of(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._number_of(p_text text) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_number numeric := 0;
begin
  if p_text ~* '^0x[0-9a-f]{0,16}$' then
    return ('x' || lpad(substring(p_text from 3), 16, '0'))::bit(64)::bigint;
  elsif p_text ~ '^0[0-7]{1,21}$' then
    foreach p_text in array string_to_array(substring(p_text from 2), null) loop
      v_number := v_number * 8 + p_text::integer;
    end loop;
    return v_number::bigint;
  elsif p_text ~ '^[0-9]{1,18}$' then
    return p_text::bigint;
  end if;
  return null;
exception when data_exception then
  return null;
end
$_$;


--
-- Name: FUNCTION _number_of(p_text text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._number_of(p_text text) IS 'A number as inet_aton() reads the parts of an address: decimal, octal after 0, hexadecimal after 0x.';


--
-- Name: _objects(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._objects() RETURNS TABLE(kind text, identity text, definition text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET quote_all_identifiers TO 'off'
    SET extra_float_digits TO '1'
    AS $_$
  select case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid))
  from pg_proc p where p.pronamespace = 'qctl'::regnamespace and p.proname !~ '^capture_[0-9]+_'
  union all
  select 'view', c.oid::regclass::text, md5(pg_get_viewdef(c.oid)) from pg_class c
  where c.relnamespace = 'qctl'::regnamespace and c.relkind = 'v' and c.relname !~ '_status$'
  union all
  select 'table', c.oid::regclass::text,
         md5(c.relpersistence::text || string_agg(format('%s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                                pg_get_expr(d.adbin, d.adrelid)), ',' order by a.attname))
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where c.relnamespace = 'qctl'::regnamespace and c.relkind = 'r'
  group by c.oid, c.relpersistence
  union all
  select 'index', i.indexrelid::regclass::text, md5(pg_get_indexdef(i.indexrelid)) from pg_index i
  join pg_class c on c.oid = i.indrelid where c.relnamespace = 'qctl'::regnamespace and c.relkind = 'r' and i.indisvalid
  union all
  select 'constraint', format('%s on %s', n.conname, n.conrelid::regclass), md5(pg_get_constraintdef(n.oid)) from pg_constraint n
  join pg_class c on c.oid = n.conrelid where c.relnamespace = 'qctl'::regnamespace and n.contype in ('c', 'f', 'p', 'u')
$_$;


--
-- Name: FUNCTION _objects(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._objects() IS 'Each object of schema qctl with a hash of its definition; the capture functions have their attachment.';


--
-- Name: _octets(text, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._octets(p_text text, p_most integer DEFAULT 4096) RETURNS bytea
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when current_setting('client_encoding') = current_setting('server_encoding')
              then substring(textsend(p_text) from 1 for p_most) end
$$;


--
-- Name: FUNCTION _octets(p_text text, p_most integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._octets(p_text text, p_most integer) IS 'The first bytes of a text that may hold no valid UTF-8, as pg_net''s answers may; null for a client of another encoding.';


--
-- Name: _oldest_transaction(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._oldest_transaction() RETURNS TABLE(pid integer, role_name text, state text, since timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select a.pid, a.usename::text, a.state, a.xact_start from pg_stat_activity a
  where a.xact_start is not null and a.backend_xmin is not null and a.backend_type <> 'autovacuum worker'
    and (a.datname = current_database() or a.backend_type = 'walsender')
  order by age(a.backend_xmin) desc, a.xact_start limit 1
$$;


--
-- Name: FUNCTION _oldest_transaction(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._oldest_transaction() IS 'The session that keeps vacuum from removing dead rows; null in columns that this role may not see.';


--
-- Name: _open_breaker(qctl.queue, text, text, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._open_breaker(p_queue qctl.queue, p_what text, p_error text, p_since timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_reason text := p_what || coalesce(': ' || p_error, '');
begin
  update qctl.gate g
  set opened_at = clock_timestamp(), open_reason = v_reason, pauses = 0, probe_at = clock_timestamp() + qctl._breaker_pause(0, p_queue.breaker_pause_max_s),
      probe_lease = null, probe_ends = null, failures = 0, failing_since = null, window_at = null, slow_limit = null, recall_after = null,
      recall_since = least(p_since, case when g.recall_after is not null then g.recall_since end)
  where g.queue_id = p_queue.queue_id;
  perform qctl._audit('breaker_opened', p_queue.queue_name, jsonb_build_object('reason', v_reason));
  perform qctl._emit('breaker.opened', p_queue.queue_name, jsonb_build_object('reason', v_reason, 'url', p_queue.url));
end
$$;


--
-- Name: _order_index(qctl.queue, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._order_index(p_queue qctl.queue, p_wanted boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if p_wanted then
    execute format('create index if not exists %I on pgmq.%I ((left(headers ->> ''x-pgmq-group'', 200)), msg_id) where headers ? ''x-pgmq-group''',
                   'qctl_order_' || p_queue.queue_id, 'q_' || p_queue.queue_name);
  else
    execute format('drop index if exists pgmq.%I', 'qctl_order_' || p_queue.queue_id);
    execute format('update pgmq.%I q set vt = clock_timestamp() where q.vt = ''infinity''', 'q_' || p_queue.queue_name);
    update qctl.dead_letter d set blocks_key = null where d.queue_id = p_queue.queue_id and d.blocks_key is not null;
  end if;
end
$$;


--
-- Name: FUNCTION _order_index(p_queue qctl.queue, p_wanted boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._order_index(p_queue qctl.queue, p_wanted boolean) IS 'What an ordered queue needs: an index by order key. Taken away, its followers become ready.';


--
-- Name: _other_readers(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._other_readers(p_queue text) RETURNS TABLE(job_id bigint, job_name text, owner text, command text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if not qctl._cron_here() then
    return;
  end if;
  return query
  select j.jobid, coalesce(j.jobname::text, j.jobid::text), j.username::text, j.command
  from cron.job j
  where j.active and j.database = current_database()::text and j.command !~ '^call qctl\.'
    and qctl._reads_queue(qctl._code_of(j.command), p_queue)
  order by j.jobid;
end
$$;


--
-- Name: FUNCTION _other_readers(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._other_readers(p_queue text) IS 'Active jobs, not ours, that take messages of this queue, as far as this role may see jobs.';


--
-- Name: _own_capture(qctl.attachment, text, name); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._own_capture(p_attachment qctl.attachment, p_queue text, p_owner name) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_function regprocedure;
  v_had_create boolean := has_schema_privilege(p_owner, 'qctl', 'CREATE');
begin
  execute format('grant usage on schema pgmq, qctl to %I', p_owner);
  execute format('grant insert (vt, message%s), select (msg_id) on pgmq.%I to %I',
                 case when p_attachment.order_by is not null then ', headers' end, 'q_' || p_queue, p_owner);
  if not v_had_create then
    execute format('grant create on schema qctl to %I', p_owner);
  end if;
  for v_function in select qctl._capture_functions(p_attachment.attachment_id) loop
    execute format('alter function %s owner to %I', v_function, p_owner);
  end loop;
  if not v_had_create then
    execute format('revoke create on schema qctl from %I', p_owner);
  end if;
  if p_attachment.on_error = 'skip' then
    execute format('grant execute on function qctl._capture_failed(integer, text, text) to %I', p_owner);
  end if;
end
$$;


--
-- Name: _owns_captures(name); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._owns_captures(p_role name) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (select from pg_proc p join pg_roles r on r.oid = p.proowner where p.pronamespace = 'qctl'::regnamespace and r.rolname = p_role)
$$;


--
-- Name: _owns_jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._owns_jobs() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (select from qctl.jobs() j where j.owner = current_user)
$$;


--
-- Name: _park_followers(qctl.queue, timestamp with time zone, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._park_followers(p_queue qctl.queue, p_now timestamp with time zone, p_heads integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_material TO 'off'
    AS $_$
declare
  c_most constant integer := 5000;
  c_longest constant interval := '200 ms';
  v_page integer := least(greatest(4 * p_heads, 100), c_most);
  v_from timestamptz := '-infinity';
  v_seen integer;
  v_parked integer;
begin
  loop
    -- Only what is hidden is locked; each page begins where the one before ended, not with the dead rows it left.
    execute format($q$
      with ready as materialized (
        select q.msg_id, q.vt, left(q.headers ->> 'x-pgmq-group', 200) as key from pgmq.%1$I q
        where q.vt >= $4 and q.vt <= $2 order by q.vt limit $3
      ), follower as materialized (
        select r.msg_id from ready r
        where r.key is not null
          and (exists (select from pgmq.%1$I o
                       where o.headers ? 'x-pgmq-group' and left(o.headers ->> 'x-pgmq-group', 200) = r.key and o.msg_id < r.msg_id)
               or exists (select from qctl.in_flight f where f.queue_id = $1 and f.order_key = r.key and f.lapsed_at is null and f.msg_id <> r.msg_id)
               or exists (select from qctl.dead_letter d where d.queue_id = $1 and d.blocks_key = r.key))
      ), free as materialized (
        select q.msg_id from pgmq.%1$I q where q.msg_id = any (array(select f.msg_id from follower f)) and q.vt <= $2 for update skip locked
      ), parked as (
        update pgmq.%1$I q set vt = 'infinity' from free f where q.msg_id = f.msg_id returning 1
      )
      select (select count(*) from ready), (select count(*) from parked), (select max(r.vt) from ready r)
    $q$, 'q_' || p_queue.queue_name) into v_seen, v_parked, v_from using p_queue.queue_id, p_now, v_page, v_from;
    exit when v_seen < v_page or v_seen - v_parked >= least(p_heads, v_page / 2) or clock_timestamp() > p_now + c_longest;
    v_page := least(v_page * 2, c_most);
  end loop;
end
$_$;


--
-- Name: FUNCTION _park_followers(p_queue qctl.queue, p_now timestamp with time zone, p_heads integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._park_followers(p_queue qctl.queue, p_now timestamp with time zone, p_heads integer) IS 'Hides ready messages that must wait for another of their key, until p_heads others have come to the front. Under the gate.';


--
-- Name: _plan_jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._plan_jobs() RETURNS TABLE(job_name text, done text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_job record;
begin
  if not qctl._cron_here() then
    return;
  end if;
  perform pg_advisory_xact_lock(1902343277, 3);
  for v_job in
    select h.job_id, h.job_name from qctl.jobs() h
    where h.owner = current_user and not exists (select from qctl._wanted_jobs() w where w.job_name = h.job_name)
  loop
    perform cron.unschedule(v_job.job_id);
    return query select v_job.job_name, 'unscheduled';
  end loop;
  for v_job in
    select h.job_name, h.owner from qctl.jobs() h join qctl._wanted_jobs() w on w.job_name = h.job_name
    where h.owner <> current_user and not h.active
  loop
    raise warning 'job % of role % is switched off, and % may not switch it on', v_job.job_name, v_job.owner, current_user;
  end loop;
  for v_job in
    select w.* from qctl._wanted_jobs() w
    where not exists (select from qctl.jobs() h where h.job_name = w.job_name
                        and (h.owner <> current_user or h.active and h.schedule = w.schedule and h.command = w.command))
  loop
    perform qctl._schedule_job(v_job.job_name, v_job.schedule, v_job.command);
    return query select v_job.job_name, 'scheduled';
  end loop;
end
$$;


--
-- Name: FUNCTION _plan_jobs(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._plan_jobs() IS 'Schedules the jobs that are wanted and removes the others of ours. Returns what it changed.';


--
-- Name: _post(qctl.queue, uuid[], bigint[], jsonb[], text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._post(p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_headers jsonb[], p_body text[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_count integer := cardinality(p_msg_id);
  v_half integer := cardinality(p_msg_id) / 2;
  v_epoch uuid := qctl._net_epoch();
  v_error text;
begin
  begin
    with sent as materialized (
      select s.msg_id, s.lease,
             net.http_post(url := p_queue.url, body := s.body::jsonb, headers := s.headers,
                           timeout_milliseconds := p_queue.timeout_ms) as request_id
      from (select * from unnest(p_lease, p_msg_id, p_headers, p_body) as u (lease, msg_id, headers, body) order by u.msg_id) s
    )
    update qctl.in_flight f set request_id = s.request_id, epoch = v_epoch from sent s
    where f.queue_id = p_queue.queue_id and f.msg_id = s.msg_id and f.lease = s.lease;
    update qctl.net_epoch e set last_request_id = qctl._net_last_id() where e.last_request_id < qctl._net_last_id();
    return v_count;
  exception when others then
    -- A locked or missing table, a missing right, a full disk are no fault of the request.
    if left(sqlstate, 2) in ('25', '40', '42', '53', '55', '57', '58') then
      raise;
    end if;
    v_error := 'not sent: ' || sqlerrm;
  end;
  -- A request that is refused harms only itself: halve until it stands alone.
  if v_count > 1 then
    return qctl._post(p_queue, p_lease[:v_half], p_msg_id[:v_half], p_headers[:v_half], p_body[:v_half])
         + qctl._post(p_queue, p_lease[v_half + 1:], p_msg_id[v_half + 1:], p_headers[v_half + 1:], p_body[v_half + 1:]);
  end if;
  perform qctl.settle(p_queue.queue_name, p_lease, p_msg_id, array[null::integer], array[v_error], array[null::bytea],
                      array[null::integer], array[null::integer]);
  return 0;
end
$$;


--
-- Name: FUNCTION _post(p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_headers jsonb[], p_body text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._post(p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_headers jsonb[], p_body text[]) IS 'Hands claimed messages to pg_net and notes their request ids. What net.http_post refuses counts as a failed attempt.';


--
-- Name: _probe(qctl.queue, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._probe(p_queue qctl.queue, p_now timestamp with time zone, OUT msg_id bigint, OUT early boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_may text := case when p_queue.ordered then qctl._may_go(p_queue.queue_name) else 'true' end;
begin
  execute format($q$
    select q.msg_id from (select q.* from pgmq.%1$I q where q.vt <= $2 order by q.vt limit 100) q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    where %2$s and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null)
    order by coalesce(r.attempt_no, 0), q.msg_id limit 1
  $q$, 'q_' || p_queue.queue_name, v_may) into msg_id using p_queue.queue_id, p_now;
  early := false;
  if msg_id is not null then
    return;
  end if;
  -- Nothing is due: one of those that wait for their next attempt. If it fails, it has cost that message nothing.
  execute format($q$
    select q.msg_id
    from (select * from qctl.retry r where r.queue_id = $1 and r.attempts > 0 order by r.msg_id limit 1000) r
    join pgmq.%1$I q on q.msg_id = r.msg_id and q.enqueued_at = r.enqueued_at
    where q.vt > $2 and isfinite(q.vt) and %2$s and qctl._is_outage(r.last_status, r.last_error)
      and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null)
    order by r.attempt_no, q.msg_id limit 1 for update of q skip locked
  $q$, 'q_' || p_queue.queue_name, v_may) into msg_id using p_queue.queue_id, p_now;
  if msg_id is not null then
    execute format('update pgmq.%I q set vt = $2 where q.msg_id = $1 and q.vt > $2', 'q_' || p_queue.queue_name) using msg_id, p_now;
    early := true;
  end if;
end
$_$;


--
-- Name: FUNCTION _probe(p_queue qctl.queue, p_now timestamp with time zone, OUT msg_id bigint, OUT early boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._probe(p_queue qctl.queue, p_now timestamp with time zone, OUT msg_id bigint, OUT early boolean) IS 'The message to try an endpoint with: of those due the one with the fewest attempts, else of those that failed in an outage. So a message that fails by itself does not keep the breaker open.';


--
-- Name: _purge(text, interval, timestamp with time zone, bigint, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._purge(p_queue text, p_older_than interval, p_after timestamp with time zone, p_after_id bigint, p_limit integer) RETURNS TABLE(messages integer, attempts integer, next_after timestamp with time zone, next_after_id bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_older_than is null or p_older_than < interval '0' then
    raise exception 'an age of % makes no sense', p_older_than using errcode = 'QC002';
  end if;
  execute format($q$
    with old as materialized (
      select a.msg_id, a.archived_at, a.headers #>> '{qctl,outcome}' = 'delivered' as ours
      from pgmq.%1$I a
      where a.archived_at >= $2 and (a.archived_at, a.msg_id) > ($2, $3) and a.archived_at < $4
      order by a.archived_at, a.msg_id limit $5 for update skip locked
    ), gone as (
      delete from pgmq.%1$I a using old o where a.msg_id = o.msg_id and o.ours
      returning a.msg_id
    ), attempts as (
      -- A number that lives on in the queue or among the dead letters keeps its log.
      delete from qctl.attempt t where t.queue_id = $1 and t.msg_id = any (array(select g.msg_id from gone g))
        and not exists (select from pgmq.%2$I q where q.msg_id = t.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
      returning 1
    )
    select (select count(*) from gone), (select count(*) from attempts), o.archived_at, o.msg_id
    from (values (1)) as always
    left join (select * from old order by archived_at, msg_id offset $5 - 1) as o on true
  $q$, 'a_' || p_queue, 'q_' || p_queue)
  into messages, attempts, next_after, next_after_id
  using v_queue.queue_id, p_after, p_after_id, now() - p_older_than, p_limit;
  return next;
end
$_$;


--
-- Name: _queue(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._queue(p_queue text) RETURNS qctl.queue
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue where queue_name = p_queue;
  if not found then
    raise exception 'no queue named %', quote_literal(coalesce(p_queue, ''))
      using errcode = 'QC006',
            hint = coalesce('queues here: ' || (select string_agg(queue_name, ', ' order by queue_name) from qctl.queue),
                            'no queue exists yet: qctl create NAME --url URL');
  end if;
  return v_queue;
end
$$;


--
-- Name: FUNCTION _queue(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._queue(p_queue text) IS 'The queue of that name, or error QC006 that lists the names there are.';


--
-- Name: _queues_to_collect(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._queues_to_collect() RETURNS SETOF integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select distinct f.queue_id from qctl.in_flight f
  where f.request_id is not null and (f.lapsed_at is null or f.lapsed_at > clock_timestamp() - interval '10 min')
$$;


--
-- Name: FUNCTION _queues_to_collect(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._queues_to_collect() IS 'Queues with pg_net requests that may still be answered, whatever their transport is now.';


--
-- Name: _readable_columns(regclass); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._readable_columns(p_table regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
  where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped
    and not (p_table = 'qctl.queue'::regclass and a.attname = 'headers' or p_table = 'qctl.dead_letter'::regclass and a.attname in ('message', 'headers')
             or a.attname in ('order_key', 'blocks_key', 'swept_key', 'dedup_key'))
$$;


--
-- Name: FUNCTION _readable_columns(p_table regclass); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._readable_columns(p_table regclass) IS 'Those with neither a payload, a key taken from one, nor what may be a secret.';


--
-- Name: _readable_tables(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._readable_tables() RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select c.oid::regclass from pg_class c
  where c.relnamespace = 'qctl'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname !~ '_secret$' and pg_has_role(c.relowner, 'usage')
   
$_$;


--
-- Name: _reads_queue(text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._reads_queue(p_code text, p_queue text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with code as (
    select regexp_replace(regexp_replace(p_code, '--[^\n]*', '', 'g'), '/\*.*?\*/', '', 'g') as text
  ), call as (
    -- The first argument where it is a literal; null where it is computed.
    select m[1] as queue from code, regexp_matches(code.text,
      '\m(?:pgmq|pgmq_public)"?\s*\.\s*"?(?:read\w*|pop|archive|delete|set_vt|purge_queue)"?\s*\(\s*(?:queue_name\s*(?:=>|:=)\s*)?(?:''([^'']*)'')?',
      'gi') as m
    union all
    select m[1] from code, regexp_matches(code.text, '(?<![.\w"])(?:read|read_with_poll|pop|archive)\s*\(\s*''([^'']*)''', 'gi') as m
  )
  select exists (select from call c where c.queue = p_queue)
      or exists (select from call c where c.queue is null)
         and (select code.text ~* format('''%s''', p_queue) or code.text ~* '\mpgmq"?\s*\.\s*"?(list_queues|meta)\M' from code)
      or (select code.text ~* format('\m(delete\s+from|truncate(\s+table)?|update)(\s+only)?\s+("?pgmq"?\s*\.\s*)?"?q_%s\M', p_queue) from code)
$$;


--
-- Name: FUNCTION _reads_queue(p_code text, p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._reads_queue(p_code text, p_queue text) IS 'Does this code read, pop, archive or delete messages of the queue, as far as its text tells? Names put together at run time escape it.';


--
-- Name: gate; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.gate (
    queue_id integer NOT NULL,
    paused_at timestamp with time zone,
    paused_by text,
    pause_reason text,
    net_timeouts integer DEFAULT 0 NOT NULL,
    net_hold_until timestamp with time zone,
    gone boolean DEFAULT false NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    window_at timestamp with time zone,
    window_answers integer DEFAULT 0 NOT NULL,
    window_failures integer DEFAULT 0 NOT NULL,
    opened_at timestamp with time zone,
    open_reason text,
    pauses integer DEFAULT 0 NOT NULL,
    probe_at timestamp with time zone,
    probe_lease uuid,
    probe_early boolean DEFAULT false NOT NULL,
    probe_ends timestamp with time zone,
    recall_after bigint,
    recall_since timestamp with time zone,
    slow_limit integer,
    paced_at timestamp with time zone,
    swept_key text
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');


--
-- Name: TABLE gate; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.gate IS 'One row per queue. A claim locks it: what limits claiming is decided under that lock.';


--
-- Name: COLUMN gate.net_timeouts; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.net_timeouts IS 'pg_net: rounds in a row in which every answer was a timeout.';


--
-- Name: COLUMN gate.net_hold_until; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.net_hold_until IS 'pg_net: until then only one message is handed over, for a slow request stalls the batches of all.';


--
-- Name: COLUMN gate.gone; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.gone IS 'Paused because the endpoint answered 410 Gone, not by a person.';


--
-- Name: COLUMN gate.failures; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.failures IS 'Failures of the endpoint in a row; written only when it changes.';


--
-- Name: COLUMN gate.window_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.window_at IS 'Begin of the 30 s in which answers are counted; null while nothing fails.';


--
-- Name: COLUMN gate.opened_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.opened_at IS 'The breaker is open since then: nothing is claimed but probes.';


--
-- Name: COLUMN gate.probe_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.probe_at IS 'No probe before.';


--
-- Name: COLUMN gate.probe_lease; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.probe_lease IS 'The probe under way; its right ends at probe_ends.';


--
-- Name: COLUMN gate.probe_early; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.probe_early IS 'The probe was not due: if it fails, it costs no attempt.';


--
-- Name: COLUMN gate.recall_after; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.recall_after IS 'After an outage: retries up to this msg_id have been made due; null: all.';


--
-- Name: COLUMN gate.recall_since; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.recall_since IS 'The outage began then; what failed since is made due when it ends.';


--
-- Name: COLUMN gate.slow_limit; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.slow_limit IS 'Slow start: in flight at most, one more with each answer; null: no limit but max_in_flight.';


--
-- Name: COLUMN gate.paced_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.paced_at IS 'Rate: when what was claimed so far would have been claimed at an even pace.';


--
-- Name: COLUMN gate.swept_key; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.gate.swept_key IS 'Up to which order key the maintenance has looked for followers that nobody released.';


--
-- Name: _recall(qctl.queue, qctl.gate, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._recall(p_queue qctl.queue, p_gate qctl.gate, p_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  c_page constant integer := 1000;
  v_last bigint;
  v_count integer;
begin
  execute format($q$
    with page as materialized (
      select r.* from qctl.retry r where r.queue_id = $1 and r.msg_id > $2 order by r.msg_id limit $5
    ), early as materialized (
      select q.msg_id, q.enqueued_at from pgmq.%1$I q
      join (select p.msg_id, p.enqueued_at from page p
            where p.next_at > $4 and p.attempts > 0 and p.last_at >= $3 and qctl._is_outage(p.last_status, p.last_error)) p
        on p.msg_id = q.msg_id and p.enqueued_at = q.enqueued_at
      where q.vt > $4 and isfinite(q.vt) for update of q skip locked
    ), due as (
      update pgmq.%1$I q set vt = $4 from early e where q.msg_id = e.msg_id
    ), noted as (
      update qctl.retry r set next_at = $4 from early e where r.queue_id = $1 and r.msg_id = e.msg_id and r.enqueued_at = e.enqueued_at
    )
    select max(p.msg_id), count(*) from page p
  $q$, 'q_' || p_queue.queue_name) into v_last, v_count using p_queue.queue_id, p_gate.recall_after, p_gate.recall_since, p_now, c_page;
  update qctl.gate g set recall_after = case when v_count = c_page then v_last end where g.queue_id = p_queue.queue_id;
end
$_$;


--
-- Name: FUNCTION _recall(p_queue qctl.queue, p_gate qctl.gate, p_now timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._recall(p_queue qctl.queue, p_gate qctl.gate, p_now timestamp with time zone) IS 'After an outage: makes the next thousand retries that failed in it due. A page with each claim, so that no step is longer for more of them.';


--
-- Name: _refresh_captures(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._refresh_captures() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_attachment qctl.attachment;
  v_queue text;
  v_owner name;
begin
  for v_attachment in select a.* from qctl.attachment a join pg_class c on c.oid = a.relation loop
    select q.queue_name into v_queue from qctl.queue q where q.queue_id = v_attachment.queue_id;
    begin
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace
        and p.proname = qctl._capture_function(v_attachment.attachment_id, v_attachment.operations[1]);
      continue when not found or to_regclass(format('pgmq.%I', 'q_' || v_queue)) is null;
      perform qctl._make_functions(v_attachment, v_queue);
      if v_owner <> current_user then
        perform qctl._own_capture(v_attachment, v_queue, v_owner);
      end if;
    exception when others then
      raise warning 'the capture of % stays as it is: %', v_attachment.relation, sqlerrm;
    end;
  end loop;
end
$$;


--
-- Name: FUNCTION _refresh_captures(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._refresh_captures() IS 'Brings generated functions up to this version without touching a table: triggers go on with the replaced body.';


--
-- Name: _refresh_grants(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._refresh_grants() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_grantee record;
begin
  delete from qctl.grantee g where not exists (select from pg_roles r where r.rolname = g.role_name);
  for v_grantee in select * from qctl.grantee loop
    begin
      perform qctl._apply_grants(v_grantee.role_name, v_grantee.level, v_grantee.payloads);
    exception when insufficient_privilege then
      raise warning 'role % was not given what is new: %', v_grantee.role_name, sqlerrm;
    end;
  end loop;
  -- Who may read the view without us having let it in, a dashboard say, goes on doing so: the view calls a function now.
  for v_grantee in
    select distinct a.grantee::regrole as name from pg_class c cross join aclexplode(c.relacl) a
    where c.oid = 'qctl.status'::regclass and a.privilege_type = 'SELECT' and a.grantee <> 0 and a.grantee <> c.relowner
  loop
    execute format('grant execute on function qctl._status(text) to %s', v_grantee.name);
  end loop;
end
$$;


--
-- Name: FUNCTION _refresh_grants(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._refresh_grants() IS 'After an upgrade: roles that were let in may use what is new.';


--
-- Name: _refuse_other_readers(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._refuse_other_readers(p_queue text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_names text;
begin
  select string_agg(format('%s (%s, of %s)', c.job_name, left(regexp_replace(btrim(c.command), '\s+', ' ', 'g'), 60), c.owner), '; ')
  into v_names from qctl._other_readers(p_queue) c;
  if v_names is not null then
    raise exception 'another cron job takes messages from pgmq queue %: %', p_queue, v_names
      using errcode = 'QC007', detail = 'Two readers would each see a part of the messages.',
            hint = 'to switch that job off in the same transaction: --take-over; if it does not: --ignore-readers';
  end if;
end
$$;


--
-- Name: _regclass(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._regclass(p_name text) RETURNS regclass
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
  -- to_regclass takes numbers from PostgreSQL 16 on only.
  return case when p_name ~ '^[0-9]{1,10}$' then p_name::oid else to_regclass(p_name) end;
exception when others then
  return null;
end
$_$;


--
-- Name: FUNCTION _regclass(p_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._regclass(p_name text) IS 'The table of that name or number; null where there is none of that name, or the text is neither.';


--
-- Name: _remember_objects(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._remember_objects() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  delete from qctl.object;
  insert into qctl.object (kind, identity, definition, server_version)
  select o.kind, o.identity, o.definition, current_setting('server_version_num')::integer / 10000 from qctl._objects() o;
end
$$;


--
-- Name: _request_headers(jsonb, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._request_headers(p_queue jsonb, p_message jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (jsonb_typeof(p_message) = 'object'::text) THEN (p_queue || COALESCE((SELECT jsonb_object_agg(lower(h.key), h.value) AS jsonb_object_agg FROM jsonb_each(_request_headers.p_message) h(key, value) WHERE qctl._is_header(h.key, h.value)), '{}'::jsonb)) ELSE p_queue END;


--
-- Name: FUNCTION _request_headers(p_queue jsonb, p_message jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._request_headers(p_queue jsonb, p_message jsonb) IS 'The queue''s headers and those of the message that are fit to be sent; the message''s win.';


--
-- Name: _resolved_headers(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._resolved_headers(p_queue qctl.queue) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_missing text;
begin
  if not p_queue.headers::text ~ '"(secret|vault):' then
    return p_queue.headers;
  end if;
  v_missing := qctl._missing_secrets(p_queue.headers);
  if v_missing is not null then
    raise exception 'queue % sends nothing: there is no %', p_queue.queue_name, v_missing
      using errcode = 'QC006', hint = qctl._secret_hint(v_missing);
  end if;
  return (select jsonb_object_agg(h.key, case when qctl._is_reference(h.value) then qctl._secret_value(h.value) else h.value end)
          from jsonb_each_text(p_queue.headers) as h);
end
$$;


--
-- Name: FUNCTION _resolved_headers(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._resolved_headers(p_queue qctl.queue) IS 'The queue''s headers with the values of secrets put in. One that is missing is an error: nothing goes out without it.';


--
-- Name: _retain(text, qctl.purge_place); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._retain(p_queue text, p_place qctl.purge_place) RETURNS qctl.purge_place
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_place qctl.purge_place;
begin
  select p.next_after, p.next_after_id into v_place.after, v_place.after_id
  from qctl.queue q,
       qctl._purge(p_queue, make_interval(secs => q.retention_s), coalesce(p_place.after, '-infinity'), coalesce(p_place.after_id, 0), 5000) p
  where q.queue_name = p_queue and q.retention_s is not null;
  return v_place;
exception when others then
  perform qctl._audit_rarely('retention_failed', p_queue, sqlstate, sqlerrm);
  return null;
end
$$;


--
-- Name: FUNCTION _retain(p_queue text, p_place qctl.purge_place); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._retain(p_queue text, p_place qctl.purge_place) IS 'Deletes one batch of what is past the queue''s retention; returns where to go on, or null.';


--
-- Name: _retention_done(qctl.purge_place); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._retention_done(p_place qctl.purge_place) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update qctl.upkept u set retained_at = clock_timestamp()
  where p_place.after is null and (u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min')
$$;


--
-- Name: FUNCTION _retention_done(p_place qctl.purge_place); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._retention_done(p_place qctl.purge_place) IS 'Ten minutes of rest, unless there is a place to go on from.';


--
-- Name: _retry_after_s(jsonb, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._retry_after_s(p_headers jsonb, p_now timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "DateStyle" TO 'ISO, MDY'
    AS $_$
declare
  v_text text;
begin
  v_text := qctl._header(p_headers, 'retry-after');
  if v_text ~ '^[0-9]{1,40}$' then
    return least(v_text::numeric, 2147483647)::integer;
  elsif v_text ~ '^[A-Za-z]{3}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$' then
    return greatest(0, least(extract(epoch from to_timestamp(substring(v_text from 6 for 20), 'DD Mon YYYY HH24:MI:SS')::timestamp
                                                at time zone 'UTC' - p_now), 2147483647))::integer;
  end if;
  return null;
exception when data_exception then
  return null;
end
$_$;


--
-- Name: FUNCTION _retry_after_s(p_headers jsonb, p_now timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._retry_after_s(p_headers jsonb, p_now timestamp with time zone) IS 'Seconds that a stored answer''s Retry-After asks for, in either form of RFC 9110 section 10.2.3; null for anything else.';


--
-- Name: _roll_up(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._roll_up() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_to timestamptz := date_trunc('minute', clock_timestamp() - interval '30 s');
  v_from timestamptz;
  v_count integer;
begin
  select coalesce(u.rolled_to, v_to - interval '1 h') into v_from from qctl.upkept u for update skip locked;
  if not found or v_from >= v_to then
    return 0;
  end if;
  -- After a long pause no more than a day at once; status looks back an hour.
  v_to := least(v_to, v_from + interval '1 day');
  insert into qctl.throughput as t (queue_id, minute, delivered, failed, dead, lost, p50_ms, p95_ms)
  select a.queue_id, date_trunc('minute', a.settled_at),
         count(*) filter (where a.outcome = 'delivered'), count(*) filter (where a.outcome in ('retrying', 'paused')),
         count(*) filter (where a.outcome = 'dead'), count(*) filter (where a.outcome = 'lost'),
         percentile_cont(0.5) within group (order by extract(epoch from a.settled_at - a.claimed_at) * 1000)
           filter (where a.outcome = 'delivered'),
         percentile_cont(0.95) within group (order by extract(epoch from a.settled_at - a.claimed_at) * 1000)
           filter (where a.outcome = 'delivered')
  from qctl.queue q
  join qctl.attempt a on a.queue_id = q.queue_id and a.settled_at >= v_from and a.settled_at < v_to
  group by 1, 2
  on conflict (queue_id, minute) do update
    set (delivered, failed, dead, lost, p50_ms, p95_ms)
      = (excluded.delivered, excluded.failed, excluded.dead, excluded.lost, excluded.p50_ms, excluded.p95_ms);
  get diagnostics v_count = row_count;
  update qctl.upkept u set rolled_to = v_to;
  return v_count;
end
$$;


--
-- Name: FUNCTION _roll_up(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._roll_up() IS 'Adds the minutes that have ended to qctl.throughput.';


--
-- Name: _row_body(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._row_body() RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  -- Take \u0000 out unless its backslash is itself escaped. What jsonb still refuses, half a surrogate pair say, is null.
  select $body$
begin
  return regexp_replace(to_json(r)::text, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', E'\\1', 'g')::jsonb;
exception when data_exception then
  return null;
end
$body$
$_$;


--
-- Name: _row_expression(text, boolean, integer, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._row_expression(p_row text, p_json boolean, p_max_bytes integer, p_attachment_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
  select format('case when v_owned and pg_column_size(%1$s) <= %2$s then %3$s end', p_row, p_max_bytes,
    case when p_json then format('qctl.%I(%s)', format('capture_%s_row', p_attachment_id), p_row) else format('to_jsonb(%s)', p_row) end)
$_$;


--
-- Name: FUNCTION _row_expression(p_row text, p_json boolean, p_max_bytes integer, p_attachment_id integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._row_expression(p_row text, p_json boolean, p_max_bytes integer, p_attachment_id integer) IS 'The row as json; null where it is too large, where json in it cannot be jsonb, or where the table has another owner than the capture.';


--
-- Name: _schedule_job(text, text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._schedule_job(p_name text, p_schedule text, p_command text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  perform qctl._check_schedule(p_schedule);
  if exists (select from cron.job j where j.jobname::text = p_name and j.username::text = current_user
               and j.database <> current_database()::text) then
    raise exception 'role % has a job % for another database of this server', current_user, p_name
      using errcode = 'QC007', hint = 'install qctl here as another role: pg_cron keeps job names per role';
  end if;
  -- schedule() would leave a job that was switched off as it is, and not every role may call alter_job().
  perform cron.unschedule(j.jobid) from cron.job j
  where j.jobname::text = p_name and j.username::text = current_user and not j.active;
  return cron.schedule(p_name, p_schedule, p_command);
end
$$;


--
-- Name: _seconds_since(timestamp with time zone, double precision); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._seconds_since(p_at timestamp with time zone, p_more double precision) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p_more + extract(epoch from clock_timestamp() - p_at)
$$;


--
-- Name: _secret_hint(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._secret_hint(p_references text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when p_references ~ '^vault:'
              then format('in Supabase: select vault.create_secret(VALUE, %L); the role that installed qctl must be able to read vault.decrypted_secrets',
                          substring(split_part(p_references, ', ', 1) from 7))
              else 'qctl secret set ' || coalesce(nullif(substring(split_part(p_references, ', ', 1) from 8), ''), 'NAME') end
$$;


--
-- Name: _secret_users(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._secret_users(p_reference text) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(array_agg(distinct q.queue_name order by q.queue_name), '{}')
  from qctl.queue q cross join jsonb_each_text(q.headers) as h where h.value = p_reference
$$;


--
-- Name: _secret_value(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._secret_value(p_reference text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_name text := substring(p_reference from '^[a-z]+:(.*)$');
  v_value text;
begin
  if p_reference ~ '^secret:' then
    select s.value into v_value from qctl.header_secret s where s.name = v_name;
  elsif to_regclass('vault.decrypted_secrets') is not null then
    execute 'select s.decrypted_secret from vault.decrypted_secrets s where s.name = $1 order by s.created_at desc limit 1' into v_value using v_name;
  end if;
  return rtrim(v_value, E'\r\n');
exception when insufficient_privilege then
  return null;
end
$_$;


--
-- Name: FUNCTION _secret_value(p_reference text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._secret_value(p_reference text) IS 'The value behind secret:NAME or vault:NAME; null if there is none, or this role may not read it.';


--
-- Name: _setting(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._setting(p_name text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return nullif(current_setting(p_name, true), '');
exception when insufficient_privilege then
  return null;
end
$$;


--
-- Name: FUNCTION _setting(p_name text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._setting(p_name text) IS 'A setting, or null where it is unknown or not for this role to see.';


--
-- Name: _settle(qctl.queue, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[], boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._settle(p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_duration_ms integer[], p_retry_after_s integer[], p_oversize boolean DEFAULT false) RETURNS TABLE(delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_q text := 'q_' || p_queue.queue_name;
  v_a text := 'a_' || p_queue.queue_name;
  v_now timestamptz;
  v_gate qctl.gate;
  v_keys text[];
  v_alive integer;
  v_outages integer;
  v_failing_since timestamptz;
  v_probe_alive boolean;
  v_probe_retry_after_s integer;
  v_outage text;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  -- The rows in the queue, in order of msg_id, are the locks by which settlers, replays and lapses of a message exclude
  -- each other; claims pass over locked rows.
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_id;
  perform from qctl.dead_letter d where d.queue_id = p_queue.queue_id and d.msg_id = any (p_msg_id) order by d.msg_id for update;
  v_now := clock_timestamp();

  -- No CTE is joined to another: the planner takes each for one row and would loop. Columns ride along in RETURNING.
  execute format($q$
    with answer as materialized (
      select distinct on (a.msg_id, a.lease) a.*
      from (select a.lease, a.msg_id, a.status, a.response, a.duration_ms, a.retry_after_s, qctl._is_success(a.status) and m.met and not m.starting as ok,
                   case when not qctl._is_success(a.status) then a.error when m.starting then 'not there yet: n8n is starting'
                        when not m.met then 'the answer is not what is expected' else a.error end as error
            from unnest($2, $3, $4, $5, $6, $7, $8) as a (lease, msg_id, status, error, response, duration_ms, retry_after_s)
            cross join lateral (select case when $15 is null and $16 is null then true else qctl._is_expected(a.response, $15, $16) end as met,
                                      coalesce(a.response = '\x6e386e206973207374617274696e672075702e20506c656173652077616974', false) as starting) m) a
      order by a.msg_id, a.lease, a.ok desc
    ), tried as materialized (
      select f.msg_id, f.enqueued_at, f.lease, f.delivery_no, f.attempt_no, f.worker_id, f.transport, f.claimed_at, f.lapsed_at,
             f.order_key, a.ok, a.status, left(a.error, 500) as error, a.response, a.duration_ms, a.retry_after_s
      from answer a join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.msg_id and f.lease = a.lease
      where f.msg_id = any ($3)
      order by f.msg_id, f.lease for update of f
    ), closed as (
      delete from qctl.in_flight f using tried t where f.queue_id = $1 and f.msg_id = t.msg_id and f.lease = t.lease
    ), known as materialized (
      select t.*, q.msg_id is not null as waiting, r.msg_id is not null as noted,
             coalesce(r.attempts, d.attempts, 0) + p.spent as attempts, p.spent, r.next_at as was_due_at,
             coalesce(r.rejected, 0) + qctl._is_rejection(t.status)::integer as rejected,
             coalesce(r.lost, d.lost, 0) as lost, r.webhook_id,
             t.delivery_no = coalesce(r.delivery_no, d.delivery_no, 1)
               and (q.msg_id is not null or d.msg_id is not null) as current
      from tried t
      -- A probe that was not due and found the endpoint still down has cost its message nothing.
      cross join lateral (select case when t.lease = $17 and qctl._is_outage(t.status, t.error) then 0 else 1 end as spent) p
      left join pgmq.%1$I q on q.msg_id = t.msg_id and q.enqueued_at = t.enqueued_at
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = t.msg_id and r.enqueued_at = t.enqueued_at
      left join qctl.dead_letter d
        on d.queue_id = $1 and d.msg_id = t.msg_id and d.enqueued_at = t.enqueued_at and q.msg_id is null
    ), ranked as materialized (
      select k.*, k.current and k.ok as won, bool_or(k.current and k.ok) over m as message_won,
             row_number() over (m order by (k.current and k.ok) desc, k.lapsed_at nulls first, k.lease) as rank
      from known k window m as (partition by k.msg_id, k.enqueued_at)
    ), judged as materialized (
      select k.*,
             case when k.won and k.rank = 1 then 'delivered'
                  when k.message_won or not k.current or not k.waiting or k.lapsed_at is not null then 'late'
                  when $14 then 'dead'
                  when k.status = 410 then 'paused'
                  when qctl._is_rejection(k.status) and k.rejected >= $10 then 'dead'
                  when k.attempts > cardinality(case when k.order_key is null then $11 else $18 end::integer[]) then 'dead'
                  else 'retrying' end as outcome
      from ranked k
    ), plan as materialized (
      select j.*,
             case when j.outcome = 'paused' then $9
               when j.spent = 0 then greatest(j.was_due_at, $9)
               else $9 + make_interval(secs => greatest(qctl._backoff_s(case when j.order_key is null then $11 else $18 end, j.attempts, $12),
                                                        case when j.retry_after_s > 0 then least(j.retry_after_s, $13) end)) end as next_at
      from judged j where j.outcome in ('retrying', 'paused')
    ), done as (
      delete from pgmq.%1$I q using judged j
      where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'delivered'
      returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, j.status, j.attempts, j.delivery_no, j.webhook_id
    ), undead as (
      delete from qctl.dead_letter d using judged j
      where d.queue_id = $1 and d.msg_id = j.msg_id and d.enqueued_at = j.enqueued_at and j.outcome = 'delivered' and not j.waiting
      returning d.msg_id, d.read_ct, d.enqueued_at, d.died_at, d.message, d.headers, j.status, j.attempts, j.delivery_no, d.webhook_id
    ), archived as (
      insert into pgmq.%2$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
      select f.msg_id, f.read_ct, f.enqueued_at, $9, f.vt, f.message,
             case when jsonb_typeof(f.headers) = 'object' then f.headers else '{}' end
             || jsonb_build_object('qctl', jsonb_strip_nulls(jsonb_build_object(
                  'outcome', 'delivered', 'delivered_at', $9, 'status', f.status, 'attempts', f.attempts,
                  'delivery_no', f.delivery_no, 'webhook_id', f.webhook_id)))
      from (select * from done union all select * from undead) as f
      on conflict (msg_id) do update
        set (read_ct, enqueued_at, archived_at, vt, message, headers)
          = (excluded.read_ct, excluded.enqueued_at, excluded.archived_at, excluded.vt, excluded.message, excluded.headers)
    ), dying as (
      delete from pgmq.%1$I q using judged j where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'dead'
      returning q.msg_id, q.read_ct, q.enqueued_at, q.message, q.headers, j.delivery_no, j.attempts, j.rejected, j.lost,
                j.status, j.error, j.webhook_id, j.order_key
    ), buried as (
      insert into qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, status_code, error,
                                    enqueued_at, read_ct, message, headers, webhook_id, died_at, blocks_key)
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost,
             case when $14 then 'oversize' when qctl._is_rejection(d.status) and d.rejected >= $10 then 'rejected' else 'exhausted' end,
             d.status, d.error, d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $9,
             case when $19 = 'block' then d.order_key end
      from dying d
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempts, lost, reason, note, status_code, error, read_ct, message, headers, webhook_id, died_at, blocks_key)
          = (excluded.delivery_no, excluded.attempts, excluded.lost, excluded.reason, null, excluded.status_code, excluded.error,
             excluded.read_ct, excluded.message, excluded.headers, excluded.webhook_id, excluded.died_at, excluded.blocks_key)
    ), shown as (
      update pgmq.%1$I q set vt = p.next_at from plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   last_status, last_error, last_at)
      select $1, p.msg_id, p.enqueued_at, p.delivery_no, p.attempt_no, case p.outcome when 'paused' then 0 else p.spent end,
             qctl._is_rejection(p.status)::integer, 0, p.next_at, p.status, p.error, $9
      from plan p
      on conflict (queue_id, msg_id, enqueued_at) do update
        set attempt_no = greatest(r.attempt_no, excluded.attempt_no), attempts = r.attempts + excluded.attempts,
            rejected = r.rejected + excluded.rejected, next_at = excluded.next_at,
            last_status = excluded.last_status, last_error = excluded.last_error, last_at = excluded.last_at
    ), forgotten as (
      delete from qctl.retry r using judged j
      where r.queue_id = $1 and r.msg_id = j.msg_id and r.enqueued_at = j.enqueued_at
        and j.noted and (j.outcome in ('delivered', 'dead') or not j.waiting)
    ), siblings as (
      update qctl.in_flight f set lapsed_at = $9
      where f.queue_id = $1 and f.lapsed_at is null and f.msg_id = any (array(
              select j.msg_id from judged j where j.outcome = 'delivered' and j.lapsed_at is not null))
        and not exists (select from tried t where t.msg_id = f.msg_id and t.lease = f.lease)
    ), logged as (
      insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at,
                                settled_at, duration_ms, status_code, error, response, next_at)
      select $1, j.msg_id, j.delivery_no, j.attempt_no, j.outcome, j.worker_id, j.transport, j.claimed_at,
             $9, j.duration_ms, j.status, j.error, case when length(j.response) > 0 then qctl._text(j.response) end, null
      from judged j where j.outcome not in ('retrying', 'paused')
      union all
      select $1, p.msg_id, p.delivery_no, p.attempt_no, p.outcome, p.worker_id, p.transport, p.claimed_at,
             $9, p.duration_ms, p.status, p.error, case when length(p.response) > 0 then qctl._text(p.response) end, p.next_at
      from plan p
      on conflict (queue_id, msg_id, delivery_no, attempt_no) do nothing
    )
    select count(*) filter (where j.outcome = 'delivered')::integer, count(*) filter (where j.outcome = 'retrying')::integer,
           count(*) filter (where j.outcome = 'dead')::integer, count(*) filter (where j.outcome = 'paused')::integer,
           count(*) filter (where j.outcome = 'late')::integer,
           (select count(*) from answer)::integer - count(*)::integer,
           array_agg(distinct j.order_key) filter (where j.order_key is not null),
           count(*) filter (where j.lapsed_at is null and not o.outage)::integer, count(*) filter (where j.lapsed_at is null and o.outage)::integer,
           min(j.claimed_at) filter (where j.lapsed_at is null and o.outage), bool_and(not o.outage) filter (where j.lease = $20),
           max(j.retry_after_s) filter (where j.lease = $20), max(coalesce(j.error, 'HTTP ' || j.status)) filter (where o.outage)
    from judged j cross join lateral (select qctl._is_outage(j.status, j.error) as outage) o
  $q$, v_q, v_a)
  into delivered, retrying, dead, paused, late, unknown, v_keys, v_alive, v_outages, v_failing_since, v_probe_alive, v_probe_retry_after_s, v_outage
  using p_queue.queue_id, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s, v_now,
        p_queue.reject_after, p_queue.retry_schedule_s, p_queue.retry_jitter, p_queue.retry_after_max_s, p_oversize,
        p_queue.expect_text, p_queue.expect_json, case when v_gate.probe_early then v_gate.probe_lease end, p_queue.order_schedule_s, p_queue.on_dead,
        v_gate.probe_lease;

  if v_keys is not null and p_queue.ordered then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  perform qctl._note_answers(p_queue, v_alive, v_outages, v_failing_since, v_probe_alive, v_probe_retry_after_s, v_outage);
  if dead > 0 then
    perform qctl._emit('message.dead', p_queue.queue_name, jsonb_build_object('dead', dead, 'url', p_queue.url), '1 h');
  end if;
  if paused > 0 then
    perform qctl.pause(p_queue.queue_name, 'the endpoint answered 410 Gone');
    update qctl.gate g set gone = true where g.queue_id = p_queue.queue_id and g.pause_reason = 'the endpoint answered 410 Gone';
  end if;
  return next;
end
$_$;


--
-- Name: _settle_answers(integer, uuid[], bigint[], integer[], text[], bytea[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._settle_answers(p_queue_id integer, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_retry_after_s integer[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
declare
  v_queue qctl.queue;
  v_timeouts integer;
  v_answered integer;
begin
  select * into v_queue from qctl.queue q where q.queue_id = p_queue_id;
  if not found or to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null
     or not pg_try_advisory_xact_lock(1902343280, p_queue_id) then
    return 0;
  end if;
  perform qctl.settle(v_queue.queue_name, p_lease, p_msg_id, p_status, p_error, p_response,
                      array_fill(null::integer, array[cardinality(p_msg_id)]), p_retry_after_s);

  -- One request that hangs holds up the whole batch, everybody's. An endpoint that only times out gets single tries.
  select count(*) filter (where a.status is null and a.error ~* '^timeout'), count(a.status) into v_timeouts, v_answered
  from unnest(p_status, p_error) as a (status, error);
  if v_answered > 0 then
    update qctl.gate g set net_timeouts = 0, net_hold_until = null where g.queue_id = p_queue_id and g.net_timeouts > 0;
  elsif v_timeouts > 0 then
    update qctl.gate g
    set net_timeouts = least(g.net_timeouts + 1, 20),
        net_hold_until = clock_timestamp()
          + least(interval '10 min', make_interval(secs => v_queue.timeout_ms / 1000.0 * 5 * 2 ^ least(g.net_timeouts, 8)))
    where g.queue_id = p_queue_id;
    perform qctl._take_back(v_queue, '0 s');
  end if;
  return cardinality(p_msg_id);
exception when others then
  perform qctl._audit_rarely('collect_failed', v_queue.queue_name, sqlstate, sqlerrm);
  return 0;
end
$$;


--
-- Name: FUNCTION _settle_answers(p_queue_id integer, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_retry_after_s integer[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._settle_answers(p_queue_id integer, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_retry_after_s integer[]) IS 'Settles answers of one queue; its trouble is recorded and stops nobody else. Returns how many there were.';


--
-- Name: _show_next(qctl.queue, text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._show_next(p_queue qctl.queue, p_keys text[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_count integer;
begin
  -- Under the gate, so that no claim hides a follower of a head that is gone by now without being seen here.
  perform from qctl.gate g where g.queue_id = p_queue.queue_id for update;
  execute format($q$
    with key as materialized (
      select distinct k as key from unnest($2) as k
      where k is not null and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.blocks_key = k)
        and not exists (select from qctl.in_flight f where f.queue_id = $1 and f.order_key = k and f.lapsed_at is null)
    ), next as materialized (
      select n.msg_id from key k cross join lateral (
        select q.msg_id from pgmq.%1$I q where q.headers ? 'x-pgmq-group' and left(q.headers ->> 'x-pgmq-group', 200) = k.key
        order by q.msg_id limit 1) n
    ), free as materialized (
      -- Nobody waits for a row while holding the gate. Whoever holds this one comes here himself, or the sweep does.
      select q.msg_id from pgmq.%1$I q where q.msg_id = any (array(select n.msg_id from next n)) and q.vt = 'infinity' for update skip locked
    )
    update pgmq.%1$I q set vt = clock_timestamp() from free f where q.msg_id = f.msg_id
  $q$, 'q_' || p_queue.queue_name) using p_queue.queue_id, p_keys;
  get diagnostics v_count = row_count;
  return v_count;
end
$_$;


--
-- Name: FUNCTION _show_next(p_queue qctl.queue, p_keys text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._show_next(p_queue qctl.queue, p_keys text[]) IS 'Shows the next message of each of these keys, if it waits hidden and nothing is before it.';


--
-- Name: _shown_headers(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._shown_headers(p_headers jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((SELECT jsonb_object_agg(h.key, CASE WHEN ((h.key ~* 'auth|cookie|key|token|secret|signature|password'::text) AND (NOT qctl._is_reference((h.value #>> '{}'::text[])))) THEN '"…"'::jsonb ELSE h.value END) AS jsonb_object_agg FROM jsonb_each(_shown_headers.p_headers) h(key, value)), '{}'::jsonb);


--
-- Name: FUNCTION _shown_headers(p_headers jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._shown_headers(p_headers jsonb) IS 'Headers as people may see them: the values of those that look like secrets are left out, the names of secrets are not.';


--
-- Name: _signature(bytea, bytea, bytea); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._signature(p_inner bytea, p_outer bytea, p_text bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('v1,'::text || encode(sha256((p_outer || sha256((p_inner || p_text)))), 'base64'::text));


--
-- Name: FUNCTION _signature(p_inner bytea, p_outer bytea, p_text bytea); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._signature(p_inner bytea, p_outer bytea, p_text bytea) IS 'One signature of a webhook-signature header.';


--
-- Name: _signatures(bytea[], bytea[], bytea); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._signatures(p_inner bytea[], p_outer bytea[], p_text bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (cardinality(p_inner) = 1) THEN qctl._signature((p_inner)[1], (p_outer)[1], p_text) ELSE (SELECT string_agg(qctl._signature(k.inner_pad, k.outer_pad, _signatures.p_text), ' '::text ORDER BY k.place) AS string_agg FROM UNNEST(_signatures.p_inner, _signatures.p_outer) WITH ORDINALITY k(inner_pad, outer_pad, place)) END;


--
-- Name: _skip_waiting(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._skip_waiting(p_queue text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_count bigint;
begin
  execute format($q$
    with skipped as (
      delete from pgmq.%1$I q returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers
    ), archived as (
      insert into pgmq.%2$I (msg_id, read_ct, enqueued_at, vt, message, headers)
      select s.msg_id, s.read_ct, s.enqueued_at, s.vt, s.message, s.headers from skipped s
      on conflict (msg_id) do update
        set (read_ct, enqueued_at, archived_at, vt, message, headers)
          = (excluded.read_ct, excluded.enqueued_at, excluded.archived_at, excluded.vt, excluded.message, excluded.headers)
    )
    select count(*) from skipped
  $q$, 'q_' || p_queue, 'a_' || p_queue) into v_count;
  return v_count;
end
$_$;


--
-- Name: FUNCTION _skip_waiting(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._skip_waiting(p_queue text) IS 'Moves what waits in a pgmq queue to its archive, undelivered; replay can bring each back.';


--
-- Name: _slow_start(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._slow_start() RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 10;


--
-- Name: FUNCTION _slow_start(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._slow_start() IS 'In flight at most after an outage, a pause or arming; one more with each answer, so it doubles with each round trip.';


--
-- Name: _status(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._status(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, health text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint, lag_s double precision, age_s double precision, delivered_1m bigint, failed_1m bigint, last_error text, paused_at timestamp with time zone, paused_by text, pause_reason text, url text, transport text, since timestamp with time zone, reason text, mend text, depth_exact boolean, depth_estimate bigint, dead_1m bigint, delivered_1h bigint, failed_1h bigint, dead_1h bigint, p50_s double precision, p95_s double precision, growth_per_s double precision, drain_s double precision, last_delivered_at timestamp with time zone, last_failed_at timestamp with time zone)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select q.queue_name, h.health, d.depth, d.ready, d.delayed, d.in_flight, d.retrying, d.dead, l.lag_s, l.age_s,
         r.delivered_1m, r.failed_1m, r.last_error, g.paused_at, g.paused_by, g.pause_reason, q.url, q.transport,
         h.since, h.reason, h.mend, d.exact, d.estimate, r.dead_1m, r.delivered_1h, r.failed_1h, r.dead_1h, r.p50_s, r.p95_s,
         w.per_s, w.drain_s, r.last_delivered_at, r.last_failed_at
  from qctl.queue q
  join qctl.gate g using (queue_id)
  left join lateral qctl.health(q.queue_name) h on true
  left join lateral qctl.depth(q.queue_name) d on true
  left join lateral qctl.lag(q.queue_name) l on true
  left join lateral qctl.rates(q.queue_name) r on true
  left join lateral qctl._growth(q, d.depth, d.exact, d.estimate) w on true
  where p_queue is null or q.queue_name = p_queue
$$;


--
-- Name: _sweep(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._sweep() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update qctl.upkept u set swept_at = clock_timestamp()
  where u.swept_at is null or u.swept_at < clock_timestamp() - interval '1 h';
  if not found then
    return;
  end if;
  delete from qctl.throughput t where t.minute < clock_timestamp() - interval '30 days';
  perform qctl._sweep_dropped();
  if qctl._cron_here() then
    -- Runs that a crash cut off have no end, or no start either; those are told by their number.
    delete from cron.job_run_details d
    where d.database = current_database()::text and d.command ~ '^call qctl\.(work|maintenance)\('
      and (coalesce(d.end_time, d.start_time) < clock_timestamp() - interval '1 day'
           or d.start_time is null and d.runid < (select max(o.runid) from cron.job_run_details o
                                                  where o.start_time < clock_timestamp() - interval '1 day'));
  end if;
exception when insufficient_privilege then
  perform qctl._audit_rarely('sweep_failed', null, sqlstate, sqlerrm);
end
$$;


--
-- Name: FUNCTION _sweep(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._sweep() IS 'Once an hour: old throughput, what dropped queues left, and the history of our own jobs older than a day.';


--
-- Name: _sweep_dropped(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._sweep_dropped() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  c_most constant integer := 100000;
  v_id integer;
begin
  -- From one queue's attempts to the next by the index: the log may be long, queues are few.
  select min(t.queue_id) into v_id from qctl.attempt t;
  while v_id is not null loop
    if not exists (select from qctl.queue q where q.queue_id = v_id) then
      delete from qctl.attempt t
      where t.ctid = any (array(select o.ctid from qctl.attempt o where o.queue_id = v_id limit c_most));
      delete from qctl.throughput t where t.queue_id = v_id;
      delete from qctl.sample t where t.queue_id = v_id;
    end if;
    select min(t.queue_id) into v_id from qctl.attempt t where t.queue_id > v_id;
  end loop;
end
$$;


--
-- Name: FUNCTION _sweep_dropped(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._sweep_dropped() IS 'The attempt log of queues that were dropped, a part of it at a time.';


--
-- Name: _sweep_followers(qctl.queue); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._sweep_followers(p_queue qctl.queue) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  c_most constant integer := 10000;
  v_after text := coalesce((select g.swept_key from qctl.gate g where g.queue_id = p_queue.queue_id), '');
  v_keys text[];
begin
  -- From one key to the next by the index; the messages between are not read.
  execute format($q$
    with recursive key as (
      (select left(q.headers ->> 'x-pgmq-group', 200) as key from pgmq.%1$I q
       where q.headers ? 'x-pgmq-group' and left(q.headers ->> 'x-pgmq-group', 200) > $1 order by 1 limit 1)
      union all
      select (select left(q.headers ->> 'x-pgmq-group', 200) from pgmq.%1$I q
              where q.headers ? 'x-pgmq-group' and left(q.headers ->> 'x-pgmq-group', 200) > k.key order by 1 limit 1)
      from key k where k.key is not null
    )
    select array_agg(k.key) from (select key from key where key is not null limit $2) k
  $q$, 'q_' || p_queue.queue_name) into v_keys using v_after, c_most;
  update qctl.gate g set swept_key = case when cardinality(v_keys) = c_most then v_keys[c_most] end
  where g.queue_id = p_queue.queue_id and g.swept_key is distinct from case when cardinality(v_keys) = c_most then v_keys[c_most] end;
  return case when v_keys is null then 0 else qctl._show_next(p_queue, v_keys) end;
end
$_$;


--
-- Name: FUNCTION _sweep_followers(p_queue qctl.queue); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._sweep_followers(p_queue qctl.queue) IS 'Shows followers that nobody released, because the head was deleted by others say; 10000 keys at a time. Returns how many.';


--
-- Name: _sweep_order(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._sweep_order() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
declare
  v_queue qctl.queue;
begin
  for v_queue in select * from qctl.queue q where q.ordered order by q.queue_id loop
    begin
      if qctl._sweep_followers(v_queue) > 0 then
        perform qctl._notify(v_queue.queue_id);
      end if;
    exception when others then
      perform qctl._audit_rarely('sweep_failed', v_queue.queue_name, sqlstate, sqlerrm);
    end;
  end loop;
end
$$;


--
-- Name: _take_back(qctl.queue, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._take_back(p_queue qctl.queue, p_after interval) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_epoch uuid := qctl._net_epoch();
  v_ids bigint[];
  v_waiting bigint[];
  v_back bigint[];
  v_count integer;
begin
  -- pg_net waits for locked rows of its queue, so nothing may be waited for while these are held: first the messages' rows.
  select array_agg(f.msg_id) into v_ids from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = v_epoch and f.request_id is not null
    and f.claimed_at <= clock_timestamp() - p_after;
  if v_ids is null then
    return 0;
  end if;
  execute format('select array_agg(x.msg_id) from (select q.msg_id from pgmq.%I q where q.msg_id = any ($1)
                  order by q.msg_id for update skip locked) x', 'q_' || p_queue.queue_name) into v_ids using v_ids;
  select array_agg(f.request_id) into v_waiting from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = v_epoch and f.msg_id = any (v_ids);
  if v_waiting is null then
    return 0;
  end if;
  -- Rows of the batch under way are locked by pg_net, or gone already: only what it has not started can be had.
  with unstarted as materialized (
    select h.ctid from net.http_request_queue h where h.id = any (v_waiting) for update skip locked
  ), back as (
    delete from net.http_request_queue h where h.ctid = any (array(select u.ctid from unstarted u)) returning h.id
  )
  select array_agg(b.id) into v_back from back b;
  if v_back is null then
    return 0;
  end if;
  select qctl.release(p_queue.queue_name, array_agg(f.lease), array_agg(f.msg_id)) into v_count
  from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = v_epoch and f.request_id = any (v_back);
  return v_count;
exception when insufficient_privilege then
  return 0;
end
$_$;


--
-- Name: FUNCTION _take_back(p_queue qctl.queue, p_after interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._take_back(p_queue qctl.queue, p_after interval) IS 'Deletes from pg_net''s queue what it has not started that long after the claim, and releases those messages: no attempt is spent.';


--
-- Name: _take_grants(name, text, boolean, text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._take_grants(p_role name, p_level text, p_payloads boolean, p_new_level text DEFAULT NULL::text, p_new_payloads boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_item record;
begin
  for v_item in select t as name from qctl._readable_tables() t where p_new_level is null loop
    execute format('revoke select (%s) on %s from %I', qctl._readable_columns(v_item.name), v_item.name, p_role);
  end loop;
  for v_item in select r as name from qctl._level_routines(p_level, p_payloads) r except select r from qctl._level_routines(p_new_level, p_new_payloads) r loop
    execute format('revoke execute on routine %s from %I', v_item.name, p_role);
  end loop;
end
$$;


--
-- Name: FUNCTION _take_grants(p_role name, p_level text, p_payloads boolean, p_new_level text, p_new_payloads boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._take_grants(p_role name, p_level text, p_payloads boolean, p_new_level text, p_new_payloads boolean) IS 'Takes what one level gives and the other does not.';


--
-- Name: _take_over(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._take_over(p_queue text) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_job record;
  v_names text[] := '{}';
begin
  for v_job in select * from qctl._other_readers(p_queue) loop
    begin
      perform cron.alter_job(job_id := v_job.job_id, active := false);
    exception when others then
      raise exception 'job % of role % cannot be switched off by %: %', v_job.job_name, v_job.owner, current_user, sqlerrm
        using errcode = 'QC007',
              hint = format('as role %s: select cron.alter_job(%s, active := false);', v_job.owner, v_job.job_id);
    end;
    v_names := v_names || v_job.job_name;
  end loop;
  return v_names;
end
$$;


--
-- Name: FUNCTION _take_over(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._take_over(p_queue text) IS 'Switches the other readers of a queue off; they stay in cron.job.';


--
-- Name: _take_samples(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._take_samples() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue record;
begin
  for v_queue in
    select q.queue_id, q.queue_name from qctl.queue q
    where not exists (select from qctl.sample s where s.queue_id = q.queue_id and s.at > statement_timestamp() - interval '50 s')
  loop
    begin
      insert into qctl.sample (queue_id, at, depth, last_msg_id)
      select v_queue.queue_id, clock_timestamp(), case when d.exact then d.depth end, qctl._last_msg_id(v_queue.queue_name)
      from qctl.depth(v_queue.queue_name) d;
    exception when others then
      perform qctl._audit_rarely('sample_failed', v_queue.queue_name, sqlstate, sqlerrm);
    end;
  end loop;
  delete from qctl.sample s where s.at < statement_timestamp() - interval '1 day';
end
$$;


--
-- Name: FUNCTION _take_samples(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._take_samples() IS 'Writes down how deep each queue is, at most once a minute.';


--
-- Name: _text(bytea, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._text(p_bytes bytea, p_max_bytes integer DEFAULT 4096) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_cut bytea := substring(p_bytes from 1 for p_max_bytes);
begin
  begin
    return convert_from(v_cut, 'UTF8');
  exception when data_exception then
    null;
  end;
  -- A cut may have split the last character: up to three bytes of it remain.
  for v_trim in 1..3 loop
    begin
      exit when length(p_bytes) <= p_max_bytes;
      return convert_from(substring(v_cut from 1 for length(v_cut) - v_trim), 'UTF8');
    exception when data_exception then
      null;
    end;
  end loop;
  return substring(encode(v_cut, 'escape') from 1 for p_max_bytes);
end
$$;


--
-- Name: FUNCTION _text(p_bytes bytea, p_max_bytes integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._text(p_bytes bytea, p_max_bytes integer) IS 'First bytes of an answer as valid text; what is no UTF-8 comes back as PostgreSQL''s escape notation.';


--
-- Name: _timeline(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._timeline() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when pg_is_in_recovery() then (select c.timeline_id from pg_control_checkpoint() c)
              else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer end
$$;


--
-- Name: FUNCTION _timeline(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._timeline() IS 'The timeline written now. pg_control names the old one until the first checkpoint after a promotion.';


--
-- Name: _unseen(regclass); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._unseen(p_relation regclass) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  return p_relation is null or not has_table_privilege(p_relation, 'select')
      or row_security_active(p_relation)
         and not exists (select from pg_policy p
                         where p.polrelid = p_relation and p.polpermissive and p.polcmd in ('*', 'r')
                           and pg_get_expr(p.polqual, p.polrelid) = 'true'
                           and exists (select from unnest(p.polroles) as o (id) where o.id = 0 or pg_has_role(o.id, 'usage')));
end
$$;


--
-- Name: FUNCTION _unseen(p_relation regclass); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._unseen(p_relation regclass) IS 'Is this table gone, closed to us, or with rows that row level security hides? Then nothing can be said of what is in it.';


--
-- Name: _verify_attachments(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._verify_attachments(p_queue_id integer DEFAULT NULL::integer) RETURNS TABLE(object text, problem text, mend text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET quote_all_identifiers TO 'off'
    AS $_$
  with attached as (
    select a.*, q.queue_name, c.oid is not null as there,
           case when c.oid is null then a.relation::oid::text else format('%I.%I', n.nspname, c.relname) end as name
    from qctl.attachment a join qctl.queue q using (queue_id)
    left join pg_class c on c.oid = a.relation left join pg_namespace n on n.oid = c.relnamespace
    where p_queue_id is null or a.queue_id = p_queue_id
  ), expected as (
    select a.*, o.operation, r.relation as carrier
    from attached a cross join unnest(a.operations) as o (operation)
    cross join lateral qctl._captured_relations(a.relation) as r (relation)
    where a.there
  )
  select a.name, 'the table is gone', format('qctl detach %s -q %s', qctl._word(a.name), a.queue_name) from attached a where not a.there
  union all
  select e.name, format('trigger for %s is %s on %s', e.operation, case when t.oid is null then 'missing' else 'disabled' end, e.carrier),
         case when t.oid is null then format('qctl attach %s -q %s --again', qctl._word(e.name), e.queue_name)
              else format('alter table %s enable%s trigger %I;', e.carrier, case when e.replicated then ' always' else '' end, t.tgname) end
  from expected e
  left join pg_trigger t on t.tgrelid = e.carrier and t.tgname = qctl._capture_trigger(e.attachment_id, e.operation)
  where t.oid is null or t.tgenabled = 'D' or e.replicated <> (t.tgenabled = 'A')
  union all
  select a.name, format('the capture function for %s is %s', o.operation,
                        case when p.oid is null then 'missing' else 'not what the table needs now: it was renamed, or has new types' end),
         format('qctl attach %s -q %s --again', qctl._word(a.name), a.queue_name)
  from attached a cross join unnest(a.operations) as o (operation)
  left join pg_proc p on p.pronamespace = 'qctl'::regnamespace and p.proname = qctl._capture_function(a.attachment_id, o.operation)
  where a.there and p.prosrc is distinct from
        qctl._capture_body((select x from qctl.attachment x where x.attachment_id = a.attachment_id), a.queue_name, o.operation)
  union all
  select e.name, format('trigger for %s is disabled on %s', e.operation, t.tgrelid::regclass),
         format('alter table %s enable%s trigger %I;', t.tgrelid::regclass, case when e.replicated then ' always' else '' end, t.tgname)
  from expected e join pg_trigger t on t.tgname = qctl._capture_trigger(e.attachment_id, e.operation) and t.tgparentid <> 0
  where t.tgenabled = 'D'
  union all
  select a.name, 'it belongs to another owner than its capture, so only keyless events are captured',
         format('qctl attach %s -q %s --again', qctl._word(a.name), a.queue_name)
  from attached a join pg_class c on c.oid = a.relation
  where not a.as_me and exists (select from qctl._capture_functions(a.attachment_id) f join pg_proc p on p.oid = f
                                where p.proowner <> c.relowner)
  union all
  select a.name, format('tables that inherit from it belong to other roles, so of their rows nothing but the event is captured: %s', qctl._foreign_children(a.relation)),
         'give all of them one owner, or: ' || format('qctl detach %1$s -q %2$s && qctl attach %1$s -q %2$s --as-me', qctl._word(a.name), a.queue_name)
  from attached a where a.there and not a.as_me and qctl._foreign_children(a.relation) is not null
  union all
  select a.name, 'it is a part of another table now: what is written through that one is not captured',
         format('qctl detach %1$s -q %2$s && qctl attach %3$s -q %2$s', qctl._word(a.name), a.queue_name, qctl._word(i.inhparent::regclass::text))
  from attached a join pg_inherits i on i.inhrelid = a.relation
  union all
  select a.name, 'it has parts now, which its triggers do not reach', format('qctl attach %s -q %s --again', qctl._word(a.name), a.queue_name)
  from attached a where a.there and a.level = 'statement' and qctl._by_row(a.relation, false)
  union all
  select a.name, format('column %s, which the attachment names, is gone', c.name),
         format('qctl detach %1$s -q %2$s && qctl attach %1$s -q %2$s  # with other --columns', qctl._word(a.name), a.queue_name)
  from attached a cross join unnest(a.columns) as c (name)
  where a.there and not exists (select from pg_attribute t where t.attrelid = a.relation and t.attname = c.name and not t.attisdropped)
  union all
  select a.name, format('%s statements were not captured since %s, SQLSTATE %s', sum(e.statements), min(e.minute), e.sqlstate),
         format('delete from qctl.capture_error where attachment_id = %s; -- when the cause is mended', a.attachment_id)
  from attached a join qctl.capture_error e using (attachment_id) group by a.name, a.attachment_id, e.sqlstate
  order by 1, 2
$_$;


--
-- Name: _verify_tables(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._verify_tables(p_queue_name text) RETURNS TABLE(problem text, mend text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with t as (
    select to_regclass(format('pgmq.%I', 'q_' || p_queue_name)) is null as no_queue, to_regclass(format('pgmq.%I', 'a_' || p_queue_name)) is null as no_archive
  )
  select format('pgmq''s table q_%s is gone%s', p_queue_name, case when no_archive then ', and so is its archive' else '' end),
         format('qctl drop %s --discard%s --yes', p_queue_name, case when no_archive then ' --with-archive' else '' end)
  from t where no_queue
  union all
  select format('pgmq''s table a_%s is gone', p_queue_name), format('select pgmq.create(%L);', p_queue_name) from t where no_archive and not no_queue
$$;


--
-- Name: _version(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._version() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select m.qctl_version from qctl.routine m order by m.applied_at desc limit 1
$$;


--
-- Name: _version_number(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._version_number(p_version text) RETURNS integer[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (string_to_array(NULLIF("substring"(p_version, '^[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}'::text), ''::text), '.'::text))::integer[];


--
-- Name: _wanted_jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._wanted_jobs() RETURNS TABLE(job_name text, schedule text, command text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  with net as (
    select q.queue_id, q.queue_name, q.dedicated from qctl.queue q
    where q.transport = 'pg_net'
       or exists (select from qctl.in_flight f where f.queue_id = q.queue_id and f.request_id is not null and f.lapsed_at is null)
  )
  select 'qctl-worker' || case when n > 1 then '-' || n else '' end, '* * * * *', 'call qctl.work()'
  from qctl.scheduler s, generate_series(1, s.workers) n where exists (select from net where not net.dedicated)
  union all
  select 'qctl-worker-' || net.queue_name, '* * * * *', format('call qctl.work(%L)', net.queue_name)
  from net, qctl.scheduler s where net.dedicated and s.workers > 0
  union all
  select 'qctl-maintenance', '* * * * *', 'call qctl.maintenance()' where exists (select from qctl.queue)
$$;


--
-- Name: FUNCTION _wanted_jobs(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._wanted_jobs() IS 'One job serves all queues of the pg_net transport, further ones and those of single queues come by qctl scale; one does the maintenance.';


--
-- Name: _warn_of_missing_secrets(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._warn_of_missing_secrets(p_headers jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_missing text := qctl._missing_secrets(p_headers);
begin
  if v_missing is not null then
    raise warning 'nothing is sent until there is %', v_missing using hint = qctl._secret_hint(v_missing);
  end if;
end
$$;


--
-- Name: _webhook_headers(text, text, text, bytea[], bytea[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._webhook_headers(p_id text, p_stamp text, p_body text, p_inner bytea[], p_outer bytea[]) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (p_inner IS NULL) THEN jsonb_build_object('webhook-id', p_id, 'webhook-timestamp', p_stamp) ELSE jsonb_build_object('webhook-id', p_id, 'webhook-timestamp', p_stamp, 'webhook-signature', qctl._signatures(p_inner, p_outer, convert_to(((((p_id || '.'::text) || p_stamp) || '.'::text) || p_body), 'UTF8'::name))) END;


--
-- Name: FUNCTION _webhook_headers(p_id text, p_stamp text, p_body text, p_inner bytea[], p_outer bytea[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._webhook_headers(p_id text, p_stamp text, p_body text, p_inner bytea[], p_outer bytea[]) IS 'The headers of Standard Webhooks for one attempt: signed with each of these keys, unsigned without any.';


--
-- Name: _word(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._word(p_text text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (p_text ~ '^[A-Za-z0-9_./:@%+=,-]+$'::text) THEN p_text ELSE ((''''::text || replace(p_text, ''''::text, '''\'''''::text)) || ''''::text) END;


--
-- Name: FUNCTION _word(p_text text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._word(p_text text) IS 'A word as a shell takes it.';


--
-- Name: _work_beat_due(qctl.work_run); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_beat_due(p_run qctl.work_run) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select w.last_seen_at < clock_timestamp() - interval '5 s' from qctl.worker w where w.worker_id = p_run.worker_id
$$;


--
-- Name: _work_begin(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_begin(p_queue text) RETURNS qctl.work_run
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  c_longest constant interval := '60 s';
  c_spare constant interval := '2 s';
  v_run qctl.work_run;
  v_limit interval;
  v_name text;
begin
  select s.generation into v_run.generation from qctl.scheduler s;
  if p_queue is not null then
    select q.queue_id, q.dedicated into v_run.queue_id, v_run.dedicated from qctl._queue(p_queue) q;
    v_run.slot := case when qctl._work_holds_slot(v_run) then 0 end;
    v_name := 'job for ' || p_queue;
  else
    for v_slot in 1..(select s.workers from qctl.scheduler s) loop
      v_run.slot := v_slot;
      v_name := 'job ' || v_slot;
      exit when qctl._work_holds_slot(v_run);
      v_run.slot := null;
    end loop;
  end if;
  if v_run.slot is null then
    return v_run;
  end if;

  select make_interval(secs => s.setting::integer / 1000.0) into v_limit from pg_settings s
  where s.name = 'statement_timeout' and s.setting <> '0';
  v_run.deadline := statement_timestamp() + least(c_longest, v_limit - c_spare);
  v_run.reviewed_at := '-infinity';

  select w.worker_id into v_run.worker_id from qctl.worker w
  where w.transport = 'pg_net' and w.name = v_name order by w.worker_id desc limit 1;
  if found then
    update qctl.worker w set started_at = clock_timestamp(), last_seen_at = clock_timestamp(), stopped_at = null,
      qctl_version = qctl._version(), queues = qctl._work_queues(v_run.queue_id) where w.worker_id = v_run.worker_id;
  else
    v_run.worker_id := qctl.register_worker(v_name, 'pg_net', qctl._work_queues(v_run.queue_id), qctl._version());
  end if;
  return v_run;
end
$$;


--
-- Name: FUNCTION _work_begin(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_begin(p_queue text) IS 'Takes a free slot of a shared worker, or a queue''s own; slot is null if there is none, or workers are set to 0.';


--
-- Name: _work_busy(qctl.work_run, double precision); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_busy(p_run qctl.work_run, p_busy_s double precision) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  update qctl.worker w set busy_s = p_busy_s, busy_of_s = extract(epoch from clock_timestamp() - w.started_at) where w.worker_id = p_run.worker_id
$$;


--
-- Name: FUNCTION _work_busy(p_run qctl.work_run, p_busy_s double precision); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_busy(p_run qctl.work_run, p_busy_s double precision) IS 'How long a CALL was not asleep, for qctl.doctor().';


--
-- Name: _work_dispatch(qctl.work_run, text, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_dispatch(p_run qctl.work_run, p_queue text, p_share integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
begin
  return qctl.dispatch(p_queue, p_share, p_run.worker_id);
exception when others then
  perform qctl._audit_rarely('dispatch_failed', p_queue, sqlstate, sqlerrm);
  return 0;
end
$$;


--
-- Name: FUNCTION _work_dispatch(p_run qctl.work_run, p_queue text, p_share integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_dispatch(p_run qctl.work_run, p_queue text, p_share integer) IS 'One queue that fails, a dropped or a locked one say, does not stop the others.';


--
-- Name: _work_end(qctl.work_run); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_end(p_run qctl.work_run) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  -- The job runs again within the minute, so the worker is not gone unless it is no longer wanted.
  update qctl.worker w set last_seen_at = clock_timestamp(),
    stopped_at = case when p_run.slot > s.workers or s.workers < 1 then clock_timestamp() end
  from qctl.scheduler s
  where w.worker_id = p_run.worker_id
$$;


--
-- Name: _work_goes_on(qctl.work_run); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_goes_on(p_run qctl.work_run) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select s.generation = p_run.generation and clock_timestamp() < p_run.deadline
     and case when p_run.queue_id is null then p_run.slot <= s.workers
              when s.workers < 1 then false
              else exists (select from qctl.queue q where q.queue_id = p_run.queue_id and q.dedicated = p_run.dedicated) end
  from qctl.scheduler s
$$;


--
-- Name: FUNCTION _work_goes_on(p_run qctl.work_run); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_goes_on(p_run qctl.work_run) IS 'Read at each step: false at the end of the minute, after an upgrade, or when this worker is no longer wanted.';


--
-- Name: _work_holds_slot(qctl.work_run); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_holds_slot(p_run qctl.work_run) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when (select s.workers from qctl.scheduler s) < 1 then false
              when p_run.queue_id is null then pg_try_advisory_xact_lock(1902343278, p_run.slot)
              else pg_try_advisory_xact_lock(1902343279, p_run.queue_id) end
$$;


--
-- Name: FUNCTION _work_holds_slot(p_run qctl.work_run); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_holds_slot(p_run qctl.work_run) IS 'Each transaction of a CALL takes the lock of its slot anew, so that a session whose CALL was cancelled keeps none.';


--
-- Name: _work_nap_s(qctl.work_run, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_nap_s(p_run qctl.work_run, p_moved integer) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select greatest(0, least(case when p_moved > 0 then 0.2 else 0.5 end, extract(epoch from p_run.deadline - clock_timestamp())))
$$;


--
-- Name: _work_plan(qctl.work_run); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_plan(p_run qctl.work_run) RETURNS qctl.work_plan
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    SET lock_timeout TO '1s'
    AS $$
declare
  c_review constant interval := '10 s';
  v_plan qctl.work_plan;
  v_epoch uuid;
begin
  -- Also queues that have moved to another transport, until the last of their requests is settled.
  select array_agg(distinct f.queue_id) into v_plan.collect from qctl.in_flight f join qctl.queue q using (queue_id)
  where f.request_id is not null and f.lapsed_at is null
    and case when p_run.queue_id is null then not q.dedicated else q.queue_id = p_run.queue_id end;
  v_epoch := qctl._net_epoch();
  if clock_timestamp() > p_run.reviewed_at + c_review
     or exists (select from qctl.in_flight f
                where f.request_id is not null and f.lapsed_at is null and f.epoch is distinct from v_epoch) then
    select coalesce(v_plan.collect, '{}') || coalesce(array_agg(distinct f.queue_id), '{}') into v_plan.review
    from qctl.in_flight f join qctl.queue q using (queue_id)
    where f.request_id is not null and f.lapsed_at > clock_timestamp() - interval '10 min'
      and case when p_run.queue_id is null then not q.dedicated else q.queue_id = p_run.queue_id end
      and not q.queue_id = any (coalesce(v_plan.collect, '{}'));
  end if;
  if qctl.is_armed() and v_epoch is not null then
    -- A queue on hold takes no share.
    select array_agg(r.name order by random()) into v_plan.dispatch
    from qctl.ready_queues(qctl._work_queues(p_run.queue_id)) as r (name)
    join qctl.queue q on q.queue_name = r.name join qctl.gate g using (queue_id)
    where g.net_hold_until is null
       or g.net_hold_until < clock_timestamp()
          and not exists (select from qctl.in_flight f where f.queue_id = q.queue_id and f.request_id is not null and f.lapsed_at is null);
  end if;
  return v_plan;
end
$$;


--
-- Name: _work_queues(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_queues(p_queue_id integer) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select coalesce(array_agg(q.queue_name order by q.queue_name), '{}') from qctl.queue q
  where q.transport = 'pg_net' and case when p_queue_id is null then not q.dedicated else q.queue_id = p_queue_id end
$$;


--
-- Name: _work_review(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_review(p_queue_id integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue q where q.queue_id = p_queue_id;
  if found then
    perform qctl.collect(v_queue.queue_name);
  end if;
exception when others then
  perform qctl._audit_rarely('review_failed', v_queue.queue_name, sqlstate, sqlerrm);
end
$$;


--
-- Name: FUNCTION _work_review(p_queue_id integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_review(p_queue_id integer) IS 'A slower, wider look at one queue''s requests; its trouble stops nobody else.';


--
-- Name: _work_share(qctl.work_plan); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._work_share(p_plan qctl.work_plan) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when cardinality(p_plan.dispatch) > 1
              then greatest(1, qctl._net_batch_size() / cardinality(p_plan.dispatch)) end
$$;


--
-- Name: FUNCTION _work_share(p_plan qctl.work_plan); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._work_share(p_plan qctl.work_plan) IS 'With several ready queues each gets its part of a batch, for pg_net serves in the order of arrival. Null: no limit.';


--
-- Name: _xor_pad(bytea, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._xor_pad(p_key bytea, p_byte integer) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_pad bytea := decode(repeat(lpad(to_hex(p_byte), 2, '0'), 64), 'hex');
begin
  for v_i in 0..length(p_key) - 1 loop
    v_pad := set_byte(v_pad, v_i, get_byte(p_key, v_i) # p_byte);
  end loop;
  return v_pad;
end
$$;


--
-- Name: FUNCTION _xor_pad(p_key bytea, p_byte integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._xor_pad(p_key bytea, p_byte integer) IS 'RFC 2104: the key, filled to the 64 bytes of a block of SHA-256, each byte xor ipad (54) or opad (92).';


--
-- Name: adopt_webhook(text, text, text, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.adopt_webhook(p_relation text, p_trigger text, p_queue text DEFAULT NULL::text, p_settings jsonb DEFAULT '{}'::jsonb) RETURNS TABLE(queue_name text, created boolean, relation text, trigger_name text, url text, transport text, operations text[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $_$
#variable_conflict use_column
declare
  v_hook record;
  v_query text;
  v_headers jsonb;
begin
  select * into v_hook from qctl.webhooks(p_relation) w where w.trigger_name = p_trigger;
  if not found then
    raise exception 'table % has no webhook trigger %', quote_literal(p_relation), quote_literal(p_trigger)
      using errcode = 'QC006',
            hint = coalesce('it has ' || (select string_agg(w.trigger_name, ', ') from qctl.webhooks(p_relation) w), 'it has none; select * from qctl.webhooks();');
  end if;
  if v_hook.method <> 'POST' then
    raise exception 'webhook % sends %, and qctl only POST', p_trigger, v_hook.method using errcode = 'QC007', hint = 'let the endpoint take a POST';
  end if;
  if not v_hook.enabled then
    raise exception 'webhook % is disabled, so it sends nothing that could be taken over', p_trigger
      using errcode = 'QC007', hint = 'qctl create and qctl attach --payload supabase make what it would do';
  end if;
  select string_agg(p.key || '=' || p.value, '&') into v_query from jsonb_each_text(v_hook.params) p;
  if exists (select from jsonb_each_text(v_hook.params) p where p.key || p.value !~ '^[A-Za-z0-9._~-]*$') then
    raise exception 'webhook % has parameters that want encoding', p_trigger
      using errcode = 'QC007', hint = 'write them into the URL: qctl create … --url, qctl attach … --payload supabase, then disable the trigger';
  end if;
  queue_name := coalesce(p_queue, left(regexp_replace(lower(p_trigger), '[^a-z0-9_]+', '_', 'g'), 47));
  relation := v_hook.relation;
  trigger_name := v_hook.trigger_name;
  operations := v_hook.operations;
  url := v_hook.url || case when v_query <> '' then case when v_hook.url ~ '\?' then '&' else '?' end || v_query else '' end;
  v_headers := coalesce((select jsonb_object_agg(h.key, h.value) from jsonb_each(v_hook.headers) h where lower(h.key) <> 'content-type'), '{}');
  created := not exists (select from qctl.queue q where q.queue_name = adopt_webhook.queue_name);
  if created then
    perform qctl.create_queue(queue_name, url, v_headers, p_settings);
    -- A short timeout did no harm while nobody retried; now each slow answer would be sent again. A longer one is kept.
    update qctl.queue q set timeout_ms = least(v_hook.timeout_ms, 300000)
    where q.queue_name = adopt_webhook.queue_name and v_hook.timeout_ms > q.timeout_ms;
  elsif p_settings <> '{}' or exists (select from qctl.queue q where q.queue_name = adopt_webhook.queue_name
                                      and (q.url <> adopt_webhook.url or q.headers <> qctl._lower_keys(v_headers))) then
    raise exception 'queue % exists already, with another URL, other headers or its own transport', queue_name
      using errcode = 'QC007', hint = 'name another: -q QUEUE';
  end if;
  select q.transport into transport from qctl.queue q where q.queue_name = adopt_webhook.queue_name;
  -- Off before on, in one transaction: no change is sent twice, and none is missed.
  execute format('alter table %s disable trigger %I', v_hook.relation, v_hook.trigger_name);
  perform qctl.attach(v_hook.relation, queue_name, v_hook.operations, v_hook.when_sql, nullif(v_hook.columns, '{}'), 'supabase',
                      p_unchanged => true);
  perform qctl._audit('adopt_webhook', queue_name, jsonb_build_object('relation', relation, 'trigger', trigger_name));
  return next;
end
$_$;


--
-- Name: FUNCTION adopt_webhook(p_relation text, p_trigger text, p_queue text, p_settings jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.adopt_webhook(p_relation text, p_trigger text, p_queue text, p_settings jsonb) IS 'Takes over a Supabase Database Webhook in one transaction: a queue with its URL and headers, the table attached with the same body and conditions, the trigger disabled. To go back: enable the trigger, qctl.detach().';


--
-- Name: archive_size(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.archive_size(p_queue text) RETURNS TABLE(bytes bigint, bytes_per_day bigint, retention_s integer)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_archive regclass := to_regclass(format('pgmq.%I', 'a_' || p_queue));
  v_rows double precision;
  v_daily double precision;
begin
  retention_s := v_queue.retention_s;
  if v_archive is not null then
    bytes := pg_total_relation_size(v_archive);
    select c.reltuples into v_rows from pg_class c where c.oid = v_archive;
    select sum(t.delivered) into v_daily from qctl.throughput t
    where t.queue_id = v_queue.queue_id and t.minute > statement_timestamp() - interval '1 day';
    if v_rows > 0 and v_daily > 0 then
      bytes_per_day := bytes / v_rows * v_daily;
    end if;
  end if;
  return next;
end
$$;


--
-- Name: FUNCTION archive_size(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.archive_size(p_queue text) IS 'What a queue''s delivered history takes on disk, by how much it grew in the last day, and how long it is kept; null where unknown.';


--
-- Name: arm(boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.arm(p_survive_failover boolean DEFAULT NULL::boolean) RETURNS TABLE(armed boolean, changed boolean, database text, system_identifier text, timeline integer, survive_failover boolean, armed_at timestamp with time zone, armed_by text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_was boolean := qctl.is_armed();
  v_survive boolean := coalesce(p_survive_failover, (select a.survive_failover from qctl.arming a), false);
  v_changed boolean;
begin
  if pg_is_in_recovery() then
    raise exception 'this is a standby: it delivers nothing, and cannot be armed' using errcode = 'QC004', hint = 'qctl arm on the primary, or here after a promotion';
  end if;
  v_changed := not v_was or v_survive is distinct from (select a.survive_failover from qctl.arming a);
  if v_changed then
    insert into qctl.arming as a (system_identifier, database_oid, timeline, survive_failover)
    select c.system_identifier, d.oid, qctl._timeline(), v_survive
    from pg_control_system() c, pg_database d where d.datname = current_database()
    on conflict (one) do update
      set (system_identifier, database_oid, timeline, survive_failover, armed_at, armed_by)
        = (excluded.system_identifier, excluded.database_oid, excluded.timeline, excluded.survive_failover,
           excluded.armed_at, excluded.armed_by);
    perform qctl._audit('arm', null, jsonb_build_object('was_armed', v_was, 'survive_failover', v_survive));
    if not v_was then
      update qctl.gate set slow_limit = qctl._slow_start();
    end if;
    perform qctl._notify(q.queue_id) from qctl.queue q;
  end if;
  return query
  select true, v_changed, current_database()::text, a.system_identifier::text, a.timeline, a.survive_failover, a.armed_at, a.armed_by
  from qctl.arming a;
end
$$;


--
-- Name: FUNCTION arm(p_survive_failover boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.arm(p_survive_failover boolean) IS 'Lets this database deliver. With p_survive_failover also after a standby of it was promoted; null leaves that as it is.';


--
-- Name: attach(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.attach(p_relation text, p_queue text, p_operations text[] DEFAULT '{INSERT,UPDATE,DELETE}'::text[], p_when text DEFAULT NULL::text, p_columns text[] DEFAULT NULL::text[], p_payload text DEFAULT 'qctl'::text, p_unchanged boolean DEFAULT false, p_as_me boolean DEFAULT false, p_replicated boolean DEFAULT false, p_on_error text DEFAULT 'fail'::text, p_max_bytes integer DEFAULT 524288, p_order_by text DEFAULT NULL::text) RETURNS TABLE(relation text, queue_name text, operation text, trigger_name text, runs_as text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_relation regclass;
  v_class pg_class;
  v_owner name;
  v_column text;
  v_attachment qctl.attachment;
  v_may_own boolean;
begin
  begin
    v_relation := to_regclass(p_relation);
  exception when others then
    v_relation := null;
  end;
  if v_relation is null then
    raise exception 'no table named %', quote_literal(coalesce(p_relation, ''))
      using errcode = 'QC006', hint = 'name it with its schema, for example public.users; names with capitals want double quotes';
  end if;
  select * into v_class from pg_class where oid = v_relation;
  if v_class.relkind not in ('r', 'p') then
    raise exception '% is not a table', v_relation
      using errcode = 'QC007', hint = 'views and foreign tables are not captured';
  elsif v_class.relispartition or exists (select from pg_inherits where inhrelid = v_relation) then
    raise exception '% is a part of another table', v_relation
      using errcode = 'QC007', hint = format('attach %s', (select i.inhparent::regclass from pg_inherits i where i.inhrelid = v_relation limit 1));
  end if;
  if v_class.relnamespace in ('pgmq'::regnamespace, 'qctl'::regnamespace, 'pg_catalog'::regnamespace) then
    raise exception '% belongs to the pipeline itself', v_relation using errcode = 'QC007', hint = 'attach a table of your own';
  end if;
  if p_operations is null or cardinality(p_operations) = 0 or not p_operations <@ array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] then
    raise exception 'operations must be some of INSERT, UPDATE, DELETE, TRUNCATE' using errcode = 'QC002';
  end if;
  p_operations := array(select distinct o from unnest(p_operations) as o order by o desc);
  if p_payload is null or p_payload not in ('qctl', 'supabase') then
    raise exception 'no such payload: %', quote_nullable(p_payload) using errcode = 'QC002', hint = 'qctl or supabase';
  end if;
  if p_on_error is null or p_on_error not in ('fail', 'skip') then
    raise exception 'no such choice for errors: %', quote_nullable(p_on_error) using errcode = 'QC002', hint = 'fail or skip';
  end if;
  if p_max_bytes is null or p_max_bytes not between 1024 and 1048576 then
    raise exception 'the largest row is 1 KiB to 1 MiB' using errcode = 'QC002';
  end if;
  select c into v_column from unnest(p_columns) as c
  where not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = c and a.attnum > 0 and not a.attisdropped)
  limit 1;
  if found then
    raise exception 'table % has no column %', v_relation, quote_literal(v_column) using errcode = 'QC006';
  end if;
  if p_when is not null then
    perform qctl._check_when(v_relation, p_operations, p_when, qctl._by_row(v_relation, p_replicated));
  end if;
  if exists (select from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = v_relation) then
    raise exception '% is attached to % already', v_relation, p_queue
      using errcode = 'QC007', hint = format('to change it: qctl detach %s -q %s, then attach again', v_relation, p_queue);
  end if;

  -- Written as the payload has it, record.user_id, or bare.
  p_order_by := regexp_replace(p_order_by, '^record\.', '');
  if p_order_by is not null then
    if not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = p_order_by and a.attnum > 0 and not a.attisdropped) then
      raise exception 'table % has no column % to order by', v_relation, quote_literal(p_order_by)
        using errcode = 'QC006', hint = 'for example --order-by record.user_id';
    end if;
    if not v_queue.ordered then
      perform qctl.set_queue(p_queue, p_settings => '{"ordered": true}');
    end if;
  end if;

  select string_agg(a.attname, ', ') into v_column from pg_attribute a
  where a.attrelid = v_relation and a.attnum > 0 and a.attgenerated = 'v';
  if v_column is not null then
    raise warning 'virtual generated columns are captured as null: %', v_column;
  end if;

  if not p_as_me and qctl._foreign_children(v_relation) is not null then
    raise exception 'tables that inherit from % belong to other roles: %', v_relation, qctl._foreign_children(v_relation)
      using errcode = 'QC007',
            detail = format('The capture runs as %s, who must not run the code that types of those tables may bring.', pg_get_userbyid(v_class.relowner)),
            hint = 'give all of them one owner; or --as-me, to capture them with your own rights';
  end if;
  v_owner := pg_get_userbyid(v_class.relowner);
  v_may_own := pg_has_role(v_class.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end)
               and qctl._foreign_children(v_relation) is null;
  if not v_may_own and not p_as_me then
    raise exception 'the capture of % should run as its owner %, and % may not act for that role', v_relation, v_owner, current_user
      using errcode = 'QC007',
            detail = 'Types of that table may bring code of its owner, which would run with your rights instead.',
            hint = '--as-me accepts that; or let a member of ' || v_owner || ' run attach';
  end if;

  insert into qctl.attachment (queue_id, relation, operations, when_sql, columns, payload, unchanged, level, replicated, as_me, on_error, max_bytes, order_by)
  values (v_queue.queue_id, v_relation, p_operations, p_when, case when cardinality(p_columns) > 0 then p_columns end, p_payload, p_unchanged,
          case when qctl._by_row(v_relation, p_replicated) then 'row' else 'statement' end,
          p_replicated, not v_may_own, p_on_error, p_max_bytes, p_order_by)
  returning * into v_attachment;
  perform qctl._make_capture(v_attachment, v_queue.queue_name);
  if v_may_own and v_owner <> current_user then
    perform qctl._own_capture(v_attachment, v_queue.queue_name, v_owner);
  end if;
  if exists (select from qctl.webhooks(v_relation::oid::text) w where w.enabled) then
    raise warning 'a Supabase Database Webhook is on % as well: %', v_relation,
        (select string_agg(w.trigger_name, ', ') from qctl.webhooks(v_relation::oid::text) w where w.enabled)
      using hint = 'each change is sent twice; qctl adopt-webhook takes it over';
  end if;
  perform qctl._audit('attach', p_queue, jsonb_build_object(
    'relation', v_relation::text, 'operations', p_operations, 'when', p_when, 'columns', p_columns, 'payload', p_payload,
    'level', v_attachment.level, 'replicated', p_replicated, 'on_error', p_on_error, 'order_by', p_order_by));
  return query
  select v_relation::text, p_queue, o, qctl._capture_trigger(v_attachment.attachment_id, o),
         case when v_may_own then v_owner else current_user end::text
  from unnest(p_operations) with ordinality as u (o, n) order by n;
end
$$;


--
-- Name: FUNCTION attach(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean, p_replicated boolean, p_on_error text, p_max_bytes integer, p_order_by text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.attach(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean, p_replicated boolean, p_on_error text, p_max_bytes integer, p_order_by text) IS 'Captures the changes of a table into a queue. Waits at most 2 s for the table''s lock. p_order_by: the column by whose value messages go out one at a time, in their order.';


--
-- Name: capacity(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capacity(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, transport text, workers integer, dedicated boolean, batch integer, max_in_flight integer, concurrency integer, latency_s double precision, latency_p95_s double precision, measured bigint, ceiling_per_s double precision, limited_by text, hanging_per_s double precision, limits jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  c_pg_net_cycle_s constant double precision := 1.02;
  c_step_s constant double precision := 0.25;
  v_queue qctl.queue;
  v_state qctl.scheduler;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  select * into v_state from qctl.scheduler;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    queue_name := v_queue.queue_name;
    transport := v_queue.transport;
    dedicated := v_queue.dedicated;
    batch := v_queue.batch;
    max_in_flight := v_queue.max_in_flight;
    concurrency := v_queue.concurrency;
    workers := case v_queue.transport
      when 'pg_net' then case when v_queue.dedicated then least(v_state.workers, 1) else v_state.workers end
      else (select count(*) from qctl.worker w where w.transport = 'http' and w.stopped_at is null
              and w.last_seen_at > clock_timestamp() - interval '30 s' and v_queue.queue_name = any (w.queues)) end;
    select count(*), percentile_cont(0.5) within group (order by a.s), percentile_cont(0.95) within group (order by a.s)
    into measured, latency_s, latency_p95_s
    from (select case when t.transport = 'pg_net' then extract(epoch from t.settled_at - t.claimed_at)
                      else t.duration_ms / 1000.0 end as s
          from qctl.attempt t
          where t.queue_id = v_queue.queue_id and t.transport = v_queue.transport and t.status_code is not null
            and t.settled_at > statement_timestamp() - interval '10 min'
          order by t.settled_at desc limit 1000) a;

    if v_queue.transport = 'pg_net' then
      limits := jsonb_build_array(
        jsonb_build_object('per_s', qctl._net_batch_size() / c_pg_net_cycle_s, 'limit',
          format('pg_net.batch_size %s, shared by all queues of pg_net', qctl._net_batch_size())),
        jsonb_build_object('per_s', v_queue.max_in_flight / greatest(coalesce(latency_s, 2), 0.5), 'limit',
          format('max_in_flight %s with an answer settled in %s s%s', v_queue.max_in_flight,
                 round(greatest(coalesce(latency_s, 2), 0.5)::numeric, 1), case when measured = 0 then ' (assumed)' else '' end)),
        jsonb_build_object('per_s', v_queue.batch / c_step_s * workers, 'limit',
          format('batch %s a step with %s jobs', v_queue.batch, workers)));
      if measured > 0 then
        limits := limits || jsonb_build_object(
          'per_s', least(qctl._net_batch_size(), v_queue.max_in_flight) / greatest(c_pg_net_cycle_s, latency_p95_s - 1), 'limit',
          format('the endpoint: %s at once, the slowest 5 %% settled after %s s', least(qctl._net_batch_size(), v_queue.max_in_flight),
                 round(latency_p95_s::numeric, 1)));
      end if;
    elsif v_queue.concurrency_auto then
      limits := jsonb_build_array(jsonb_build_object('per_s', v_queue.max_in_flight / greatest(coalesce(latency_s, 0.1), 0.05), 'limit',
        format('max_in_flight %s; with concurrency auto the endpoint itself comes before it', v_queue.max_in_flight)));
    else
      limits := jsonb_build_array(
        jsonb_build_object('per_s', workers * v_queue.concurrency / greatest(coalesce(latency_s, 0.1), 0.001), 'limit',
          format('%s worker processes with concurrency %s, an answer in %s ms%s', workers, v_queue.concurrency,
                 round((greatest(coalesce(latency_s, 0.1), 0.001) * 1000)::numeric), case when measured = 0 then ' (assumed)' else '' end)),
        jsonb_build_object('per_s', v_queue.max_in_flight / greatest(coalesce(latency_s, 0.1), 0.05), 'limit',
          format('max_in_flight %s', v_queue.max_in_flight)));
    end if;
    if v_queue.rate_per_s is not null then
      limits := limits || jsonb_build_object('per_s', v_queue.rate_per_s, 'limit', format('its rate, %s a second', v_queue.rate_per_s));
    end if;
    if workers = 0 then
      limits := jsonb_build_array(jsonb_build_object('per_s', 0, 'limit', case v_queue.transport
        when 'pg_net' then 'no job: qctl scale --workers 1' else 'no worker process: qctl worker -q ' || v_queue.queue_name end)) || limits;
    end if;
    select (l.value ->> 'per_s')::double precision, l.value ->> 'limit' into ceiling_per_s, limited_by
    from jsonb_array_elements(limits) with ordinality as l (value, n) order by (l.value ->> 'per_s')::double precision, l.n limit 1;
    hanging_per_s := v_queue.max_in_flight / (v_queue.timeout_ms / 1000.0);
    return next;
  end loop;
end
$$;


--
-- Name: FUNCTION capacity(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.capacity(p_queue text) IS 'What each queue can carry in messages a second, and what limits it. Latency is that of the last 1000 answers within 10 minutes: of the request on http, from claim to settled on pg_net. hanging_per_s: attempts a second while every one times out.';


--
-- Name: capture_1_delete(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
#variable_conflict use_column
declare
  -- After ALTER TABLE … OWNER the new owner's types must not run as the old one: keys and conditions are left out until
  -- the table is attached again. Asked of the table that fired, for in a restored database it has another oid.
  v_owned boolean := (select pg_get_userbyid(c.relowner) = current_user from pg_class c where c.oid = coalesce(pg_partition_root(tg_relid), tg_relid));
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.q_orders (vt, message)
  select clock_timestamp(), jsonb_build_object('record', null::jsonb, 'old_record', coalesce(changed.before, case when v_owned then qctl.capture_1_key(old.*) else '{}' end), 'operation', 'DELETE', 'table', 'users', 'schema', 'public') || case when changed.before is null then '{"truncated": true}'::jsonb else '{}'::jsonb end
  from old_rows as old cross join lateral (select null::jsonb as after, case when v_owned and pg_column_size(old.*) <= 524288 then to_jsonb(old.*) end as before offset 0) as changed
  where true;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, 1) then
    perform pg_notify('qctl', '1');
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION capture_1_delete(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.capture_1_delete() IS 'DELETE of public.users to queue orders';


--
-- Name: capture_1_insert(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_insert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
#variable_conflict use_column
declare
  -- After ALTER TABLE … OWNER the new owner's types must not run as the old one: keys and conditions are left out until
  -- the table is attached again. Asked of the table that fired, for in a restored database it has another oid.
  v_owned boolean := (select pg_get_userbyid(c.relowner) = current_user from pg_class c where c.oid = coalesce(pg_partition_root(tg_relid), tg_relid));
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.q_orders (vt, message)
  select clock_timestamp(), jsonb_build_object('record', coalesce(changed.after, case when v_owned then qctl.capture_1_key(new.*) else '{}' end), 'old_record', null::jsonb, 'operation', 'INSERT', 'table', 'users', 'schema', 'public') || case when changed.after is null then '{"truncated": true}'::jsonb else '{}'::jsonb end
  from new_rows as new cross join lateral (select case when v_owned and pg_column_size(new.*) <= 524288 then to_jsonb(new.*) end as after, null::jsonb as before offset 0) as changed
  where true;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, 1) then
    perform pg_notify('qctl', '1');
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION capture_1_insert(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.capture_1_insert() IS 'INSERT of public.users to queue orders';


--
-- Name: capture_1_key(record); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_key(r record) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
begin
  return jsonb_build_object('id', r.id);
exception when undefined_column then
  return '{}';
end
$$;


--
-- Name: capture_1_row(record); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_row(r record) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
begin
  return regexp_replace(to_json(r)::text, E'(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000', E'\\1', 'g')::jsonb;
exception when data_exception then
  return null;
end
$$;


--
-- Name: capture_1_update(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    SET enable_nestloop TO 'off'
    AS $$
#variable_conflict use_column
declare
  -- After ALTER TABLE … OWNER the new owner's types must not run as the old one: keys and conditions are left out until
  -- the table is attached again. Asked of the table that fired, for in a restored database it has another oid.
  v_owned boolean := (select pg_get_userbyid(c.relowner) = current_user from pg_class c where c.oid = coalesce(pg_partition_root(tg_relid), tg_relid));
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.q_orders (vt, message)
  select clock_timestamp(), jsonb_build_object('record', coalesce(changed.after, case when v_owned then qctl.capture_1_key(n.new) else '{}' end), 'old_record', coalesce(changed.before, case when v_owned then qctl.capture_1_key(o.old) else '{}' end), 'operation', 'UPDATE', 'table', 'users', 'schema', 'public') || case when changed.after is null or changed.before is null then '{"truncated": true}'::jsonb else '{}'::jsonb end
  from (select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place) cross join lateral (select case when v_owned and pg_column_size(n.new) <= 524288 then to_jsonb(n.new) end as after, case when v_owned and pg_column_size(o.old) <= 524288 then to_jsonb(o.old) end as before offset 0) as changed
  where true and n.new operator(pg_catalog.*<>) o.old;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, 1) then
    perform pg_notify('qctl', '1');
  end if;
  return null;
end
$$;


--
-- Name: FUNCTION capture_1_update(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.capture_1_update() IS 'UPDATE of public.users to queue orders';


--
-- Name: check(text, double precision, double precision, bigint, bigint, double precision, double precision, double precision, text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl."check"(p_queue text DEFAULT NULL::text, p_max_lag_s double precision DEFAULT 60, p_max_age_s double precision DEFAULT 900, p_max_depth bigint DEFAULT NULL::bigint, p_max_dead bigint DEFAULT NULL::bigint, p_max_failure_rate double precision DEFAULT 0.2, p_max_silence_s double precision DEFAULT NULL::double precision, p_workers_seen_s double precision DEFAULT NULL::double precision, p_ignore text[] DEFAULT '{}'::text[]) RETURNS TABLE(queue_name text, cause text, since timestamp with time zone, problem text, value double precision, "limit" double precision, mend text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
  v_ailment qctl.ailment;
  v_depth record;
  v_lag record;
  v_excused boolean;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    v_excused := false;
    for v_ailment in select * from qctl._ailments(v_queue, false, make_interval(secs => p_workers_seen_s)) loop
      -- Whoever excuses a pause does not want to hear that messages wait.
      v_excused := v_excused or v_ailment.health = any (p_ignore) and v_ailment.health in ('unarmed', 'no_worker', 'paused', 'gone', 'secret_missing', 'circuit_open');
      continue when v_excused and v_ailment.health = 'growing';
      return query select v_queue.queue_name, v_ailment.health, v_ailment.since, v_ailment.reason, null::double precision,
                          null::double precision, v_ailment.mend
      where not v_ailment.health = any (p_ignore);
    end loop;
    select * into v_depth from qctl.depth(v_queue.queue_name);
    select * into v_lag from qctl.lag(v_queue.queue_name);
    return query
    select v_queue.queue_name, m.cause, null::timestamptz, m.problem, m.value, m."limit", m.mend
    from (values
      ('lag', 'the oldest ready message has waited for a worker', v_lag.lag_s, p_max_lag_s, 'qctl status --workers'),
      ('age', 'the oldest unfinished message has not been delivered', v_lag.age_s, p_max_age_s,
       format('qctl messages -q %s --retrying', v_queue.queue_name)),
      ('depth', 'unfinished messages', v_depth.depth, p_max_depth, 'qctl scale -q ' || v_queue.queue_name),
      ('dead', 'dead letters', v_depth.dead, p_max_dead, 'qctl dead -q ' || v_queue.queue_name),
      ('failure_rate', 'of the attempts of 10 min failed', qctl._failure_rate(v_queue), p_max_failure_rate,
       format('qctl tail -q %s --failed', v_queue.queue_name))
    ) as m (cause, problem, value, "limit", mend)
    where m.value > m."limit" and not m.cause = any (p_ignore) and not (v_excused and m.cause in ('lag', 'age'));
    if p_max_silence_s is not null and not 'silence' = any (p_ignore) then
      return query
      select v_queue.queue_name, 'silence', null::timestamptz, s.relation || ' was captured last', s.silence_s, p_max_silence_s, 'qctl verify'
      from qctl.silence(v_queue.queue_name) s where s.silence_s > p_max_silence_s;
    end if;
  end loop;
end
$$;


--
-- Name: FUNCTION "check"(p_queue text, p_max_lag_s double precision, p_max_age_s double precision, p_max_depth bigint, p_max_dead bigint, p_max_failure_rate double precision, p_max_silence_s double precision, p_workers_seen_s double precision, p_ignore text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl."check"(p_queue text, p_max_lag_s double precision, p_max_age_s double precision, p_max_depth bigint, p_max_dead bigint, p_max_failure_rate double precision, p_max_silence_s double precision, p_workers_seen_s double precision, p_ignore text[]) IS 'Each thing that is not well: what qctl.health() knows, all of it, and what is over a limit (null: no limit). A failure rate needs at least ten attempts within ten minutes. p_ignore: causes that are no trouble now. No rows: all is well.';


--
-- Name: choose_transport(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.choose_transport(p_wanted text DEFAULT 'auto'::text) RETURNS TABLE(transport text, reason text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_net_database text := qctl._setting('pg_net.database_name');
  v_problem text;
begin
  if p_wanted = 'http' then
    return query select 'http', 'asked for';
    return;
  elsif p_wanted is null or p_wanted not in ('auto', 'pg_net') then
    raise exception 'no such transport: %', quote_literal(coalesce(p_wanted, ''))
      using errcode = 'QC002', hint = 'auto, pg_net or http';
  end if;
  v_problem := case
    when not exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                     where n.nspname = 'net' and p.proname = 'http_post')
      then 'pg_net is not installed in this database'
           || case when exists (select from pg_available_extensions where name = 'pg_net') then ' (create extension pg_net)' else '' end
    when v_net_database <> current_database() then format('pg_net works in database %s, not here', v_net_database)
    when not qctl._net_readable() or not exists (
           select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
           where n.nspname = 'net' and p.proname = 'http_post' and has_schema_privilege(n.oid, 'usage')
             and has_function_privilege(p.oid, 'execute'))
      then format('role %s may not use schema net', current_user) end;
  if p_wanted = 'pg_net' then
    if v_problem is not null then
      raise exception 'transport pg_net cannot be used: %', v_problem
        using errcode = 'QC004', hint = '--transport http, and a qctl worker process, needs no extension';
    end if;
    return query select 'pg_net', 'asked for';
    return;
  end if;
  v_problem := coalesce(v_problem, case
    when not exists (select from pg_namespace where nspname = 'cron')
      then coalesce('pg_cron works in database ' || nullif(qctl._setting('cron.database_name'), current_database()) || ', not here',
                    'pg_cron is not installed in this database')
    when not qctl._cron_here() then format('role %s may not use schema cron', current_user) end);
  if v_problem is null then
    return query select 'pg_net', 'pg_net and pg_cron are here, so nothing needs to be hosted';
  else
    return query select 'http', v_problem;
  end if;
end
$$;


--
-- Name: FUNCTION choose_transport(p_wanted text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.choose_transport(p_wanted text) IS 'What auto, pg_net or http comes to in this database, and why. Error QC004 where pg_net is asked for and cannot be used.';


--
-- Name: claim(text, integer, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.claim(p_queue text, p_limit integer, p_worker_id bigint DEFAULT NULL::bigint) RETURNS TABLE(msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer, url text, timeout_ms integer, headers jsonb, body text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select * from qctl._claim(p_queue, p_limit, p_worker_id, 'http')
$$;


--
-- Name: FUNCTION claim(p_queue text, p_limit integer, p_worker_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.claim(p_queue text, p_limit integer, p_worker_id bigint) IS 'Leases up to p_limit ready messages to one worker and returns all that is needed to send them. Nothing while the queue is paused, the database not armed, or for a queue of another transport. lease_ms counts from before the call; a request must be over by then.';


--
-- Name: collect(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.collect(p_queue text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_lapsed boolean;
  v_count integer;
  v_sum integer := 0;
begin
  foreach v_lapsed in array array[false, true] loop
    select sum(qctl._settle_answers(a.queue_id, a.lease, a.msg_id, a.status, a.error, a.response, a.retry_after_s)) into v_count
    from qctl._answers(array[v_queue.queue_id], '5 min', v_lapsed) a;
    v_sum := v_sum + coalesce(v_count, 0);
  end loop;
  perform qctl._net_review(v_queue);
  return v_sum;
end
$$;


--
-- Name: FUNCTION collect(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.collect(p_queue text) IS 'Settles the answers that pg_net has for a queue, late ones too, and judges the requests that got none. Returns how many answers there were.';


--
-- Name: compare_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.compare_attachment(p_relation text, p_queue text, p_operations text[] DEFAULT NULL::text[], p_when text DEFAULT NULL::text, p_columns text[] DEFAULT NULL::text[], p_payload text DEFAULT NULL::text, p_unchanged boolean DEFAULT NULL::boolean, p_as_me boolean DEFAULT NULL::boolean, p_replicated boolean DEFAULT NULL::boolean, p_on_error text DEFAULT NULL::text, p_max_bytes integer DEFAULT NULL::integer, p_order_by text DEFAULT NULL::text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_attachment qctl.attachment;
begin
  select a.* into v_attachment from qctl.attachment a join qctl.queue q using (queue_id)
  where q.queue_name = p_queue and a.relation = qctl._regclass(p_relation);
  if not found then
    return next 'missing';
    return;
  end if;
  return query
  select d.name from (values
    ('operations', p_operations is not null and array(select distinct upper(o) from unnest(p_operations) o order by 1)
                                                <> array(select distinct o from unnest(v_attachment.operations) o order by 1)),
    ('when', p_when is not null and nullif(p_when, '') is distinct from v_attachment.when_sql),
    ('columns', p_columns is not null and array(select distinct c from unnest(p_columns) c order by 1)
                                          <> array(select distinct c from unnest(v_attachment.columns) c order by 1)),
    ('payload', p_payload <> v_attachment.payload), ('unchanged', p_unchanged <> v_attachment.unchanged),
    ('as_me', p_as_me <> v_attachment.as_me), ('replicated', p_replicated <> v_attachment.replicated),
    ('on_error', p_on_error <> v_attachment.on_error), ('max_bytes', p_max_bytes <> v_attachment.max_bytes),
    ('order_by', p_order_by is not null and nullif(regexp_replace(p_order_by, '^record\.', ''), '') is distinct from v_attachment.order_by)
  ) as d (name, differs) where d.differs;
end
$$;


--
-- Name: FUNCTION compare_attachment(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean, p_replicated boolean, p_on_error text, p_max_bytes integer, p_order_by text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.compare_attachment(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean, p_replicated boolean, p_on_error text, p_max_bytes integer, p_order_by text) IS 'Names of the options in which an attachment differs from these, nulls not compared; missing where the table is not attached to that queue.';


--
-- Name: compare_queue(text, text, jsonb, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.compare_queue(p_queue text, p_url text, p_headers jsonb DEFAULT NULL::jsonb, p_settings jsonb DEFAULT '{}'::jsonb) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue q where q.queue_name = p_queue;
  if not found then
    return next 'missing';
    return;
  end if;
  if p_url is distinct from v_queue.url then
    return next 'url';
  end if;
  if p_headers is not null and qctl._lower_keys(p_headers) is distinct from v_queue.headers then
    return next 'headers';
  end if;
  return query
  select s.key from jsonb_each(p_settings) s
  where s.value is distinct from coalesce(to_jsonb(v_queue) -> s.key, 'null') and not (s.key = 'transport' and s.value = '"auto"');
end
$$;


--
-- Name: FUNCTION compare_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.compare_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb) IS 'Names of the settings in which a queue differs from these; missing where there is no such queue. Headers null: not compared.';


--
-- Name: create_queue(text, text, jsonb, jsonb, text, boolean, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.create_queue(p_queue text, p_url text, p_headers jsonb DEFAULT '{}'::jsonb, p_settings jsonb DEFAULT '{}'::jsonb, p_waiting text DEFAULT NULL::text, p_take_over boolean DEFAULT false, p_ignore_readers boolean DEFAULT false) RETURNS TABLE(queue_name text, created boolean, waiting bigint, skipped bigint, transport text, reason text, switched_off text[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_meta record;
  v_waiting bigint := 0;
  v_skipped bigint := 0;
  v_exists boolean;
  v_queue_id integer;
  v_transport text;
  v_reason text;
  v_switched_off text[] := '{}';
  v_archived boolean := false;
  v_last bigint;
begin
  perform qctl._check_name(p_queue);
  perform qctl._check_url(p_url);
  perform qctl._check_headers(p_headers);
  if p_waiting is not null and p_waiting not in ('deliver', 'skip') then
    raise exception 'not a choice for waiting messages: %', quote_literal(left(p_waiting, 100))
      using errcode = 'QC002', hint = 'deliver or skip';
  end if;
  select c.transport, c.reason into v_transport, v_reason
  from qctl.choose_transport(coalesce(p_settings ->> 'transport', 'auto')) c;
  perform pg_advisory_xact_lock(hashtextextended('qctl.create_queue', 0));
  if exists (select from qctl.queue q where q.queue_name = p_queue) then
    raise exception 'queue % exists already', p_queue
      using errcode = 'QC007', hint = format('to change it: qctl set -q %s …; to see it: qctl describe %s', p_queue, p_queue);
  end if;

  select m.is_partitioned, m.is_unlogged into v_meta from pgmq.meta m where m.queue_name = p_queue;
  v_exists := found;
  if v_exists then
    if v_meta.is_partitioned or v_meta.is_unlogged then
      raise exception 'pgmq queue % is %', p_queue, case when v_meta.is_unlogged then 'unlogged' else 'partitioned' end
        using errcode = 'QC007',
              detail = case when v_meta.is_unlogged then 'An unlogged queue loses its messages in a crash.'
                       else 'Retention of a partitioned queue drops messages that were never delivered.' end,
              hint = 'make a plain one under another name and move the messages';
    end if;
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_waiting;
    if p_take_over then
      v_switched_off := qctl._take_over(p_queue);
    elsif not p_ignore_readers then
      perform qctl._refuse_other_readers(p_queue);
    end if;
    if p_waiting is null and v_waiting > 0 then
      raise exception 'pgmq queue % exists already and holds % messages', p_queue, v_waiting
        using errcode = 'QC007',
              hint = 'to deliver them to this endpoint: --waiting deliver; to archive them undelivered: --waiting skip';
    elsif p_waiting = 'skip' then
      v_skipped := qctl._skip_waiting(p_queue);
    end if;
  else
    v_archived := to_regclass(format('pgmq.%I', 'a_' || p_queue)) is not null;
    perform pgmq.create(p_queue);
    if v_archived then
      -- The archive of a queue that was dropped: numbers go on behind it.
      execute format('select coalesce(max(msg_id), 0) from pgmq.%I', 'a_' || p_queue) into v_last;
      if v_last > 0 then
        perform setval(pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue), 'msg_id'), v_last);
      end if;
    end if;
  end if;
  execute format('alter table pgmq.%I set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, '
                 'autovacuum_vacuum_cost_delay = 0)', 'q_' || p_queue);

  -- The history of an adopted or dropped queue is its owner's; a new one's would grow for ever. On pg_net a slow request stalls those of all.
  insert into qctl.queue (queue_name, url, headers, timeout_ms, retention_s)
  values (p_queue, p_url, qctl._lower_keys(p_headers), case v_transport when 'pg_net' then 5000 else 15000 end,
          case when not v_exists and not v_archived then 7 * 86400 end)
  returning queue_id into v_queue_id;
  insert into qctl.gate (queue_id) values (v_queue_id);
  perform qctl._apply_settings(p_queue, p_settings || jsonb_build_object('transport', v_transport), true);
  perform qctl._warn_of_missing_secrets(p_headers);
  perform qctl._make_status_view(p_queue);
  perform qctl._plan_jobs();
  perform qctl._audit('create', p_queue, p_settings || jsonb_build_object(
    'url', p_url, 'adopted', v_exists, 'transport', v_transport, 'skipped', nullif(v_skipped, 0),
    'switched_off', nullif(to_jsonb(v_switched_off), '[]')));
  return query select p_queue, not v_exists, v_waiting, v_skipped, v_transport, v_reason, v_switched_off;
end
$$;


--
-- Name: FUNCTION create_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb, p_waiting text, p_take_over boolean, p_ignore_readers boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.create_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb, p_waiting text, p_take_over boolean, p_ignore_readers boolean) IS 'Makes a pgmq queue, or adopts one, with its endpoint. p_waiting says what becomes of messages that wait in an adopted one: deliver, or skip: to the archive. p_take_over switches off cron jobs that take messages from it, p_ignore_readers lets them be. Settings: see qctl.set_queue.';


--
-- Name: dead(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.dead(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, reason text, status_code integer, error text, messages bigint, first_at timestamp with time zone, last_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select q.queue_name, d.reason, d.status_code, mode() within group (order by coalesce(d.note, d.error)), count(*), min(d.died_at), max(d.died_at)
  from (select * from qctl.dead_letter d
        where p_queue is null or d.queue_id = (select x.queue_id from qctl.queue x where x.queue_name = p_queue)
        order by d.died_at desc limit 100000) d
  join qctl.queue q using (queue_id)
  group by 1, 2, 3 order by 5 desc, 7 desc
$$;


--
-- Name: FUNCTION dead(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.dead(p_queue text) IS 'Dead letters by reason and status, with the error (or note) that is most frequent among them; of the newest 100000.';


--
-- Name: depth(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.depth(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint, exact boolean, estimate bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
  c_most constant integer := 100000;
  v_queue qctl.queue;
  v_table regclass;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    v_table := to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name));
    continue when qctl._unseen(v_table);
    queue_name := v_queue.queue_name;
    execute format($q$
      select count(*), count(*) filter (where f.msg_id is null and q.vt <= $2),
             count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is null),
             count(f.msg_id), count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is not null)
      from (select q.msg_id, q.enqueued_at, q.vt from pgmq.%I q limit $3 + 1) q
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    $q$, 'q_' || v_queue.queue_name)
    into depth, ready, delayed, in_flight, retrying using v_queue.queue_id, clock_timestamp(), c_most;
    exact := depth <= c_most;
    estimate := depth;
    if not exact then
      depth := c_most;
      select greatest(c_most, pg_stat_get_live_tuples(v_table), c.reltuples::bigint) into estimate from pg_class c where c.oid = v_table;
      select count(*) into in_flight from qctl.in_flight f where f.queue_id = v_queue.queue_id and f.lapsed_at is null;
      ready := least(ready, c_most);
    end if;
    select count(*) into dead from (select from qctl.dead_letter d where d.queue_id = v_queue.queue_id limit c_most) d;
    return next;
  end loop;
end
$_$;


--
-- Name: FUNCTION depth(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.depth(p_queue text) IS 'Unfinished messages by state, and dead letters. Exact to 100000; above it (exact is false) the numbers are "at least", in_flight is still exact, and estimate is PostgreSQL''s own of the depth. Dead letters are counted up to 100000.';


--
-- Name: describe(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.describe(p_queue text) RETURNS TABLE(queue_id integer, queue_uuid uuid, queue_name text, transport text, url text, headers jsonb, timeout_ms integer, concurrency integer, max_in_flight integer, retry_schedule_s integer[], retry_jitter double precision, retry_after_max_s integer, reject_after integer, max_lost integer, batch integer, dedicated boolean, trust_location boolean, retention_s integer, created_at timestamp with time zone, created_by text, concurrency_auto boolean, rate_per_s double precision, breaker_after integer, breaker_share double precision, breaker_pause_max_s integer, expect_text text, expect_json jsonb, ordered boolean, order_schedule_s integer[], on_dead text, net_secrets boolean, signing_secrets integer, allow_networks text[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  select q.queue_id, q.queue_uuid, q.queue_name, q.transport, q.url, qctl._shown_headers(q.headers), q.timeout_ms, q.concurrency, q.max_in_flight,
         q.retry_schedule_s, q.retry_jitter, q.retry_after_max_s, q.reject_after, q.max_lost, q.batch, q.dedicated, q.trust_location, q.retention_s,
         q.created_at, q.created_by, q.concurrency_auto, q.rate_per_s, q.breaker_after, q.breaker_share, q.breaker_pause_max_s, q.expect_text,
         q.expect_json, q.ordered, q.order_schedule_s, q.on_dead, q.net_secrets,
         (select count(*)::integer from qctl.signing_secret s where s.queue_id = q.queue_id and (s.expires_at is null or s.expires_at > clock_timestamp())),
         q.allow_networks::text[]
  from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;


--
-- Name: FUNCTION describe(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.describe(p_queue text) IS 'A queue''s settings. Headers that look like secrets come by name only.';


--
-- Name: detach(text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.detach(p_relation text, p_queue text DEFAULT NULL::text) RETURNS TABLE(relation text, queue_name text, trigger_name text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $_$
#variable_conflict use_column
declare
  -- A table that was dropped is known by its number only, as describe shows it.
  v_relation regclass := case when p_relation ~ '^[0-9]{1,10}$' then p_relation::oid else to_regclass(p_relation) end;
  v_attachment record;
  v_operation text;
  v_owner name;
  v_name text;
  v_table regclass;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  if not exists (select from qctl.attachment a join qctl.queue q using (queue_id)
                 where a.relation = v_relation and (p_queue is null or q.queue_name = p_queue)) then
    raise exception '% is not attached%', coalesce(v_relation::text, quote_literal(p_relation)), coalesce(' to ' || p_queue, '')
      using errcode = 'QC006',
            hint = coalesce('attached: ' || (select string_agg(distinct a.relation::text, ', ') from qctl.attachment a),
                            'no table is attached');
  end if;
  for v_attachment in
    select a.*, q.queue_name from qctl.attachment a join qctl.queue q using (queue_id)
    where a.relation = v_relation and (p_queue is null or q.queue_name = p_queue) order by q.queue_name
  loop
    foreach v_operation in array v_attachment.operations loop
      v_name := qctl._capture_function(v_attachment.attachment_id, v_operation);
      -- Wherever the trigger is: a table may have joined or left the inheritance since. PostgreSQL drops those of partitions.
      for v_table in
        select t.tgrelid from pg_trigger t
        where t.tgname = qctl._capture_trigger(v_attachment.attachment_id, v_operation) and t.tgparentid = 0
      loop
        execute format('drop trigger %I on %s', qctl._capture_trigger(v_attachment.attachment_id, v_operation), v_table);
      end loop;
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace and p.proname = v_name;
      execute format('drop function if exists qctl.%I()', v_name);
      return query select v_relation::text, v_attachment.queue_name, qctl._capture_trigger(v_attachment.attachment_id, v_operation);
    end loop;
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'key'));
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'row'));
    execute format('drop function if exists qctl.%I(record)', qctl._capture_function(v_attachment.attachment_id, 'order'));
    delete from qctl.attachment a where a.attachment_id = v_attachment.attachment_id;
    delete from qctl.capture_error e where e.attachment_id = v_attachment.attachment_id;
    if v_owner is not null and v_owner <> current_user and not exists (
        select from qctl.attachment a cross join lateral qctl._capture_functions(a.attachment_id) f join pg_proc p on p.oid = f
        where a.queue_id = v_attachment.queue_id and pg_get_userbyid(p.proowner) = v_owner)
       and to_regclass(format('pgmq.%I', 'q_' || v_attachment.queue_name)) is not null then
      execute format('revoke insert (vt, message, headers), select (msg_id) on pgmq.%I from %I', 'q_' || v_attachment.queue_name, v_owner);
    end if;
    perform qctl._audit('detach', v_attachment.queue_name, jsonb_build_object('relation', v_relation::text));
  end loop;
end
$_$;


--
-- Name: FUNCTION detach(p_relation text, p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.detach(p_relation text, p_queue text) IS 'Stops capturing a table. What is in the queue stays.';


--
-- Name: disarm(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.disarm() RETURNS TABLE(armed boolean, changed boolean, database text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_was boolean := qctl.is_armed();
begin
  -- No database has this oid; whether it survives a failover is remembered.
  update qctl.arming set database_oid = 0;
  if v_was then
    perform qctl._emit('database.disarmed', null, jsonb_build_object('by', session_user));
    perform qctl._audit('disarm', null, jsonb_build_object('was_armed', v_was));
  end if;
  return query select false, v_was, current_database()::text;
end
$$;


--
-- Name: FUNCTION disarm(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.disarm() IS 'Nothing is claimed any more, by whatever transport; what is in flight settles, capture goes on.';


--
-- Name: discard(text, bigint[], text, text[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.discard(p_queue text, p_msg_ids bigint[], p_reason text DEFAULT NULL::text, p_seen_states text[] DEFAULT NULL::text[], p_seen_delivery_nos integer[] DEFAULT NULL::integer[]) RETURNS TABLE(msg_id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_discarded bigint[];
  v_changed bigint[] := '{}';
  v_unblocked bigint[];
  v_keys text[];
begin
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', 'q_' || p_queue) using p_msg_ids;
  if p_seen_states is not null then
    v_changed := qctl._changed(p_queue, p_msg_ids, p_seen_states, p_seen_delivery_nos);
    p_msg_ids := array(select id from unnest(p_msg_ids) as id where not id = any (v_changed));
  end if;
  v_discarded := qctl._discard(v_queue, p_msg_ids, p_reason);
  with freed as (
    update qctl.dead_letter d set blocks_key = null, note = coalesce(left(p_reason, 500), d.note)
    from (select o.msg_id, o.enqueued_at, o.blocks_key from qctl.dead_letter o
          where o.queue_id = v_queue.queue_id and o.msg_id = any (p_msg_ids) and o.blocks_key is not null order by o.msg_id for update) o
    where d.queue_id = v_queue.queue_id and d.msg_id = o.msg_id and d.enqueued_at = o.enqueued_at
    returning d.msg_id, o.blocks_key
  )
  select array_agg(f.msg_id), array_agg(distinct f.blocks_key) into v_unblocked, v_keys from freed f;
  if v_keys is not null then
    perform qctl._show_next(v_queue, v_keys);
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query
  select a.id,
         case when a.id = any (v_discarded) then 'discarded'
              when a.id = any (v_unblocked) then 'unblocked'
              when exists (select from qctl.locate(a.id, p_queue)) then 'finished'
              else 'unknown' end
  from (select distinct id from unnest(p_msg_ids) as id where id is not null) a
  union all select c, 'changed' from unnest(v_changed) c order by 1;
  if cardinality(v_discarded) > 0 or v_unblocked is not null then
    perform qctl._audit('discard', p_queue, jsonb_build_object(
      'reason', p_reason, 'asked', cardinality(p_msg_ids), 'discarded', cardinality(v_discarded), 'unblocked', to_jsonb(v_unblocked),
      'msg_ids', (select jsonb_agg(x) from unnest(v_discarded) as x where cardinality(v_discarded) <= 1000),
      'ranges', (select range_agg(int8range(x, x, '[]'))::text from unnest(v_discarded) as x where cardinality(v_discarded) > 1000)));
  end if;
end
$_$;


--
-- Name: FUNCTION discard(p_queue text, p_msg_ids bigint[], p_reason text, p_seen_states text[], p_seen_delivery_nos integer[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.discard(p_queue text, p_msg_ids bigint[], p_reason text, p_seen_states text[], p_seen_delivery_nos integer[]) IS 'Moves unfinished messages to the dead letters, reason kept. One in flight too: its answer, if it is a success, still counts. Outcomes: discarded; unblocked (a dead letter that held up its order key does so no more); finished (nothing to give up); unknown; changed (as for qctl.replay).';


--
-- Name: dispatch(text, integer, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.dispatch(p_queue text, p_limit integer DEFAULT NULL::integer, p_worker_id bigint DEFAULT NULL::bigint) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_max_body integer;
  v_room integer;
  v_lease uuid[];
  v_msg_id bigint[];
  v_headers jsonb[];
  v_body text[];
  v_big_lease uuid[];
  v_big_id bigint[];
  v_big_error text[];
begin
  if v_queue.transport <> 'pg_net' then
    return 0;
  end if;
  if qctl._net_epoch() is null then
    raise exception 'pg_net is not installed in this database' using errcode = 'QC004', hint = 'qctl set --transport http';
  end if;
  -- Nothing may reach the endpoint of which a crash could take the record.
  if current_setting('synchronous_commit') in ('off', 'local') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  -- Room is counted and taken by one at a time; the transaction is short.
  perform pg_advisory_xact_lock(1902343277, 4);
  v_room := least(coalesce(p_limit, v_queue.batch), v_queue.batch, qctl._net_room(v_queue));
  if v_room < 1 then
    return 0;
  end if;

  v_max_body := qctl._net_max_body(coalesce((select e.extversion from pg_extension e where e.extname = 'pg_net'), '0.20.4'));
  select array_agg(c.lease) filter (where not c.big), array_agg(c.msg_id) filter (where not c.big),
         array_agg(c.headers) filter (where not c.big), array_agg(c.body) filter (where not c.big),
         array_agg(c.lease) filter (where c.big), array_agg(c.msg_id) filter (where c.big),
         array_agg(format('not sent: the body has %s bytes, pg_net carries %s here', octet_length(c.body), v_max_body)) filter (where c.big)
  into v_lease, v_msg_id, v_headers, v_body, v_big_lease, v_big_id, v_big_error
  from (select k.*, coalesce(octet_length(k.body) > v_max_body, false) as big
        from qctl._claim(p_queue, v_room, p_worker_id, 'pg_net') k) c;
  if v_big_id is not null then
    perform qctl._settle(v_queue, v_big_lease, v_big_id, array_fill(null::integer, array[cardinality(v_big_id)]), v_big_error,
                         array_fill(null::bytea, array[cardinality(v_big_id)]), array_fill(null::integer, array[cardinality(v_big_id)]),
                         array_fill(null::integer, array[cardinality(v_big_id)]), true);
  end if;
  if v_msg_id is null then
    return 0;
  end if;
  return qctl._post(v_queue, v_lease, v_msg_id, v_headers, v_body);
end
$$;


--
-- Name: FUNCTION dispatch(p_queue text, p_limit integer, p_worker_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.dispatch(p_queue text, p_limit integer, p_worker_id bigint) IS 'Claims messages of a pg_net queue and hands them to pg_net, which starts when the transaction commits. Returns how many.';


--
-- Name: doctor(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.doctor() RETURNS TABLE(severity text, kind text, object text, problem text, mend text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  return query
  select 'broken', 'database', current_database()::text, a.health || ': ' || a.reason, a.mend from qctl._ails_unarmed() a
  union all select 'broken', 'database', current_database()::text, a.health || ': ' || a.reason, a.mend from qctl._ails_schema() a;
  for v_queue in select * from qctl.queue q order by q.queue_name loop
    -- What the attachments lack is among what verify finds.
    return query
    select 'broken', 'queue', v_queue.queue_name, a.health || ': ' || a.reason, a.mend from qctl._ailments(v_queue, false) a
    where a.health not in ('unarmed', 'schema_outdated', 'capture_broken') and a.reason not like 'pgmq''s table%';
    return query select * from qctl._examine_queue(v_queue);
  end loop;
  return query select 'broken', v.kind, v.object, v.problem, v.mend from qctl.verify() v;
  return query
  select * from qctl._examine_versions() union all select * from qctl._examine_settings() union all select * from qctl._examine_copies()
  union all select * from qctl._examine_roles() union all select * from qctl._examine_sight();
  return query select * from qctl._examine_jobs();
  return query
  select * from qctl._examine_failures() union all select * from qctl._examine_vacuum() union all select * from qctl._examine_load();
end
$$;


--
-- Name: FUNCTION doctor(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.doctor() IS 'Everything that is wrong (broken) or will be (warning), or is good to know (note): health, what qctl.verify() finds, versions, settings, roles, jobs, failures, vacuum, load; each with what to type.';


--
-- Name: drop_header_secret(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.drop_header_secret(p_name text) RETURNS TABLE(name text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_users text[] := qctl._secret_users('secret:' || p_name);
begin
  if cardinality(v_users) > 0 then
    raise exception 'secret % is sent by %', p_name, array_to_string(v_users, ', ')
      using errcode = 'QC007', hint = 'they would stand still without it; change their headers first: qctl set -q QUEUE --no-header NAME';
  end if;
  delete from qctl.header_secret s where s.name = p_name;
  if not found then
    raise exception 'no secret named %', quote_literal(coalesce(left(p_name, 100), '')) using errcode = 'QC006', hint = 'qctl secret list';
  end if;
  perform qctl._audit('secret_drop', null, jsonb_build_object('name', p_name));
  name := p_name;
  return query select p_name;
end
$$;


--
-- Name: drop_queue(text, boolean, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.drop_queue(p_queue text, p_discard boolean DEFAULT false, p_with_archive boolean DEFAULT false) RETURNS TABLE(queue_name text, discarded bigint, dead bigint, archived bigint, archive text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_unfinished bigint := 0;
  v_relation regclass;
  v_q text := 'q_' || p_queue;
  v_a text := 'a_' || p_queue;
begin
  queue_name := p_queue;
  discarded := 0;
  -- Triggers first: a writer then never meets a table that is gone.
  for v_relation in select a.relation from qctl.attachment a where a.queue_id = v_queue.queue_id order by 1 loop
    perform qctl.detach(v_relation::oid::text, p_queue);
  end loop;
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if to_regclass(format('pgmq.%I', v_q)) is not null then
    execute format('lock table pgmq.%I in access exclusive mode', v_q);
    execute format('select count(*) from pgmq.%I', v_q) into v_unfinished;
    if v_unfinished > 0 and not p_discard then
      raise exception 'queue % holds % unfinished messages', p_queue, v_unfinished
        using errcode = 'QC007', hint = 'to give them up: --discard; they stay in the archive, undelivered';
    end if;
    discarded := cardinality(qctl._discard(v_queue, null, 'the queue was dropped'));
  end if;
  select count(*) into dead from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
  if not p_with_archive then
    perform qctl._archive_dead(v_queue);
  end if;
  if to_regclass(format('pgmq.%I', v_a)) is not null then
    execute format('select count(*) from pgmq.%I', v_a) into archived;
  end if;

  if p_with_archive then
    if exists (select from pgmq.meta m where m.queue_name = p_queue) then
      perform pgmq.drop_queue(queue_name => p_queue);
    end if;
    execute format('drop table if exists pgmq.%I', v_a);
    archive := null;
  else
    perform qctl._drop_keeping_archive(p_queue);
    archive := case when to_regclass(format('pgmq.%I', v_a)) is not null then format('pgmq.%I', v_a) end;
  end if;
  execute format('drop view if exists qctl.%I', v_queue.queue_name || '_status');
  delete from qctl.in_flight f where f.queue_id = v_queue.queue_id;
  delete from qctl.retry r where r.queue_id = v_queue.queue_id;
  delete from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
  delete from qctl.queue q where q.queue_id = v_queue.queue_id;
  perform qctl._plan_jobs();
  perform qctl._audit('drop', p_queue, jsonb_build_object('discarded', discarded, 'dead', dead, 'archive', archive));
  return next;
end
$$;


--
-- Name: FUNCTION drop_queue(p_queue text, p_discard boolean, p_with_archive boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.drop_queue(p_queue text, p_discard boolean, p_with_archive boolean) IS 'Drops a queue: triggers, then settings and pgmq''s table. Refuses while it holds unfinished messages, unless p_discard. The archive stays, with dead letters and discarded messages moved into it, unless p_with_archive. The attempt log goes with the maintenance.';


--
-- Name: event_route(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.event_route() RETURNS TABLE(queue_name text, url text, throttle_s integer, set_at timestamp with time zone, set_by text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select q.queue_name, q.url, r.throttle_s, r.set_at, r.set_by from qctl.event_route r join qctl.queue q using (queue_id)
$$;


--
-- Name: fall_asleep(text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.fall_asleep(p_queues text[]) RETURNS TABLE(queue_id integer, queue_name text, asleep boolean)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select q.queue_id, q.queue_name, pg_try_advisory_lock(1902343276, q.queue_id)
  from qctl.queue q where q.queue_name = any (p_queues)
$$;


--
-- Name: FUNCTION fall_asleep(p_queues text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.fall_asleep(p_queues text[]) IS 'Takes the sleeper''s lock of each queue where no writer is under way. A worker looks for work once more, then listens.';


--
-- Name: give_up(text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.give_up(p_queue text, p_discard boolean DEFAULT false) RETURNS TABLE(discarded bigint, dead bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  discarded := 0;
  if p_discard and to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    discarded := cardinality(qctl._discard(v_queue, null, 'the queue was dropped'));
  end if;
  dead := qctl._archive_dead(v_queue);
  return next;
end
$$;


--
-- Name: FUNCTION give_up(p_queue text, p_discard boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.give_up(p_queue text, p_discard boolean) IS 'Moves dead letters, with p_discard every unfinished message too, to the archive: the long part of a drop, before it locks a table of the application. Returns how many were discarded, and how many dead letters were moved.';


--
-- Name: grant_role(text, text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.grant_role(p_role text, p_as text DEFAULT 'read'::text, p_payloads boolean DEFAULT false) RETURNS TABLE(role_name text, level text, payloads boolean, changed boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_changed boolean;
  v_before qctl.grantee;
begin
  if p_as is null or p_as not in ('read', 'operate', 'work') then
    raise exception 'no such level: %', quote_literal(coalesce(left(p_as, 50), '')) using errcode = 'QC002', hint = '--as read, operate or work';
  end if;
  if p_as = 'work' and p_payloads then
    raise exception 'a worker is given the payloads that it delivers, and no others' using errcode = 'QC002', hint = '--as work, without --payloads';
  end if;
  if not exists (select from pg_roles r where r.rolname = p_role) then
    raise exception 'no role named %', quote_literal(coalesce(left(p_role, 63), ''))
      using errcode = 'QC006', hint = format('create role %I login;', coalesce(left(p_role, 63), 'name'));
  end if;
  if p_role = (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'qctl') then
    raise exception 'role % installed qctl and may do everything already', p_role using errcode = 'QC007', hint = 'name another role';
  end if;
  select g.* into v_before from qctl.grantee g where g.role_name = p_role;
  v_changed := (v_before.level, v_before.payloads) is distinct from (p_as, p_payloads);
  if v_before.level is not null then
    perform qctl._take_grants(p_role, v_before.level, v_before.payloads, p_as, p_payloads);
  end if;
  insert into qctl.grantee as g (role_name, level, payloads) values (p_role, p_as, p_payloads)
  on conflict (role_name) do update set (level, payloads, granted_at, granted_by) = (excluded.level, excluded.payloads, now(), session_user);
  perform qctl._apply_grants(p_role, p_as, p_payloads);
  perform qctl._audit('grant', null, jsonb_build_object('role', p_role, 'as', p_as, 'payloads', p_payloads));
  return query select p_role, p_as, p_payloads, v_changed;
end
$$;


--
-- Name: FUNCTION grant_role(p_role text, p_as text, p_payloads boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.grant_role(p_role text, p_as text, p_payloads boolean) IS 'Lets a role look (read), also act on messages (operate), or deliver (work); one level a role, the last one given. With p_payloads it sees payloads, too. Nothing else that the role has is touched. An upgrade gives it what is new.';


--
-- Name: growth(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.growth(p_queue text) RETURNS TABLE(per_s double precision, drain_s double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  select g.* from qctl.depth(p_queue) d, qctl._growth(v_queue, d.depth, d.exact, d.estimate) g;
end
$$;


--
-- Name: FUNCTION growth(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.growth(p_queue text) IS 'By how many messages a second the queue grew in the last minutes, less than 0 if it drains, and the seconds until it is empty at that pace. Null where nothing is known, for no maintenance has run; drain_s also where it does not drain.';


--
-- Name: header_secrets(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.header_secrets() RETURNS TABLE(reference text, changed_at timestamp with time zone, changed_by text, used_by text[], there boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select n.reference, s.changed_at, s.changed_by, qctl._secret_users(n.reference), qctl._missing_secrets(jsonb_build_object('x', n.reference)) is null
  from (select 'secret:' || s.name from qctl.header_secret s
        union select h.value from qctl.queue q cross join jsonb_each_text(q.headers) as h where qctl._is_reference(h.value)) as n (reference)
  left join qctl.header_secret s on n.reference = 'secret:' || s.name
  order by 1
$$;


--
-- Name: FUNCTION header_secrets(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.header_secrets() IS 'Which header secrets there are, or are named by queues, and which queues send them; never the values.';


--
-- Name: health(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.health(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, health text, since timestamp with time zone, reason text, mend text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    select v_queue.queue_name, a.health, a.since, a.reason, a.mend into queue_name, health, since, reason, mend
    from qctl._ailments(v_queue, true) a limit 1;
    if not found then
      queue_name := v_queue.queue_name;
      health := 'ok';
      since := null;
      reason := case when qctl._unseen(to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)))
                     then format('depth and endpoint unknown: row level security, or a missing right, hides its messages from role %s', current_user) end;
      mend := null;
    end if;
    return next;
  end loop;
end
$$;


--
-- Name: FUNCTION health(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.health(p_queue text) IS 'The first that holds of: unarmed, schema_outdated (a worker is newer), no_worker, paused (by a person), gone (the endpoint answered 410, or pgmq''s table is gone), circuit_open, capture_broken, endpoint_failing (20 % of the attempts of 10 minutes, or all of the last ones), growing, ok; since when as far as is known, why, and the command that mends it.';


--
-- Name: heartbeat(bigint, text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.heartbeat(p_worker_id bigint, p_queues text[] DEFAULT NULL::text[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  update qctl.worker w set last_seen_at = clock_timestamp(), queues = coalesce(p_queues, w.queues)
  where w.worker_id = p_worker_id and w.stopped_at is null;
  return found;
end
$$;


--
-- Name: FUNCTION heartbeat(p_worker_id bigint, p_queues text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.heartbeat(p_worker_id bigint, p_queues text[]) IS 'False when the worker was taken for gone: its leases may have lapsed, so it sends nothing more of them.';


--
-- Name: is_armed(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.is_armed() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select exists (
    select from qctl.arming a
    where a.system_identifier = (select c.system_identifier from pg_control_system() c)
      and a.database_oid = (select d.oid from pg_database d where d.datname = current_database())
      and (a.survive_failover or a.timeline = qctl._timeline()))
$$;


--
-- Name: FUNCTION is_armed(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.is_armed() IS 'May this database deliver? False in a copy: another cluster, database or timeline.';


--
-- Name: jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.jobs() RETURNS TABLE(job_id bigint, job_name text, schedule text, command text, active boolean, owner text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  if qctl._cron_here() then
    return query
    select j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::text from cron.job j
    where j.database = current_database()::text and j.jobname::text ~ '^qctl-(worker|maintenance)' and j.command ~ '^call qctl\.'
    order by j.jobname::text;
  end if;
end
$$;


--
-- Name: FUNCTION jobs(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.jobs() IS 'Our jobs in pg_cron, as far as this role may see them.';


--
-- Name: label(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.label() RETURNS TABLE(label text, protected boolean, is_copy boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select l.label, l.protected and not c.is_copy, c.is_copy
  from qctl.label l
  cross join lateral (
    select l.system_identifier <> (select s.system_identifier from pg_control_system() s)
        or l.database_oid <> (select d.oid from pg_database d where d.datname = current_database())) c (is_copy)
$$;


--
-- Name: FUNCTION label(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.label() IS 'The label, if there is one; a copy, another cluster or database, is not protected by what the original was called.';


--
-- Name: lag(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.lag(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, lag_s double precision, age_s double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    continue when qctl._unseen(to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)));
    queue_name := v_queue.queue_name;
    -- Ids rise with enqueued_at, so the oldest of each kind stands among the first: untried and ready, tried or replayed, in flight.
    execute format($q$
      select extract(epoch from $2 - (
               select greatest(q.vt, q.enqueued_at) from pgmq.%1$I q
               where q.vt <= $2 and isfinite(q.enqueued_at) order by q.vt limit 1)),
             extract(epoch from $2 - least(
               (select min(q.enqueued_at) from (select * from pgmq.%1$I q where isfinite(q.enqueued_at) order by q.msg_id limit 1000) q
                where q.vt <= $2 and not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = q.msg_id)),
               (select min(q.enqueued_at) from (select * from pgmq.%1$I q where q.vt <= $2 and isfinite(q.enqueued_at) order by q.vt limit 100) q
                where not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = q.msg_id)),
               (select min(case when r.attempts = 0 and r.lost = 0 then greatest(r.replayed_at, r.next_at)
                                else coalesce(r.replayed_at, r.enqueued_at) end)
                from (select * from qctl.retry r
                      where r.queue_id = $1 and isfinite(r.enqueued_at) and not (r.attempts = 0 and r.lost = 0 and r.next_at > $2)
                      order by r.msg_id limit 1000) r
                where exists (select from pgmq.%1$I q where q.msg_id = r.msg_id and q.enqueued_at = r.enqueued_at)),
               (select min(f.enqueued_at) from qctl.in_flight f
                where f.queue_id = $1 and f.lapsed_at is null and isfinite(f.enqueued_at)
                  and not exists (select from qctl.retry r where r.queue_id = $1 and r.msg_id = f.msg_id))))
    $q$, 'q_' || v_queue.queue_name) into lag_s, age_s using v_queue.queue_id, clock_timestamp();
    return next;
  end loop;
end
$_$;


--
-- Name: FUNCTION lag(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.lag(p_queue text) IS 'lag_s: how long the oldest ready message has waited for a worker; age_s: how old the oldest unfinished, not delayed one is.';


--
-- Name: life(text, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.life(p_queue text, p_msg_id bigint) RETURNS TABLE(at timestamp with time zone, event text, delivery_no integer, attempt_no integer, status_code integer, duration_ms integer, error text, response text, actor text, detail text, until timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_message record;
begin
  for v_message in select * from qctl.message(p_queue, p_msg_id) loop
    return query
    select * from (
      select v_message.enqueued_at, 'enqueued', null::integer, null::integer, null::integer, null::integer, null::text, null::text, null::text,
             coalesce(qctl._captured_from(v_message.message),
                      case when v_message.message ? 'table' then 'sent, or captured from a table that is gone' else 'sent' end), null::timestamptz
      union all
      select t.claimed_at, t.outcome, t.delivery_no, t.attempt_no, t.status_code, t.duration_ms, t.error, t.response, w.name,
             case when t.next_at is not null then 'to be tried again' end, t.next_at
      from qctl.attempt t left join qctl.worker w using (worker_id) where t.queue_id = v_queue.queue_id and t.msg_id = p_msg_id
      union all
      select f.claimed_at, case when f.lapsed_at is null then 'in_flight' else 'lapsed' end, f.delivery_no, f.attempt_no, null, null, null, null, w.name,
             case when f.lapsed_at is null then 'its lease ends' else 'no answer in its lease; a late success still counts' end,
             coalesce(f.lapsed_at, f.expires_at)
      from qctl.in_flight f left join qctl.worker w using (worker_id) where f.queue_id = v_queue.queue_id and f.msg_id = p_msg_id
      union all
      select a.at, a.verb, null, null, null, null, null, null, a.actor, a.detail ->> 'reason', null
      from qctl.audit a
      where a.verb in ('replay', 'discard') and a.queue_name = p_queue and a.at >= coalesce(v_message.enqueued_at, '-infinity')
        and (a.detail -> 'msg_ids' @> to_jsonb(p_msg_id) or (a.detail ->> 'ranges')::int8multirange @> p_msg_id)
      union all
      select v_message.finished_at, case v_message.state when 'delivered' then 'archived' else v_message.state end, v_message.delivery_no, null,
             null, null, null, null, null,
             case v_message.state when 'dead' then concat_ws(': ', v_message.reason, v_message.note) when 'archived' then 'by somebody else than qctl' end, null
      where v_message.finished_at is not null
    ) e order by 1 nulls first, 3 nulls first, 4;

    at := case v_message.state when 'retrying' then v_message.next_at when 'delayed' then v_message.visible_at
               when 'delivered' then v_message.finished_at + make_interval(secs => v_queue.retention_s) end;
    event := 'next';
    detail := case v_message.state
      when 'ready' then 'attempt, as soon as a worker claims it'
      when 'retrying' then format('attempt %s', v_message.attempts + 1)
      when 'delayed' then 'becomes ready'
      when 'in_flight' then 'the answer, or the end of the lease'
      when 'delivered' then case when v_queue.retention_s is null then 'nothing; kept until it is purged' else 'deleted, by the retention of its queue' end
      when 'dead' then format('nothing, unless: qctl replay %s/%s', p_queue, p_msg_id)
      else format('nothing, unless: qctl replay %s/%s', p_queue, p_msg_id) end
      || case when v_message.state in ('ready', 'retrying', 'delayed')
              then coalesce((select format(' (but %s: %s)', h.health, h.reason) from qctl.health(p_queue) h
                             where h.health in ('unarmed', 'schema_outdated', 'no_worker', 'paused', 'gone', 'secret_missing', 'circuit_open')), '') else '' end;
    delivery_no := null; attempt_no := null; status_code := null; duration_ms := null; error := null; response := null; actor := null; until := null;
    return next;
  end loop;
end
$$;


--
-- Name: FUNCTION life(p_queue text, p_msg_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.life(p_queue text, p_msg_id bigint) IS 'A message''s whole life in order: enqueued, each attempt, leases that lapsed, replays and discards with who and why, its end, what comes next.';


--
-- Name: locate(bigint, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.locate(p_msg_id bigint, p_queue text DEFAULT NULL::text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_name text;
  v_id integer;
  v_found boolean;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_name, v_id in
    select q.queue_name, q.queue_id from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name
  loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_name)) is null or to_regclass(format('pgmq.%I', 'a_' || v_name)) is null;
    execute format('select exists (select from pgmq.%1$I where msg_id = $1) or exists (select from pgmq.%2$I where msg_id = $1)',
                   'q_' || v_name, 'a_' || v_name)
      into v_found using p_msg_id;
    if v_found or exists (select from qctl.dead_letter d where d.queue_id = v_id and d.msg_id = p_msg_id) then
      return next v_name;
    end if;
  end loop;
end
$_$;


--
-- Name: FUNCTION locate(p_msg_id bigint, p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.locate(p_msg_id bigint, p_queue text) IS 'The queues that know a message of this id.';


--
-- Name: maintenance(interval); Type: PROCEDURE; Schema: qctl; Owner: -
--

CREATE PROCEDURE qctl.maintenance(IN p_for interval DEFAULT '00:00:50'::interval)
    LANGUAGE plpgsql
    AS $$
declare
  v_deadline timestamptz := qctl._maintenance_deadline(p_for);
  v_place qctl.purge_place;
  v_queue record;
begin
  for v_queue in select c.id from qctl._queues_to_collect() as c (id) loop
    perform qctl._work_review(v_queue.id);
    commit;
  end loop;
  perform qctl.upkeep();
  commit;
  perform qctl._roll_up();
  commit;
  perform qctl._take_samples();
  commit;
  perform qctl._forget_dedup_keys();
  perform qctl._sweep_order();
  commit;
  for v_queue in select r.name from qctl._due_retention() as r (name) loop
    v_place := null;
    loop
      v_place := qctl._retain(v_queue.name, v_place);
      commit;
      exit when not qctl._before(v_deadline, v_place);
    end loop;
    exit when v_place.after is not null;
  end loop;
  perform qctl._retention_done(v_place);
  perform qctl._sweep();
  commit;
  perform qctl._plan_jobs() where qctl._owns_jobs();
  commit;
end
$$;


--
-- Name: PROCEDURE maintenance(IN p_for interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON PROCEDURE qctl.maintenance(IN p_for interval) IS 'Collects answers of pg_net where no job does, lapses leases, rolls up throughput, deletes what is past retention, and cleans up after our own jobs. Run it each minute; p_for bounds the deleting.';


--
-- Name: message(text, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.message(p_queue text, p_msg_id bigint) RETURNS TABLE(queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamp with time zone, visible_at timestamp with time zone, finished_at timestamp with time zone, delivery_no integer, attempts integer, lost integer, next_at timestamp with time zone, last_status integer, last_error text, reason text, note text, headers jsonb, message jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select $2, q.msg_id,
           case when f.msg_id is not null then 'in_flight' when q.vt <= clock_timestamp() then 'ready'
                when r.msg_id is not null then 'retrying' else 'delayed' end,
           coalesce(r.webhook_id, qctl.webhook_id($3, q.msg_id, q.enqueued_at)),
           case when isfinite(q.enqueued_at) then q.enqueued_at end, case when isfinite(q.vt) then q.vt end, null::timestamptz,
           coalesce(r.delivery_no, 1), coalesce(r.attempts, 0), coalesce(r.lost, 0), r.next_at, r.last_status, r.last_error,
           null::text, null::text, q.headers, q.message
    from pgmq.%1$I q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
    where q.msg_id = $4
    union all
    select $2, d.msg_id, 'dead', coalesce(d.webhook_id, qctl.webhook_id($3, d.msg_id, d.enqueued_at)),
           case when isfinite(d.enqueued_at) then d.enqueued_at end, null,
           d.died_at, d.delivery_no, d.attempts, d.lost, null, d.status_code, d.error, d.reason, d.note, d.headers, d.message
    from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = $4
    union all
    select $2, a.msg_id, case when a.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end,
           coalesce(qctl._mark_webhook_id(a.headers), qctl.webhook_id($3, a.msg_id, a.enqueued_at)),
           case when isfinite(a.enqueued_at) then a.enqueued_at end, null, a.archived_at, coalesce(qctl._mark_number(a.headers, 'delivery_no'), 1),
           coalesce(qctl._mark_number(a.headers, 'attempts'), 0), 0, null,
           qctl._mark_number(a.headers, 'status'), null, null, null,
           case when jsonb_typeof(a.headers) = 'object' then nullif(a.headers - 'qctl', '{}') else a.headers end, a.message
    from pgmq.%2$I a where a.msg_id = $4
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_queue, v_queue.queue_uuid, p_msg_id;
end
$_$;


--
-- Name: FUNCTION message(p_queue text, p_msg_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.message(p_queue text, p_msg_id bigint) IS 'One message as it stands now, wherever it is.';


--
-- Name: message_state(text, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.message_state(p_queue text, p_msg_id bigint) RETURNS TABLE(queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamp with time zone, visible_at timestamp with time zone, finished_at timestamp with time zone, delivery_no integer, attempts integer, lost integer, next_at timestamp with time zone, last_status integer, last_error text, reason text, note text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select m.queue_name, m.msg_id, m.state, m.webhook_id, m.enqueued_at, m.visible_at, m.finished_at, m.delivery_no, m.attempts, m.lost,
         m.next_at, m.last_status, m.last_error, m.reason, m.note
  from qctl.message(p_queue, p_msg_id) m
$$;


--
-- Name: FUNCTION message_state(p_queue text, p_msg_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.message_state(p_queue text, p_msg_id bigint) IS 'As qctl.message(), without headers and payload.';


--
-- Name: message_states(text, bigint[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.message_states(p_queue text, p_msg_ids bigint[]) RETURNS TABLE(msg_id bigint, state text, delivery_no integer)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select q.msg_id, case when f.msg_id is not null then 'in_flight' when q.vt <= clock_timestamp() then 'ready'
                          when r.msg_id is not null then 'retrying' else 'delayed' end,
           coalesce(r.delivery_no, 1)
    from pgmq.%1$I q
    left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
    where q.msg_id = any ($2)
    union all
    select d.msg_id, 'dead', d.delivery_no from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = any ($2)
      and not exists (select from pgmq.%1$I q where q.msg_id = d.msg_id)
    union all
    select a.msg_id, case when a.headers #>> '{qctl,outcome}' = 'delivered' then 'delivered' else 'archived' end,
           coalesce(qctl._mark_number(a.headers, 'delivery_no'), 1)
    from pgmq.%2$I a where a.msg_id = any ($2) and not exists (select from pgmq.%1$I q where q.msg_id = a.msg_id)
      and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = a.msg_id)
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_msg_ids;
end
$_$;


--
-- Name: FUNCTION message_states(p_queue text, p_msg_ids bigint[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.message_states(p_queue text, p_msg_ids bigint[]) IS 'How each of these messages stands now, and in which delivery; those that the queue knows.';


--
-- Name: messages(text, text[], timestamp with time zone, timestamp with time zone, timestamp with time zone, text[], text, text, text, boolean, integer, bigint, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.messages(p_queue text, p_states text[] DEFAULT NULL::text[], p_since timestamp with time zone DEFAULT NULL::timestamp with time zone, p_until timestamp with time zone DEFAULT NULL::timestamp with time zone, p_captured_since timestamp with time zone DEFAULT NULL::timestamp with time zone, p_status_codes text[] DEFAULT NULL::text[], p_error text DEFAULT NULL::text, p_response text DEFAULT NULL::text, p_not_response text DEFAULT NULL::text, p_retrying boolean DEFAULT false, p_limit integer DEFAULT 100, p_before_id bigint DEFAULT NULL::bigint, p_before_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamp with time zone, visible_at timestamp with time zone, finished_at timestamp with time zone, delivery_no integer, attempts integer, lost integer, next_at timestamp with time zone, reason text, note text, last_attempt_at timestamp with time zone, status_code integer, error text, response text, duration_ms integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select * from qctl._messages(p_queue, p_states, p_since, p_until, p_captured_since, p_status_codes, p_error, p_response, p_not_response,
                               p_retrying, null, p_limit, p_before_id, p_before_at)
$$;


--
-- Name: FUNCTION messages(p_queue text, p_states text[], p_since timestamp with time zone, p_until timestamp with time zone, p_captured_since timestamp with time zone, p_status_codes text[], p_error text, p_response text, p_not_response text, p_retrying boolean, p_limit integer, p_before_id bigint, p_before_at timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.messages(p_queue text, p_states text[], p_since timestamp with time zone, p_until timestamp with time zone, p_captured_since timestamp with time zone, p_status_codes text[], p_error text, p_response text, p_not_response text, p_retrying boolean, p_limit integer, p_before_id bigint, p_before_at timestamp with time zone) IS 'A queue''s messages with their last attempt, newest first, without their payload. Of their last attempt: p_since and p_until its time, p_status_codes (404, 5xx), p_error a part of the error, p_response and p_not_response of the answer; those come by that time, newest first, all others by id. p_retrying: unfinished and tried. The next page: p_before_id the last msg_id, and p_before_at its last_attempt_at.';


--
-- Name: messages_where(text, jsonb, text[], timestamp with time zone, timestamp with time zone, timestamp with time zone, text[], text, text, text, boolean, integer, bigint, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.messages_where(p_queue text, p_where jsonb, p_states text[] DEFAULT NULL::text[], p_since timestamp with time zone DEFAULT NULL::timestamp with time zone, p_until timestamp with time zone DEFAULT NULL::timestamp with time zone, p_captured_since timestamp with time zone DEFAULT NULL::timestamp with time zone, p_status_codes text[] DEFAULT NULL::text[], p_error text DEFAULT NULL::text, p_response text DEFAULT NULL::text, p_not_response text DEFAULT NULL::text, p_retrying boolean DEFAULT false, p_limit integer DEFAULT 100, p_before_id bigint DEFAULT NULL::bigint, p_before_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint, state text, webhook_id text, enqueued_at timestamp with time zone, visible_at timestamp with time zone, finished_at timestamp with time zone, delivery_no integer, attempts integer, lost integer, next_at timestamp with time zone, reason text, note text, last_attempt_at timestamp with time zone, status_code integer, error text, response text, duration_ms integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select * from qctl._messages(p_queue, p_states, p_since, p_until, p_captured_since, p_status_codes, p_error, p_response, p_not_response,
                               p_retrying, p_where, p_limit, p_before_id, p_before_at)
$$;


--
-- Name: FUNCTION messages_where(p_queue text, p_where jsonb, p_states text[], p_since timestamp with time zone, p_until timestamp with time zone, p_captured_since timestamp with time zone, p_status_codes text[], p_error text, p_response text, p_not_response text, p_retrying boolean, p_limit integer, p_before_id bigint, p_before_at timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.messages_where(p_queue text, p_where jsonb, p_states text[], p_since timestamp with time zone, p_until timestamp with time zone, p_captured_since timestamp with time zone, p_status_codes text[], p_error text, p_response text, p_not_response text, p_retrying boolean, p_limit integer, p_before_id bigint, p_before_at timestamp with time zone) IS 'As qctl.messages(), those whose payload contains p_where (jsonb @>). For roles that may see payloads.';


--
-- Name: pause(text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.pause(p_queue text, p_reason text DEFAULT NULL::text) RETURNS TABLE(queue_name text, changed boolean, paused_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_changed boolean;
begin
  update qctl.gate g set paused_at = clock_timestamp(), paused_by = session_user, pause_reason = left(p_reason, 500)
  where g.queue_id = v_queue.queue_id and g.paused_at is null;
  v_changed := found;
  if v_changed then
    perform qctl._audit('pause', p_queue, jsonb_build_object('reason', p_reason));
    perform qctl._emit('queue.paused', p_queue, jsonb_build_object('reason', p_reason, 'by', session_user, 'url', v_queue.url));
  end if;
  return query select p_queue, v_changed, g.paused_at from qctl.gate g where g.queue_id = v_queue.queue_id;
end
$$;


--
-- Name: FUNCTION pause(p_queue text, p_reason text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.pause(p_queue text, p_reason text) IS 'Stops claiming; what is in flight settles, capture goes on.';


--
-- Name: payloads(text, bigint[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.payloads(p_queue text, p_msg_ids bigint[]) RETURNS TABLE(msg_id bigint, headers jsonb, message jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query execute format($q$
    select q.msg_id, q.headers, q.message from pgmq.%1$I q where q.msg_id = any ($2)
    union all select d.msg_id, d.headers, d.message from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = any ($2)
    union all select a.msg_id, case when jsonb_typeof(a.headers) = 'object' then nullif(a.headers - 'qctl', '{}') else a.headers end, a.message
    from pgmq.%2$I a where a.msg_id = any ($2)
  $q$, 'q_' || p_queue, 'a_' || p_queue) using v_queue.queue_id, p_msg_ids;
end
$_$;


--
-- Name: FUNCTION payloads(p_queue text, p_msg_ids bigint[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.payloads(p_queue text, p_msg_ids bigint[]) IS 'Headers and payloads of messages, wherever they are. For roles that may see payloads.';


--
-- Name: purge(text, interval, timestamp with time zone, bigint, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purge(p_queue text, p_older_than interval, p_after timestamp with time zone DEFAULT '-infinity'::timestamp with time zone, p_after_id bigint DEFAULT 0, p_limit integer DEFAULT 5000) RETURNS TABLE(messages integer, attempts integer, next_after timestamp with time zone, next_after_id bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
  select p.* into messages, attempts, next_after, next_after_id
  from qctl._purge(p_queue, p_older_than, p_after, p_after_id, p_limit) p;
  if messages > 0 then
    perform qctl._audit('purge', p_queue, jsonb_build_object('older_than', p_older_than, 'messages', messages, 'attempts', attempts));
  end if;
  return next;
end
$$;


--
-- Name: FUNCTION purge(p_queue text, p_older_than interval, p_after timestamp with time zone, p_after_id bigint, p_limit integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purge(p_queue text, p_older_than interval, p_after timestamp with time zone, p_after_id bigint, p_limit integer) IS 'Deletes one batch of delivered messages archived longer ago than that, with their attempts. Call again with next_after and next_after_id until they are null. Never touches unfinished or dead messages, nor what others archived.';


--
-- Name: purge_dead(text, interval, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purge_dead(p_queue text, p_older_than interval, p_limit integer DEFAULT 5000) RETURNS TABLE(messages integer, attempts integer)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select p.* from (select array_agg(v.msg_id) as ids, array_agg(v.enqueued_at) as times
                   from qctl.purge_preview(p_queue, p_older_than, true, p_limit => p_limit) v) v,
       qctl.purge_these(p_queue, v.ids, v.times, true) p
$$;


--
-- Name: FUNCTION purge_dead(p_queue text, p_older_than interval, p_limit integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purge_dead(p_queue text, p_older_than interval, p_limit integer) IS 'Deletes one batch of dead letters that died longer ago than that. Call again until it deletes none.';


--
-- Name: purge_leftovers(interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purge_leftovers(p_older_than interval) RETURNS TABLE(kind text, deleted bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_before timestamptz := now() - p_older_than;
  v_queue qctl.queue;
  v_count bigint;
begin
  delete from qctl.throughput t where t.minute < v_before;
  get diagnostics v_count = row_count;
  return query select 'throughput', v_count;
  v_count := 0;
  -- Attempts that were logged late, when their message had been purged already.
  for v_queue in select * from qctl.queue q where to_regclass(format('pgmq.%I', 'q_' || q.queue_name)) is not null
                 and to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null loop
    execute format($q$
      with orphan as (
        delete from qctl.attempt t where t.queue_id = $1 and t.settled_at < $2
          and not exists (select from pgmq.%1$I q where q.msg_id = t.msg_id) and not exists (select from pgmq.%2$I a where a.msg_id = t.msg_id)
          and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
        returning 1
      )
      select $3 + count(*) from orphan
    $q$, 'q_' || v_queue.queue_name, 'a_' || v_queue.queue_name) into v_count using v_queue.queue_id, v_before, v_count;
  end loop;
  return query select 'attempts', v_count;
  if qctl._cron_here() then
    begin
      delete from cron.job_run_details d
      where d.database = current_database()::text and d.command ~ '^call qctl\.(work|maintenance)\(' and d.end_time < v_before;
      get diagnostics v_count = row_count;
      return query select 'runs of our jobs', v_count;
    exception when insufficient_privilege then
      return query select 'runs of our jobs', 0::bigint;
    end;
  end if;
end
$_$;


--
-- Name: FUNCTION purge_leftovers(p_older_than interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purge_leftovers(p_older_than interval) IS 'Deletes statistics, runs of our jobs in pg_cron''s history, and attempts whose message is gone, all older than that.';


--
-- Name: purge_preview(text, interval, boolean, timestamp with time zone, bigint, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purge_preview(p_queue text, p_older_than interval, p_dead boolean DEFAULT false, p_after timestamp with time zone DEFAULT '-infinity'::timestamp with time zone, p_after_id bigint DEFAULT 0, p_limit integer DEFAULT 5000) RETURNS TABLE(msg_id bigint, enqueued_at text, finished_at text, headers jsonb, message text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_dead then
    return query
    select d.msg_id, d.enqueued_at::text, d.died_at::text, d.headers, d.message::text from qctl.dead_letter d
    where d.queue_id = v_queue.queue_id and (d.died_at, d.msg_id) > (p_after, p_after_id) and d.died_at < now() - p_older_than
    order by d.died_at, d.msg_id limit p_limit for update skip locked;
    return;
  end if;
  return query execute format($q$
    select a.msg_id, a.enqueued_at::text, a.archived_at::text, nullif(a.headers - 'qctl', '{}'), a.message::text
    from pgmq.%I a
    where a.archived_at >= $1 and (a.archived_at, a.msg_id) > ($1, $2) and a.archived_at < $3 and a.headers #>> '{qctl,outcome}' = 'delivered'
    order by a.archived_at, a.msg_id limit $4 for update skip locked
  $q$, 'a_' || p_queue) using p_after, p_after_id, now() - p_older_than, p_limit;
end
$_$;


--
-- Name: FUNCTION purge_preview(p_queue text, p_older_than interval, p_dead boolean, p_after timestamp with time zone, p_after_id bigint, p_limit integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purge_preview(p_queue text, p_older_than interval, p_dead boolean, p_after timestamp with time zone, p_after_id bigint, p_limit integer) IS 'The next batch that a purge would delete, locked until the transaction ends: write it down, then qctl.purge_these().';


--
-- Name: purge_these(text, bigint[], text[], boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purge_these(p_queue text, p_msg_ids bigint[], p_enqueued_at text[], p_dead boolean DEFAULT false) RETURNS TABLE(messages integer, attempts integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_gone bigint[];
begin
  if p_dead then
    with gone as (
      delete from qctl.dead_letter d using unnest(p_msg_ids, p_enqueued_at) as k (msg_id, enqueued_at)
      where d.queue_id = v_queue.queue_id and d.msg_id = k.msg_id and d.enqueued_at = k.enqueued_at::timestamptz returning d.msg_id
    )
    select array_agg(g.msg_id) into v_gone from gone g;
  else
    execute format($q$
      with gone as (
        delete from pgmq.%I a using unnest($1, $2) as k (msg_id, enqueued_at)
        where a.msg_id = k.msg_id and a.enqueued_at = k.enqueued_at::timestamptz and a.headers #>> '{qctl,outcome}' = 'delivered' returning a.msg_id
      )
      select array_agg(g.msg_id) from gone g
    $q$, 'a_' || p_queue) into v_gone using p_msg_ids, p_enqueued_at;
  end if;
  messages := coalesce(cardinality(v_gone), 0);
  -- A number that lives on elsewhere, replayed say, keeps its log.
  execute format($q$
    with logged as (
      delete from qctl.attempt t where t.queue_id = $1 and t.msg_id = any ($2)
        and not exists (select from pgmq.%1$I q where q.msg_id = t.msg_id) and not exists (select from pgmq.%2$I a where a.msg_id = t.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = t.msg_id)
      returning 1
    )
    select count(*) from logged
  $q$, 'q_' || p_queue, 'a_' || p_queue) into attempts using v_queue.queue_id, v_gone;
  if messages > 0 then
    perform qctl._audit('purge', p_queue, jsonb_build_object('dead', nullif(p_dead, false), 'messages', messages, 'attempts', attempts));
  end if;
  return next;
end
$_$;


--
-- Name: FUNCTION purge_these(p_queue text, p_msg_ids bigint[], p_enqueued_at text[], p_dead boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purge_these(p_queue text, p_msg_ids bigint[], p_enqueued_at text[], p_dead boolean) IS 'Deletes these delivered messages, or with p_dead these dead letters, and their attempts. Never an unfinished one.';


--
-- Name: purgeable(text, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purgeable(p_queue text, p_older_than interval) RETURNS TABLE(messages bigint, attempts bigint, bytes bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  execute format($q$
    with old as materialized (
      select a.msg_id, pg_column_size(a.*) as size from pgmq.%1$I a
      where a.archived_at < $2 and a.headers #>> '{qctl,outcome}' = 'delivered'
    )
    select count(*), (select count(*) from qctl.attempt t join old o on t.queue_id = $1 and t.msg_id = o.msg_id),
           coalesce(sum(o.size), 0)
    from old o
  $q$, 'a_' || p_queue)
  into messages, attempts, bytes using v_queue.queue_id, now() - p_older_than;
  return next;
end
$_$;


--
-- Name: FUNCTION purgeable(p_queue text, p_older_than interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purgeable(p_queue text, p_older_than interval) IS 'What purge would delete. Reads all of it: slow on a large archive.';


--
-- Name: purgeable_dead(text, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purgeable_dead(p_queue text, p_older_than interval) RETURNS TABLE(messages bigint, attempts bigint, bytes bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  with old as materialized (
    select d.msg_id, pg_column_size(d.*) as size from qctl.dead_letter d
    where d.queue_id = v_queue.queue_id and d.died_at < now() - p_older_than
  )
  select count(*), (select count(*) from qctl.attempt t join old o on t.queue_id = v_queue.queue_id and t.msg_id = o.msg_id),
         coalesce(sum(o.size), 0)::bigint
  from old o;
end
$$;


--
-- Name: FUNCTION purgeable_dead(p_queue text, p_older_than interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purgeable_dead(p_queue text, p_older_than interval) IS 'What purge_dead would delete.';


--
-- Name: rates(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.rates(p_queue text) RETURNS TABLE(delivered_1m bigint, failed_1m bigint, dead_1m bigint, delivered_1h bigint, failed_1h bigint, dead_1h bigint, p50_s double precision, p95_s double precision, last_delivered_at timestamp with time zone, last_failed_at timestamp with time zone, last_error text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  select count(*) filter (where t.outcome = 'delivered'), count(*) filter (where t.outcome <> 'delivered'),
         count(*) filter (where t.outcome = 'dead')
  into delivered_1m, failed_1m, dead_1m
  from qctl.attempt t
  where t.queue_id = v_queue.queue_id and t.settled_at > statement_timestamp() - interval '1 minute' and t.outcome <> 'late';
  select c.delivered, c.failed, c.dead into delivered_1h, failed_1h, dead_1h
  from qctl._counts(v_queue.queue_id, statement_timestamp() - interval '1 h') c;
  if not qctl._unseen(to_regclass(format('pgmq.%I', 'a_' || p_queue))) then
    select d.p50_s, d.p95_s into p50_s, p95_s from qctl._durations(p_queue) d;
    last_delivered_at := qctl._last_delivered(p_queue);
  end if;
  select t.settled_at, coalesce(t.error, 'HTTP ' || t.status_code, 'no answer') into last_failed_at, last_error
  from qctl.attempt t
  where t.queue_id = v_queue.queue_id and t.settled_at > statement_timestamp() - interval '24 h'
    and t.outcome <> 'delivered' and t.outcome <> 'late'
  order by t.settled_at desc limit 1;
  return next;
end
$$;


--
-- Name: FUNCTION rates(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.rates(p_queue text) IS 'Attempts of the last minute and hour by what became of them (failed: all that did not deliver, dead ones among them); p50 and p95 from enqueued to delivered; the last delivery, and the last failure within a day.';


--
-- Name: ready_queues(text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.ready_queues(p_queues text[]) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_name text;
  v_queue_id integer;
  v_opened_at timestamptz;
  v_recall_after bigint;
  v_ready boolean;
begin
  if not qctl.is_armed() then
    return;
  end if;
  for v_name, v_queue_id, v_opened_at, v_recall_after in
    select q.queue_name, g.queue_id, g.opened_at, g.recall_after from qctl.queue q join qctl.gate g using (queue_id)
    where q.queue_name = any (p_queues) and g.paused_at is null
      and (g.opened_at is null or clock_timestamp() >= g.probe_at and (g.probe_lease is null or clock_timestamp() >= g.probe_ends))
  loop
    begin
      execute format('select exists (select from pgmq.%I q where q.vt <= $1 order by q.vt limit 1)', 'q_' || v_name)
        into v_ready using clock_timestamp();
      -- A probe, and what is recalled after an outage, need not be due.
      if v_ready or v_opened_at is not null and exists (select from qctl.retry r where r.queue_id = v_queue_id and r.attempts > 0)
         or v_recall_after is not null and exists (select from qctl.retry r where r.queue_id = v_queue_id and r.msg_id > v_recall_after) then
        return next v_name;
      end if;
    exception when undefined_table or lock_not_available or insufficient_privilege then
      perform qctl._audit_rarely('look_failed', v_name, sqlstate, sqlerrm);
    end;
  end loop;
end
$_$;


--
-- Name: FUNCTION ready_queues(p_queues text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.ready_queues(p_queues text[]) IS 'Those of these queues that are not paused and hold a ready message; none in a database that is not armed.';


--
-- Name: reattach(text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.reattach(p_relation text, p_queue text) RETURNS TABLE(relation text, queue_name text, operation text, trigger_name text, runs_as text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_attachment qctl.attachment;
begin
  select * into v_attachment from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = to_regclass(p_relation);
  if not found then
    raise exception '% is not attached to %', p_relation, p_queue using errcode = 'QC006', hint = format('qctl attach %s -q %s', p_relation, p_queue);
  end if;
  perform qctl.detach(p_relation, p_queue);
  return query select * from qctl.attach(
    p_relation, p_queue, v_attachment.operations, v_attachment.when_sql, v_attachment.columns, v_attachment.payload,
    v_attachment.unchanged, v_attachment.as_me, v_attachment.replicated, v_attachment.on_error, v_attachment.max_bytes, v_attachment.order_by);
end
$$;


--
-- Name: FUNCTION reattach(p_relation text, p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.reattach(p_relation text, p_queue text) IS 'Makes the triggers of an attachment anew with the options it has: after a renamed table or column, a new child, a lost trigger.';


--
-- Name: register_worker(text, text, text[], text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.register_worker(p_name text, p_transport text, p_queues text[], p_version text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    BEGIN ATOMIC
 INSERT INTO qctl.worker (name, transport, queues, qctl_version, role_name)
   VALUES ("left"(register_worker.p_name, 200), register_worker.p_transport, register_worker.p_queues, register_worker.p_version, SESSION_USER)
   RETURNING worker.worker_id;
END;


--
-- Name: release(text, uuid[], bigint[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.release(p_queue text, p_lease uuid[], p_msg_id bigint[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_ids bigint[];
begin
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', 'q_' || p_queue)
    using p_msg_id;
  with released as (
    delete from qctl.in_flight f
    using unnest(p_lease, p_msg_id) as a (lease, msg_id)
    where f.queue_id = v_queue.queue_id and f.msg_id = a.msg_id and f.lease = a.lease and f.lapsed_at is null
    returning f.msg_id
  )
  select array_agg(r.msg_id) into v_ids from released r;
  update qctl.gate g set probe_lease = null, probe_ends = null where g.queue_id = v_queue.queue_id and g.probe_lease = any (p_lease);
  execute format('update pgmq.%I q set vt = clock_timestamp() where q.msg_id = any ($1)', 'q_' || p_queue) using v_ids;
  return coalesce(cardinality(v_ids), 0);
end
$_$;


--
-- Name: FUNCTION release(p_queue text, p_lease uuid[], p_msg_id bigint[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.release(p_queue text, p_lease uuid[], p_msg_id bigint[]) IS 'Gives back messages that were claimed but not sent: visible at once, no attempt spent.';


--
-- Name: replay(text, bigint[], text, boolean, double precision, double precision, text[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.replay(p_queue text, p_msg_ids bigint[], p_reason text DEFAULT NULL::text, p_new_id boolean DEFAULT false, p_per_s double precision DEFAULT NULL::double precision, p_after_s double precision DEFAULT 0, p_seen_states text[] DEFAULT NULL::text[], p_seen_delivery_nos integer[] DEFAULT NULL::integer[]) RETURNS TABLE(msg_id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_q text := 'q_' || p_queue;
  v_a text := 'a_' || p_queue;
  v_now timestamptz;
  v_replayed bigint[];
  v_outcomes jsonb;
  v_changed bigint[] := '{}';
  v_gap_s double precision := coalesce(1 / nullif(p_per_s, 0), 0);
begin
  if p_per_s <= 0 or p_after_s < 0 then
    raise exception 'a rate is more than 0 a second' using errcode = 'QC002', hint = 'for example 50/s';
  end if;
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_ids;
  if p_seen_states is not null then
    v_changed := qctl._changed(p_queue, p_msg_ids, p_seen_states, p_seen_delivery_nos);
    p_msg_ids := array(select id from unnest(p_msg_ids) as id where not id = any (v_changed));
  end if;
  v_now := clock_timestamp();

  execute format($q$
    with archived as (
      delete from pgmq.%2$I a
      where a.msg_id = any ($2) and not exists (select from pgmq.%1$I q where q.msg_id = a.msg_id)
        and not exists (select from qctl.dead_letter d where d.queue_id = $1 and d.msg_id = a.msg_id)
      returning a.msg_id, a.read_ct, a.enqueued_at, a.message, a.headers
    ), dead as (
      delete from qctl.dead_letter d
      where d.queue_id = $1 and d.msg_id = any ($2) and not exists (select from pgmq.%1$I q where q.msg_id = d.msg_id)
        and not exists (select from qctl.dead_letter o
                        where o.queue_id = $1 and o.msg_id = d.msg_id and o.enqueued_at > d.enqueued_at)
      returning d.msg_id, d.read_ct, d.enqueued_at, d.message, d.headers, d.delivery_no, d.webhook_id
    ), moving as materialized (
      select a.msg_id, a.read_ct, a.enqueued_at, a.message, nullif(case when jsonb_typeof(a.headers) = 'object' then a.headers - 'qctl' else a.headers end, '{}') as headers,
             qctl._mark_number(a.headers, 'delivery_no') as delivery_no, qctl._mark_webhook_id(a.headers) as webhook_id
      from archived a
      union all select * from dead
    ), timed as materialized (
      select m.*, $3 + make_interval(secs => $4 + (row_number() over (order by m.msg_id) - 1) * $5) as due_at from moving m
    ), queued as (
      insert into pgmq.%1$I (msg_id, read_ct, enqueued_at, vt, message, headers) overriding system value
      select m.msg_id, m.read_ct, m.enqueued_at, m.due_at, m.message, m.headers from timed m
      returning msg_id
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   webhook_id, replayed_at)
      select $1, m.msg_id, m.enqueued_at, 1 + greatest(m.delivery_no, 1, (
               select max(t.delivery_no) from qctl.attempt t where t.queue_id = $1 and t.msg_id = m.msg_id)),
             0, 0, 0, 0, m.due_at, case when $6 then qctl._new_webhook_id() else m.webhook_id end, $3
      from timed m
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status, last_error, replayed_at, webhook_id)
          = (greatest(excluded.delivery_no, r.delivery_no + 1), 0, 0, 0, 0, excluded.next_at, null, null, excluded.replayed_at,
             excluded.webhook_id)
    )
    select array_agg(msg_id) from queued
  $q$, v_q, v_a) into v_replayed using v_queue.queue_id, p_msg_ids, v_now, p_after_s, v_gap_s, p_new_id;

  execute format($q$
    with asked as (
      select distinct id from unnest($2::bigint[]) as id where id is not null
    ), state as materialized (
      -- What waited already comes after what was moved, and never later than it was due.
      select a.id, q.enqueued_at, least(q.vt, $4 + make_interval(secs => $5 + (row_number() over (
               partition by a.id = any (coalesce($3, '{}')) order by a.id) - 1 + cardinality(coalesce($3, '{}'))) * $6)) as due_at,
             case when a.id = any (coalesce($3, '{}')) then 'replayed'
                        when f.msg_id is not null then 'in_flight'
                        when q.msg_id is null then 'unknown'
                        when q.vt > $4 then 'due_now'
                        else 'ready' end as outcome
      from asked a
      left join pgmq.%1$I q on q.msg_id = a.id
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.id and f.lapsed_at is null and q.msg_id is not null
    ), shown as (
      update pgmq.%1$I q set vt = s.due_at from state s where q.msg_id = s.id and s.outcome = 'due_now'
    ), renamed as (
      update qctl.retry r set webhook_id = qctl._new_webhook_id() from state s
      where $7 and r.queue_id = $1 and r.msg_id = s.id and r.enqueued_at = s.enqueued_at and r.replayed_at is not null and s.outcome = 'ready'
    ), due as (
      update qctl.retry r set next_at = s.due_at, webhook_id = case when $7 and r.replayed_at is not null then qctl._new_webhook_id() else r.webhook_id end
      from state s where r.queue_id = $1 and r.msg_id = s.id and r.enqueued_at = s.enqueued_at and s.outcome = 'due_now'
    )
    select jsonb_object_agg(s.id, s.outcome) from state s
  $q$, v_q) into v_outcomes using v_queue.queue_id, p_msg_ids, v_replayed, v_now, p_after_s, v_gap_s, p_new_id;

  if v_outcomes is not null then
    perform qctl._audit('replay', p_queue, jsonb_build_object(
      'reason', p_reason, 'new_id', nullif(p_new_id, false), 'per_s', p_per_s, 'asked', cardinality(p_msg_ids), 'replayed', coalesce(cardinality(v_replayed), 0),
      'msg_ids', (select jsonb_agg(x) from unnest(v_replayed) as x where cardinality(v_replayed) <= 1000),
      'ranges', (select range_agg(int8range(x, x, '[]'))::text from unnest(v_replayed) as x where cardinality(v_replayed) > 1000)));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query
  select e.key::bigint, e.value from jsonb_each_text(v_outcomes) as e union all select c, 'changed' from unnest(v_changed) c order by 1;
end
$_$;


--
-- Name: FUNCTION replay(p_queue text, p_msg_ids bigint[], p_reason text, p_new_id boolean, p_per_s double precision, p_after_s double precision, p_seen_states text[], p_seen_delivery_nos integer[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.replay(p_queue text, p_msg_ids bigint[], p_reason text, p_new_id boolean, p_per_s double precision, p_after_s double precision, p_seen_states text[], p_seen_delivery_nos integer[]) IS 'Moves finished messages back into the queue for a new delivery. p_new_id: under new webhook-ids, for receivers that acknowledged the old ones. p_per_s spreads them in the order of their ids, the first after p_after_s. Outcomes: replayed; due_now (was waiting, is tried now); ready; in_flight (left alone); unknown; changed (left alone: given p_seen_states and p_seen_delivery_nos, it is no longer as it was seen).';


--
-- Name: resume(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.resume(p_queue text) RETURNS TABLE(queue_name text, changed boolean, paused_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_since timestamptz;
begin
  if v_queue.transport = 'pg_net' then
    v_since := (select s.net_held_since from qctl.scheduler s);
    perform qctl._net_free();
  end if;
  select coalesce(g.paused_at, g.opened_at, v_since, case when g.net_hold_until is not null then clock_timestamp() end) into v_since
  from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if v_since is not null then
    perform qctl._close_breaker(v_queue, 'resumed');
    update qctl.gate g
    set paused_at = null, paused_by = null, pause_reason = null, gone = false, net_timeouts = 0, net_hold_until = null, slow_limit = qctl._slow_start()
    where g.queue_id = v_queue.queue_id;
    perform qctl._audit('resume', p_queue, jsonb_build_object('paused_at', v_since));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query select p_queue, v_since is not null, v_since;
end
$$;


--
-- Name: FUNCTION resume(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.resume(p_queue text) IS 'Lets workers claim again, slowly at first; closes the breaker.';


--
-- Name: revoke_role(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.revoke_role(p_role text) RETURNS TABLE(role_name text, changed boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_before qctl.grantee;
begin
  delete from qctl.grantee g where g.role_name = p_role returning g.* into v_before;
  if v_before.role_name is not null and exists (select from pg_roles r where r.rolname = p_role) then
    perform qctl._take_grants(p_role, v_before.level, v_before.payloads);
    if qctl._owns_captures(p_role) then
      raise warning 'role % owns captures here, so it keeps USAGE on schema qctl', p_role;
    else
      execute format('revoke usage on schema qctl from %I', p_role);
    end if;
    perform qctl._audit('revoke', null, jsonb_build_object('role', p_role));
  end if;
  return query select p_role, v_before.role_name is not null;
end
$$;


--
-- Name: FUNCTION revoke_role(p_role text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.revoke_role(p_role text) IS 'Takes back what qctl.grant_role() gave; a role that owns captures keeps what it needs for that.';


--
-- Name: revoke_secret(text, integer, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.revoke_secret(p_queue text, p_secret_id integer DEFAULT NULL::integer, p_unsigned boolean DEFAULT false) RETURNS TABLE(queue_name text, secret_id integer, mark text, left_signing integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_now timestamptz := clock_timestamp();
  v_newest integer;
  v_left integer;
begin
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  v_newest := (select max(s.secret_id) from qctl.signing_secret s where s.queue_id = v_queue.queue_id);
  if p_secret_id is not null and not exists (select from qctl.signing_secret s where s.queue_id = v_queue.queue_id and s.secret_id = p_secret_id) then
    raise exception 'queue % has no signing secret %', p_queue, p_secret_id using errcode = 'QC006', hint = 'qctl secret list -q ' || p_queue;
  end if;
  select count(*) into v_left from qctl.signing_secret s
  where s.queue_id = v_queue.queue_id and (s.expires_at is null or s.expires_at > v_now)
    and s.secret_id <> coalesce(p_secret_id, s.secret_id) or p_secret_id is null and s.secret_id = v_newest;
  if v_left = 0 and not p_unsigned and v_newest is not null then
    raise exception 'without this secret requests of queue % would go out unsigned', p_queue
      using errcode = 'QC007', hint = format('first qctl secret rotate -q %s; or --unsigned, if that is what you want', p_queue);
  end if;
  return query
  with gone as (
    delete from qctl.signing_secret s
    where s.queue_id = v_queue.queue_id and case when p_secret_id is null then s.secret_id <> v_newest else s.secret_id = p_secret_id end
    returning s.secret_id, s.mark
  )
  select p_queue, g.secret_id, g.mark, v_left from gone g order by g.secret_id;
  if found then
    -- Once the newest is gone the one before it signs for good: no queue becomes unsigned by the clock.
    update qctl.signing_secret s set expires_at = null
    where s.secret_id = (select max(o.secret_id) from qctl.signing_secret o
                         where o.queue_id = v_queue.queue_id and (o.expires_at is null or o.expires_at > v_now))
      and s.expires_at is not null;
    perform qctl._audit('secret_revoke', p_queue, jsonb_build_object('secret_id', p_secret_id, 'left_signing', v_left));
  end if;
end
$$;


--
-- Name: FUNCTION revoke_secret(p_queue text, p_secret_id integer, p_unsigned boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.revoke_secret(p_queue text, p_secret_id integer, p_unsigned boolean) IS 'Ends a signing secret at once; without a number all but the newest. The newest that is left signs for good. The last one goes only with p_unsigned.';


--
-- Name: rotate_secret(text, text, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.rotate_secret(p_queue text, p_secret text DEFAULT NULL::text, p_overlap interval DEFAULT '24:00:00'::interval) RETURNS TABLE(queue_name text, secret_id integer, mark text, secret text, replaced integer, replaced_until timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_now timestamptz := clock_timestamp();
  v_key bytea;
  v_mark text;
begin
  if p_overlap is null or p_overlap < interval '0' or p_overlap > interval '90 days' then
    raise exception 'an overlap is 0 to 90 days' using errcode = 'QC002';
  end if;
  -- gen_random_uuid() draws 122 bits from the server's strong source: 244 bits for a key of 256.
  v_key := case when p_secret is null then sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) else qctl._key_of(p_secret) end;
  v_mark := left(encode(sha256(v_key), 'hex'), 8);
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  delete from qctl.signing_secret s where s.queue_id = v_queue.queue_id and s.expires_at <= v_now;
  -- One that is on its way out may come back, and is the newest then.
  delete from qctl.signing_secret s
  where s.queue_id = v_queue.queue_id and s.expires_at is not null and s.inner_pad = qctl._xor_pad(v_key, 54);
  if exists (select from qctl.signing_secret s where s.queue_id = v_queue.queue_id and s.inner_pad = qctl._xor_pad(v_key, 54)) then
    raise exception 'queue % signs with this secret already', p_queue using errcode = 'QC007', hint = 'qctl secret list -q ' || p_queue;
  end if;
  with old as (
    update qctl.signing_secret s set expires_at = v_now + p_overlap
    where s.queue_id = v_queue.queue_id and (s.expires_at is null or s.expires_at > v_now + p_overlap)
    returning s.secret_id
  )
  select count(*) into replaced from old;
  insert into qctl.signing_secret as s (queue_id, inner_pad, outer_pad, mark)
  values (v_queue.queue_id, qctl._xor_pad(v_key, 54), qctl._xor_pad(v_key, 92), v_mark) returning s.secret_id into secret_id;
  queue_name := p_queue;
  mark := v_mark;
  secret := 'whsec_' || translate(encode(v_key, 'base64'), E'\n', '');
  replaced_until := case when replaced > 0 then v_now + p_overlap end;
  perform qctl._audit('secret_rotate', p_queue, jsonb_build_object('secret_id', secret_id, 'mark', v_mark, 'replaced', replaced,
    'overlap_s', extract(epoch from p_overlap)::bigint, 'given', p_secret is not null));
  return next;
end
$$;


--
-- Name: FUNCTION rotate_secret(p_queue text, p_secret text, p_overlap interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.rotate_secret(p_queue text, p_secret text, p_overlap interval) IS 'A new signing secret for a queue, made here or given as whsec_…; returned this once. It signs from the next claim on; older ones sign beside it for p_overlap, so that receivers can change over.';


--
-- Name: running_jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.running_jobs() RETURNS TABLE(pid integer, slot integer, queue_id integer)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select l.pid, case l.classid::bigint when 1902343278 then l.objid::bigint::integer end, case l.classid::bigint when 1902343279 then l.objid::bigint::integer end
  from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.granted and l.classid::bigint in (1902343278, 1902343279)
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;


--
-- Name: FUNCTION running_jobs(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.running_jobs() IS 'Each CALL of qctl.work that runs now: a shared worker with its slot, or a queue''s own.';


--
-- Name: scale(text, integer, boolean, integer, integer, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.scale(p_queue text DEFAULT NULL::text, p_workers integer DEFAULT NULL::integer, p_dedicated boolean DEFAULT NULL::boolean, p_batch integer DEFAULT NULL::integer, p_max_in_flight integer DEFAULT NULL::integer, p_concurrency integer DEFAULT NULL::integer) RETURNS TABLE(job_name text, done text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_settings jsonb := jsonb_strip_nulls(jsonb_build_object(
    'dedicated', p_dedicated, 'batch', p_batch, 'max_in_flight', p_max_in_flight, 'concurrency', p_concurrency));
  v_queue qctl.queue;
  v_jobs integer;
begin
  if p_queue is not null then
    v_queue := qctl._queue(p_queue);
    if v_queue.transport <> 'pg_net' and v_settings ?| array['dedicated', 'batch'] then
      raise exception 'queue % is of the http transport: jobs and batches are those of pg_net', p_queue
        using errcode = 'QC002', hint = 'an http queue has --concurrency and --max-in-flight, and as many processes as you start';
    end if;
    perform qctl._apply_settings(p_queue, v_settings);
  elsif v_settings <> '{}' then
    raise exception 'which queue?' using errcode = 'QC002', hint = '-q QUEUE';
  end if;
  if p_workers is not null then
    if p_workers < 0 then
      raise exception 'workers are 0 or more' using errcode = 'QC002';
    end if;
    if not qctl._cron_here() then
      raise exception 'there is no pg_cron in this database whose jobs could be scaled'
        using errcode = 'QC004', hint = 'the http transport scales by processes: start another qctl worker';
    end if;
    update qctl.scheduler s set workers = least(p_workers, 64);
  end if;
  select count(*) into v_jobs from qctl._wanted_jobs();
  if v_jobs > qctl._cron_slots() / 2 and (p_workers > 1 or p_dedicated) then
    raise exception '% jobs would take more than half of the % that pg_cron runs at once', v_jobs, qctl._cron_slots()
      using errcode = 'QC007', hint = format('at most %s, maintenance included; raise cron.max_running_jobs, or use qctl worker', qctl._cron_slots() / 2);
  end if;
  return query select p.job_name, p.done from qctl._plan_jobs() p;
  perform qctl._audit('scale', p_queue, jsonb_strip_nulls(v_settings || jsonb_build_object('workers', p_workers)));
end
$$;


--
-- Name: FUNCTION scale(p_queue text, p_workers integer, p_dedicated boolean, p_batch integer, p_max_in_flight integer, p_concurrency integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.scale(p_queue text, p_workers integer, p_dedicated boolean, p_batch integer, p_max_in_flight integer, p_concurrency integer) IS 'Sets the number of shared worker jobs (0 stops them) and what concerns one queue; reschedules in this transaction. Running CALLs follow within a second or so. Returns the jobs that were scheduled or unscheduled.';


--
-- Name: send(text, jsonb[], jsonb, double precision, boolean, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.send(p_queue text, p_messages jsonb[], p_headers jsonb DEFAULT NULL::jsonb, p_delay_s double precision DEFAULT 0, p_audit boolean DEFAULT false, p_order_key text DEFAULT NULL::text) RETURNS SETOF bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_headers is not null then
    perform qctl._check_headers(p_headers);
  end if;
  if p_delay_s is null or p_delay_s < 0 or p_delay_s > 315360000 then
    raise exception 'a delay is 0 to 10 years' using errcode = 'QC002';
  end if;
  if p_order_key is not null and length(p_order_key) not between 1 and 200 then
    raise exception 'an order key has 1 to 200 characters' using errcode = 'QC002';
  elsif p_order_key is not null and not v_queue.ordered then
    raise exception 'queue % is not ordered', p_queue using errcode = 'QC007', hint = format('qctl set -q %s --ordered', p_queue);
  end if;
  return query execute format(
    'insert into pgmq.%I (vt, message, headers)
     select $3, m, $2 from unnest($1) with ordinality as u (m, n) order by n returning msg_id', 'q_' || p_queue)
    using p_messages,
          nullif(coalesce(qctl._lower_keys(p_headers), '{}')
                 || case when p_order_key is null then '{}' else jsonb_build_object('x-pgmq-group', p_order_key) end, '{}'),
          clock_timestamp() + make_interval(secs => p_delay_s);
  if p_audit then
    perform qctl._audit('send', p_queue, jsonb_build_object('messages', cardinality(p_messages), 'delay_s', nullif(p_delay_s, 0)));
  end if;
  perform qctl._notify(v_queue.queue_id);
end
$_$;


--
-- Name: FUNCTION send(p_queue text, p_messages jsonb[], p_headers jsonb, p_delay_s double precision, p_audit boolean, p_order_key text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.send(p_queue text, p_messages jsonb[], p_headers jsonb, p_delay_s double precision, p_audit boolean, p_order_key text) IS 'Enqueues messages, all with the same headers and delay; returns their ids in order. p_audit records that it was done, not what was sent. p_order_key: one at a time with the others of this key.';


--
-- Name: send_once(text, jsonb, text, interval, jsonb, double precision, text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.send_once(p_queue text, p_message jsonb, p_dedup_key text, p_window interval DEFAULT '24:00:00'::interval, p_headers jsonb DEFAULT NULL::jsonb, p_delay_s double precision DEFAULT 0, p_order_key text DEFAULT NULL::text, p_audit boolean DEFAULT false) RETURNS TABLE(msg_id bigint, duplicate boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_dedup_key is null or length(p_dedup_key) not between 1 and 200 then
    raise exception 'a dedup key has 1 to 200 characters' using errcode = 'QC002', hint = 'for example the id of the order, or a hash of the event';
  end if;
  if p_window is null or p_window <= interval '0' or p_window > interval '90 days' then
    raise exception 'a dedup window is more than 0 and at most 90 days' using errcode = 'QC002';
  end if;
  -- Two at once: the second waits at the key for the end of the first one's transaction, and then sees what became of it.
  insert into qctl.dedup as d (queue_id, dedup_key, expires_at)
  values (v_queue.queue_id, p_dedup_key, clock_timestamp() + p_window)
  on conflict (queue_id, dedup_key) do update set msg_id = null, expires_at = excluded.expires_at where d.expires_at <= clock_timestamp();
  if not found then
    return query select d.msg_id, true from qctl.dedup d where d.queue_id = v_queue.queue_id and d.dedup_key = p_dedup_key;
    return;
  end if;
  select s into msg_id from qctl.send(p_queue, array[p_message], p_headers, p_delay_s, p_audit, p_order_key) s;
  update qctl.dedup d set msg_id = send_once.msg_id where d.queue_id = v_queue.queue_id and d.dedup_key = p_dedup_key;
  duplicate := false;
  return next;
end
$$;


--
-- Name: FUNCTION send_once(p_queue text, p_message jsonb, p_dedup_key text, p_window interval, p_headers jsonb, p_delay_s double precision, p_order_key text, p_audit boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.send_once(p_queue text, p_message jsonb, p_dedup_key text, p_window interval, p_headers jsonb, p_delay_s double precision, p_order_key text, p_audit boolean) IS 'Enqueues a message unless one of this key was enqueued within its window; then that one''s id comes back, and duplicate is true.';


--
-- Name: set_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.set_attachment(p_relation text, p_queue text, p_operations text[] DEFAULT NULL::text[], p_when text DEFAULT NULL::text, p_columns text[] DEFAULT NULL::text[], p_payload text DEFAULT NULL::text, p_unchanged boolean DEFAULT NULL::boolean, p_as_me boolean DEFAULT NULL::boolean, p_replicated boolean DEFAULT NULL::boolean, p_on_error text DEFAULT NULL::text, p_max_bytes integer DEFAULT NULL::integer, p_order_by text DEFAULT NULL::text) RETURNS TABLE(relation text, queue_name text, operation text, trigger_name text, runs_as text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
declare
  v_old qctl.attachment;
begin
  select a.* into v_old from qctl.attachment a join qctl.queue q using (queue_id)
  where q.queue_name = p_queue and a.relation = qctl._regclass(p_relation);
  if found then
    perform qctl.detach(p_relation, p_queue);
  end if;
  return query
  select * from qctl.attach(
    p_relation, p_queue, coalesce(p_operations, v_old.operations, '{INSERT,UPDATE,DELETE}'),
    case when p_when is null then v_old.when_sql else nullif(p_when, '') end,
    case when p_columns is null then v_old.columns else nullif(p_columns, '{}') end,
    coalesce(p_payload, v_old.payload, 'qctl'), coalesce(p_unchanged, v_old.unchanged, false), coalesce(p_as_me, v_old.as_me, false),
    coalesce(p_replicated, v_old.replicated, false), coalesce(p_on_error, v_old.on_error, 'fail'), coalesce(p_max_bytes, v_old.max_bytes, 524288),
    case when p_order_by is null then v_old.order_by else nullif(p_order_by, '') end);
end
$$;


--
-- Name: FUNCTION set_attachment(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean, p_replicated boolean, p_on_error text, p_max_bytes integer, p_order_by text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.set_attachment(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean, p_replicated boolean, p_on_error text, p_max_bytes integer, p_order_by text) IS 'Attaches a table, or changes these options of its attachment in one transaction; nulls leave an option as it is, an empty p_when, p_columns or p_order_by takes it away.';


--
-- Name: set_event_route(text, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.set_event_route(p_queue text, p_throttle_s integer DEFAULT NULL::integer) RETURNS TABLE(queue_name text, throttle_s integer, changed boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
  v_old qctl.event_route;
begin
  select * into v_old from qctl.event_route;
  if p_queue is null then
    delete from qctl.event_route;
    if found then
      perform qctl._audit('events', null, '{"to": null}');
    end if;
    return query select null::text, null::integer, v_old.queue_id is not null;
    return;
  end if;
  v_queue := qctl._queue(p_queue);
  if p_throttle_s not between 0 and 604800 then
    raise exception 'a throttle is 0 to 7 days' using errcode = 'QC002';
  end if;
  insert into qctl.event_route as r (queue_id, throttle_s) values (v_queue.queue_id, coalesce(p_throttle_s, 600))
  on conflict (one) do update set (queue_id, throttle_s, set_at, set_by)
    = (excluded.queue_id, coalesce(p_throttle_s, r.throttle_s), excluded.set_at, excluded.set_by);
  perform qctl._audit('events', p_queue, jsonb_build_object('throttle_s', p_throttle_s));
  return query
  select p_queue, r.throttle_s, (r.queue_id, r.throttle_s) is distinct from (v_old.queue_id, v_old.throttle_s) from qctl.event_route r;
end
$$;


--
-- Name: FUNCTION set_event_route(p_queue text, p_throttle_s integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.set_event_route(p_queue text, p_throttle_s integer) IS 'Operational events go into this queue from now on; null: nowhere. Types: breaker.opened, breaker.closed, queue.paused, message.dead, database.disarmed, worker.gone. Of each about one queue at most one in p_throttle_s (600).';


--
-- Name: set_header_secret(text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.set_header_secret(p_name text, p_value text) RETURNS TABLE(name text, changed boolean, used_by text[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
  v_value text := rtrim(p_value, E'\r\n');
  v_old text;
begin
  if p_name is null or p_name !~ '^[A-Za-z0-9_.-]{1,100}$' then
    raise exception 'not a name of a secret: %', quote_literal(coalesce(left(p_name, 100), ''))
      using errcode = 'QC002', hint = 'letters, digits, _, . and -; at most 100';
  end if;
  if v_value is null or v_value = '' or not qctl._is_header('x', to_jsonb(v_value)) then
    raise exception 'the value of secret % cannot be sent as a header', p_name using errcode = 'QC002', hint = 'one line, 1 to 4096 characters';
  end if;
  select s.value into v_old from qctl.header_secret s where s.name = p_name;
  if v_old is distinct from v_value then
    insert into qctl.header_secret as s (name, value) values (p_name, v_value)
    on conflict (name) do update set (value, changed_at, changed_by) = (excluded.value, clock_timestamp(), session_user);
    perform qctl._audit('secret_set', null, jsonb_build_object('name', p_name, 'new', v_old is null));
    perform qctl._notify(q.queue_id) from qctl.queue q;
  end if;
  return query select p_name, v_old is distinct from v_value, qctl._secret_users('secret:' || p_name);
end
$_$;


--
-- Name: FUNCTION set_header_secret(p_name text, p_value text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.set_header_secret(p_name text, p_value text) IS 'Keeps the value of a header. A queue sends it where its headers say secret:NAME, from the next claim on.';


--
-- Name: set_label(text, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.set_label(p_label text, p_protected boolean DEFAULT NULL::boolean) RETURNS TABLE(label text, protected boolean, changed boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
    raise exception 'a label is up to 40 letters, digits, _, . and -, not %', quote_literal(left(p_label, 50)) using errcode = 'QC002', hint = 'for example: prod';
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
$_$;


--
-- Name: FUNCTION set_label(p_label text, p_protected boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.set_label(p_label text, p_protected boolean) IS 'Names this database for people. Protected: qctl wants the label typed before what cannot be undone. Null as protection leaves it; a null label removes it.';


--
-- Name: set_queue(text, text, jsonb, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.set_queue(p_queue text, p_url text DEFAULT NULL::text, p_headers jsonb DEFAULT NULL::jsonb, p_settings jsonb DEFAULT '{}'::jsonb) RETURNS SETOF qctl.queue
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_url is not null then
    perform qctl._check_url(p_url);
    update qctl.queue q set url = p_url where q.queue_id = v_queue.queue_id;
  end if;
  if p_headers is not null then
    perform qctl._check_headers(jsonb_strip_nulls(p_headers));
    update qctl.queue q set headers = jsonb_strip_nulls(q.headers || qctl._lower_keys(p_headers))
    where q.queue_id = v_queue.queue_id;
    perform qctl._warn_of_missing_secrets(p_headers);
  end if;
  perform qctl._apply_settings(p_queue, p_settings, p_url is not null);
  if p_settings ?| array['transport', 'dedicated'] then
    perform qctl._plan_jobs();
    perform qctl._notify(v_queue.queue_id);
  end if;
  perform qctl._audit('set', p_queue, p_settings || jsonb_build_object(
    'url', p_url, 'headers', (select jsonb_agg(k) from jsonb_object_keys(p_headers) as k)));
  return query select * from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;


--
-- Name: FUNCTION set_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.set_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb) IS 'Changes a queue. Headers are merged; one with value null goes. Settings: timeout_ms, concurrency, max_in_flight, retry_schedule_s, retry_jitter, retry_after_max_s, reject_after, max_lost, transport (auto, pg_net, http), batch, dedicated, trust_location, retention_s (null: for ever), concurrency_auto, rate_per_s (null: no limit), breaker_after (0: never), breaker_share, breaker_pause_max_s, expect_text, expect_json (null: none), ordered, order_schedule_s, on_dead (skip, block), net_secrets, allow_networks (of addresses that are not public).';


--
-- Name: settle(text, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.settle(p_queue text, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_duration_ms integer[], p_retry_after_s integer[]) RETURNS TABLE(delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer, failed integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_count integer := cardinality(p_msg_id);
  v_half integer := cardinality(p_msg_id) / 2;
  v_state text;
  v_message text;
begin
  if v_count is null or v_count = 0 then
    return query select 0, 0, 0, 0, 0, 0, 0;
    return;
  end if;
  begin
    return query select s.*, 0 from qctl._settle(v_queue, p_lease, p_msg_id, p_status, p_error, p_response,
                                                 p_duration_ms, p_retry_after_s) as s;
    return;
  exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error
                 or cardinality_violation then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  end;
  -- In order of msg_id, so that two settlers who halve batches with messages in common lock them in one order.
  select array_agg(a.lease order by a.msg_id, a.lease), array_agg(a.msg_id order by a.msg_id, a.lease),
         array_agg(a.status order by a.msg_id, a.lease), array_agg(a.error order by a.msg_id, a.lease),
         array_agg(a.response order by a.msg_id, a.lease), array_agg(a.duration_ms order by a.msg_id, a.lease),
         array_agg(a.retry_after_s order by a.msg_id, a.lease)
  into p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s
  from unnest(p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s)
    as a (lease, msg_id, status, error, response, duration_ms, retry_after_s);
  -- One bad row harms only itself: halve until it stands alone. Its lease lapses, so it is tried again, and dead at last.
  if v_count = 1 then
    perform qctl._audit_rarely('settle_failed', p_queue, v_state, format('message %s: %s', p_msg_id[1], v_message));
    return query select 0, 0, 0, 0, 0, 0, 1;
    return;
  end if;
  return query
  select sum(h.delivered)::integer, sum(h.retrying)::integer, sum(h.dead)::integer, sum(h.paused)::integer,
         sum(h.late)::integer, sum(h.unknown)::integer, sum(h.failed)::integer
  from (
    select * from qctl.settle(p_queue, p_lease[:v_half], p_msg_id[:v_half], p_status[:v_half], p_error[:v_half],
                              p_response[:v_half], p_duration_ms[:v_half], p_retry_after_s[:v_half])
    union all
    select * from qctl.settle(p_queue, p_lease[v_half + 1:], p_msg_id[v_half + 1:], p_status[v_half + 1:],
                              p_error[v_half + 1:], p_response[v_half + 1:], p_duration_ms[v_half + 1:],
                              p_retry_after_s[v_half + 1:])
  ) as h;
end
$$;


--
-- Name: FUNCTION settle(p_queue text, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_duration_ms integer[], p_retry_after_s integer[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.settle(p_queue text, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_duration_ms integer[], p_retry_after_s integer[]) IS 'Applies answers by (lease, msg_id): archive, schedule the next attempt or dead-letter, and log. Idempotent. A null status is a timeout or a connection error. Returns how many messages went which way.';


--
-- Name: settled_until(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.settled_until() RETURNS timestamp with time zone
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case when pg_has_role('pg_read_all_stats', 'usage')
              then least(clock_timestamp(), min(a.xact_start) filter (where a.backend_xid is not null)) end
  from pg_stat_activity a where a.datname = current_database()
$$;


--
-- Name: FUNCTION settled_until(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.settled_until() IS 'Attempts settled before this instant are all committed, but for a second: when the oldest transaction that writes began. Null where the role that installed qctl may not see that of others.';


--
-- Name: in_flight; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.in_flight (
    queue_id integer NOT NULL,
    msg_id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    lease uuid NOT NULL,
    delivery_no integer NOT NULL,
    attempt_no integer NOT NULL,
    worker_id bigint,
    transport text NOT NULL,
    request_id bigint,
    epoch uuid,
    claimed_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    lapsed_at timestamp with time zone,
    order_key text
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000', autovacuum_vacuum_cost_delay='0');


--
-- Name: TABLE in_flight; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.in_flight IS 'One row per attempt under way: a lease on a message. Lapsed rows wait for late answers.';


--
-- Name: COLUMN in_flight.enqueued_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.in_flight.enqueued_at IS 'With msg_id names the event: sequences hand out numbers again after a failover, a re-create or a setval.';


--
-- Name: sign_off(bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.sign_off(p_worker_id bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    BEGIN ATOMIC
 UPDATE qctl.in_flight f SET expires_at = clock_timestamp()
    FROM ( SELECT o_1.queue_id,
             o_1.msg_id,
             o_1.lease
            FROM qctl.in_flight o_1
           WHERE ((o_1.lapsed_at IS NULL) AND (o_1.worker_id = sign_off.p_worker_id))
           ORDER BY o_1.queue_id, o_1.msg_id
          FOR UPDATE OF o_1 SKIP LOCKED) o
   WHERE ((f.queue_id = o.queue_id) AND (f.msg_id = o.msg_id) AND (f.lease = o.lease));
 UPDATE qctl.worker SET last_seen_at = clock_timestamp(), stopped_at = clock_timestamp()
   WHERE (worker.worker_id = sign_off.p_worker_id);
END;


--
-- Name: FUNCTION sign_off(p_worker_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.sign_off(p_worker_id bigint) IS 'A worker ends: what it still holds need not wait for the end of its leases.';


--
-- Name: signing_secrets(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.signing_secrets(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, secret_id integer, mark text, created_at timestamp with time zone, created_by text, expires_at timestamp with time zone, signs boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select q.queue_name, s.secret_id, s.mark, s.created_at, s.created_by, s.expires_at, coalesce(s.expires_at > clock_timestamp(), true)
  from qctl.signing_secret s join qctl.queue q using (queue_id)
  where p_queue is null or q.queue_id = (qctl._queue(p_queue)).queue_id
  order by q.queue_name, s.secret_id desc
$$;


--
-- Name: FUNCTION signing_secrets(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.signing_secrets(p_queue text) IS 'Which signing secrets there are, never the secrets.';


--
-- Name: silence(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.silence(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, relation text, silence_s double precision, at_least boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_attached record;
  v_since timestamptz;
  v_seen_from timestamptz;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_attached in
    select q.queue_name, n.nspname, c.relname, a.created_at from qctl.attachment a join qctl.queue q using (queue_id)
    join pg_class c on c.oid = a.relation join pg_namespace n on n.oid = c.relnamespace
    where p_queue is null or q.queue_name = p_queue order by 1, 2, 3
  loop
    continue when qctl._unseen(to_regclass(format('pgmq.%I', 'q_' || v_attached.queue_name)))
               or qctl._unseen(to_regclass(format('pgmq.%I', 'a_' || v_attached.queue_name)));
    queue_name := v_attached.queue_name;
    relation := format('%I.%I', v_attached.nspname, v_attached.relname);
    execute format($q$
      with newest as (
        (select 1 as place, m.enqueued_at, m.message from pgmq.%1$I m where isfinite(m.enqueued_at) order by m.msg_id desc limit 1000)
        union all (select 2, m.enqueued_at, m.message from pgmq.%2$I m where isfinite(m.enqueued_at) order by m.msg_id desc limit 1000)
        union all (select 3, d.enqueued_at, d.message from qctl.dead_letter d
                   where d.queue_id = (select q.queue_id from qctl.queue q where q.queue_name = $3) and isfinite(d.enqueued_at)
                   order by d.msg_id desc limit 1000)
      )
      select (select max(n.enqueued_at) from newest n where n.message ->> 'table' = $2 and coalesce(n.message ->> 'schema', $1) = $1),
             (select max(p.oldest) from (select min(n.enqueued_at) as oldest from newest n group by n.place having count(*) = 1000) p)
    $q$, 'q_' || v_attached.queue_name, 'a_' || v_attached.queue_name)
    into v_since, v_seen_from using v_attached.nspname, v_attached.relname, v_attached.queue_name;
    at_least := v_since is null and v_seen_from is not null;
    silence_s := extract(epoch from clock_timestamp() - coalesce(v_since, greatest(v_seen_from, v_attached.created_at)));
    return next;
  end loop;
end
$_$;


--
-- Name: FUNCTION silence(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.silence(p_queue text) IS 'Seconds since each attachment last captured anything. Looks at the newest 1000 messages of each of queue, archive and dead letters; if nothing of it is among them it is at_least as long ago as they reach back, or since it was attached.';


--
-- Name: sizing(text, double precision); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.sizing(p_queue text, p_per_s double precision) RETURNS TABLE(reachable boolean, batch integer, max_in_flight integer, concurrency integer, reason text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_now record;
  v_reach double precision;
  v_needed integer;
begin
  if p_per_s is null or not p_per_s > 0 or p_per_s > 1000000 then
    raise exception 'not a rate that makes sense: % a second', p_per_s using errcode = 'QC002';
  end if;
  select * into v_now from qctl.capacity(p_queue);
  batch := v_queue.batch;
  max_in_flight := v_queue.max_in_flight;
  concurrency := v_queue.concurrency;
  reachable := true;
  if v_queue.rate_per_s < p_per_s then
    reachable := false;
    reason := format('its own rate is %s a second: qctl set -q %s --rate none', v_queue.rate_per_s, p_queue);
  elsif v_queue.transport = 'pg_net' then
    v_reach := floor(qctl._net_batch_size() * 0.9);
    if p_per_s > v_reach then
      reachable := false;
      reason := format('pg_net does about %s requests a second here, for all queues together', v_reach);
    else
      batch := greatest(batch, ceil(p_per_s * 0.5));
      v_needed := least(ceil(p_per_s * greatest(coalesce(v_now.latency_p95_s, 3), 2) * 1.5), 100000);
      max_in_flight := greatest(max_in_flight, v_needed);
      reason := format('at most %s messages in flight at a time%s', v_needed, case when v_now.measured = 0 then ', nothing being measured yet' else '' end);
    end if;
  else
    v_needed := ceil(p_per_s * greatest(coalesce(v_now.latency_p95_s, 0.1), 0.005) * 1.5 / greatest(v_now.workers, 1));
    if v_needed > 10000 then
      reachable := false;
      reason := format('%s requests at once in one process are too many: run more worker processes', v_needed);
    else
      concurrency := greatest(v_needed, 1);
      max_in_flight := greatest(max_in_flight, least(4 * concurrency * greatest(v_now.workers, 1), 100000));
      reason := format('%s at once in each of %s worker processes%s', concurrency, greatest(v_now.workers, 1),
                       case when v_now.measured = 0 then ', an answer assumed in 100 ms, nothing being measured yet' else '' end);
    end if;
  end if;
  return next;
end
$$;


--
-- Name: FUNCTION sizing(p_queue text, p_per_s double precision); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.sizing(p_queue text, p_per_s double precision) IS 'The settings with which a queue carries so many messages a second; reachable is false where its transport cannot.';


--
-- Name: stop_jobs(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.stop_jobs() RETURNS TABLE(job_name text, done text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_job record;
begin
  update qctl.scheduler s set workers = 0, generation = s.generation + 1;
  for v_job in select * from qctl.jobs() loop
    perform cron.unschedule(v_job.job_id);
    return query select v_job.job_name, 'unscheduled';
  end loop;
  if qctl._cron_here() then
    delete from cron.job_run_details d
    where d.database = current_database()::text and d.command ~ '^call qctl\.(work|maintenance)\(' and d.end_time is not null;
  end if;
exception when insufficient_privilege then
  raise exception 'a job of ours belongs to another role: %', sqlerrm
    using errcode = 'QC004', hint = 'run this as the role that installed qctl';
end
$$;


--
-- Name: FUNCTION stop_jobs(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.stop_jobs() IS 'Unschedules our jobs and their history and tells running CALLs to end, which they do within about a second of the commit.';


--
-- Name: undeclared(text[], text[], text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.undeclared(p_queues text[], p_relations text[], p_relation_queues text[]) RETURNS TABLE(kind text, name text, queue_name text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select 'queue', q.queue_name, q.queue_name from qctl.queue q where not q.queue_name = any (p_queues)
  union all
  select 'attachment', coalesce(format('%I.%I', n.nspname, c.relname), a.relation::oid::text), q.queue_name
  from qctl.attachment a join qctl.queue q using (queue_id)
  left join pg_class c on c.oid = a.relation left join pg_namespace n on n.oid = c.relnamespace
  where q.queue_name = any (p_queues)
    and not exists (select from unnest(p_relations, p_relation_queues) as d (relation, queue)
                    where qctl._regclass(d.relation) = a.relation and d.queue = q.queue_name)
  order by 1 desc, 2
$$;


--
-- Name: FUNCTION undeclared(p_queues text[], p_relations text[], p_relation_queues text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.undeclared(p_queues text[], p_relations text[], p_relation_queues text[]) IS 'Queues that are not among these, and attachments of those that are which are not.';


--
-- Name: undelivered(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.undelivered(p_queue text) RETURNS TABLE(queue_name text, unfinished bigint, dead bigint, archived bigint, attached bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  queue_name := p_queue;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue)) is not null then
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into unfinished;
  end if;
  if to_regclass(format('pgmq.%I', 'a_' || p_queue)) is not null then
    execute format('select count(*) from pgmq.%I', 'a_' || p_queue) into archived;
  end if;
  select count(*) into dead from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
  select count(*) into attached from qctl.attachment a where a.queue_id = v_queue.queue_id;
  return next;
end
$$;


--
-- Name: FUNCTION undelivered(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.undelivered(p_queue text) IS 'What would be given up with a queue. Counts all of it.';


--
-- Name: upkeep(interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.upkeep(p_silent interval DEFAULT '00:00:15'::interval) RETURNS TABLE(lapsed integer, reaped integer, workers_gone integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_now timestamptz := clock_timestamp();
  v_queue qctl.queue;
  v_gone bigint[];
begin
  lapsed := 0;
  reaped := 0;
  workers_gone := 0;
  if not pg_try_advisory_xact_lock(1902343277, 0) then
    return next;
    return;
  end if;

  with gone as (
    update qctl.worker w set stopped_at = v_now
    where w.stopped_at is null
      and w.last_seen_at < v_now - case w.transport when 'http' then p_silent else greatest(p_silent, interval '5 min') end
    returning w.worker_id
  )
  select array_agg(g.worker_id) into v_gone from gone g;
  if v_gone is not null then
    workers_gone := cardinality(v_gone);
    perform qctl._emit('worker.gone', null, jsonb_build_object('workers', jsonb_agg(distinct w.name), 'queues', jsonb_agg(distinct u.queue)))
    from qctl.worker w cross join lateral unnest(w.queues) as u (queue) where w.worker_id = any (v_gone);
    with theirs as (
      select f.queue_id, f.msg_id, f.lease from qctl.in_flight f
      where f.lapsed_at is null and f.worker_id = any (v_gone) and f.request_id is null and f.expires_at > v_now
      order by f.queue_id, f.msg_id for update skip locked
    )
    update qctl.in_flight f set expires_at = v_now from theirs t
    where f.queue_id = t.queue_id and f.msg_id = t.msg_id and f.lease = t.lease;
  end if;

  for v_queue in select * from qctl.queue order by queue_id loop
    if to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null then
      perform qctl._lapse_gone(v_queue);
      continue;
    end if;
    begin
      lapsed := lapsed + qctl._lapse(v_queue, v_now);
    exception when data_exception or integrity_constraint_violation or syntax_error_or_access_rule_violation or plpgsql_error then
      perform qctl._audit_rarely('lapse_failed', v_queue.queue_name, sqlstate, sqlerrm);
    end;
  end loop;

  with old as (
    delete from qctl.in_flight f
    using (select o.queue_id, o.msg_id, o.lease from qctl.in_flight o
           where o.lapsed_at < v_now - interval '24 h' order by o.queue_id, o.msg_id for update skip locked) as o
    where f.queue_id = o.queue_id and f.msg_id = o.msg_id and f.lease = o.lease
    returning f.*
  ), logged as (
    insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at, settled_at, error)
    select o.queue_id, o.msg_id, o.delivery_no, o.attempt_no, 'lost', o.worker_id, o.transport, o.claimed_at, o.lapsed_at,
           'no answer before the lease ran out'
    from old o
    on conflict do nothing
  )
  select count(*) into reaped from old;

  delete from qctl.worker w where w.stopped_at < v_now - interval '7 days';
  return next;
end
$$;


--
-- Name: FUNCTION upkeep(p_silent interval); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.upkeep(p_silent interval) IS 'Lapses expired leases and those of silent workers, logs answers that never came. Any worker may call it; one runs at a time.';


--
-- Name: verify(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.verify() RETURNS TABLE(kind text, object text, problem text, mend text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_version integer := current_setting('server_version_num')::integer / 10000;
begin
  -- Another major version may write the same definition otherwise.
  return query
  select k.kind, k.identity, case when o.identity is null then 'missing' else 'changed' end,
         case when k.kind in ('function', 'procedure', 'view') then 'qctl upgrade --repair'
              else '-- restore it as it stands in sql/schema.sql' end
  from qctl.object k left join qctl._objects() o on o.kind = k.kind and o.identity = k.identity
  where o.identity is null or (o.definition <> k.definition and k.server_version = v_version)
  order by 1, 2;

  return query
  select 'queue', q.queue_name, v.problem, v.mend from qctl.queue q cross join lateral qctl._verify_tables(q.queue_name) v
  union all
  select 'queue', q.queue_name, case when m.is_unlogged then 'unlogged: a crash empties it' else 'partitioned: its retention drops messages' end,
         '-- move its messages to a plain queue'
  from qctl.queue q join pgmq.meta m on m.queue_name = q.queue_name where m.is_unlogged or m.is_partitioned
  order by 2, 3;

  return query select 'attachment', v.object, v.problem, v.mend from qctl._verify_attachments() v;

  if qctl._cron_here() then
    return query
    select 'job', w.job_name, case when h.job_name is null then 'missing' when not h.active then 'switched off' else 'changed' end,
           format('qctl scale --workers %s', (select s.workers from qctl.scheduler s))
    from qctl._wanted_jobs() w left join qctl.jobs() h on h.job_name = w.job_name
    where h.job_name is null or not h.active or h.command <> w.command or h.schedule <> w.schedule
    order by 2;
  end if;
end
$$;


--
-- Name: FUNCTION verify(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.verify() IS 'What differs from what was installed: objects, pgmq''s tables, triggers, jobs; with the command that mends it. No rows: all is well.';


--
-- Name: waiting(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.waiting(p_queue text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_count bigint := 0;
begin
  perform qctl._check_name(p_queue);
  if exists (select from pgmq.meta m where m.queue_name = p_queue) and not exists (select from qctl.queue q where q.queue_name = p_queue) then
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_count;
  end if;
  return v_count;
end
$$;


--
-- Name: FUNCTION waiting(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.waiting(p_queue text) IS 'Messages in a pgmq queue that qctl does not deliver yet.';


--
-- Name: wake_up(integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.wake_up(p_queue_ids integer[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select count(pg_advisory_unlock(1902343276, id)) from unnest(p_queue_ids) as id
$$;


--
-- Name: webhook_id(uuid, bigint, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.webhook_id(p_queue_uuid uuid, p_msg_id bigint, p_enqueued_at timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('msg_'::text || encode(sha256(((uuid_send(p_queue_uuid) || int8send(p_msg_id)) || int8send(CASE WHEN ((p_enqueued_at > '4000-01-01 00:00:00+00 BC'::timestamp with time zone) AND (p_enqueued_at < '200000-01-01 00:00:00+00'::timestamp with time zone)) THEN ((EXTRACT(epoch FROM p_enqueued_at) * (1000000)::numeric))::bigint ELSE (0)::bigint END))), 'hex'::text));


--
-- Name: FUNCTION webhook_id(p_queue_uuid uuid, p_msg_id bigint, p_enqueued_at timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.webhook_id(p_queue_uuid uuid, p_msg_id bigint, p_enqueued_at timestamp with time zone) IS 'Standard Webhooks id of an event: the same over retries and replays, another after a re-create or failover.';


--
-- Name: webhooks(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.webhooks(p_relation text DEFAULT NULL::text) RETURNS TABLE(relation text, trigger_name text, url text, method text, headers jsonb, params jsonb, timeout_ms integer, operations text[], columns text[], when_sql text, enabled boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select t.tgrelid::regclass::text, t.tgname::text, a.argument[1], upper(coalesce(a.argument[2], 'POST')),
         nullif(a.argument[3], '')::jsonb, nullif(a.argument[4], '')::jsonb, nullif(a.argument[5], '')::integer,
         array_remove(array[case when t.tgtype & 4 <> 0 then 'INSERT' end, case when t.tgtype & 16 <> 0 then 'UPDATE' end,
                            case when t.tgtype & 8 <> 0 then 'DELETE' end], null),
         array(select c.attname::text from unnest(t.tgattr) as n (attnum) join pg_attribute c on c.attrelid = t.tgrelid and c.attnum = n.attnum),
         case when t.tgqual is not null then substring(pg_get_triggerdef(t.oid) from ' WHEN \((.*)\) EXECUTE ') end,
         t.tgenabled <> 'D'
  from pg_trigger t
  join pg_proc p on p.oid = t.tgfoid and p.proname = 'http_request'
  join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'supabase_functions'
  -- Arguments are kept one after the other, each ended by a zero byte, which no text may hold.
  cross join lateral (
    select array_agg(convert_from(decode(replace(b.octets, ' ', ''), 'hex'), getdatabaseencoding()) order by b.n) as argument
    from string_to_table(regexp_replace(encode(t.tgargs, 'hex'), '(..)', '\1 ', 'g'), '00 ') with ordinality as b (octets, n)
  ) a
  where not t.tgisinternal and (p_relation is null or t.tgrelid = qctl._regclass(p_relation))
  order by 1, 2
$$;


--
-- Name: FUNCTION webhooks(p_relation text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.webhooks(p_relation text) IS 'Supabase Database Webhooks of a table, or of all: triggers on supabase_functions.http_request().';


--
-- Name: work(text); Type: PROCEDURE; Schema: qctl; Owner: -
--

CREATE PROCEDURE qctl.work(IN p_queue text DEFAULT NULL::text)
    LANGUAGE plpgsql
    AS $$
declare
  v_run qctl.work_run := qctl._work_begin(p_queue);
  v_plan qctl.work_plan;
  v_answers record;
  v_item record;
  v_moved integer;
  v_awake_at timestamptz := pg_catalog.clock_timestamp();
  v_busy_s double precision := 0;
begin
  if v_run.slot is null then
    return;
  end if;
  commit;
  while qctl._work_holds_slot(v_run) loop
    v_plan := qctl._work_plan(v_run);
    v_moved := 0;
    for v_answers in select * from qctl._answers(v_plan.collect) loop
      v_moved := v_moved operator(pg_catalog.+) qctl._settle_answers(v_answers.queue_id, v_answers.lease, v_answers.msg_id,
        v_answers.status, v_answers.error, v_answers.response, v_answers.retry_after_s);
      commit;
      exit when not qctl._work_holds_slot(v_run);
    end loop;
    if v_plan.review is not null then
      for v_item in select u.id from pg_catalog.unnest(v_plan.review) as u (id) loop
        perform qctl._work_review(v_item.id);
        commit;
        exit when not qctl._work_holds_slot(v_run);
      end loop;
      v_run.reviewed_at := pg_catalog.clock_timestamp();
    end if;
    for v_item in select u.name from pg_catalog.unnest(v_plan.dispatch) as u (name) loop
      v_moved := v_moved operator(pg_catalog.+) qctl._work_dispatch(v_run, v_item.name, qctl._work_share(v_plan));
      commit;
      exit when not qctl._work_holds_slot(v_run);
    end loop;
    perform qctl.heartbeat(v_run.worker_id, qctl._work_queues(v_run.queue_id)) where qctl._work_beat_due(v_run);
    commit;
    exit when not (qctl._work_holds_slot(v_run) and qctl._work_goes_on(v_run));
    v_busy_s := qctl._seconds_since(v_awake_at, v_busy_s);
    perform pg_catalog.pg_sleep(qctl._work_nap_s(v_run, v_moved));
    commit;
    v_awake_at := pg_catalog.clock_timestamp();
    exit when not qctl._work_goes_on(v_run);
  end loop;
  perform qctl._work_busy(v_run, qctl._seconds_since(v_awake_at, v_busy_s));
  perform qctl._work_end(v_run);
  commit;
end
$$;


--
-- Name: PROCEDURE work(IN p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON PROCEDURE qctl.work(IN p_queue text) IS 'Delivers the queues of the pg_net transport for up to a minute, or to 2 s before the statement_timeout: collects and settles answers, hands over what is ready, commits each step. Schedule it with pg_cron each minute; qctl scale does. With a queue: only that one.';


--
-- Name: workers(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.workers() RETURNS TABLE(worker_id bigint, name text, kind text, transport text, queues text[], state text, in_flight integer, holds_since timestamp with time zone, busy double precision, qctl_version text, role_name text, started_at timestamp with time zone, last_seen_at timestamp with time zone, stopped_at timestamp with time zone, job_name text, last_run text, last_message text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select w.worker_id, w.name, case w.transport when 'http' then 'process' else 'job' end, w.transport, w.queues,
         case when w.stopped_at is not null then 'stopped' when qctl._is_live(w) then 'running' else 'silent' end,
         f.held, f.since, w.busy_s / nullif(w.busy_of_s, 0), w.qctl_version, w.role_name, w.started_at, w.last_seen_at, w.stopped_at,
         null, null, null
  from qctl.worker w
  cross join lateral (select count(*)::integer as held, min(f.claimed_at) as since from qctl.in_flight f
                      where f.worker_id = w.worker_id and f.lapsed_at is null) f
  union all
  select null, j.command, 'schedule', 'pg_cron', '{}', case when not j.active then 'off' when r.status = 'failed' then 'failing' else 'scheduled' end,
         0, null, null, null, j.owner, null, r.at, null, j.job_name, r.status, left(btrim(r.message), 300)
  from qctl.jobs() j left join lateral qctl._last_run(j.job_id) r on true
  order by 14 nulls first, 13 desc nulls last
  limit 100
$$;


--
-- Name: FUNCTION workers(); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.workers() IS 'Who delivers: processes and jobs as they last reported, and the schedules of pg_cron behind the jobs with how they last ended. busy: the share of its time in which the database worked for it.';


--
-- Name: a_orders; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE TABLE pgmq.a_orders (
    msg_id bigint NOT NULL,
    read_ct integer DEFAULT 0 NOT NULL,
    enqueued_at timestamp with time zone DEFAULT now() NOT NULL,
    last_read_at timestamp with time zone,
    archived_at timestamp with time zone DEFAULT now() NOT NULL,
    vt timestamp with time zone NOT NULL,
    message jsonb,
    headers jsonb
);


--
-- Name: meta; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE TABLE pgmq.meta (
    queue_name character varying NOT NULL,
    is_partitioned boolean NOT NULL,
    is_unlogged boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: notify_insert_throttle; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE UNLOGGED TABLE pgmq.notify_insert_throttle (
    queue_name character varying NOT NULL,
    throttle_interval_ms integer DEFAULT 0 NOT NULL,
    last_notified_at timestamp with time zone DEFAULT to_timestamp((0)::double precision) NOT NULL
);


--
-- Name: q_orders; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE TABLE pgmq.q_orders (
    msg_id bigint NOT NULL,
    read_ct integer DEFAULT 0 NOT NULL,
    enqueued_at timestamp with time zone DEFAULT now() NOT NULL,
    last_read_at timestamp with time zone,
    vt timestamp with time zone NOT NULL,
    message jsonb,
    headers jsonb
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0');


--
-- Name: q_orders_msg_id_seq; Type: SEQUENCE; Schema: pgmq; Owner: -
--

ALTER TABLE pgmq.q_orders ALTER COLUMN msg_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgmq.q_orders_msg_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: topic_bindings; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE TABLE pgmq.topic_bindings (
    pattern text NOT NULL,
    queue_name text NOT NULL,
    bound_at timestamp with time zone DEFAULT now() NOT NULL,
    compiled_regex text GENERATED ALWAYS AS ((('^'::text || replace(replace(regexp_replace(pattern, '([.+?{}()|\[\]\\^$])'::text, '\\\1'::text, 'g'::text), '*'::text, '[^.]+'::text), '#'::text, '.*'::text)) || '$'::text)) STORED
);


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id integer NOT NULL,
    name text
);


--
-- Name: arming; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.arming (
    one boolean DEFAULT true NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    timeline integer NOT NULL,
    survive_failover boolean DEFAULT false NOT NULL,
    armed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    armed_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT arming_one_check CHECK (one)
);


--
-- Name: TABLE arming; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.arming IS 'The one database that may deliver. A copy differs in one of the three and stays silent until armed.';


--
-- Name: attachment_attachment_id_seq; Type: SEQUENCE; Schema: qctl; Owner: -
--

ALTER TABLE qctl.attachment ALTER COLUMN attachment_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME qctl.attachment_attachment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: attempt; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.attempt (
    queue_id integer NOT NULL,
    msg_id bigint NOT NULL,
    delivery_no integer NOT NULL,
    attempt_no integer NOT NULL,
    outcome text NOT NULL,
    worker_id bigint,
    transport text NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone NOT NULL,
    duration_ms integer,
    status_code integer,
    error text,
    response text,
    next_at timestamp with time zone,
    CONSTRAINT attempt_outcome_check CHECK ((outcome = ANY (ARRAY['delivered'::text, 'retrying'::text, 'dead'::text, 'paused'::text, 'late'::text, 'lost'::text])))
);


--
-- Name: TABLE attempt; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.attempt IS 'Append-only log: one HTTP try of one message, and what it did to the message.';


--
-- Name: COLUMN attempt.outcome; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attempt.outcome IS 'delivered, retrying, dead; paused: a 410 that cost no attempt; late: logged only; lost: no answer came.';


--
-- Name: COLUMN attempt.response; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.attempt.response IS 'First 4 KiB of the answer.';


--
-- Name: audit_audit_id_seq; Type: SEQUENCE; Schema: qctl; Owner: -
--

ALTER TABLE qctl.audit ALTER COLUMN audit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME qctl.audit_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: capture_error; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.capture_error (
    attachment_id integer NOT NULL,
    minute timestamp with time zone NOT NULL,
    sqlstate text NOT NULL,
    error text,
    statements integer NOT NULL
);


--
-- Name: TABLE capture_error; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.capture_error IS 'Statements whose events were skipped, for attachments with on_error skip. Never a value of a row.';


--
-- Name: dead_letter; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.dead_letter (
    queue_id integer NOT NULL,
    msg_id bigint NOT NULL,
    delivery_no integer NOT NULL,
    attempts integer NOT NULL,
    lost integer NOT NULL,
    reason text NOT NULL,
    note text,
    status_code integer,
    error text,
    enqueued_at timestamp with time zone NOT NULL,
    read_ct integer NOT NULL,
    message jsonb,
    headers jsonb,
    webhook_id text,
    died_at timestamp with time zone NOT NULL,
    blocks_key text,
    CONSTRAINT dead_letter_reason_check CHECK ((reason = ANY (ARRAY['exhausted'::text, 'rejected'::text, 'lost'::text, 'oversize'::text, 'discarded'::text])))
);


--
-- Name: TABLE dead_letter; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.dead_letter IS 'Messages whose attempts are spent or that were discarded, with their payload.';


--
-- Name: COLUMN dead_letter.blocks_key; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.dead_letter.blocks_key IS 'The order key whose other messages wait until this one is replayed or discarded.';


--
-- Name: dedup; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.dedup (
    queue_id integer NOT NULL,
    dedup_key text NOT NULL,
    msg_id bigint,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT dedup_key_check CHECK (((length(dedup_key) >= 1) AND (length(dedup_key) <= 200)))
);


--
-- Name: TABLE dedup; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.dedup IS 'Keys of messages that are not to be enqueued again before they expire.';


--
-- Name: event_last; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.event_last (
    event_type text NOT NULL,
    subject text NOT NULL,
    at timestamp with time zone NOT NULL,
    suppressed integer DEFAULT 0 NOT NULL
);


--
-- Name: TABLE event_last; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.event_last IS 'When an event of a kind was last sent about something, and how many were held back since.';


--
-- Name: event_route; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.event_route (
    one boolean DEFAULT true NOT NULL,
    queue_id integer NOT NULL,
    throttle_s integer DEFAULT 600 NOT NULL,
    set_at timestamp with time zone DEFAULT now() NOT NULL,
    set_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT event_route_one_check CHECK (one),
    CONSTRAINT event_route_throttle_check CHECK (((throttle_s >= 0) AND (throttle_s <= 604800)))
);


--
-- Name: TABLE event_route; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.event_route IS 'The queue that operational events are put into.';


--
-- Name: grantee; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.grantee (
    role_name name NOT NULL,
    level text NOT NULL,
    payloads boolean DEFAULT false NOT NULL,
    granted_at timestamp with time zone DEFAULT now() NOT NULL,
    granted_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT grantee_level_check CHECK ((level = ANY (ARRAY['read'::text, 'operate'::text, 'work'::text])))
);


--
-- Name: TABLE grantee; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.grantee IS 'Roles that qctl.grant_role let in; an upgrade gives them what is new.';


--
-- Name: header_secret; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.header_secret (
    name text NOT NULL,
    value text NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    changed_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT header_secret_name_check CHECK ((name ~ '^[A-Za-z0-9_.-]{1,100}$'::text))
);


--
-- Name: TABLE header_secret; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.header_secret IS 'Values of HTTP headers that a queue''s headers name as secret:NAME.';


--
-- Name: label; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.label (
    one boolean DEFAULT true NOT NULL,
    label text NOT NULL,
    protected boolean NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    set_at timestamp with time zone DEFAULT now() NOT NULL,
    set_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT label_label_check CHECK ((label ~ '^[[:alnum:]][[:alnum:]_.-]{0,39}$'::text)),
    CONSTRAINT label_one_check CHECK (one)
);


--
-- Name: TABLE label; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.label IS 'What people call this database, and whether what cannot be undone wants that word typed. A copy carries the label of another.';


--
-- Name: migration; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.migration (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    applied_by text DEFAULT SESSION_USER NOT NULL,
    qctl_version text NOT NULL
);


--
-- Name: TABLE migration; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.migration IS 'Numbered migrations that were applied to this database.';


--
-- Name: net_epoch; Type: TABLE; Schema: qctl; Owner: -
--

CREATE UNLOGGED TABLE qctl.net_epoch (
    one boolean DEFAULT true NOT NULL,
    epoch uuid NOT NULL,
    ident text NOT NULL,
    began_at timestamp with time zone NOT NULL,
    last_request_id bigint DEFAULT 0 NOT NULL,
    CONSTRAINT net_epoch_one_check CHECK (one)
);


--
-- Name: TABLE net_epoch; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.net_epoch IS 'Vanishes in the same crash that empties pg_net''s tables and restarts its ids. Unlogged on purpose.';


--
-- Name: COLUMN net_epoch.began_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.net_epoch.began_at IS 'Answers dated before are those of another time.';


--
-- Name: COLUMN net_epoch.last_request_id; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.net_epoch.last_request_id IS 'The highest that was handed out to us; a sequence below it was reset.';


--
-- Name: object; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.object (
    kind text NOT NULL,
    identity text NOT NULL,
    definition text NOT NULL,
    server_version integer NOT NULL
);


--
-- Name: TABLE object; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.object IS 'What the last install or upgrade left in schema qctl, for verify.';


--
-- Name: orders_status; Type: VIEW; Schema: qctl; Owner: -
--

CREATE VIEW qctl.orders_status AS
 SELECT queue_name,
    msg_id,
    state,
    webhook_id,
    enqueued_at,
    visible_at,
    finished_at,
    delivery_no,
    attempts,
    lost,
    next_at,
    reason,
    note,
    last_attempt_at,
    status_code,
    error,
    response,
    duration_ms
   FROM qctl.messages('orders'::text, p_limit => 1000) messages(queue_name, msg_id, state, webhook_id, enqueued_at, visible_at, finished_at, delivery_no, attempts, lost, next_at, reason, note, last_attempt_at, status_code, error, response, duration_ms);


--
-- Name: VIEW orders_status; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON VIEW qctl.orders_status IS 'The newest 1000 messages of the queue with their state and last attempt. More, and others: qctl.messages().';


--
-- Name: queue_queue_id_seq; Type: SEQUENCE; Schema: qctl; Owner: -
--

ALTER TABLE qctl.queue ALTER COLUMN queue_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME qctl.queue_queue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: retry; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.retry (
    queue_id integer NOT NULL,
    msg_id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    delivery_no integer NOT NULL,
    attempt_no integer NOT NULL,
    attempts integer NOT NULL,
    rejected integer NOT NULL,
    lost integer NOT NULL,
    next_at timestamp with time zone,
    last_status integer,
    last_error text,
    webhook_id text,
    replayed_at timestamp with time zone,
    last_at timestamp with time zone
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='1000');


--
-- Name: TABLE retry; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.retry IS 'One row per unfinished message that was tried or replayed; the only source of attempt_no.';


--
-- Name: COLUMN retry.attempt_no; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.retry.attempt_no IS 'Number of the last attempt of this delivery, lost ones included.';


--
-- Name: COLUMN retry.attempts; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.retry.attempts IS 'Attempts spent: answered, and counted against the schedule.';


--
-- Name: COLUMN retry.webhook_id; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.retry.webhook_id IS 'Override of the id, from a replay that asked for a new one.';


--
-- Name: COLUMN retry.last_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.retry.last_at IS 'When its last attempt was settled.';


--
-- Name: routine; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.routine (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    qctl_version text NOT NULL
);


--
-- Name: TABLE routine; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.routine IS 'Checksum of each routine file as last applied.';


--
-- Name: sample; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.sample (
    queue_id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    depth integer,
    last_msg_id bigint NOT NULL
);


--
-- Name: TABLE sample; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.sample IS 'How deep each queue was, once a minute for a day: does it drain?';


--
-- Name: COLUMN sample.depth; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.sample.depth IS 'Null above 100000, where it is not counted.';


--
-- Name: scheduler; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.scheduler (
    one boolean DEFAULT true NOT NULL,
    generation bigint DEFAULT 1 NOT NULL,
    workers integer DEFAULT 1 NOT NULL,
    net_held_since timestamp with time zone,
    net_held_reason text,
    net_probe_at timestamp with time zone,
    CONSTRAINT scheduler_one_check CHECK (one),
    CONSTRAINT scheduler_workers_check CHECK (((workers >= 0) AND (workers <= 64)))
);


--
-- Name: TABLE scheduler; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.scheduler IS 'What running jobs re-read at each step.';


--
-- Name: COLUMN scheduler.generation; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.scheduler.generation IS 'One more with each upgrade: a running CALL of an older one ends.';


--
-- Name: COLUMN scheduler.workers; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.scheduler.workers IS 'Shared worker jobs wanted.';


--
-- Name: COLUMN scheduler.net_held_since; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.scheduler.net_held_since IS 'pg_net stands still since then; until it moves it gets one message a minute.';


--
-- Name: signing_secret; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.signing_secret (
    secret_id integer NOT NULL,
    queue_id integer NOT NULL,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL,
    mark text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    created_by text DEFAULT SESSION_USER NOT NULL,
    expires_at timestamp with time zone
);


--
-- Name: TABLE signing_secret; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.signing_secret IS 'Keys that sign a queue''s requests. The key itself is not kept, only its two HMAC pads, which are worth as much.';


--
-- Name: COLUMN signing_secret.mark; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.signing_secret.mark IS 'First eight hex digits of sha256(key), to tell keys apart.';


--
-- Name: COLUMN signing_secret.expires_at; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.signing_secret.expires_at IS 'It signs until then; null: for ever.';


--
-- Name: signing_secret_secret_id_seq; Type: SEQUENCE; Schema: qctl; Owner: -
--

ALTER TABLE qctl.signing_secret ALTER COLUMN secret_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME qctl.signing_secret_secret_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: status; Type: VIEW; Schema: qctl; Owner: -
--

CREATE VIEW qctl.status AS
 SELECT queue_name,
    health,
    depth,
    ready,
    delayed,
    in_flight,
    retrying,
    dead,
    lag_s,
    age_s,
    delivered_1m,
    failed_1m,
    last_error,
    paused_at,
    paused_by,
    pause_reason,
    url,
    transport,
    since,
    reason,
    mend,
    depth_exact,
    depth_estimate,
    dead_1m,
    delivered_1h,
    failed_1h,
    dead_1h,
    p50_s,
    p95_s,
    growth_per_s,
    drain_s,
    last_delivered_at,
    last_failed_at
   FROM qctl._status() _status(queue_name, health, depth, ready, delayed, in_flight, retrying, dead, lag_s, age_s, delivered_1m, failed_1m, last_error, paused_at, paused_by, pause_reason, url, transport, since, reason, mend, depth_exact, depth_estimate, dead_1m, delivered_1h, failed_1h, dead_1h, p50_s, p95_s, growth_per_s, drain_s, last_delivered_at, last_failed_at);


--
-- Name: VIEW status; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON VIEW qctl.status IS 'One row per queue: health with since, reason and the command that mends; depth by state, lag and age; what became of the attempts of the last minute and hour; p50 and p95 from enqueued to delivered; growth. Depth as in qctl.depth(), null where this role may not see it.';


--
-- Name: throughput; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.throughput (
    queue_id integer NOT NULL,
    minute timestamp with time zone NOT NULL,
    delivered integer NOT NULL,
    failed integer NOT NULL,
    dead integer NOT NULL,
    lost integer NOT NULL,
    p50_ms integer,
    p95_ms integer
);


--
-- Name: TABLE throughput; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.throughput IS 'Attempts settled per queue and minute, rolled up by the maintenance. Minutes without any have no row.';


--
-- Name: COLUMN throughput.failed; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.throughput.failed IS 'Attempts that failed and are retried.';


--
-- Name: COLUMN throughput.p50_ms; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON COLUMN qctl.throughput.p50_ms IS 'From claim to settled, of the attempts that were answered 2xx.';


--
-- Name: upkept; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.upkept (
    one boolean DEFAULT true NOT NULL,
    rolled_to timestamp with time zone,
    retained_at timestamp with time zone,
    swept_at timestamp with time zone,
    CONSTRAINT upkept_one_check CHECK (one)
);


--
-- Name: TABLE upkept; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.upkept IS 'How far the maintenance has come.';


--
-- Name: worker_worker_id_seq; Type: SEQUENCE; Schema: qctl; Owner: -
--

ALTER TABLE qctl.worker ALTER COLUMN worker_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME qctl.worker_worker_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Data for Name: a_orders; Type: TABLE DATA; Schema: pgmq; Owner: -
--

COPY pgmq.a_orders (msg_id, read_ct, enqueued_at, last_read_at, archived_at, vt, message, headers) FROM stdin;
1	1	2026-11-26 20:40:31.595213+00	\N	2026-11-26 20:40:31.652363+00	2026-11-26 20:42:01.647127+00	{"table": "users", "record": {"id": 1, "name": "one"}, "schema": "public", "operation": "INSERT", "old_record": null}	{"qctl": {"status": 200, "outcome": "delivered", "attempts": 1, "delivery_no": 1, "delivered_at": "2026-11-26T20:40:31.652363+00:00"}}
\.


--
-- Data for Name: meta; Type: TABLE DATA; Schema: pgmq; Owner: -
--

COPY pgmq.meta (queue_name, is_partitioned, is_unlogged, created_at) FROM stdin;
orders	f	f	2026-11-26 20:40:31.595213+00
\.


--
-- Data for Name: notify_insert_throttle; Type: TABLE DATA; Schema: pgmq; Owner: -
--

COPY pgmq.notify_insert_throttle (queue_name, throttle_interval_ms, last_notified_at) FROM stdin;
\.


--
-- Data for Name: q_orders; Type: TABLE DATA; Schema: pgmq; Owner: -
--

COPY pgmq.q_orders (msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers) FROM stdin;
5	0	2026-11-26 20:40:31.595213+00	\N	2026-11-26 20:40:31.644722+00	{"table": "users", "record": {"id": 5, "name": "five"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N
6	0	2026-11-26 20:40:31.595213+00	\N	2199-01-01 00:00:00+00	{"later": true}	\N
4	1	2026-11-26 20:40:31.595213+00	\N	2199-01-01 00:00:00+00	{"table": "users", "record": {"id": 4, "name": "four"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N
3	1	2026-11-26 20:40:31.595213+00	\N	2199-01-01 00:00:00+00	{"table": "users", "record": {"id": 3, "name": "three"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N
\.


--
-- Data for Name: topic_bindings; Type: TABLE DATA; Schema: pgmq; Owner: -
--

COPY pgmq.topic_bindings (pattern, queue_name, bound_at) FROM stdin;
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public.users (id, name) FROM stdin;
1	one
2	two
3	three
4	four
5	five
\.


--
-- Data for Name: arming; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.arming (one, system_identifier, database_oid, timeline, survive_failover, armed_at, armed_by) FROM stdin;
t	7712582853666043957	5	1	f	2026-11-26 20:40:31.440803+00	postgres
\.


--
-- Data for Name: attachment; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.attachment (attachment_id, queue_id, relation, operations, when_sql, columns, payload, unchanged, created_at, created_by, level, replicated, as_me, on_error, max_bytes, order_by) FROM stdin;
1	1	public.users	{UPDATE,INSERT,DELETE}	\N	\N	qctl	f	2026-11-26 20:40:31.595213+00	postgres	statement	f	f	fail	524288	\N
\.


--
-- Data for Name: attempt; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at, settled_at, duration_ms, status_code, error, response, next_at) FROM stdin;
1	1	1	1	delivered	\N	http	2026-11-26 20:40:31.647127+00	2026-11-26 20:40:31.652363+00	3	200	\N	ok	\N
1	2	1	1	dead	\N	http	2026-11-26 20:40:31.647127+00	2026-11-26 20:40:31.652363+00	4	400	\N	no	\N
1	3	1	1	retrying	\N	http	2026-11-26 20:40:31.647127+00	2026-11-26 20:40:31.652363+00	5	503	\N	busy	2026-11-26 20:41:27.232787+00
\.


--
-- Data for Name: audit; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.audit (audit_id, at, actor, application, verb, queue_name, detail) FROM stdin;
1	2026-11-26 20:40:31.533659+00	postgres	qctl freeze	upgrade	\N	{"applied": ["acting", "address", "arming", "at_home", "attach", "audit", "baseline", "breaker", "capture", "capture_and_care", "check", "claim", "collect", "counts", "declared", "dedup", "depth", "discard", "dispatch", "doctor", "drop", "endpoint", "environment", "event", "guard", "header_secret", "health", "inside_the_database", "jobs", "label", "lapse", "looking", "maintenance", "message", "messages", "net", "order", "privileges", "purge", "queue", "replay", "request", "scale", "settle", "signing", "takeover", "text", "verify", "views", "wake", "webhooks", "work", "worker", "workers"]}
2	2026-11-26 20:40:31.619345+00	postgres	qctl freeze	create	orders	{"url": "http://127.0.0.1:9/orders", "adopted": false, "transport": "http", "reject_after": 1, "retry_schedule_s": [60]}
3	2026-11-26 20:40:31.643827+00	postgres	qctl freeze	attach	orders	{"level": "statement", "payload": "qctl", "on_error": "fail", "relation": "public.users", "operations": ["UPDATE", "INSERT", "DELETE"], "replicated": false}
\.


--
-- Data for Name: capture_error; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.capture_error (attachment_id, minute, sqlstate, error, statements) FROM stdin;
\.


--
-- Data for Name: dead_letter; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, note, status_code, error, enqueued_at, read_ct, message, headers, webhook_id, died_at, blocks_key) FROM stdin;
1	2	1	1	0	rejected	\N	400	\N	2026-11-26 20:40:31.595213+00	1	{"table": "users", "record": {"id": 2, "name": "two"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N	\N	2026-11-26 20:40:31.652363+00	\N
\.


--
-- Data for Name: dedup; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.dedup (queue_id, dedup_key, msg_id, expires_at) FROM stdin;
\.


--
-- Data for Name: event_last; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.event_last (event_type, subject, at, suppressed) FROM stdin;
\.


--
-- Data for Name: event_route; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.event_route (one, queue_id, throttle_s, set_at, set_by) FROM stdin;
\.


--
-- Data for Name: gate; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.gate (queue_id, paused_at, paused_by, pause_reason, net_timeouts, net_hold_until, gone, failures, failing_since, window_at, window_answers, window_failures, opened_at, open_reason, pauses, probe_at, probe_lease, probe_early, probe_ends, recall_after, recall_since, slow_limit, paced_at, swept_key) FROM stdin;
1	\N	\N	\N	0	\N	f	0	\N	2026-11-26 20:40:31.658155+00	3	1	\N	\N	0	\N	\N	f	\N	\N	\N	\N	\N	\N
\.


--
-- Data for Name: grantee; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.grantee (role_name, level, payloads, granted_at, granted_by) FROM stdin;
\.


--
-- Data for Name: header_secret; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.header_secret (name, value, changed_at, changed_by) FROM stdin;
\.


--
-- Data for Name: in_flight; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.in_flight (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, worker_id, transport, request_id, epoch, claimed_at, expires_at, lapsed_at, order_key) FROM stdin;
1	4	2026-11-26 20:40:31.595213+00	2da3a1ec-6293-4557-becf-e4648c6b5203	1	1	\N	http	\N	\N	2026-11-26 20:40:31.647127+00	2199-01-01 00:00:00+00	\N	\N
\.


--
-- Data for Name: label; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.label (one, label, protected, system_identifier, database_oid, set_at, set_by) FROM stdin;
\.


--
-- Data for Name: migration; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.migration (version, name, checksum, applied_at, applied_by, qctl_version) FROM stdin;
1	baseline	6517e8524bf9126a8a4062f5982bdd4e0da840a1bc3516e87b813445195a19ba	2026-11-26 20:40:31.36444+00	postgres	0.6.0
2	inside_the_database	3262f42532eb6deb6032c6c92bda6602c3b39824146ca5c32d089bf18915abb5	2026-11-26 20:40:31.36444+00	postgres	0.6.0
3	capture_and_care	9d64e3d755bbc95d5acc26f2ef317804caa1524b708b179412b80380b9a110f0	2026-11-26 20:40:31.36444+00	postgres	0.6.0
4	looking	f6352e317d92dbff544a4fc0332d1d7b35dc11191683767256e1a0671d111730	2026-11-26 20:40:31.36444+00	postgres	0.6.0
5	acting	3197d68dc981f78e1543e692874e3bfac850e10a9bfed9499707a2b0b403e12d	2026-11-26 20:40:31.36444+00	postgres	0.6.0
6	at_home	08834e8744f65d54383fd0b06fd69bc39b6f2ce94acf895a16656ce2e3b67459	2026-11-26 20:40:31.36444+00	postgres	0.6.0
7	endpoint	e4991d707e6ec71f3ccb252c80e4db6fae5c5f1dcf31686143fa4b900a4959cd	2026-11-26 20:40:31.36444+00	postgres	0.6.0
8	guard	5fbce8a7cd092e792a97c81e77dd102e9d95bd6ae49e3d71304f12568c748782	2026-11-26 20:40:31.36444+00	postgres	0.6.0
\.


--
-- Data for Name: net_epoch; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.net_epoch (one, epoch, ident, began_at, last_request_id) FROM stdin;
\.


--
-- Data for Name: object; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.object (kind, identity, definition, server_version) FROM stdin;
function	qctl._ailments(qctl.queue,boolean,interval)	5e07e5e8940c4be6a19a8050449f09a2	18
function	qctl._ails_endpoint(qctl.queue)	76ed05a7b99852bc456928ce7d9cdf52	18
function	qctl._ails_gate(qctl.queue)	5ab277a4b17346e05243745cc587170a	18
function	qctl._ails_growing(qctl.queue)	480c24423fcf7e822744bdf0603d28fe	18
function	qctl._ails_schema()	d097ade71728a69593c3844d8761d07a	18
function	qctl._ails_unarmed()	1e1d8ca164ad84cc39eb57586162def1	18
function	qctl._ails_worker(qctl.queue,interval)	3a9c23de066e240669afe39906f6d646	18
function	qctl._answers(integer[],interval,boolean)	35003bac018eb64ca41098f2bcd41b6e	18
function	qctl._apply_grants(name,text,boolean)	39593d14855cbb092ec22ea721a3fa70	18
function	qctl._apply_settings(text,jsonb,boolean)	4459b7c0fc6dfddadff0533783116f8e	18
function	qctl._archive_dead(qctl.queue)	81ce5c630931ca61fe1cb6923aa75510	18
function	qctl._audit(text,text,jsonb)	74f4dabbc02b2c3a27a87df1bbff3556	18
function	qctl._audit_rarely(text,text,text,text)	be70c881e587167a802bed5684eb35e6	18
function	qctl._backoff_s(integer[],integer,double precision)	3078a6786fcc1a095e515a3ddaef9cad	18
function	qctl._before(timestamp with time zone,qctl.purge_place)	b767b508f3c890c951aa060f32766a28	18
function	qctl._breaker_pause(integer,integer)	512935f2a351cdc42482fd27ad51f229	18
function	qctl._by_row(regclass,boolean)	292db534e537e9ef5fbd10eefb23df33	18
function	qctl._capture_body(qctl.attachment,text,text)	c75d5f7cf566b8c35d5eb7b760bf114f	18
function	qctl._capture_failed(integer,text,text)	ae83e5e3bd0314aeafd38a6b3fd7aac3	18
function	qctl._capture_function(integer,text)	75c5bc87fadcef729a8f7c0207a84570	18
function	qctl._capture_functions(integer)	0132d7cd70ed12fec91a6cbe8c07975f	18
function	qctl._capture_trigger(integer,text)	697b83deb704f05ec8af57d140af39ba	18
function	qctl._captured_from(jsonb)	c29f36ff95e405ecd4837c8ccb696399	18
function	qctl._captured_relations(regclass)	5cbe1c00a2fef7ca5dcef87dc5cfbd2d	18
function	qctl._changed(text,bigint[],text[],integer[])	21cdc9097dd78ec24482d413790f7b83	18
function	qctl._check_address(qctl.queue)	43a971a6c47c43ca00f3d648dc42b6a8	18
function	qctl._check_headers(jsonb)	ebbc2083953dadc5c27d762a36b4da9c	18
function	qctl._check_name(text)	a5ff5ca01d2dcc5d156a6373c32ee50a	18
function	qctl._check_net_headers(qctl.queue)	dbffb92cb931ab3efbfb4f20d4acaad6	18
function	qctl._check_net_url(text)	bf7e2a3517f4af95655915c668c14cc8	18
function	qctl._check_schedule(text)	8b19365c3e839d2b1e5779a28251516d	18
function	qctl._check_url(text)	f46820d41f6c9d5466be4f8e26e17732	18
function	qctl._check_when(regclass,text[],text,boolean)	b7afe5316447b10626ac5ae9b6c85f93	18
function	qctl._claim(text,integer,bigint,text)	eace7688b008a9c6f91e89d55e9e4eeb	18
function	qctl._close_breaker(qctl.queue,text)	7bb0519acc98b604a72cdcee6477d117	18
function	qctl._close_routines()	1aee11d27051ecf29e3e6bc41ec7bb00	18
function	qctl._code_of(text)	8de78ee2a114c088544daf0a993dc44d	18
function	qctl._counts(integer,timestamp with time zone)	0631fa92b6cf3d3a575f2eb19c2ec40f	18
function	qctl._cron_here()	440c11b36d17508a9e6871fb34800dcd	18
function	qctl._cron_slots()	4cbc6c6d02e2712ac071832dd3135ad9	18
function	qctl._discard(qctl.queue,bigint[],text)	9a15ce5cfee39a3d6520625ff9591849	18
function	qctl._drop_keeping_archive(text)	30d13769c5d1907f2626447e35773f7f	18
function	qctl._due_retention()	c7bf526f3d3bc9acb14aaa37fa007b09	18
function	qctl._durations(text)	747d88bc1a89911823faf1127fe3f34c	18
function	qctl._emit(text,text,jsonb,interval)	fd5c75e701b7b721d42456ce4b3f1208	18
function	qctl._examine_copies()	2b6a377e6d92e0355366684445a3fe97	18
function	qctl._examine_failures()	682204dcd417604fcb5180d7f8adfc16	18
function	qctl._examine_jobs()	afc9bdb5a4beb2e78acf39801b27e16c	18
function	qctl._examine_load()	1391f2b6713ae8407a67b7fafa2d9bc6	18
function	qctl._examine_queue(qctl.queue)	5390da03806411208e8c5199e2706d71	18
function	qctl._examine_roles()	ec55ef33ea355e12c11d3306d035fb51	18
function	qctl._examine_settings()	9d5914a5a5cd58ba83cd63bd3a6359aa	18
function	qctl._examine_sight()	160d220a61bac0a745e388d544de917f	18
function	qctl._examine_vacuum()	727589693323cfcbd9ff746eb0a54bd3	18
function	qctl._examine_versions()	88c1774d8a01b9430b6ac39cc6020d94	18
function	qctl._expire_missing(qctl.queue,uuid,timestamp with time zone)	8f13b0735433e3310dbf7080553a997f	18
function	qctl._failure_rate(qctl.queue)	2008205d5a4cb527f47a5009357c04a9	18
function	qctl._first_heads(text)	ed8d54682db76411fc53637627c3d650	18
function	qctl._forbidden_host(qctl.queue)	2ebcc6301c4db4bc415b0aa3f26c26ff	18
function	qctl._foreign_children(regclass)	77f66d79238bdc9de35dd033b0d803dd	18
function	qctl._forget_dedup_keys()	b6a1c9b46f322627cf31009273c4ed48	18
function	qctl._growth(qctl.queue,bigint,boolean,bigint)	95dcf31b71427242f4c8fdac322e774b	18
function	qctl._header(jsonb,text)	eafdbb83653858ba8fd2406e700e7437	18
function	qctl._holds_json(regclass)	7fea481acc64ec85b96f2b18bd7feba1	18
function	qctl._host_of(text)	9082c1c92ee492d4f0a06d2f3b121f38	18
function	qctl._is_expected(bytea,text,jsonb)	aeb3a985bb63e431497a123567ef054f	18
function	qctl._is_header(text,jsonb)	851a1e2ca001e5d62b9b6f5b0732fa30	18
function	qctl._is_live(qctl.worker,interval)	0464fdb1c35265bf57c9c9bd6c5e9345	18
function	qctl._is_outage(integer,text)	b251941791f3330a0aeecd59f51209d8	18
function	qctl._is_public(inet)	c0a017dad6f1b766f473db49a7d3fd6e	18
function	qctl._is_reference(text)	2cf1c6c5c783bb972219158f45f26a92	18
function	qctl._is_rejection(integer)	14b32f6f31763abd3b5ab13eb9f4603e	18
function	qctl._is_success(integer)	7cdab5fed17cebfc5364c50035bf8ca8	18
function	qctl._key_body(regclass)	b1609e0b64edccf7b5b64517cf76dc38	18
function	qctl._key_of(text)	b6df89a8efc345d924d8fc54f048064b	18
function	qctl._lapse(qctl.queue,timestamp with time zone)	1dc90a1bdb9217a302f705951c4edb9d	18
function	qctl._lapse_at(bigint,timestamp with time zone)	1f3138e2677ccb9b3f35fd7488adae53	18
function	qctl._lapse_gone(qctl.queue)	918f4fddbd3c4a3c54f7f40db05a9de7	18
function	qctl._last_delivered(text)	12b5fa623b2efe12bdf49dee7b90663c	18
function	qctl._last_msg_id(text)	8f9c6e9345254f0d01dddc454d7a9289	18
function	qctl._last_run(bigint)	9948a56b3a597822d215ed3a9de4740e	18
function	qctl._level_routines(text,boolean)	3d21461e2bcdc39e845e1f8d2af2f0a9	18
function	qctl._literal_address(text)	f2188b4b9afb299045753f28ce4ce470	18
function	qctl._lock_tables(text[],text[])	5925516a71aa6f108ecd315262b12a04	18
function	qctl._lower_keys(jsonb)	e5415c6d415469f06f9565be6d746acb	18
function	qctl._maintenance_deadline(interval)	d124ac57ed27ace4e77454370915228c	18
function	qctl._make_capture(qctl.attachment,text)	a0e67c88aad74ff179d1a4ff809b4b84	18
function	qctl._make_functions(qctl.attachment,text)	406e5664b65b001fecf7c157539908e6	18
function	qctl._make_status_view(text)	46e11d98d3c302bf55aca7e64736f011	18
function	qctl._mark_number(jsonb,text)	9fc7db1730b38d3760bba6b758895a81	18
function	qctl._mark_webhook_id(jsonb)	1c89110c1a233873d94cbec3aa416ad9	18
function	qctl._may_go(text)	3b5d9be52b4d18733ba8f2748ed63e4c	18
function	qctl._messages(text,text[],timestamp with time zone,timestamp with time zone,timestamp with time zone,text[],text,text,text,boolean,jsonb,integer,bigint,timestamp with time zone)	9ac22755e09c3bbc9fb0b567389c4c19	18
function	qctl._missing_secrets(jsonb)	ccdb16c6fa9108b26d2a8453c78ec5c2	18
function	qctl._net_allowed(integer)	8196eb4a1fad61fb30b4d4402c665f40	18
function	qctl._net_batch_size()	5e2e8bbcd1822fe57ba8f79790a190aa	18
function	qctl._net_epoch()	eab3edae9d5a694d6bbed115b6198eb2	18
function	qctl._net_free()	1603612de0539bc2759ae0798369bf2b	18
function	qctl._net_hold(text)	fb32b65aca0204e78329a7c07154a5c6	18
function	qctl._net_ident()	22260497577cc3b09f03d4e8fe29efee	18
function	qctl._net_is_open()	5fa92fbe9de1b0dd39c5df28e6362222	18
function	qctl._net_last_id()	102a23edeaf31767be1ec121b7032dd0	18
function	qctl._net_max_body(text)	d9ca6480b65d798b534a29dfe4486dc0	18
function	qctl._net_pending(integer)	f31b5e58545d8bd8494b43759fec8eee	18
function	qctl._net_readable()	cdfa5f1a5ede2080c5e190fbb83515d3	18
function	qctl._net_relation(text)	c850c1cebe895b57f2c6757e8d3b0280	18
function	qctl._net_review(qctl.queue)	525afdd20686d9d339601d922f1bebc6	18
function	qctl._net_room(qctl.queue)	81d161c26595ee7643369735d625ef06	18
function	qctl._new_webhook_id()	028d902d4653999d79763c678266d979	18
function	qctl._note_answers(qctl.queue,integer,integer,timestamp with time zone,boolean,integer,text)	c767d87348b209952768210393325ba6	18
function	qctl._notify(integer)	6ed86a703a71c42c787c472a19284ca8	18
function	qctl._number_of(text)	887f532b308ddac44a589fb8a0f7eeaa	18
function	qctl._objects()	1ef8513ace2c829e7cb93857ec547c04	18
function	qctl._octets(text,integer)	cc7481e6a159c0a6eec1a4ea2340ab9f	18
function	qctl._oldest_transaction()	ad3eef53e2a472f43a54d6a96a048f9b	18
function	qctl._open_breaker(qctl.queue,text,text,timestamp with time zone)	46ca88ad42d2e14fe676820f78e552ce	18
function	qctl._order_index(qctl.queue,boolean)	32504403c922e72defcdb739bc4d6fd1	18
function	qctl._other_readers(text)	50ea0caa59802763387cbbb01ed84f3f	18
function	qctl._own_capture(qctl.attachment,text,name)	4e5ff04de2ff979b73a8b363969e4880	18
function	qctl._owns_captures(name)	4d7709351657fb2fed14c8b6d38c9ecc	18
function	qctl._owns_jobs()	b6579899de7d4648d3597b95357ad9f4	18
function	qctl._park_followers(qctl.queue,timestamp with time zone,integer)	38852fe277a1bc166cc4cf794b456f7c	18
function	qctl._plan_jobs()	9259dee35ed3c32aa8a6b64288061505	18
function	qctl._post(qctl.queue,uuid[],bigint[],jsonb[],text[])	9f6dc8ef322f3302a5edbc9775fb7715	18
function	qctl._probe(qctl.queue,timestamp with time zone)	663afbd9a215a040eae0872479d4f487	18
function	qctl._purge(text,interval,timestamp with time zone,bigint,integer)	ffc57d9932e19225b85e162d69fdc2b1	18
function	qctl._queue(text)	14acd5c86c6e71ba523b672ffa1d44a4	18
function	qctl._queues_to_collect()	9b94c6406514f3879b20750895791cf9	18
function	qctl._readable_columns(regclass)	23f10ed26f0cdf5772599ce8dc6eae0a	18
function	qctl._readable_tables()	17a79a450b5cd019c8617cae404fcde3	18
function	qctl._reads_queue(text,text)	cea13f5b2fe52489ce37393aefe2a376	18
function	qctl._recall(qctl.queue,qctl.gate,timestamp with time zone)	7b607c1f806084f814fe0c50a45a23b5	18
function	qctl._refresh_captures()	c75974fdc5885c8608b7feb0931ed405	18
function	qctl._refresh_grants()	6fb14f8cbcd158fd41279700f5fe21c2	18
function	qctl._refuse_other_readers(text)	596cb3e1a1392db969113b3a7133ca02	18
function	qctl._regclass(text)	612133f516d6238ff6a52673b6031684	18
function	qctl._remember_objects()	0e3623be54653074ccac747fb9a19a21	18
function	qctl._request_headers(jsonb,jsonb)	180075cca829d9128e44f7750bbff8c4	18
function	qctl._resolved_headers(qctl.queue)	312697bfa2fccb4e5569096f627bd62b	18
function	qctl._retain(text,qctl.purge_place)	9d7ebf93365c255cae1f6eaa747034a3	18
function	qctl._retention_done(qctl.purge_place)	8d75733dc6a0e2d85a035d3942caa57c	18
function	qctl._retry_after_s(jsonb,timestamp with time zone)	c8340a7175b4e39b3be62a3c5125f060	18
function	qctl._roll_up()	0527848790e96bdc22b6b87ea9f88c63	18
function	qctl._row_body()	3434ac82ae6a7003bf2d9194b203231d	18
function	qctl._row_expression(text,boolean,integer,integer)	765654d2305e05c6e84f95be8e721722	18
function	qctl._schedule_job(text,text,text)	17b8200af7b079544829dc0915ee9f0f	18
function	qctl._seconds_since(timestamp with time zone,double precision)	fa5a001c85c1a690979d2491d1abf851	18
function	qctl._secret_hint(text)	616b5ac21eb91014bd176c25374e1015	18
function	qctl._secret_users(text)	99f1f21c69ecbfa3443ee7e1da0c0127	18
function	qctl._secret_value(text)	d14ad26f3c863d091deab799a75c1f9b	18
function	qctl._setting(text)	0857493f30481be5846b967acf6f073d	18
function	qctl._settle(qctl.queue,uuid[],bigint[],integer[],text[],bytea[],integer[],integer[],boolean)	467761baa93ed7ccb76710b3ba522222	18
function	qctl._settle_answers(integer,uuid[],bigint[],integer[],text[],bytea[],integer[])	ebb35d6b3529e1256238532de83bc673	18
function	qctl._show_next(qctl.queue,text[])	0232f7bde7b1e8e76c1c9bcedb6e6a3e	18
function	qctl._shown_headers(jsonb)	00c2efb6efd6b7217002ea1a4f277106	18
function	qctl._signature(bytea,bytea,bytea)	426aa9294df66fc4e8aea3779f61d4fa	18
function	qctl._signatures(bytea[],bytea[],bytea)	977152ba076bf308965c635d29359df0	18
function	qctl._skip_waiting(text)	7a83de80a94579788c4a07bfbf613f84	18
function	qctl._slow_start()	774d815bcd1ccee07e1c0b4ce21df940	18
function	qctl._status(text)	eabfe6c759ab4c65f10b0cddd98e847b	18
function	qctl._sweep()	c25096f9fdcdcbcbeef47afeddbff759	18
function	qctl._sweep_dropped()	526d0ac52990f377aaae2f74fee44990	18
function	qctl._sweep_followers(qctl.queue)	b3e469715e98c100335ea2d6892614d6	18
function	qctl._sweep_order()	72177f06d5b1d07275e9c5ed6ad19000	18
function	qctl._take_back(qctl.queue,interval)	4b94bfc0fb7c9ba644ee491b0393e9a4	18
function	qctl._take_grants(name,text,boolean,text,boolean)	26702a8cd548a26d0f994d42c30f825d	18
function	qctl._take_over(text)	0dcd490142092038d4dfa6bc1a528011	18
function	qctl._take_samples()	e309dead5df7ba578646f6334a612fa1	18
function	qctl._text(bytea,integer)	98616a457cc49dfc080896fd2b6b332f	18
function	qctl._timeline()	9be4042005c0057e656b0ecd78b5dc04	18
function	qctl._unseen(regclass)	ebe03ff2da0e8ebbf311956ed0f5966b	18
function	qctl._verify_attachments(integer)	2fd972e18ab7e42ac9306c282a362787	18
function	qctl._verify_tables(text)	12016594046f5376398f91f0b7038d8a	18
function	qctl._version()	6bd2f521dc3a812c39a58c4bd8c24e0c	18
function	qctl._version_number(text)	83e32e11d1865aa2c8d28ce434cd2695	18
function	qctl._wanted_jobs()	8beb7f49c571763f19b0fc43c02e4d76	18
function	qctl._warn_of_missing_secrets(jsonb)	57f23b2f4bed46c72a5f24e95d14abbe	18
function	qctl._webhook_headers(text,text,text,bytea[],bytea[])	ac9e46bc5319c44229926363cabffa48	18
function	qctl._word(text)	ff17f7016b52540b2103531fd8c5e96c	18
function	qctl._work_beat_due(qctl.work_run)	46ba3531221a3a451d349734d6080c39	18
function	qctl._work_begin(text)	59b426e8ccde6960ba22f3a16e0da83b	18
function	qctl._work_busy(qctl.work_run,double precision)	1783fb24945119a8e497d02228a89f87	18
function	qctl._work_dispatch(qctl.work_run,text,integer)	f4d25f9c94e74ef8aa96d2e7fd7cc5de	18
function	qctl._work_end(qctl.work_run)	13c89b82405844d8cf05d5c82a95ecb2	18
function	qctl._work_goes_on(qctl.work_run)	32af4ea177669c4b828bcbcd1c7bca20	18
function	qctl._work_holds_slot(qctl.work_run)	31f2a3dcc53875745dce600214decc78	18
function	qctl._work_nap_s(qctl.work_run,integer)	720353a1c38c2d0da50ecd44d545d4c8	18
function	qctl._work_plan(qctl.work_run)	327bc7b46bd2cd0f532544738c3fbf24	18
function	qctl._work_queues(integer)	ca8d1b8590fc8ddb73a9518e9f045773	18
function	qctl._work_review(integer)	91be8334616594e7ca61ab7e3eb7c98d	18
function	qctl._work_share(qctl.work_plan)	df12d04be89c33d006b08b562220c42e	18
function	qctl._xor_pad(bytea,integer)	83f9a59d2ed8de000095f4b05f0230f8	18
function	qctl.adopt_webhook(text,text,text,jsonb)	74a9c2a4c48c612e25e7690d31992ed9	18
function	qctl.archive_size(text)	96339733060f14b394f46b2310181324	18
function	qctl.arm(boolean)	1ac9a490ed43c8b76a74020e2924ef59	18
function	qctl.attach(text,text,text[],text,text[],text,boolean,boolean,boolean,text,integer,text)	658ddc64b2df4b04e8ed0e68f374acc5	18
function	qctl.capacity(text)	445a7283c824988bcace38a6c290ceaf	18
function	qctl."check"(text,double precision,double precision,bigint,bigint,double precision,double precision,double precision,text[])	375dd743559a4a881f4e7bbf253c2fc4	18
function	qctl.choose_transport(text)	0e7560274ae09b8dd14f4c68bc56b5e0	18
function	qctl.claim(text,integer,bigint)	ae6ad66104f866646a1de48270180a3c	18
function	qctl.collect(text)	9d64994fbf402ae72eb033c9a9ed2d92	18
function	qctl.compare_attachment(text,text,text[],text,text[],text,boolean,boolean,boolean,text,integer,text)	b9a901e8a0c51582c8b48e0d1ceda42d	18
function	qctl.compare_queue(text,text,jsonb,jsonb)	025b9dec90e535f036aee325dcf5210f	18
function	qctl.create_queue(text,text,jsonb,jsonb,text,boolean,boolean)	b2b5d22d5a5a23a4b4bb31bee025570f	18
function	qctl.dead(text)	82130e02912070b6956db278830e8b5f	18
function	qctl.depth(text)	ff0883788e405882315a8e00696c3054	18
function	qctl.describe(text)	ab3448eeaa0fcb28351d2422878f06d7	18
function	qctl.detach(text,text)	75ce6e1771e67adffc3af224764938bc	18
function	qctl.disarm()	bf73d15985959f1387d2a44f0fb81c7c	18
function	qctl.discard(text,bigint[],text,text[],integer[])	ad94a4daa5688a1ab429174769663ba1	18
function	qctl.dispatch(text,integer,bigint)	e989bcd602eb1f4b993e4931f67e6784	18
function	qctl.doctor()	e8c0996bb7be4c304ddd698a2237baad	18
function	qctl.drop_header_secret(text)	173159503b494705364c02a9a69ef223	18
function	qctl.drop_queue(text,boolean,boolean)	bce6122a8af217a28d2243f852e7f3b5	18
function	qctl.event_route()	780b68ebacf21e51976e3b69e52b0f2c	18
function	qctl.fall_asleep(text[])	8a0a328c74b76ae9cdc97b038e7a7c16	18
function	qctl.give_up(text,boolean)	b8e52d5c7334c6be3f0ce737ddd411a7	18
function	qctl.grant_role(text,text,boolean)	ee1869dec0df9b85f2de64181b2de15d	18
function	qctl.growth(text)	7c35bc0997e63765b74da22d90bc52f6	18
function	qctl.header_secrets()	29cae65e51bb9293a8c5ad7eae987f5c	18
function	qctl.health(text)	be43c688c6f9c40e9df6ae50d678de6b	18
function	qctl.heartbeat(bigint,text[])	3cb7eebdc5a13d8cb2da43639d38bc3b	18
function	qctl.is_armed()	58cf4e431b72b487b49259f7287b09b4	18
function	qctl.jobs()	a86b35bd61c7259fa4fefc5d9cfdbf66	18
function	qctl.label()	2f3ee68b57e2250f60261ba6e147a21a	18
function	qctl.lag(text)	89939358c6e694bb33d94602b5660ee0	18
function	qctl.life(text,bigint)	a9cc695182fa0a4c40dac8747b9a1404	18
function	qctl.locate(bigint,text)	cf0e51ec067e85cbee7e55d6ed7c6d51	18
procedure	qctl.maintenance(interval)	5fd5f02193defa4d6a4c76d7bd492106	18
function	qctl.message(text,bigint)	8615447fabe3af2d8c1a254a158655d4	18
function	qctl.message_state(text,bigint)	b019ea0eb7e5af87ac6cf9f2e6b75fb2	18
function	qctl.message_states(text,bigint[])	7ccfefb45e35e91b4d367b0f7a9096ae	18
function	qctl.messages(text,text[],timestamp with time zone,timestamp with time zone,timestamp with time zone,text[],text,text,text,boolean,integer,bigint,timestamp with time zone)	0c1d42c1ff7dfe1b9cb1072afca06e00	18
function	qctl.messages_where(text,jsonb,text[],timestamp with time zone,timestamp with time zone,timestamp with time zone,text[],text,text,text,boolean,integer,bigint,timestamp with time zone)	d80e9179bc5931ff7c095170e9a87366	18
function	qctl.pause(text,text)	879ca66cd8bb7f99059cd7c8821e3463	18
function	qctl.payloads(text,bigint[])	8132049ef4a6c8ee8c9e6b1defc5dee9	18
function	qctl.purge(text,interval,timestamp with time zone,bigint,integer)	871525eb8a34b903a5b7e5f194b37d7d	18
function	qctl.purge_dead(text,interval,integer)	0ade083706fd7af3e1be3866af70429d	18
function	qctl.purge_leftovers(interval)	e43b6506b8b53c76fd9c8f50e360e122	18
function	qctl.purge_preview(text,interval,boolean,timestamp with time zone,bigint,integer)	b961aac678a567dd5960e4a15e556700	18
function	qctl.purge_these(text,bigint[],text[],boolean)	16ba6132cb4a3239a4a7a8b2a1f415e0	18
function	qctl.purgeable(text,interval)	a88d88574b35b300092ff58723f9c239	18
function	qctl.purgeable_dead(text,interval)	888c86a548dbed98feccc6689b3f2689	18
function	qctl.rates(text)	6aa76f8b3bd5a1a3cef610a65902cfea	18
function	qctl.ready_queues(text[])	cf7900e8e886b7e9cfa2fa73cd9b0061	18
function	qctl.reattach(text,text)	c908e4260f6a7b0ed0ec27e41ae36795	18
function	qctl.register_worker(text,text,text[],text)	1f05d5590d32c5c3904ea8b89b62454b	18
function	qctl.release(text,uuid[],bigint[])	81cf14c6b99dbb1d5f2dce67c5d0624e	18
function	qctl.replay(text,bigint[],text,boolean,double precision,double precision,text[],integer[])	c798f8b35364786b30f66f6f9731eae9	18
function	qctl.resume(text)	798408bdd5d2af29215809cf9d1a9e6b	18
function	qctl.revoke_role(text)	cdd0cc3fc6a64f30174c3f4da4dad0e2	18
function	qctl.revoke_secret(text,integer,boolean)	33d5892cc860f33705660ee7d03dc2f5	18
function	qctl.rotate_secret(text,text,interval)	134d55412416744f11a6824f3f31a159	18
function	qctl.running_jobs()	556bab560620370bca9b80081832d8cf	18
function	qctl.scale(text,integer,boolean,integer,integer,integer)	1ebc8f160ec8d4e7185d5e3822798fa8	18
function	qctl.send(text,jsonb[],jsonb,double precision,boolean,text)	fd3ebac943784ad84e7d9d75a9944a2c	18
function	qctl.send_once(text,jsonb,text,interval,jsonb,double precision,text,boolean)	1942724c8f5059a3f2256ce09a9b48a8	18
function	qctl.set_attachment(text,text,text[],text,text[],text,boolean,boolean,boolean,text,integer,text)	a139010139aff358ebf7084405f93443	18
function	qctl.set_event_route(text,integer)	ea21cb048a924bdb86ccaab3951687bd	18
function	qctl.set_header_secret(text,text)	e17087d0150d5b0f4a89abf63201b903	18
function	qctl.set_label(text,boolean)	5c9dee05a3bc2d1c7de965592c1d9acd	18
function	qctl.set_queue(text,text,jsonb,jsonb)	108e53357e4dd99e77d8e0d4c9221255	18
function	qctl.settle(text,uuid[],bigint[],integer[],text[],bytea[],integer[],integer[])	a67ce871fa66d92dd2813148317efd1f	18
function	qctl.settled_until()	808b5f315d100573de9080db101610e2	18
function	qctl.sign_off(bigint)	a1bfe902cc7de4d86cd509af004028eb	18
function	qctl.signing_secrets(text)	122edd0ed261df3a51a18bffab58fe32	18
function	qctl.silence(text)	1e078480cc8aca963a79eba190eb67be	18
function	qctl.sizing(text,double precision)	63eb82ad4e978ce2bc6135231c8ac0a5	18
function	qctl.stop_jobs()	b8a7fd967d666ba086f213a85f17220c	18
function	qctl.undeclared(text[],text[],text[])	6d458fb4690c9b7105b1a4479d03f959	18
function	qctl.undelivered(text)	c0d8ee760a803afb0e1880a42b2a9187	18
function	qctl.upkeep(interval)	bcd9c8b401718042e1b3987e079db484	18
function	qctl.verify()	b403ea13e7fa6d938ad1a0f38b926926	18
function	qctl.waiting(text)	7c382fd828d9ef76d27c113d31276d57	18
function	qctl.wake_up(integer[])	f0257b889770c08f063d6ee9001b5e46	18
function	qctl.webhook_id(uuid,bigint,timestamp with time zone)	ad3107bdaa03eccfcef2d9458ab27e02	18
function	qctl.webhooks(text)	c51363a59b55e7fbbd2f7f2328566b36	18
procedure	qctl.work(text)	37454561d2b25ce77029371bf151bd43	18
function	qctl.workers()	73d5f65f5356ba510fe9dbffa12030f2	18
view	qctl.status	b049d6df1893a0e4660b62626127b825	18
table	qctl.migration	0646a06e1bbc3064a6d1c8361d66ae45	18
table	qctl.routine	eb278f740cba00925c1518a8dad9abfd	18
table	qctl.queue	6203e3d559ea03efb9610deeec0180b6	18
table	qctl.gate	9e34dcb9677b7d66f8c1ba78044360d8	18
table	qctl.attachment	6709ca23c88b18819dd9a1e82d595f3c	18
table	qctl.worker	75d0e808981d8f9af9ee91a693a6d839	18
table	qctl.in_flight	3b4c5c5e08e023dfc53156eb4b149116	18
table	qctl.retry	fd50eafd1d26d4754680f130c00a1d71	18
table	qctl.attempt	35f43cb0f9e25b0f23bde00b425c3275	18
table	qctl.dead_letter	87bff6ab728e15cf8990334af29ea1a8	18
table	qctl.audit	8170d33337c0d9fd85940fb882ca5f07	18
table	qctl.arming	b13ba7bf2449ec62b7f11c5c74cc9bee	18
table	qctl.net_epoch	7d5ef04af5cea865a99f4bc3f951683f	18
table	qctl.scheduler	3ad762e8898eaf0eaea3bd9e7be00659	18
table	qctl.upkept	f21ed3ea8450f2443b9e9fbbb81eff8b	18
table	qctl.throughput	dda5dd4c25174ce84062d4911490ef9a	18
table	qctl.capture_error	3c09462cef08d950cbec3906c043765c	18
table	qctl.object	a6227a8ec847ba7199088db7e3f6b343	18
table	qctl.sample	fb80011eef3f523960012fb73718bd7f	18
table	qctl.grantee	1e2bc663bae5968e09c7744d602e9617	18
table	qctl.label	9ff95567659670b3b47c49fef564c53a	18
table	qctl.signing_secret	1f69ad57e5efc89e8a8d94b81cdc5800	18
table	qctl.header_secret	d03dc29e8b6d200b406a086dd3903da2	18
table	qctl.dedup	4d3d211bcd54edbe16cf19b4e40192e4	18
table	qctl.event_route	6e193578b387e633286f1fb1beb86ec0	18
table	qctl.event_last	ec7d744e777ab72caea4a8650ac44f78	18
index	qctl.migration_pkey	e7e4df75025d2317cc6efef47f56139d	18
index	qctl.routine_pkey	49d9090eaf808cbb9e98d77b6714bf24	18
index	qctl.attempt_pkey	7406166a00a1dacc1117128781eacd4b	18
index	qctl.attempt_settled_idx	02b034e3ed95937dc8e7066cb5f5184d	18
index	qctl.attempt_failed_idx	e08e91280cda7f27a8b7382c282ebf9c	18
index	qctl.audit_pkey	b1a37e96fbe55e18f379264dfb653fdb	18
index	qctl.audit_at_idx	5a9f6b893a124e150475be224a19a0a1	18
index	qctl.arming_pkey	78077d97a80bd0e3e2abdd27c0a1b286	18
index	qctl.net_epoch_pkey	5eb96bb199b2130487b8f3bd8a40ee74	18
index	qctl.scheduler_pkey	4a3189fc0dc672ab3a567f1c9d70df38	18
index	qctl.upkept_pkey	a2c6592265e5e23b526070f53b86992d	18
index	qctl.throughput_pkey	40965e8a5b4d643e08a61c9b58df01a5	18
index	qctl.capture_error_pkey	78a3b89ea56e272adbd3cf5a2553059f	18
index	qctl.object_pkey	599dcc6cd7114dd7be0d39844279d941	18
index	qctl.worker_pkey	de4d8e2cd1091a82facdc4a52938db54	18
index	qctl.sample_pkey	8973fdf7a4aeb284de9e12377c519b35	18
index	qctl.grantee_pkey	47aecb69e4e4ca47f72c5f7cd3baead4	18
index	qctl.label_pkey	1fc8fbdf22e2cedf9b9bf1ec7a1d5df5	18
index	qctl.gate_pkey	0c76c8b448a63f0de992f6df048f9a1e	18
index	qctl.retry_pkey	19d90e993ef8133e08752184f9254b94	18
index	qctl.in_flight_pkey	498e3540694070587d615181309ca5b8	18
index	qctl.in_flight_live_idx	cd36e9b3845ec33e50909e20a62a865f	18
index	qctl.in_flight_lapsed_idx	944c485ff96fb3fbed2a9a0ffc0c48f9	18
index	qctl.in_flight_net_idx	5f2775808855dbfd7882f56a6e53c419	18
index	qctl.in_flight_request_idx	6b83fcce8256b003d375422ad4414b75	18
index	qctl.in_flight_order_idx	5f3d9924656755d12d57171917344fbd	18
index	qctl.dead_letter_pkey	f99eb2a040ff89b588e9d76b10960179	18
index	qctl.dead_letter_died_idx	e43a5b721a8cb266b48af38c80b8becb	18
index	qctl.dead_letter_blocks_idx	44159173430669b2a2c4424dc85b93df	18
index	qctl.attachment_pkey	2640fab9bacd7fada4ee4a91aadf11fc	18
index	qctl.attachment_queue_relation_key	fc21847593f119a15a83c91233f8a8cc	18
index	qctl.signing_secret_pkey	d186703aab52d95fdba20dab7505ce11	18
index	qctl.signing_secret_queue_idx	f5d010da664280ea0a99bb9645791f7e	18
index	qctl.header_secret_pkey	61404908d83ad1d4483a5e1f7663a105	18
index	qctl.dedup_pkey	3b18ecb1c144d74e72884e6d12315a5d	18
index	qctl.dedup_expires_idx	af00940d2161703793cb2b96a20ae59d	18
index	qctl.event_route_pkey	228b8d501cff4cf3cdab231ad5c8102b	18
index	qctl.event_last_pkey	45f60d095ae4053260ef1609c46ac047	18
index	qctl.queue_pkey	0383fedf65b8e5ec96415ce0cc11145f	18
index	qctl.queue_queue_uuid_key	71dc56f6b0d342a9839ada4dba57950f	18
index	qctl.queue_queue_name_key	72cbc2540266be6016927a66526014df	18
constraint	migration_pkey on qctl.migration	c820ea89255a83223217f1d7da6de5eb	18
constraint	routine_pkey on qctl.routine	c302dc585e3d60f2f29aa138474141ea	18
constraint	attempt_outcome_check on qctl.attempt	a2a0c3a8df4ad5fc8fd3c7aeb894ef11	18
constraint	attempt_pkey on qctl.attempt	e6440ebcbad7c0281f654be7fcf08941	18
constraint	audit_pkey on qctl.audit	f7ed10616f5b42cbd0ec8994af1578f2	18
constraint	arming_one_check on qctl.arming	21c1ed2340b0cfd00c3a8b8b5b6635c5	18
constraint	arming_pkey on qctl.arming	2f0d4b6d30e5d97037ac5ea5a91e2055	18
constraint	net_epoch_one_check on qctl.net_epoch	21c1ed2340b0cfd00c3a8b8b5b6635c5	18
constraint	net_epoch_pkey on qctl.net_epoch	2f0d4b6d30e5d97037ac5ea5a91e2055	18
constraint	scheduler_one_check on qctl.scheduler	21c1ed2340b0cfd00c3a8b8b5b6635c5	18
constraint	scheduler_workers_check on qctl.scheduler	50e2f2f1fa6e5b401c239b456d05f13d	18
constraint	scheduler_pkey on qctl.scheduler	2f0d4b6d30e5d97037ac5ea5a91e2055	18
constraint	upkept_one_check on qctl.upkept	21c1ed2340b0cfd00c3a8b8b5b6635c5	18
constraint	upkept_pkey on qctl.upkept	2f0d4b6d30e5d97037ac5ea5a91e2055	18
constraint	throughput_pkey on qctl.throughput	ce632fd2af56f502b87e698ef6d0128c	18
constraint	capture_error_pkey on qctl.capture_error	8ee4a8298487d0cb16019f589db34b7b	18
constraint	object_pkey on qctl.object	9b74776e08ef56fa5c2a6f8ae0eee4ca	18
constraint	worker_pkey on qctl.worker	9883684fa567e4441154c5deb4e0c68d	18
constraint	sample_pkey on qctl.sample	8e9249cf6eadd494487db7394cd0ee4f	18
constraint	grantee_pkey on qctl.grantee	d8c92ef6bcd5b587f0cfed75e29b316e	18
constraint	grantee_level_check on qctl.grantee	09b654db8cba0e7997651854b7b36168	18
constraint	label_one_check on qctl.label	21c1ed2340b0cfd00c3a8b8b5b6635c5	18
constraint	label_label_check on qctl.label	430aa6757f385c02e9cd2619706b88aa	18
constraint	label_pkey on qctl.label	2f0d4b6d30e5d97037ac5ea5a91e2055	18
constraint	gate_pkey on qctl.gate	72f9f4abdb4a23daf053df413b7d57c2	18
constraint	gate_queue_id_fkey on qctl.gate	5c91e6f098c378ad9479f8e739a91a13	18
constraint	retry_pkey on qctl.retry	0495c8a2a64420dc76bfc53877f84032	18
constraint	in_flight_pkey on qctl.in_flight	b9eed2c9d9a84b28967f3bb331370a1f	18
constraint	dead_letter_pkey on qctl.dead_letter	0495c8a2a64420dc76bfc53877f84032	18
constraint	dead_letter_reason_check on qctl.dead_letter	72ea70847a24905ea6cff28273607104	18
constraint	attachment_payload_check on qctl.attachment	8ce45e6b74271da091250cf622009b15	18
constraint	attachment_pkey on qctl.attachment	1278fc82bde4c7ba8e40af588f4d535b	18
constraint	attachment_queue_relation_key on qctl.attachment	8ed0f6cf4911bf5b649590aa648ac087	18
constraint	attachment_queue_id_fkey on qctl.attachment	5c91e6f098c378ad9479f8e739a91a13	18
constraint	attachment_level_check on qctl.attachment	146b35139cef27127ae7f80e66885290	18
constraint	attachment_on_error_check on qctl.attachment	e3b8370f4da6e8e485e088c158b6af5f	18
constraint	attachment_max_bytes_check on qctl.attachment	21a950d0fd87c84cc48e4fae1e3e94c6	18
constraint	signing_secret_pkey on qctl.signing_secret	5b7236d2637ddc214e06eb1beb36778c	18
constraint	signing_secret_queue_id_fkey on qctl.signing_secret	5c91e6f098c378ad9479f8e739a91a13	18
constraint	header_secret_name_check on qctl.header_secret	74462943052b41afddc61b21bc1e48df	18
constraint	header_secret_pkey on qctl.header_secret	c302dc585e3d60f2f29aa138474141ea	18
constraint	dedup_key_check on qctl.dedup	8c110c9e019cb72d06eb3a6497ad649b	18
constraint	dedup_pkey on qctl.dedup	43f84dc7af99eec746b810d180f761d4	18
constraint	dedup_queue_id_fkey on qctl.dedup	5c91e6f098c378ad9479f8e739a91a13	18
constraint	event_route_one_check on qctl.event_route	21c1ed2340b0cfd00c3a8b8b5b6635c5	18
constraint	event_route_throttle_check on qctl.event_route	a41fd4e9de91ebed8ae390f59e115982	18
constraint	event_route_pkey on qctl.event_route	2f0d4b6d30e5d97037ac5ea5a91e2055	18
constraint	event_route_queue_id_fkey on qctl.event_route	5c91e6f098c378ad9479f8e739a91a13	18
constraint	event_last_pkey on qctl.event_last	756befba37355ab3d6a9f455f6197b99	18
constraint	queue_name_check on qctl.queue	f43e99bd11663bf6aacef8c3e60c20b4	18
constraint	queue_transport_check on qctl.queue	c2e4de8a4d7cacad79e93c50a03a8148	18
constraint	queue_headers_check on qctl.queue	0f785f9581a1efbfd2e6bf40cea47fc6	18
constraint	queue_timeout_check on qctl.queue	bf8c5e3887433af18a89ec727ed70fb2	18
constraint	queue_concurrency_check on qctl.queue	b7d9c76385190ac0550930915dc0ebb2	18
constraint	queue_max_in_flight_check on qctl.queue	4202ea80e775cdc829ce468b8dce339d	18
constraint	queue_retry_schedule_check on qctl.queue	77d3df209be9ac0d5de4fd0f03e32d60	18
constraint	queue_retry_jitter_check on qctl.queue	7c481038b62663592d90c69186f9833a	18
constraint	queue_retry_after_max_check on qctl.queue	8b4f63601e7b7e5e8a64e523323a1068	18
constraint	queue_reject_after_check on qctl.queue	c6d8b5653333693169198967e4f8a906	18
constraint	queue_max_lost_check on qctl.queue	90e5ccbb538cef34f5368354db7c7f6f	18
constraint	queue_pkey on qctl.queue	72f9f4abdb4a23daf053df413b7d57c2	18
constraint	queue_queue_uuid_key on qctl.queue	80d1a8367e8f35a378d99f4484ae903f	18
constraint	queue_queue_name_key on qctl.queue	a3cf5e2b47e5e3f184ec7390c8abed05	18
constraint	queue_batch_check on qctl.queue	1056d299b3d31da2c2777ac6317b96ed	18
constraint	queue_retention_check on qctl.queue	a844e58d5eabadc5ef7217cd53841740	18
constraint	queue_rate_check on qctl.queue	ed83fb764e704bc274c0fcce289af75c	18
constraint	queue_breaker_after_check on qctl.queue	17d8eff8356a51476ac8aa054ea65636	18
constraint	queue_breaker_share_check on qctl.queue	4784e82eae3b023a254df464b816f13b	18
constraint	queue_breaker_pause_check on qctl.queue	3c11f6646cfea484a4b8424e3531f373	18
constraint	queue_expect_text_check on qctl.queue	f95f9594932ec65abda74fbd0f5a7bfb	18
constraint	queue_order_schedule_check on qctl.queue	ad0cf724e6297f00f7a124d129f81a27	18
constraint	queue_on_dead_check on qctl.queue	5359f19f7ba8f1977f8f52ab8178f4e8	18
\.


--
-- Data for Name: queue; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.queue (queue_id, queue_uuid, queue_name, transport, url, headers, timeout_ms, concurrency, max_in_flight, retry_schedule_s, retry_jitter, retry_after_max_s, reject_after, max_lost, created_at, created_by, batch, dedicated, trust_location, retention_s, rate_per_s, concurrency_auto, breaker_after, breaker_share, breaker_pause_max_s, expect_text, expect_json, ordered, order_schedule_s, on_dead, net_secrets, allow_networks) FROM stdin;
1	cbe17194-1517-4724-b0d9-37880144fb81	orders	http	http://127.0.0.1:9/orders	{"x-tenant": "acme"}	15000	50	1000	{60}	0.2	86400	1	10	2026-11-26 20:40:31.595213+00	postgres	200	f	f	604800	\N	f	10	0.7	10	\N	\N	f	{1,5,15,60,300,900}	skip	f	{}
\.


--
-- Data for Name: retry; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.retry (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status, last_error, webhook_id, replayed_at, last_at) FROM stdin;
1	3	2026-11-26 20:40:31.595213+00	1	1	1	0	0	2199-01-01 00:00:00+00	503	\N	\N	\N	2026-11-26 20:40:31.652363+00
\.


--
-- Data for Name: routine; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.routine (name, checksum, applied_at, qctl_version) FROM stdin;
address	f7f807ebdc36c2fe133ee7edfcde2ef3a45cbd3e0782642bb241d355963a793a	2026-11-26 20:40:31.36444+00	0.6.0
arming	6780855cba8e114f36de29ffd74b8545c4715a5a2ac1ff7430903e680059bc75	2026-11-26 20:40:31.36444+00	0.6.0
attach	7830aa7eba5812163f8a3d696c241b23d8653c2c1e661a6a1bd06cd5b0eec714	2026-11-26 20:40:31.36444+00	0.6.0
audit	c02e53e3fc76c15cda5480b1be85747034412bdec46702e011d381fc9d9aead0	2026-11-26 20:40:31.36444+00	0.6.0
breaker	bd77b70013caa6a6a5caba255c13c42d2ef93e27503668f11f3d41cfe7cfc53d	2026-11-26 20:40:31.36444+00	0.6.0
capture	516df7272f2a99c312fdfeea43d2e830c7bf8611a26518c05610866cc9f1a697	2026-11-26 20:40:31.36444+00	0.6.0
check	df97b31dce0f40832cdb5669a2b4bd5e93f8581108c5973d464e0952ebce3a4b	2026-11-26 20:40:31.36444+00	0.6.0
claim	593a7c18896785194e46c0e5dea050e2ec1b4e6026ec20635f8a0d71bbb42f32	2026-11-26 20:40:31.36444+00	0.6.0
collect	5df986f33f764f796364bcf420d612d7fcbf9e09f2348031160d6bb2a300be23	2026-11-26 20:40:31.36444+00	0.6.0
counts	316aaf6ff05f35262a26ec1d43427942dcb2ee2060931409fa23d4209d8aa6b0	2026-11-26 20:40:31.36444+00	0.6.0
declared	992000ee8446e94e02c0301af86d8e82e178a0bf6decab8db8096b82daefd9dd	2026-11-26 20:40:31.36444+00	0.6.0
dedup	6a83bc0e1e7366c21cce9f7490db1cb68ed3e7b45c3bc970979036e912d96a5b	2026-11-26 20:40:31.36444+00	0.6.0
depth	b10e2360f42fd2e9862b4def5f75d53feaf8e613ba89eaf23926968ef1c1b4c7	2026-11-26 20:40:31.36444+00	0.6.0
discard	b0c5a26a06d382dd420184e9930d84a2a9e43d0e3304fd3bbcd5c196d086abb6	2026-11-26 20:40:31.36444+00	0.6.0
dispatch	693d4badbfeb86fd0b89cf1e846bbc9d463a01f99cac7d2ee5d1aeb17af25d78	2026-11-26 20:40:31.36444+00	0.6.0
doctor	77318f98eb52bcac51a0a85461a864d0799eb8911ad99e35096ea256ef7b032c	2026-11-26 20:40:31.36444+00	0.6.0
drop	79049072056044ba75a1b8885adbcf006aedc01e5a464a4026117bf340702fa2	2026-11-26 20:40:31.36444+00	0.6.0
environment	e018b931cbe10c03965e23e09e500ab0a55fc1cf1d1116d0a797e629f6d22e6d	2026-11-26 20:40:31.36444+00	0.6.0
event	a63d24cb1171e7d87e80dc680f50ec5c1afb4ba76cf8bb830f563732adf25fc2	2026-11-26 20:40:31.36444+00	0.6.0
header_secret	92260b2dc2de6b6c814e523d9bde6d71364da1dd54e9abb10611bfbaba7f2928	2026-11-26 20:40:31.36444+00	0.6.0
health	b6dc0b0cc0dd3d754fdad2c005facc506b2c7ea3eb58bcdacf3892c141bc044a	2026-11-26 20:40:31.36444+00	0.6.0
jobs	fc441e14725df67007d00363c99f0895fedce685ec37f816db99e758e0408310	2026-11-26 20:40:31.36444+00	0.6.0
label	3b5068f63d9f78bc6da4bcc3a91fdc6fe66481d17d0d9a2d1d47a1ea296b4d53	2026-11-26 20:40:31.36444+00	0.6.0
lapse	fcd0f45202dcb6d88420668ad5d854ba9c1cca60fc19d201588d84fb3038ead2	2026-11-26 20:40:31.36444+00	0.6.0
maintenance	5d948edace8b4fed9d9cd1db46c4611a1b7dcfcf3631c20bb974bcb2f6ebed83	2026-11-26 20:40:31.36444+00	0.6.0
message	189f91bcf7f39aac8a1979a75cd3271a79ec0e3217b7887fa890060d4f270a15	2026-11-26 20:40:31.36444+00	0.6.0
messages	40141d721b89008584b5b9b47a782a66326fa755861cbb2d910fee97059020e6	2026-11-26 20:40:31.36444+00	0.6.0
net	abeb93e26cdacf9e665c2f2af06d35ef16dde6fb192c51080d0ba72f6f9398bf	2026-11-26 20:40:31.36444+00	0.6.0
order	dce641a87d5c3c35c89cd390acb71bd2b3058c521dc0c69e9d49a1a6376102cc	2026-11-26 20:40:31.36444+00	0.6.0
privileges	d347bdfd99431c7b8b382d3f12626989eba72cc55f99d181e3bc4bf74cb7559e	2026-11-26 20:40:31.36444+00	0.6.0
purge	6633cddcbc3ef843902107204f0a765358dcbaf1690de203dc9613dfb4f28520	2026-11-26 20:40:31.36444+00	0.6.0
queue	ecfe6794f24365d1ae2904651b41d2e56e9472aea083a51c5466715755c8d8c3	2026-11-26 20:40:31.36444+00	0.6.0
replay	f9f1fe4218f238219ea8cb53c765e8594face2528ed1c02177a196d65c74e7b0	2026-11-26 20:40:31.36444+00	0.6.0
request	422a5ae955cf3f6b9ee4efd658dd01bc1257206f4e10020803adfce6541f98ec	2026-11-26 20:40:31.36444+00	0.6.0
scale	bcbdbcd5cc5552c279b15fbc82d70a91711fd1f74ac35016d5e9804784c5e5f7	2026-11-26 20:40:31.36444+00	0.6.0
settle	76df9cf7db2832ecd7570c55512e41997ce8437066924e0c4c516eb36d97e020	2026-11-26 20:40:31.36444+00	0.6.0
signing	6cd2133850be40a50b20df7f8db1a057c099a6fa83a14bb09087ea5467eea468	2026-11-26 20:40:31.36444+00	0.6.0
takeover	e9915615cee89c235b61ad90f478a3a1bb5a1a2b933297baa6c78b248394140c	2026-11-26 20:40:31.36444+00	0.6.0
text	3f26e93a60a6d49f63a771b31fb13f1af32b68a33aac420936a942491db50f81	2026-11-26 20:40:31.36444+00	0.6.0
verify	b4db995804b4a1a70fbbad00db4063461865dfef0eb6819046c6ca6e4c3959ae	2026-11-26 20:40:31.36444+00	0.6.0
wake	f14ddbe486cb184c79454cf67276275e064d0544645961842f36b759bfaafcf7	2026-11-26 20:40:31.36444+00	0.6.0
webhooks	f6150845d604f4f116bc696116a3f054f7c624ca015236b8bb7f9049781cfea9	2026-11-26 20:40:31.36444+00	0.6.0
work	4a5efbe89e04b66178bc9df4d390ca5cc7c5c2a20193caf113955bf6e8b68e63	2026-11-26 20:40:31.36444+00	0.6.0
worker	7143360c0d1e8c314bd5344bebe9a1da50a75881b37eef730095c90291072955	2026-11-26 20:40:31.36444+00	0.6.0
workers	9763a25809397c7b490d7f61b038ad3b09cf12d38acb5ced1c6ff7475cc72523	2026-11-26 20:40:31.36444+00	0.6.0
views	c06dbf955b29c9ee6dfd49ebd6e414319e7851995f5848e460a657d8a570b088	2026-11-26 20:40:31.36444+00	0.6.0
\.


--
-- Data for Name: sample; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.sample (queue_id, at, depth, last_msg_id) FROM stdin;
\.


--
-- Data for Name: scheduler; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.scheduler (one, generation, workers, net_held_since, net_held_reason, net_probe_at) FROM stdin;
t	2	1	\N	\N	\N
\.


--
-- Data for Name: signing_secret; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.signing_secret (secret_id, queue_id, inner_pad, outer_pad, mark, created_at, created_by, expires_at) FROM stdin;
\.


--
-- Data for Name: throughput; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.throughput (queue_id, minute, delivered, failed, dead, lost, p50_ms, p95_ms) FROM stdin;
\.


--
-- Data for Name: upkept; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.upkept (one, rolled_to, retained_at, swept_at) FROM stdin;
t	\N	\N	\N
\.


--
-- Data for Name: worker; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.worker (worker_id, name, transport, queues, qctl_version, started_at, last_seen_at, stopped_at, role_name, busy_s, busy_of_s) FROM stdin;
\.


--
-- Name: q_orders_msg_id_seq; Type: SEQUENCE SET; Schema: pgmq; Owner: -
--

SELECT pg_catalog.setval('pgmq.q_orders_msg_id_seq', 6, true);


--
-- Name: attachment_attachment_id_seq; Type: SEQUENCE SET; Schema: qctl; Owner: -
--

SELECT pg_catalog.setval('qctl.attachment_attachment_id_seq', 1, true);


--
-- Name: audit_audit_id_seq; Type: SEQUENCE SET; Schema: qctl; Owner: -
--

SELECT pg_catalog.setval('qctl.audit_audit_id_seq', 3, true);


--
-- Name: queue_queue_id_seq; Type: SEQUENCE SET; Schema: qctl; Owner: -
--

SELECT pg_catalog.setval('qctl.queue_queue_id_seq', 1, true);


--
-- Name: signing_secret_secret_id_seq; Type: SEQUENCE SET; Schema: qctl; Owner: -
--

SELECT pg_catalog.setval('qctl.signing_secret_secret_id_seq', 1, false);


--
-- Name: worker_worker_id_seq; Type: SEQUENCE SET; Schema: qctl; Owner: -
--

SELECT pg_catalog.setval('qctl.worker_worker_id_seq', 1, false);


--
-- Name: a_orders a_orders_pkey; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.a_orders
    ADD CONSTRAINT a_orders_pkey PRIMARY KEY (msg_id);


--
-- Name: meta meta_queue_name_key; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.meta
    ADD CONSTRAINT meta_queue_name_key UNIQUE (queue_name);


--
-- Name: notify_insert_throttle notify_insert_throttle_queue_name_key; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.notify_insert_throttle
    ADD CONSTRAINT notify_insert_throttle_queue_name_key UNIQUE (queue_name);


--
-- Name: q_orders q_orders_pkey; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.q_orders
    ADD CONSTRAINT q_orders_pkey PRIMARY KEY (msg_id);


--
-- Name: topic_bindings topic_bindings_unique_pattern_queue; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.topic_bindings
    ADD CONSTRAINT topic_bindings_unique_pattern_queue UNIQUE (pattern, queue_name);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: arming arming_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.arming
    ADD CONSTRAINT arming_pkey PRIMARY KEY (one);


--
-- Name: attachment attachment_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.attachment
    ADD CONSTRAINT attachment_pkey PRIMARY KEY (attachment_id);


--
-- Name: attachment attachment_queue_relation_key; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.attachment
    ADD CONSTRAINT attachment_queue_relation_key UNIQUE (queue_id, relation);


--
-- Name: attempt attempt_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (queue_id, msg_id, delivery_no, attempt_no);


--
-- Name: audit audit_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (audit_id);


--
-- Name: capture_error capture_error_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.capture_error
    ADD CONSTRAINT capture_error_pkey PRIMARY KEY (attachment_id, minute, sqlstate);


--
-- Name: dead_letter dead_letter_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (queue_id, msg_id, enqueued_at);


--
-- Name: dedup dedup_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.dedup
    ADD CONSTRAINT dedup_pkey PRIMARY KEY (queue_id, dedup_key);


--
-- Name: event_last event_last_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.event_last
    ADD CONSTRAINT event_last_pkey PRIMARY KEY (event_type, subject);


--
-- Name: event_route event_route_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.event_route
    ADD CONSTRAINT event_route_pkey PRIMARY KEY (one);


--
-- Name: gate gate_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.gate
    ADD CONSTRAINT gate_pkey PRIMARY KEY (queue_id);


--
-- Name: grantee grantee_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.grantee
    ADD CONSTRAINT grantee_pkey PRIMARY KEY (role_name);


--
-- Name: header_secret header_secret_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.header_secret
    ADD CONSTRAINT header_secret_pkey PRIMARY KEY (name);


--
-- Name: in_flight in_flight_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.in_flight
    ADD CONSTRAINT in_flight_pkey PRIMARY KEY (queue_id, msg_id, lease);


--
-- Name: label label_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.label
    ADD CONSTRAINT label_pkey PRIMARY KEY (one);


--
-- Name: migration migration_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);


--
-- Name: net_epoch net_epoch_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.net_epoch
    ADD CONSTRAINT net_epoch_pkey PRIMARY KEY (one);


--
-- Name: object object_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.object
    ADD CONSTRAINT object_pkey PRIMARY KEY (kind, identity);


--
-- Name: queue queue_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (queue_id);


--
-- Name: queue queue_queue_name_key; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.queue
    ADD CONSTRAINT queue_queue_name_key UNIQUE (queue_name);


--
-- Name: queue queue_queue_uuid_key; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.queue
    ADD CONSTRAINT queue_queue_uuid_key UNIQUE (queue_uuid);


--
-- Name: retry retry_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.retry
    ADD CONSTRAINT retry_pkey PRIMARY KEY (queue_id, msg_id, enqueued_at);


--
-- Name: routine routine_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.routine
    ADD CONSTRAINT routine_pkey PRIMARY KEY (name);


--
-- Name: sample sample_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.sample
    ADD CONSTRAINT sample_pkey PRIMARY KEY (queue_id, at);


--
-- Name: scheduler scheduler_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.scheduler
    ADD CONSTRAINT scheduler_pkey PRIMARY KEY (one);


--
-- Name: signing_secret signing_secret_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.signing_secret
    ADD CONSTRAINT signing_secret_pkey PRIMARY KEY (secret_id);


--
-- Name: throughput throughput_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.throughput
    ADD CONSTRAINT throughput_pkey PRIMARY KEY (queue_id, minute);


--
-- Name: upkept upkept_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.upkept
    ADD CONSTRAINT upkept_pkey PRIMARY KEY (one);


--
-- Name: worker worker_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (worker_id);


--
-- Name: archived_at_idx_orders; Type: INDEX; Schema: pgmq; Owner: -
--

CREATE INDEX archived_at_idx_orders ON pgmq.a_orders USING btree (archived_at);


--
-- Name: idx_notify_throttle_active; Type: INDEX; Schema: pgmq; Owner: -
--

CREATE INDEX idx_notify_throttle_active ON pgmq.notify_insert_throttle USING btree (queue_name, last_notified_at) WHERE (throttle_interval_ms > 0);


--
-- Name: idx_topic_bindings_covering; Type: INDEX; Schema: pgmq; Owner: -
--

CREATE INDEX idx_topic_bindings_covering ON pgmq.topic_bindings USING btree (pattern) INCLUDE (queue_name, compiled_regex);


--
-- Name: q_orders_vt_idx; Type: INDEX; Schema: pgmq; Owner: -
--

CREATE INDEX q_orders_vt_idx ON pgmq.q_orders USING btree (vt);


--
-- Name: attempt_failed_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX attempt_failed_idx ON qctl.attempt USING btree (queue_id, settled_at) WHERE (outcome <> 'delivered'::text);


--
-- Name: attempt_settled_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX attempt_settled_idx ON qctl.attempt USING btree (queue_id, settled_at);


--
-- Name: audit_at_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX audit_at_idx ON qctl.audit USING btree (at);


--
-- Name: dead_letter_blocks_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX dead_letter_blocks_idx ON qctl.dead_letter USING btree (queue_id, blocks_key) WHERE (blocks_key IS NOT NULL);


--
-- Name: dead_letter_died_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX dead_letter_died_idx ON qctl.dead_letter USING btree (died_at);


--
-- Name: dedup_expires_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX dedup_expires_idx ON qctl.dedup USING btree (expires_at);


--
-- Name: in_flight_lapsed_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX in_flight_lapsed_idx ON qctl.in_flight USING btree (lapsed_at) WHERE (lapsed_at IS NOT NULL);


--
-- Name: in_flight_live_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE UNIQUE INDEX in_flight_live_idx ON qctl.in_flight USING btree (queue_id, msg_id) WHERE (lapsed_at IS NULL);


--
-- Name: INDEX in_flight_live_idx; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON INDEX qctl.in_flight_live_idx IS 'A message has one live lease; also what room and lapse read, never more than max_in_flight rows.';


--
-- Name: in_flight_net_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX in_flight_net_idx ON qctl.in_flight USING btree (queue_id) WHERE ((request_id IS NOT NULL) AND (lapsed_at IS NULL));


--
-- Name: in_flight_order_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE UNIQUE INDEX in_flight_order_idx ON qctl.in_flight USING btree (queue_id, order_key) WHERE ((lapsed_at IS NULL) AND (order_key IS NOT NULL));


--
-- Name: INDEX in_flight_order_idx; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON INDEX qctl.in_flight_order_idx IS 'One at a time per order key.';


--
-- Name: in_flight_request_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE UNIQUE INDEX in_flight_request_idx ON qctl.in_flight USING btree (epoch, request_id) WHERE (request_id IS NOT NULL);


--
-- Name: signing_secret_queue_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX signing_secret_queue_idx ON qctl.signing_secret USING btree (queue_id);


--
-- Name: users qctl_capture_1_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER qctl_capture_1_delete AFTER DELETE ON public.users REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION qctl.capture_1_delete();


--
-- Name: users qctl_capture_1_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER qctl_capture_1_insert AFTER INSERT ON public.users REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION qctl.capture_1_insert();


--
-- Name: users qctl_capture_1_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER qctl_capture_1_update AFTER UPDATE ON public.users REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION qctl.capture_1_update();


--
-- Name: notify_insert_throttle notify_insert_throttle_meta_queue_name_fk; Type: FK CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.notify_insert_throttle
    ADD CONSTRAINT notify_insert_throttle_meta_queue_name_fk FOREIGN KEY (queue_name) REFERENCES pgmq.meta(queue_name) ON DELETE CASCADE;


--
-- Name: topic_bindings topic_bindings_meta_queue_name_fk; Type: FK CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.topic_bindings
    ADD CONSTRAINT topic_bindings_meta_queue_name_fk FOREIGN KEY (queue_name) REFERENCES pgmq.meta(queue_name) ON DELETE CASCADE;


--
-- Name: attachment attachment_queue_id_fkey; Type: FK CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.attachment
    ADD CONSTRAINT attachment_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES qctl.queue(queue_id) ON DELETE CASCADE;


--
-- Name: dedup dedup_queue_id_fkey; Type: FK CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.dedup
    ADD CONSTRAINT dedup_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES qctl.queue(queue_id) ON DELETE CASCADE;


--
-- Name: event_route event_route_queue_id_fkey; Type: FK CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.event_route
    ADD CONSTRAINT event_route_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES qctl.queue(queue_id) ON DELETE CASCADE;


--
-- Name: gate gate_queue_id_fkey; Type: FK CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.gate
    ADD CONSTRAINT gate_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES qctl.queue(queue_id) ON DELETE CASCADE;


--
-- Name: signing_secret signing_secret_queue_id_fkey; Type: FK CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.signing_secret
    ADD CONSTRAINT signing_secret_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES qctl.queue(queue_id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--


