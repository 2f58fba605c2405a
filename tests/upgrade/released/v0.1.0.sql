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
-- Name: _apply_settings(text, jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._apply_settings(p_queue text, p_settings jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_unknown text;
  v_constraint text;
begin
  select string_agg(k, ', ') into v_unknown from jsonb_object_keys(p_settings) as k
  where k not in ('timeout_ms', 'concurrency', 'max_in_flight', 'retry_schedule_s', 'retry_jitter',
                  'retry_after_max_s', 'reject_after', 'max_lost');
  if v_unknown is not null then
    raise exception 'no such setting: %', v_unknown using errcode = 'QC002';
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
      max_lost          = coalesce((p_settings ->> 'max_lost')::integer, q.max_lost)
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
end
$$;




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
-- Name: _capture_body(text, integer, regclass, text, text, text, text[], boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._capture_body(p_queue_name text, p_queue_id integer, p_relation regclass, p_operation text, p_payload text, p_when text, p_columns text[], p_unchanged boolean) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
  v_schema text;
  v_table text;
  v_new text := case p_operation when 'INSERT' then 'to_jsonb(new.*)' when 'UPDATE' then 'to_jsonb(n.new)' else 'null::jsonb' end;
  v_old text := case p_operation when 'DELETE' then 'to_jsonb(old.*)' when 'UPDATE' then 'to_jsonb(o.old)' else 'null::jsonb' end;
  v_message text;
  v_from text;
  v_where text := '';
begin
  select n.nspname, c.relname into v_schema, v_table
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_relation;
  v_message := case p_payload
    when 'supabase' then format('jsonb_build_object(''type'', %L, ''table'', %L, ''schema'', %L, ''record'', %s, ''old_record'', %s)',
                                p_operation, v_table, v_schema, v_new, v_old)
    else format('jsonb_build_object(''record'', %s, ''old_record'', %s, ''operation'', %L, ''table'', %L, ''schema'', %L)',
                v_new, v_old, p_operation, v_table, v_schema)
  end;
  -- PostgreSQL fills both transition tables in one order, so old and new of one row stand at the same place. The odd
  -- names are none that a column has, for a column would be taken before the row.
  v_from := case p_operation
    when 'INSERT' then 'new_rows as new'
    when 'DELETE' then 'old_rows as old'
    else '(select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n'
         ' join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)'
         || case when p_when is null and p_columns is null then ''
                 else ' cross join lateral (select (n.new).*) as new cross join lateral (select (o.old).*) as old' end
  end;
  if p_operation = 'UPDATE' then
    if p_columns is not null then
      v_where := format(' and row(%s)::record operator(pg_catalog.*<>) row(%s)::record',
        (select string_agg(format('new.%I', c), ', ' order by o) from unnest(p_columns) with ordinality as u (c, o)),
        (select string_agg(format('old.%I', c), ', ' order by o) from unnest(p_columns) with ordinality as u (c, o)));
    elsif not p_unchanged then
      v_where := ' and n.new operator(pg_catalog.*<>) o.old';
    end if;
  end if;
  if p_when is not null then
    v_where := v_where || format(E' and (%s\n)', p_when);
  end if;
  return format($body$
#variable_conflict use_column
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.%1$I (vt, message)
  select clock_timestamp(), %2$s
  from %3$s
  where true%4$s;
  if found and current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(1902343276, %5$s) then
    perform pg_notify('qctl', '%5$s');
  end if;
  return null;
end
$body$, 'q_' || p_queue_name, v_message, v_from, v_where, p_queue_id);
end
$_$;


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
-- Name: _check_when(regclass, text[], text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._check_when(p_relation regclass, p_operations text[], p_when text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_cursor refcursor;
  v_operation text;
begin
  foreach v_operation in array p_operations loop
    -- A cursor takes one query only, so the text cannot end the condition and begin another statement.
    open v_cursor for execute format(E'select 1 from %s where (%s\n)', concat_ws(' cross join ',
      case when v_operation <> 'DELETE' then format('%s as new', p_relation) end,
      case when v_operation <> 'INSERT' then format('%s as old', p_relation) end), p_when);
    close v_cursor;
  end loop;
exception when syntax_error_or_access_rule_violation or data_exception or undefined_table then
  raise exception '--when is not a condition for %: %', v_operation, sqlerrm
    using errcode = 'QC002',
          hint = 'for example --when "new.status = ''paid''"; INSERT has no old and DELETE no new: choose with --on';
end
$$;


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
    CONSTRAINT queue_concurrency_check CHECK (((concurrency >= 1) AND (concurrency <= 10000))),
    CONSTRAINT queue_headers_check CHECK ((jsonb_typeof(headers) = 'object'::text)),
    CONSTRAINT queue_max_in_flight_check CHECK (((max_in_flight >= 1) AND (max_in_flight <= 100000))),
    CONSTRAINT queue_max_lost_check CHECK ((max_lost >= 0)),
    CONSTRAINT queue_name_check CHECK ((queue_name ~ '^[a-z_][a-z0-9_]{0,46}$'::text)),
    CONSTRAINT queue_reject_after_check CHECK ((reject_after >= 1)),
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
-- Name: CONSTRAINT queue_concurrency_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_concurrency_check ON qctl.queue IS 'concurrency is 1 to 10000';


--
-- Name: CONSTRAINT queue_max_in_flight_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_max_in_flight_check ON qctl.queue IS 'max in flight is 1 to 100000';


--
-- Name: CONSTRAINT queue_max_lost_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_max_lost_check ON qctl.queue IS 'max_lost is at least 0';


--
-- Name: CONSTRAINT queue_reject_after_check ON queue; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON CONSTRAINT queue_reject_after_check ON qctl.queue IS 'reject_after is at least 1';


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
-- Name: _lapse(qctl.queue, timestamp with time zone); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lapse(p_queue qctl.queue, p_now timestamp with time zone) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_q text := 'q_' || p_queue.queue_name;
  v_expired bigint[];
  v_anchored bigint[];
  v_present bigint[];
  v_count integer;
begin
  select array_agg(f.msg_id) into v_expired from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.expires_at <= p_now;
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
      where f.queue_id = $1 and f.lapsed_at is null and f.expires_at <= $2
        and (f.msg_id = any ($3) or not f.msg_id = any (coalesce($4, '{}')))
      order by f.msg_id for update skip locked
    ), lapsed as (
      update qctl.in_flight f set lapsed_at = $2 from due d
      where f.queue_id = $1 and f.msg_id = d.msg_id and f.lease = d.lease
      returning f.msg_id, f.enqueued_at, f.delivery_no, f.attempt_no
    ), plan as materialized (
      select l.msg_id, l.enqueued_at, l.delivery_no, greatest(l.attempt_no, coalesce(r.attempt_no, 0)) as attempt_no,
             coalesce(r.attempts, 0) as attempts, coalesce(r.lost, 0) + 1 as lost, r.webhook_id, r.last_status, r.last_error,
             case when coalesce(r.lost, 0) = 0 then $2
                  else $2 + make_interval(secs => qctl._backoff_s($5, r.lost, $6)) end as next_at
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
                p.last_error, p.webhook_id
    ), buried as (
      insert into qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, status_code, error,
                                    enqueued_at, read_ct, message, headers, webhook_id, died_at)
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost, 'lost', d.last_status,
             coalesce(d.last_error, 'no answer before the lease ran out'),
             d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $2
      from dying d
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempts, lost, reason, note, status_code, error, read_ct, message, headers, webhook_id, died_at)
          = (excluded.delivery_no, excluded.attempts, excluded.lost, excluded.reason, null, excluded.status_code, excluded.error,
             excluded.read_ct, excluded.message, excluded.headers, excluded.webhook_id, excluded.died_at)
    ), forgotten as (
      delete from qctl.retry r using dying d
      where r.queue_id = $1 and r.msg_id = d.msg_id and r.enqueued_at = d.enqueued_at
    )
    select count(*) from lapsed
  $q$, v_q)
  into v_count
  using p_queue.queue_id, p_now, v_anchored, v_present, p_queue.retry_schedule_s, p_queue.retry_jitter, p_queue.max_lost;
  return v_count;
end
$_$;


--
-- Name: FUNCTION _lapse(p_queue qctl.queue, p_now timestamp with time zone); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._lapse(p_queue qctl.queue, p_now timestamp with time zone) IS 'Marks expired leases of a queue and shows their messages again: the first time at once, later by the schedule.';


--
-- Name: _lower_keys(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._lower_keys(p_headers jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((SELECT jsonb_object_agg(lower(h.key), h.value) AS jsonb_object_agg FROM jsonb_each(_lower_keys.p_headers) h(key, value)), '{}'::jsonb);


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
-- Name: _own_capture(integer, text, text[], name); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._own_capture(p_attachment_id integer, p_queue text, p_operations text[], p_owner name) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
  v_operation text;
  v_had_create boolean := has_schema_privilege(p_owner, 'qctl', 'CREATE');
begin
  execute format('grant usage on schema pgmq to %I', p_owner);
  execute format('grant insert (vt, message), select (msg_id) on pgmq.%I to %I', 'q_' || p_queue, p_owner);
  if not v_had_create then
    execute format('grant create on schema qctl to %I', p_owner);
  end if;
  foreach v_operation in array p_operations loop
    execute format('alter function qctl.%I() owner to %I', format('capture_%s_%s', p_attachment_id, lower(v_operation)), p_owner);
  end loop;
  if not v_had_create then
    execute format('revoke create on schema qctl from %I', p_owner);
  end if;
end
$$;


--
-- Name: _queue(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._queue(p_queue text) RETURNS qctl.queue
    LANGUAGE plpgsql STABLE
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
-- Name: _settle(qctl.queue, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._settle(p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_duration_ms integer[], p_retry_after_s integer[]) RETURNS TABLE(delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
#variable_conflict use_column
declare
  v_q text := 'q_' || p_queue.queue_name;
  v_a text := 'a_' || p_queue.queue_name;
  v_now timestamptz;
begin
  -- The rows in the queue, in order of msg_id, are the locks by which settlers, replays and lapses of a message exclude
  -- each other; claims pass over locked rows.
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_id;
  perform from qctl.dead_letter d where d.queue_id = p_queue.queue_id and d.msg_id = any (p_msg_id) order by d.msg_id for update;
  v_now := clock_timestamp();

  -- No CTE is joined to another: the planner takes each for one row and would loop. Columns ride along in RETURNING.
  execute format($q$
    with answer as materialized (
      select distinct on (a.msg_id, a.lease) a.*
      from unnest($2, $3, $4, $5, $6, $7, $8) as a (lease, msg_id, status, error, response, duration_ms, retry_after_s)
      order by a.msg_id, a.lease, qctl._is_success(a.status) desc
    ), tried as materialized (
      select f.msg_id, f.enqueued_at, f.lease, f.delivery_no, f.attempt_no, f.worker_id, f.transport, f.claimed_at, f.lapsed_at,
             a.status, left(a.error, 500) as error, a.response, a.duration_ms, a.retry_after_s
      from answer a join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.msg_id and f.lease = a.lease
      where f.msg_id = any ($3)
      order by f.msg_id, f.lease for update of f
    ), closed as (
      delete from qctl.in_flight f using tried t where f.queue_id = $1 and f.msg_id = t.msg_id and f.lease = t.lease
    ), known as materialized (
      select t.*, q.msg_id is not null as waiting, r.msg_id is not null as noted,
             coalesce(r.attempts, d.attempts, 0) + 1 as attempts,
             coalesce(r.rejected, 0) + qctl._is_rejection(t.status)::integer as rejected,
             coalesce(r.lost, d.lost, 0) as lost, r.webhook_id,
             t.delivery_no = coalesce(r.delivery_no, d.delivery_no, 1)
               and (q.msg_id is not null or d.msg_id is not null) as current
      from tried t
      left join pgmq.%1$I q on q.msg_id = t.msg_id and q.enqueued_at = t.enqueued_at
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = t.msg_id and r.enqueued_at = t.enqueued_at
      left join qctl.dead_letter d
        on d.queue_id = $1 and d.msg_id = t.msg_id and d.enqueued_at = t.enqueued_at and q.msg_id is null
    ), ranked as materialized (
      select k.*, k.current and qctl._is_success(k.status) as won,
             bool_or(k.current and qctl._is_success(k.status)) over m as message_won,
             row_number() over (m order by (k.current and qctl._is_success(k.status)) desc, k.lapsed_at nulls first, k.lease) as rank
      from known k window m as (partition by k.msg_id, k.enqueued_at)
    ), judged as materialized (
      select k.*,
             case when k.won and k.rank = 1 then 'delivered'
                  when k.message_won or not k.current or not k.waiting or k.lapsed_at is not null then 'late'
                  when k.status = 410 then 'paused'
                  when qctl._is_rejection(k.status) and k.rejected >= $10 then 'dead'
                  when k.attempts > cardinality($11::integer[]) then 'dead'
                  else 'retrying' end as outcome
      from ranked k
    ), plan as materialized (
      select j.*,
             case j.outcome when 'paused' then $9
               else $9 + make_interval(secs => greatest(qctl._backoff_s($11, j.attempts, $12),
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
                j.status, j.error, j.webhook_id
    ), buried as (
      insert into qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, status_code, error,
                                    enqueued_at, read_ct, message, headers, webhook_id, died_at)
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost,
             case when qctl._is_rejection(d.status) and d.rejected >= $10 then 'rejected' else 'exhausted' end,
             d.status, d.error, d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $9
      from dying d
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempts, lost, reason, note, status_code, error, read_ct, message, headers, webhook_id, died_at)
          = (excluded.delivery_no, excluded.attempts, excluded.lost, excluded.reason, null, excluded.status_code, excluded.error,
             excluded.read_ct, excluded.message, excluded.headers, excluded.webhook_id, excluded.died_at)
    ), shown as (
      update pgmq.%1$I q set vt = p.next_at from plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   last_status, last_error)
      select $1, p.msg_id, p.enqueued_at, p.delivery_no, p.attempt_no, case p.outcome when 'paused' then 0 else 1 end,
             qctl._is_rejection(p.status)::integer, 0, p.next_at, p.status, p.error
      from plan p
      on conflict (queue_id, msg_id, enqueued_at) do update
        set attempt_no = greatest(r.attempt_no, excluded.attempt_no), attempts = r.attempts + excluded.attempts,
            rejected = r.rejected + excluded.rejected, next_at = excluded.next_at,
            last_status = excluded.last_status, last_error = excluded.last_error
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
           (select count(*) from answer)::integer - count(*)::integer
    from judged j
  $q$, v_q, v_a)
  into delivered, retrying, dead, paused, late, unknown
  using p_queue.queue_id, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s, v_now,
        p_queue.reject_after, p_queue.retry_schedule_s, p_queue.retry_jitter, p_queue.retry_after_max_s;

  if paused > 0 then
    perform qctl.pause(p_queue.queue_name, 'the endpoint answered 410 Gone');
  end if;
  return next;
end
$_$;


--
-- Name: _shown_headers(jsonb); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl._shown_headers(p_headers jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((SELECT jsonb_object_agg(h.key, CASE WHEN (h.key ~* 'auth|cookie|key|token|secret|signature|password'::text) THEN '"…"'::jsonb ELSE h.value END) AS jsonb_object_agg FROM jsonb_each(_shown_headers.p_headers) h(key, value)), '{}'::jsonb);


--
-- Name: FUNCTION _shown_headers(p_headers jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl._shown_headers(p_headers jsonb) IS 'Headers as people may see them: the values of those that look like secrets are left out.';


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
-- Name: attach(text, text, text[], text, text[], text, boolean, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.attach(p_relation text, p_queue text, p_operations text[] DEFAULT '{INSERT,UPDATE,DELETE}'::text[], p_when text DEFAULT NULL::text, p_columns text[] DEFAULT NULL::text[], p_payload text DEFAULT 'qctl'::text, p_unchanged boolean DEFAULT false, p_as_me boolean DEFAULT false) RETURNS TABLE(relation text, queue_name text, operation text, trigger_name text, runs_as text)
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
  v_attachment_id integer;
  v_operation text;
  v_name text;
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
  if v_class.relkind <> 'r' or v_class.relispartition or exists (select from pg_inherits where inhparent = v_relation or inhrelid = v_relation) then
    raise exception '% is not a plain table', v_relation
      using errcode = 'QC007', hint = 'views, foreign tables, partitioned tables and inheritance are not captured';
  end if;
  if v_class.relnamespace in ('pgmq'::regnamespace, 'qctl'::regnamespace, 'pg_catalog'::regnamespace) then
    raise exception '% belongs to the pipeline itself', v_relation using errcode = 'QC007', hint = 'attach a table of your own';
  end if;
  if p_operations is null or cardinality(p_operations) = 0 or not p_operations <@ array['INSERT', 'UPDATE', 'DELETE'] then
    raise exception 'operations must be some of INSERT, UPDATE, DELETE' using errcode = 'QC002';
  end if;
  p_operations := array(select distinct o from unnest(p_operations) as o order by o desc);
  if p_payload is null or p_payload not in ('qctl', 'supabase') then
    raise exception 'no such payload: %', quote_nullable(p_payload) using errcode = 'QC002', hint = 'qctl or supabase';
  end if;
  select c into v_column from unnest(p_columns) as c
  where not exists (select from pg_attribute a where a.attrelid = v_relation and a.attname = c and a.attnum > 0 and not a.attisdropped)
  limit 1;
  if found then
    raise exception 'table % has no column %', v_relation, quote_literal(v_column) using errcode = 'QC006';
  end if;
  if cardinality(p_columns) = 0 then
    p_columns := null;
  end if;
  if p_when is not null then
    perform qctl._check_when(v_relation, p_operations, p_when);
  end if;
  if exists (select from qctl.attachment a where a.queue_id = v_queue.queue_id and a.relation = v_relation) then
    raise exception '% is attached to % already', v_relation, p_queue
      using errcode = 'QC007', hint = format('to change it: qctl detach %s -q %s, then attach again', v_relation, p_queue);
  end if;

  select string_agg(a.attname, ', ') into v_column from pg_attribute a
  where a.attrelid = v_relation and a.attnum > 0 and a.attgenerated = 'v';
  if v_column is not null then
    raise warning 'virtual generated columns are captured as null: %', v_column;
  end if;

  v_owner := pg_get_userbyid(v_class.relowner);
  v_may_own := pg_has_role(v_class.relowner, case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end);
  if not v_may_own and not p_as_me then
    raise exception 'the capture of % should run as its owner %, and % may not act for that role', v_relation, v_owner, current_user
      using errcode = 'QC007',
            detail = 'Types of that table may bring code of its owner, which would run with your rights instead.',
            hint = '--as-me accepts that; or let a member of ' || v_owner || ' run attach';
  end if;

  insert into qctl.attachment (queue_id, relation, operations, when_sql, columns, payload, unchanged)
  values (v_queue.queue_id, v_relation, p_operations, p_when, p_columns, p_payload, p_unchanged)
  returning attachment_id into v_attachment_id;

  foreach v_operation in array p_operations loop
    v_name := format('capture_%s_%s', v_attachment_id, lower(v_operation));
    execute format('create function qctl.%I() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp%s as %L',
      v_name,
      -- Kept plans: one made for a single row would pair many rows by a nested loop.
      case v_operation when 'UPDATE' then ' set enable_nestloop = off' end, qctl._capture_body(p_queue, v_queue.queue_id, v_relation, v_operation, p_payload, p_when, p_columns, p_unchanged));
    execute format('comment on function qctl.%I() is %L', v_name, format('%s of %s to queue %s', v_operation, v_relation, p_queue));
    execute format('create trigger %I after %s on %s referencing %s for each statement execute function qctl.%I()',
      'qctl_' || v_name, v_operation, v_relation,
      case v_operation when 'INSERT' then 'new table as new_rows' when 'DELETE' then 'old table as old_rows'
                       else 'old table as old_rows new table as new_rows' end, v_name);
    execute format('revoke all on function qctl.%I() from public', v_name);
    return query select v_relation::text, p_queue, v_operation, 'qctl_' || v_name,
                        case when v_may_own then v_owner else current_user end::text;
  end loop;
  if v_may_own and v_owner <> current_user then
    perform qctl._own_capture(v_attachment_id, v_queue.queue_name, p_operations, v_owner);
  end if;
  perform qctl._audit('attach', p_queue, jsonb_build_object(
    'relation', v_relation::text, 'operations', p_operations, 'when', p_when, 'columns', p_columns, 'payload', p_payload));
end
$$;


--
-- Name: FUNCTION attach(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.attach(p_relation text, p_queue text, p_operations text[], p_when text, p_columns text[], p_payload text, p_unchanged boolean, p_as_me boolean) IS 'Captures the changes of a table into a queue. Waits at most 2 s for the table''s lock.';


--
-- Name: capture_1_delete(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.q_orders (vt, message)
  select clock_timestamp(), jsonb_build_object('record', null::jsonb, 'old_record', to_jsonb(old.*), 'operation', 'DELETE', 'table', 'users', 'schema', 'public')
  from old_rows as old
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
    AS $$
#variable_conflict use_column
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.q_orders (vt, message)
  select clock_timestamp(), jsonb_build_object('record', to_jsonb(new.*), 'old_record', null::jsonb, 'operation', 'INSERT', 'table', 'users', 'schema', 'public')
  from new_rows as new
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
-- Name: capture_1_update(); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.capture_1_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_nestloop TO 'off'
    AS $$
#variable_conflict use_column
begin
  if current_setting('qctl.capture', true) = 'off' then
    return null;
  end if;
  insert into pgmq.q_orders (vt, message)
  select clock_timestamp(), jsonb_build_object('record', to_jsonb(n.new), 'old_record', to_jsonb(o.old), 'operation', 'UPDATE', 'table', 'users', 'schema', 'public')
  from (select "qctl new row" as new, row_number() over () as place from new_rows as "qctl new row") as n join (select "qctl old row" as old, row_number() over () as place from old_rows as "qctl old row") as o using (place)
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
-- Name: claim(text, integer, bigint); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.claim(p_queue text, p_limit integer, p_worker_id bigint DEFAULT NULL::bigint) RETURNS TABLE(msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer, url text, timeout_ms integer, headers jsonb, body text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_material TO 'off'
    AS $_$
#variable_conflict use_column
declare
  c_slack constant interval := '15 s';
  v_queue qctl.queue := qctl._queue(p_queue);
  v_paused boolean;
  v_now timestamptz;
  v_live integer;
  v_expired boolean;
  v_room integer;
  v_lease uuid := gen_random_uuid();
  v_term interval := make_interval(secs => v_queue.timeout_ms / 1000.0) + c_slack;
  v_q text := 'q_' || p_queue;
begin
  if coalesce(p_limit, 0) < 1 then
    return;
  end if;
  select g.paused_at is not null into v_paused from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if not found or v_paused then
    return;
  end if;
  v_now := clock_timestamp();

  select count(*), coalesce(bool_or(f.expires_at <= v_now), false) into v_live, v_expired
  from qctl.in_flight f where f.queue_id = v_queue.queue_id and f.lapsed_at is null;
  if v_expired then
    v_live := v_live - qctl._lapse(v_queue, v_now);
  end if;
  v_room := least(p_limit, v_queue.max_in_flight - v_live);
  if v_room < 1 then
    return;
  end if;

  -- visible_at is only the safety net behind the lease: qctl._lapse shows the message again, and decides when.
  return query execute format($q$
    with picked as materialized (
      select q.msg_id, q.enqueued_at, q.message, q.headers
      from pgmq.%1$I q
      where q.vt <= $2
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
                                  expires_at)
      select $1, n.msg_id, n.enqueued_at, $4, n.delivery_no, n.attempt_no, $6, $7, $2, $2 + $5 from numbered n
    )
    select n.msg_id, $4, $8, n.delivery_no, n.attempt_no, $9, $10,
           case when n.headers is null then $11 else qctl._request_headers($11, n.headers) end || jsonb_build_object(
             'webhook-id', coalesce(n.webhook_id, qctl.webhook_id($12, n.msg_id, n.enqueued_at)),
             'webhook-timestamp', extract(epoch from $2)::bigint::text),
           coalesce(n.message::text, 'null')
    from numbered n order by n.msg_id
  $q$, v_q)
  using v_queue.queue_id, v_now, v_room, v_lease, v_term, p_worker_id, v_queue.transport,
        (extract(epoch from v_term) * 1000)::integer, v_queue.url, v_queue.timeout_ms, v_queue.headers, v_queue.queue_uuid;
end
$_$;


--
-- Name: FUNCTION claim(p_queue text, p_limit integer, p_worker_id bigint); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.claim(p_queue text, p_limit integer, p_worker_id bigint) IS 'Leases up to p_limit ready messages to one worker and returns all that is needed to send them. lease_ms counts from before the call; a request must be over by then.';


--
-- Name: create_queue(text, text, jsonb, jsonb, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.create_queue(p_queue text, p_url text, p_headers jsonb DEFAULT '{}'::jsonb, p_settings jsonb DEFAULT '{}'::jsonb, p_adopt boolean DEFAULT false) RETURNS TABLE(queue_name text, created boolean, waiting bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_meta record;
  v_waiting bigint := 0;
  v_exists boolean;
  v_queue_id integer;
begin
  perform qctl._check_name(p_queue);
  perform qctl._check_url(p_url);
  perform qctl._check_headers(p_headers);
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
    if not p_adopt then
      raise exception 'pgmq queue % exists already and holds % messages', p_queue, v_waiting
        using errcode = 'QC007', hint = 'to deliver them to this endpoint: --adopt; or choose another name';
    end if;
  else
    perform pgmq.create(p_queue);
  end if;
  execute format('alter table pgmq.%I set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, '
                 'autovacuum_vacuum_cost_delay = 0)', 'q_' || p_queue);

  insert into qctl.queue (queue_name, url, headers) values (p_queue, p_url, qctl._lower_keys(p_headers))
  returning queue_id into v_queue_id;
  insert into qctl.gate (queue_id) values (v_queue_id);
  perform qctl._apply_settings(p_queue, p_settings);
  perform qctl._audit('create', p_queue, p_settings || jsonb_build_object('url', p_url, 'adopted', v_exists));
  return query select p_queue, not v_exists, v_waiting;
end
$$;


--
-- Name: FUNCTION create_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb, p_adopt boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.create_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb, p_adopt boolean) IS 'Makes a pgmq queue (or adopts one) with its endpoint. Settings: see qctl.set_queue.';


--
-- Name: depth(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.depth(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null;
    queue_name := v_queue.queue_name;
    execute format($q$
      select count(*), count(*) filter (where f.msg_id is null and q.vt <= $2),
             count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is null),
             count(f.msg_id), count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is not null)
      from pgmq.%I q
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    $q$, 'q_' || v_queue.queue_name)
    into depth, ready, delayed, in_flight, retrying using v_queue.queue_id, clock_timestamp();
    select count(*) into dead from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
    return next;
  end loop;
end
$_$;


--
-- Name: FUNCTION depth(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.depth(p_queue text) IS 'Unfinished messages by state, and dead letters.';


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
  v_relation regclass := case when p_relation ~ '^[0-9]{1,9}$' then p_relation::oid else to_regclass(p_relation) end;
  v_attachment record;
  v_operation text;
  v_owner name;
  v_name text;
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
      v_name := format('capture_%s_%s', v_attachment.attachment_id, lower(v_operation));
      if exists (select from pg_class c where c.oid = v_relation) then
        execute format('drop trigger if exists %I on %s', 'qctl_' || v_name, v_relation);
      end if;
      select pg_get_userbyid(p.proowner) into v_owner from pg_proc p
      where p.pronamespace = 'qctl'::regnamespace and p.proname = v_name;
      execute format('drop function if exists qctl.%I()', v_name);
      return query select v_relation::text, v_attachment.queue_name, 'qctl_' || v_name;
    end loop;
    delete from qctl.attachment a where a.attachment_id = v_attachment.attachment_id;
    if v_owner is not null and v_owner <> current_user and not exists (
        select from qctl.attachment a join pg_class c on c.oid = a.relation
        where a.queue_id = v_attachment.queue_id and pg_get_userbyid(c.relowner) = v_owner) then
      execute format('revoke insert (vt, message), select (msg_id) on pgmq.%I from %I', 'q_' || v_attachment.queue_name, v_owner);
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
-- Name: fall_asleep(text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.fall_asleep(p_queues text[]) RETURNS TABLE(queue_id integer, queue_name text, asleep boolean)
    LANGUAGE sql
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
-- Name: health(integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.health(p_queue_id integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
  select case
    when g.paused_at is not null then 'paused'
    when not exists (select from qctl.worker w where w.stopped_at is null and q.queue_name = any (w.queues)
                     and w.last_seen_at > clock_timestamp() - interval '30 s') then 'no_worker'
    when exists (select from qctl.attempt t where t.queue_id = q.queue_id and t.outcome <> 'delivered'
                 and t.outcome in ('retrying', 'dead') and t.settled_at > clock_timestamp() - interval '1 minute')
     and not exists (select from qctl.attempt t where t.queue_id = q.queue_id and t.outcome = 'delivered'
                     and t.settled_at > clock_timestamp() - interval '1 minute') then 'endpoint_failing'
    else 'ok' end
  from qctl.queue q join qctl.gate g using (queue_id) where q.queue_id = p_queue_id
$$;


--
-- Name: FUNCTION health(p_queue_id integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.health(p_queue_id integer) IS 'The first that holds of: paused, no_worker, endpoint_failing, ok.';


--
-- Name: heartbeat(bigint, text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.heartbeat(p_worker_id bigint, p_queues text[] DEFAULT NULL::text[]) RETURNS boolean
    LANGUAGE plpgsql
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
-- Name: lag(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.lag(p_queue text DEFAULT NULL::text) RETURNS TABLE(queue_name text, lag_s double precision, age_s double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
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
    continue when to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null;
    queue_name := v_queue.queue_name;
    -- Ids rise with enqueued_at, so the oldest stands among the first ids; delayed ones before it are passed over.
    execute format($q$
      select extract(epoch from $2 - (
               select greatest(q.vt, q.enqueued_at) from pgmq.%1$I q
               where q.vt <= $2 and isfinite(q.enqueued_at) order by q.vt limit 1)),
             extract(epoch from $2 - (
               select min(coalesce(r.replayed_at, q.enqueued_at))
               from (select * from pgmq.%1$I q where isfinite(q.enqueued_at) order by q.msg_id limit 1000) q
               left join lateral (select * from qctl.retry r
                                  where r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at limit 1) r on true
               where q.vt <= $2 or r.msg_id is not null
                  or exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id)))
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
-- Name: locate(bigint, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.locate(p_msg_id bigint, p_queue text DEFAULT NULL::text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE
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
    continue when to_regclass(format('pgmq.%I', 'q_' || v_name)) is null;
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
-- Name: pause(text, text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.pause(p_queue text, p_reason text DEFAULT NULL::text) RETURNS TABLE(queue_name text, changed boolean, paused_at timestamp with time zone)
    LANGUAGE plpgsql
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
  end if;
  return query select p_queue, v_changed, g.paused_at from qctl.gate g where g.queue_id = v_queue.queue_id;
end
$$;


--
-- Name: FUNCTION pause(p_queue text, p_reason text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.pause(p_queue text, p_reason text) IS 'Stops claiming; what is in flight settles, capture goes on.';


--
-- Name: purge(text, interval, timestamp with time zone, bigint, integer); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purge(p_queue text, p_older_than interval, p_after timestamp with time zone DEFAULT '-infinity'::timestamp with time zone, p_after_id bigint DEFAULT 0, p_limit integer DEFAULT 5000) RETURNS TABLE(messages integer, attempts integer, next_after timestamp with time zone, next_after_id bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
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
      order by a.archived_at, a.msg_id limit $5
    ), gone as (
      delete from pgmq.%1$I a using old o where a.msg_id = o.msg_id and o.ours
      returning a.msg_id
    ), attempts as (
      delete from qctl.attempt t where t.queue_id = $1 and t.msg_id = any (array(select g.msg_id from gone g)) returning 1
    )
    select (select count(*) from gone), (select count(*) from attempts), o.archived_at, o.msg_id
    from (values (1)) as always
    left join (select * from old order by archived_at, msg_id offset $5 - 1) as o on true
  $q$, 'a_' || p_queue)
  into messages, attempts, next_after, next_after_id
  using v_queue.queue_id, p_after, p_after_id, now() - p_older_than, p_limit;
  if messages > 0 then
    perform qctl._audit('purge', p_queue, jsonb_build_object('older_than', p_older_than, 'messages', messages, 'attempts', attempts));
  end if;
  return next;
end
$_$;


--
-- Name: FUNCTION purge(p_queue text, p_older_than interval, p_after timestamp with time zone, p_after_id bigint, p_limit integer); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.purge(p_queue text, p_older_than interval, p_after timestamp with time zone, p_after_id bigint, p_limit integer) IS 'Deletes one batch of delivered messages archived longer ago than that, with their attempts. Call again with next_after and next_after_id until they are null. Never touches unfinished or dead messages, nor what others archived.';


--
-- Name: purgeable(text, interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.purgeable(p_queue text, p_older_than interval) RETURNS TABLE(messages bigint, attempts bigint, bytes bigint)
    LANGUAGE plpgsql STABLE
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
-- Name: ready_queues(text[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.ready_queues(p_queues text[]) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
  v_name text;
  v_ready boolean;
begin
  for v_name in
    select q.queue_name from qctl.queue q join qctl.gate g using (queue_id)
    where q.queue_name = any (p_queues) and g.paused_at is null
  loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_name)) is null;
    execute format('select exists (select from pgmq.%I q where q.vt <= $1 order by q.vt limit 1)', 'q_' || v_name)
      into v_ready using clock_timestamp();
    if v_ready then
      return next v_name;
    end if;
  end loop;
end
$_$;


--
-- Name: FUNCTION ready_queues(p_queues text[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.ready_queues(p_queues text[]) IS 'Those of these queues that are not paused and hold a ready message.';


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
    stopped_at timestamp with time zone
)
WITH (fillfactor='50');


--
-- Name: TABLE worker; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.worker IS 'Whatever delivers, as it last reported.';


--
-- Name: register_worker(text, text, text[], text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.register_worker(p_name text, p_transport text, p_queues text[], p_version text) RETURNS bigint
    LANGUAGE sql
    BEGIN ATOMIC
 INSERT INTO qctl.worker (name, transport, queues, qctl_version)
   VALUES ("left"(register_worker.p_name, 200), register_worker.p_transport, register_worker.p_queues, register_worker.p_version)
   RETURNING worker.worker_id;
END;


--
-- Name: release(text, uuid[], bigint[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.release(p_queue text, p_lease uuid[], p_msg_id bigint[]) RETURNS integer
    LANGUAGE plpgsql
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
  execute format('update pgmq.%I q set vt = clock_timestamp() where q.msg_id = any ($1)', 'q_' || p_queue) using v_ids;
  return coalesce(cardinality(v_ids), 0);
end
$_$;


--
-- Name: FUNCTION release(p_queue text, p_lease uuid[], p_msg_id bigint[]); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.release(p_queue text, p_lease uuid[], p_msg_id bigint[]) IS 'Gives back messages that were claimed but not sent: visible at once, no attempt spent.';


--
-- Name: replay(text, bigint[], text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.replay(p_queue text, p_msg_ids bigint[], p_reason text DEFAULT NULL::text) RETURNS TABLE(msg_id bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
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
begin
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_ids;
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
    ), queued as (
      insert into pgmq.%1$I (msg_id, read_ct, enqueued_at, vt, message, headers) overriding system value
      select m.msg_id, m.read_ct, m.enqueued_at, $3, m.message, m.headers from moving m
      returning msg_id
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   webhook_id, replayed_at)
      select $1, m.msg_id, m.enqueued_at, 1 + greatest(m.delivery_no, 1, (
               select max(t.delivery_no) from qctl.attempt t where t.queue_id = $1 and t.msg_id = m.msg_id)),
             0, 0, 0, 0, $3, m.webhook_id, $3
      from moving m
      on conflict (queue_id, msg_id, enqueued_at) do update
        set (delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status, last_error, replayed_at)
          = (greatest(excluded.delivery_no, r.delivery_no + 1), 0, 0, 0, 0, excluded.next_at, null, null, excluded.replayed_at)
    )
    select array_agg(msg_id) from queued
  $q$, v_q, v_a) into v_replayed using v_queue.queue_id, p_msg_ids, v_now;

  execute format($q$
    with asked as (
      select distinct id from unnest($2::bigint[]) as id where id is not null
    ), state as materialized (
      select a.id, q.enqueued_at,
             case when a.id = any (coalesce($3, '{}')) then 'replayed'
                        when f.msg_id is not null then 'in_flight'
                        when q.msg_id is null then 'unknown'
                        when q.vt > $4 then 'due_now'
                        else 'ready' end as outcome
      from asked a
      left join pgmq.%1$I q on q.msg_id = a.id
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.id and f.lapsed_at is null and q.msg_id is not null
    ), shown as (
      update pgmq.%1$I q set vt = $4 from state s where q.msg_id = s.id and s.outcome = 'due_now'
    ), due as (
      update qctl.retry r set next_at = $4 from state s where r.queue_id = $1 and r.msg_id = s.id and r.enqueued_at = s.enqueued_at and s.outcome = 'due_now'
    )
    select jsonb_object_agg(s.id, s.outcome) from state s
  $q$, v_q) into v_outcomes using v_queue.queue_id, p_msg_ids, v_replayed, v_now;

  if v_outcomes is not null then
    perform qctl._audit('replay', p_queue, jsonb_build_object(
      'reason', p_reason, 'asked', cardinality(p_msg_ids), 'replayed', coalesce(cardinality(v_replayed), 0),
      'msg_ids', (select jsonb_agg(x) from (select unnest(v_replayed) as x limit 1000) s)));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query select e.key::bigint, e.value from jsonb_each_text(v_outcomes) as e order by 1;
end
$_$;


--
-- Name: FUNCTION replay(p_queue text, p_msg_ids bigint[], p_reason text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.replay(p_queue text, p_msg_ids bigint[], p_reason text) IS 'Moves finished messages back into the queue for a new delivery. Outcomes: replayed; due_now (was waiting, is tried now); ready; in_flight (left alone); unknown.';


--
-- Name: resume(text); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.resume(p_queue text) RETURNS TABLE(queue_name text, changed boolean, paused_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_since timestamptz;
begin
  select g.paused_at into v_since from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if v_since is not null then
    update qctl.gate g set paused_at = null, paused_by = null, pause_reason = null where g.queue_id = v_queue.queue_id;
    perform qctl._audit('resume', p_queue, jsonb_build_object('paused_at', v_since));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query select p_queue, v_since is not null, v_since;
end
$$;


--
-- Name: FUNCTION resume(p_queue text); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.resume(p_queue text) IS 'Lets workers claim again.';


--
-- Name: send(text, jsonb[], jsonb, double precision, boolean); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.send(p_queue text, p_messages jsonb[], p_headers jsonb DEFAULT NULL::jsonb, p_delay_s double precision DEFAULT 0, p_audit boolean DEFAULT false) RETURNS SETOF bigint
    LANGUAGE plpgsql
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
  return query execute format(
    'insert into pgmq.%I (vt, message, headers)
     select $3, m, $2 from unnest($1) with ordinality as u (m, n) order by n returning msg_id', 'q_' || p_queue)
    using p_messages, nullif(qctl._lower_keys(p_headers), '{}'), clock_timestamp() + make_interval(secs => p_delay_s);
  if p_audit then
    perform qctl._audit('send', p_queue, jsonb_build_object('messages', cardinality(p_messages), 'delay_s', nullif(p_delay_s, 0)));
  end if;
  perform qctl._notify(v_queue.queue_id);
end
$_$;


--
-- Name: FUNCTION send(p_queue text, p_messages jsonb[], p_headers jsonb, p_delay_s double precision, p_audit boolean); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.send(p_queue text, p_messages jsonb[], p_headers jsonb, p_delay_s double precision, p_audit boolean) IS 'Enqueues messages, all with the same headers and delay; returns their ids in order. p_audit records that it was done, not what was sent.';


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
  end if;
  perform qctl._apply_settings(p_queue, p_settings);
  perform qctl._audit('set', p_queue, p_settings || jsonb_build_object(
    'url', p_url, 'headers', (select jsonb_agg(k) from jsonb_object_keys(p_headers) as k)));
  return query select * from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;


--
-- Name: FUNCTION set_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb); Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON FUNCTION qctl.set_queue(p_queue text, p_url text, p_headers jsonb, p_settings jsonb) IS 'Changes a queue. Headers are merged; one with value null goes. Settings: timeout_ms, concurrency, max_in_flight, retry_schedule_s, retry_jitter, retry_after_max_s, reject_after, max_lost.';


--
-- Name: settle(text, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.settle(p_queue text, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[], p_duration_ms integer[], p_retry_after_s integer[]) RETURNS TABLE(delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer, failed integer)
    LANGUAGE plpgsql
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
    perform qctl._audit('settle_failed', p_queue, jsonb_build_object(
      'msg_id', p_msg_id[1], 'sqlstate', v_state, 'error', left(v_message, 500)));
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
    lapsed_at timestamp with time zone
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
    LANGUAGE sql
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
-- Name: upkeep(interval); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.upkeep(p_silent interval DEFAULT '00:00:15'::interval) RETURNS TABLE(lapsed integer, reaped integer, workers_gone integer)
    LANGUAGE plpgsql
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
    where w.transport = 'http' and w.stopped_at is null and w.last_seen_at < v_now - p_silent
    returning w.worker_id
  )
  select array_agg(g.worker_id) into v_gone from gone g;
  if v_gone is not null then
    workers_gone := cardinality(v_gone);
    with theirs as (
      select f.queue_id, f.msg_id, f.lease from qctl.in_flight f
      where f.lapsed_at is null and f.worker_id = any (v_gone) and f.expires_at > v_now
      order by f.queue_id, f.msg_id for update skip locked
    )
    update qctl.in_flight f set expires_at = v_now from theirs t
    where f.queue_id = t.queue_id and f.msg_id = t.msg_id and f.lease = t.lease;
  end if;

  for v_queue in select * from qctl.queue order by queue_id loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null;
    begin
      lapsed := lapsed + qctl._lapse(v_queue, v_now);
    exception when data_exception or integrity_constraint_violation or syntax_error_or_access_rule_violation or plpgsql_error then
      perform qctl._audit('lapse_failed', v_queue.queue_name, jsonb_build_object('sqlstate', sqlstate, 'error', left(sqlerrm, 500)));
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
-- Name: wake_up(integer[]); Type: FUNCTION; Schema: qctl; Owner: -
--

CREATE FUNCTION qctl.wake_up(p_queue_ids integer[]) RETURNS void
    LANGUAGE sql
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
    CONSTRAINT dead_letter_reason_check CHECK ((reason = ANY (ARRAY['exhausted'::text, 'rejected'::text, 'lost'::text, 'discarded'::text])))
);


--
-- Name: TABLE dead_letter; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.dead_letter IS 'Messages whose attempts are spent or that were discarded, with their payload.';


--
-- Name: gate; Type: TABLE; Schema: qctl; Owner: -
--

CREATE TABLE qctl.gate (
    queue_id integer NOT NULL,
    paused_at timestamp with time zone,
    paused_by text,
    pause_reason text
);


--
-- Name: TABLE gate; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON TABLE qctl.gate IS 'One row per queue. A claim locks it: what limits claiming is decided under that lock.';


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
    replayed_at timestamp with time zone
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
-- Name: status; Type: VIEW; Schema: qctl; Owner: -
--

CREATE VIEW qctl.status AS
 SELECT q.queue_name,
    qctl.health(q.queue_id) AS health,
    d.depth,
    d.ready,
    d.delayed,
    d.in_flight,
    d.retrying,
    d.dead,
    l.lag_s,
    l.age_s,
    a.delivered_1m,
    a.failed_1m,
    last.error AS last_error,
    g.paused_at,
    g.paused_by,
    g.pause_reason,
    q.url
   FROM (((((qctl.queue q
     JOIN qctl.gate g USING (queue_id))
     LEFT JOIN LATERAL qctl.depth(q.queue_name) d(queue_name, depth, ready, delayed, in_flight, retrying, dead) ON (true))
     LEFT JOIN LATERAL qctl.lag(q.queue_name) l(queue_name, lag_s, age_s) ON (true))
     CROSS JOIN LATERAL ( SELECT count(*) FILTER (WHERE (t.outcome = 'delivered'::text)) AS delivered_1m,
            count(*) FILTER (WHERE (t.outcome = ANY (ARRAY['retrying'::text, 'dead'::text, 'paused'::text]))) AS failed_1m
           FROM qctl.attempt t
          WHERE ((t.queue_id = q.queue_id) AND (t.settled_at > (now() - '00:01:00'::interval)))) a)
     LEFT JOIN LATERAL ( SELECT COALESCE(t.error, ('HTTP '::text || t.status_code)) AS error
           FROM qctl.attempt t
          WHERE ((t.queue_id = q.queue_id) AND (t.settled_at > (now() - '01:00:00'::interval)) AND (t.outcome <> 'delivered'::text) AND (t.outcome = ANY (ARRAY['retrying'::text, 'dead'::text, 'paused'::text])))
          ORDER BY t.settled_at DESC
         LIMIT 1) last ON (true));


--
-- Name: VIEW status; Type: COMMENT; Schema: qctl; Owner: -
--

COMMENT ON VIEW qctl.status IS 'One row per queue: health, depth by state, lag and age.';


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
1	1	2026-11-24 09:29:32.368025+00	\N	2026-11-24 09:29:32.38476+00	2026-11-24 09:31:02.38185+00	{"table": "users", "record": {"id": 1, "name": "one"}, "schema": "public", "operation": "INSERT", "old_record": null}	{"qctl": {"status": 200, "outcome": "delivered", "attempts": 1, "delivery_no": 1, "delivered_at": "2026-11-24T09:29:32.38476+00:00"}}
\.


--
-- Data for Name: meta; Type: TABLE DATA; Schema: pgmq; Owner: -
--

COPY pgmq.meta (queue_name, is_partitioned, is_unlogged, created_at) FROM stdin;
orders	f	f	2026-11-24 09:29:32.368025+00
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
5	0	2026-11-24 09:29:32.368025+00	\N	2026-11-24 09:29:32.380638+00	{"table": "users", "record": {"id": 5, "name": "five"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N
6	0	2026-11-24 09:29:32.368025+00	\N	2199-01-01 00:00:00+00	{"later": true}	\N
4	1	2026-11-24 09:29:32.368025+00	\N	2199-01-01 00:00:00+00	{"table": "users", "record": {"id": 4, "name": "four"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N
3	1	2026-11-24 09:29:32.368025+00	\N	2199-01-01 00:00:00+00	{"table": "users", "record": {"id": 3, "name": "three"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N
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
-- Data for Name: attachment; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.attachment (attachment_id, queue_id, relation, operations, when_sql, columns, payload, unchanged, created_at, created_by) FROM stdin;
1	1	public.users	{UPDATE,INSERT,DELETE}	\N	\N	qctl	f	2026-11-24 09:29:32.368025+00	postgres
\.


--
-- Data for Name: attempt; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at, settled_at, duration_ms, status_code, error, response, next_at) FROM stdin;
1	1	1	1	delivered	\N	http	2026-11-24 09:29:32.38185+00	2026-11-24 09:29:32.38476+00	3	200	\N	ok	\N
1	2	1	1	dead	\N	http	2026-11-24 09:29:32.38185+00	2026-11-24 09:29:32.38476+00	4	400	\N	no	\N
1	3	1	1	retrying	\N	http	2026-11-24 09:29:32.38185+00	2026-11-24 09:29:32.38476+00	5	503	\N	busy	2026-11-24 09:30:32.382284+00
\.


--
-- Data for Name: audit; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.audit (audit_id, at, actor, application, verb, queue_name, detail) FROM stdin;
1	2026-11-24 09:29:32.36545+00	postgres	qctl freeze	upgrade	\N	{"applied": ["audit", "baseline", "capture", "claim", "lapse", "message", "purge", "queue", "replay", "settle", "status", "text", "views", "wake", "worker"]}
2	2026-11-24 09:29:32.376312+00	postgres	qctl freeze	create	orders	{"url": "http://127.0.0.1:9/orders", "adopted": false, "reject_after": 1, "retry_schedule_s": [60]}
3	2026-11-24 09:29:32.38022+00	postgres	qctl freeze	attach	orders	{"payload": "qctl", "relation": "public.users", "operations": ["UPDATE", "INSERT", "DELETE"]}
\.


--
-- Data for Name: dead_letter; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.dead_letter (queue_id, msg_id, delivery_no, attempts, lost, reason, note, status_code, error, enqueued_at, read_ct, message, headers, webhook_id, died_at) FROM stdin;
1	2	1	1	0	rejected	\N	400	\N	2026-11-24 09:29:32.368025+00	1	{"table": "users", "record": {"id": 2, "name": "two"}, "schema": "public", "operation": "INSERT", "old_record": null}	\N	\N	2026-11-24 09:29:32.38476+00
\.


--
-- Data for Name: gate; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.gate (queue_id, paused_at, paused_by, pause_reason) FROM stdin;
1	\N	\N	\N
\.


--
-- Data for Name: in_flight; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.in_flight (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, worker_id, transport, request_id, epoch, claimed_at, expires_at, lapsed_at) FROM stdin;
1	4	2026-11-24 09:29:32.368025+00	873316f8-e0e9-4934-82e5-7683a3612fba	1	1	\N	http	\N	\N	2026-11-24 09:29:32.38185+00	2199-01-01 00:00:00+00	\N
\.


--
-- Data for Name: migration; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.migration (version, name, checksum, applied_at, applied_by, qctl_version) FROM stdin;
1	baseline	6517e8524bf9126a8a4062f5982bdd4e0da840a1bc3516e87b813445195a19ba	2026-11-24 09:29:32.306251+00	postgres	0.1.0
\.


--
-- Data for Name: queue; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.queue (queue_id, queue_uuid, queue_name, transport, url, headers, timeout_ms, concurrency, max_in_flight, retry_schedule_s, retry_jitter, retry_after_max_s, reject_after, max_lost, created_at, created_by) FROM stdin;
1	33e04fcb-ea9a-4949-9c1a-9acf96f7fa42	orders	http	http://127.0.0.1:9/orders	{"x-tenant": "acme"}	15000	50	1000	{60}	0.2	86400	1	10	2026-11-24 09:29:32.368025+00	postgres
\.


--
-- Data for Name: retry; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.retry (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at, last_status, last_error, webhook_id, replayed_at) FROM stdin;
1	3	2026-11-24 09:29:32.368025+00	1	1	1	0	0	2199-01-01 00:00:00+00	503	\N	\N	\N
\.


--
-- Data for Name: routine; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.routine (name, checksum, applied_at, qctl_version) FROM stdin;
audit	cdcea9f332430fad42251905ef1bea6e6a1bc0b0281d57701ebe6d6c481a2c28	2026-11-24 09:29:32.306251+00	0.1.0
capture	71fd406b8aa23a56c531bfd6ca425bbc6f705b3486d471dc13c84f0374dcb6a7	2026-11-24 09:29:32.306251+00	0.1.0
claim	0bcb8d397023c878282a1d08eca03ac86902bff91080ddf9f32c1e6b853264f8	2026-11-24 09:29:32.306251+00	0.1.0
lapse	549e5c13c66d0f046500dc7f336a7072de99bfeb1933a83be5fe75d5c55b2c9b	2026-11-24 09:29:32.306251+00	0.1.0
message	5529f1284b9949126f7a2b1e749556e0e479681ac6470c260a00349f5f10c486	2026-11-24 09:29:32.306251+00	0.1.0
purge	31c0da45d4a6274313b7383982ea70b59cf0f274af8c32bc424461749bfbed00	2026-11-24 09:29:32.306251+00	0.1.0
queue	a5e0ac68435f1bdc5df96b8940e7d85cc1725ccd83625aa3af358decb8a06e7d	2026-11-24 09:29:32.306251+00	0.1.0
replay	cdd109b0399fa5e75dfc7375cd680019b969133cae0436e1d7208c30e9742d33	2026-11-24 09:29:32.306251+00	0.1.0
settle	3635359282c24decc73b1e3328d71edd9f32497be371f15634ce56eb22ff4161	2026-11-24 09:29:32.306251+00	0.1.0
status	496455d72e7d655415eec3025fb95dd958d18877a8fa0fb935751fc33fbe9977	2026-11-24 09:29:32.306251+00	0.1.0
text	68c8ece8cbbaf0da5af0b2e110433df21a556d25af98222c7d3ad4fc42180c99	2026-11-24 09:29:32.306251+00	0.1.0
wake	3fa4f760e6b90c9ef2d11359c0c803fdeb7eafbac197e7bda7453c3da04218b3	2026-11-24 09:29:32.306251+00	0.1.0
worker	c896ca91fb1d76035e69363d697f8b6af4a8092e2679eaa614d182e6b11e3515	2026-11-24 09:29:32.306251+00	0.1.0
views	c2116428822da5c82440f06cef4196d124d89e31da05a68cd8ce07b87b1c0fe1	2026-11-24 09:29:32.306251+00	0.1.0
\.


--
-- Data for Name: worker; Type: TABLE DATA; Schema: qctl; Owner: -
--

COPY qctl.worker (worker_id, name, transport, queues, qctl_version, started_at, last_seen_at, stopped_at) FROM stdin;
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
-- Name: dead_letter dead_letter_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (queue_id, msg_id, enqueued_at);


--
-- Name: gate gate_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.gate
    ADD CONSTRAINT gate_pkey PRIMARY KEY (queue_id);


--
-- Name: in_flight in_flight_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.in_flight
    ADD CONSTRAINT in_flight_pkey PRIMARY KEY (queue_id, msg_id, lease);


--
-- Name: migration migration_pkey; Type: CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);


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
-- Name: dead_letter_died_idx; Type: INDEX; Schema: qctl; Owner: -
--

CREATE INDEX dead_letter_died_idx ON qctl.dead_letter USING btree (died_at);


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
-- Name: gate gate_queue_id_fkey; Type: FK CONSTRAINT; Schema: qctl; Owner: -
--

ALTER TABLE ONLY qctl.gate
    ADD CONSTRAINT gate_queue_id_fkey FOREIGN KEY (queue_id) REFERENCES qctl.queue(queue_id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--


