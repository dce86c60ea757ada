/**
 * The functions of the PostgreSQL metadata's first migration: what must be one round trip, because it holds locks that others wait
 * for. Each is called as a statement of its own. Part of `postgres-schema.ts`.
 *
 * - In READ COMMITTED each statement of a volatile function sees what is committed when it begins
 *   (https://www.postgresql.org/docs/15/xfunc-volatility.html): what is read after the locks is the newest.
 * - `FOR NO KEY UPDATE` is what changing a row takes; it lets those pass who only need the row to stay (`FOR KEY SHARE`).
 * - The sub-selects with ORDER BY lock in that order.
 * - Plans are made once, for any number of partitions, and read `partitions` by its key: tables are empty when an agent first
 *   starts, and a plan for empty tables is quadratic later.
 */

const PLANS = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off";

const clock = `
  CREATE FUNCTION now_ms() RETURNS int8 LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8
  $$;
`;

const leases = `
  -- Ends runs whose rows the caller has locked: frees their partitions and forgets them.
  CREATE FUNCTION forget_runs(p_runs text[]) RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM 1 FROM (
      SELECT 1 FROM partitions WHERE run_id = ANY (p_runs)
      ORDER BY topic_id, partition FOR NO KEY UPDATE
    ) locked;
    UPDATE partitions SET run_id = NULL WHERE run_id = ANY (p_runs);
    DELETE FROM runs WHERE run_id = ANY (p_runs);
  END $$;

  CREATE FUNCTION start_run(
    p_run text, p_agent text, p_address text, p_ttl_ms int8, p_predecessors_dead boolean
  ) RETURNS TABLE (started int8, expires int8) LANGUAGE plpgsql AS $$
  DECLARE
    v_dead text[];
    v_now int8;
  BEGIN
    IF p_predecessors_dead THEN
      SELECT coalesce(array_agg(run_id), '{}') INTO v_dead FROM (
        SELECT r.run_id FROM runs r ORDER BY r.run_id FOR UPDATE
      ) locked;
      PERFORM forget_runs(v_dead);
      -- Also those of runs that have no row.
      UPDATE partitions SET run_id = NULL WHERE run_id IS NOT NULL;
    END IF;
    v_now := now_ms();
    INSERT INTO runs (run_id, agent_id, address, started_at_ms, expires_at_ms)
      VALUES (p_run, p_agent, p_address, v_now, v_now + p_ttl_ms);
    RETURN QUERY SELECT v_now, v_now + p_ttl_ms;
  END $$;

  CREATE FUNCTION end_run(p_run text) RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM 1 FROM runs WHERE run_id = p_run FOR UPDATE;
    PERFORM forget_runs(ARRAY[p_run]);
  END $$;

  -- Locks the run and the holders that seem to have expired, then the clock says which have. Then
  -- locks the partitions: it takes those that are free, or whose holder's end was seen.
  CREATE FUNCTION acquire_leases(p_run text, p_topics uuid[], p_partitions int4[])
  RETURNS TABLE (
    topic uuid, part int4, lease_epoch int8, next_off int8, start_off int8, producer_state bytea
  ) LANGUAGE plpgsql ${PLANS} AS $$
  DECLARE
    v_now int8 := now_ms();
    v_live boolean;
    v_dead text[];
  BEGIN
    SELECT coalesce(bool_or(run_id = p_run AND expires_at_ms > now_ms()), false),
      coalesce(array_agg(run_id) FILTER (WHERE run_id <> p_run AND expires_at_ms <= now_ms()), '{}')
    INTO v_live, v_dead FROM (
      SELECT r.run_id, r.expires_at_ms FROM runs r
      WHERE r.run_id = p_run OR r.expires_at_ms <= v_now AND r.run_id IN (
        SELECT p.run_id FROM unnest(p_topics, p_partitions) i (topic_id, partition)
        JOIN partitions p ON p.topic_id = i.topic_id AND p.partition = i.partition
      )
      ORDER BY r.run_id FOR UPDATE
    ) locked;
    IF NOT v_live THEN
      RAISE EXCEPTION 'run % is over', p_run USING ERRCODE = 'SH002';
    END IF;
    PERFORM 1 FROM (
      SELECT 1 FROM partitions p
      WHERE p.run_id = ANY (v_dead) OR (p.topic_id, p.partition) IN (
        SELECT i.topic_id, i.partition FROM unnest(p_topics, p_partitions) i (topic_id, partition)
      )
      ORDER BY p.topic_id, p.partition FOR NO KEY UPDATE
    ) locked;
    -- A take-over ends a run whole: it must not be renewed and believe that it holds the rest.
    IF cardinality(v_dead) > 0 THEN
      PERFORM forget_runs(v_dead);
    END IF;
    UPDATE partitions p SET run_id = p_run, epoch = p.epoch + 1
    FROM unnest(p_topics, p_partitions) i (topic_id, partition)
    WHERE p.topic_id = i.topic_id AND p.partition = i.partition AND (
      p.run_id IS NULL OR NOT EXISTS (SELECT 1 FROM runs r WHERE r.run_id = p.run_id)
    );
    RETURN QUERY
      SELECT p.topic_id, p.partition, p.epoch, p.next_offset, p.log_start, s.state
      FROM unnest(p_topics, p_partitions) WITH ORDINALITY i (topic_id, partition, at)
      JOIN partitions p
        ON p.topic_id = i.topic_id AND p.partition = i.partition AND p.run_id = p_run
      LEFT JOIN producer_states s ON s.topic_id = p.topic_id AND s.partition = p.partition
      ORDER BY i.at;
  END $$;

  CREATE FUNCTION release_leases(p_run text, p_topics uuid[], p_partitions int4[])
  RETURNS void LANGUAGE plpgsql ${PLANS} AS $$
  BEGIN
    PERFORM lock_partitions(p_topics, p_partitions);
    UPDATE partitions p SET run_id = NULL
    FROM unnest(p_topics, p_partitions) i (topic_id, partition)
    WHERE p.topic_id = i.topic_id AND p.partition = i.partition AND p.run_id = p_run;
  END $$;
`;

const flushes = `
  CREATE FUNCTION lock_partitions(p_topics uuid[], p_partitions int4[])
  RETURNS void LANGUAGE plpgsql ${PLANS} AS $$
  BEGIN
    PERFORM 1 FROM (
      SELECT 1 FROM unnest(p_topics, p_partitions) i (topic_id, partition)
      JOIN partitions p ON p.topic_id = i.topic_id AND p.partition = i.partition
      ORDER BY p.topic_id, p.partition FOR NO KEY UPDATE OF p
    ) locked;
  END $$;

  -- A flush in one round trip. Answers what became of it; with refused, the shares (from 0) and
  -- why; with defect, a share whose base offset is not the next one, and that one.
  CREATE FUNCTION commit_flush(
    p_run text, p_sequence int8, p_key text, p_position int8, p_length int8, p_entries bytea,
    p_topics uuid[], p_partitions int4[], p_epochs int8[], p_bases int8[], p_ends int8[],
    p_state_topics uuid[], p_state_partitions int4[], p_states bytea[]
  ) RETURNS json LANGUAGE plpgsql ${PLANS} AS $$
  DECLARE
    v_found int8;
    v_held boolean;
    v_next boolean;
    v_live boolean;
    v_flush int8;
  BEGIN
    SELECT count(*), coalesce(bool_and(held), true), coalesce(bool_and(follows), true)
    INTO v_found, v_held, v_next FROM (
      SELECT p.run_id IS NOT DISTINCT FROM p_run AND p.epoch = i.epoch AS held,
        p.next_offset = i.base AS follows
      FROM unnest(p_topics, p_partitions, p_epochs, p_bases) i (topic_id, partition, epoch, base)
      JOIN partitions p ON p.topic_id = i.topic_id AND p.partition = i.partition
      ORDER BY p.topic_id, p.partition FOR NO KEY UPDATE OF p
    ) locked;
    -- After the locks: one that was waited for long is one whose time may be over.
    SELECT expires_at_ms > now_ms() INTO v_live FROM runs WHERE run_id = p_run;
    v_live := coalesce(v_live, false);
    IF v_found < cardinality(p_topics) OR NOT v_held OR NOT v_next OR NOT v_live THEN
      RETURN why_not_committed(
        p_run, p_sequence, v_live, p_topics, p_partitions, p_epochs, p_bases
      );
    END IF;
    UPDATE partitions p SET next_offset = i.ends
    FROM unnest(p_topics, p_partitions, p_ends) i (topic_id, partition, ends)
    WHERE p.topic_id = i.topic_id AND p.partition = i.partition;
    IF cardinality(p_state_topics) > 0 THEN
      INSERT INTO producer_states AS s (topic_id, partition, state)
        SELECT * FROM unnest(p_state_topics, p_state_partitions, p_states)
        ON CONFLICT (topic_id, partition) DO UPDATE SET state = excluded.state;
    END IF;
    -- Held from here to the commit, so that flush ids become visible in their order.
    UPDATE counters SET value = value + 1 WHERE name = 'flush_id' RETURNING value INTO v_flush;
    IF EXISTS (SELECT 1 FROM swept WHERE object_key = p_key) THEN
      RAISE EXCEPTION 'key % was given up', p_key USING ERRCODE = 'SH001';
    END IF;
    INSERT INTO flushes (
      flush_id, run_id, flush_sequence, object_key, position, length, entries,
      watch_topic_id, watch_partition, watch_end
    ) VALUES (
      v_flush, p_run, p_sequence, p_key, p_position, p_length, p_entries,
      p_topics[1], p_partitions[1], p_ends[1]
    );
    RETURN json_build_object('status', 'committed');
  END $$;

  -- An attempt whose answer was lost is not committed again, and not refused either.
  CREATE FUNCTION why_not_committed(
    p_run text, p_sequence int8, p_live boolean,
    p_topics uuid[], p_partitions int4[], p_epochs int8[], p_bases int8[]
  ) RETURNS json LANGUAGE plpgsql ${PLANS} AS $$
  DECLARE
    v_refused json;
    v_defect json;
  BEGIN
    IF EXISTS (SELECT 1 FROM flushes WHERE run_id = p_run AND flush_sequence = p_sequence) THEN
      RETURN json_build_object('status', 'committed');
    END IF;
    SELECT
      json_agg(json_build_array(i.at - 1, p.topic_id IS NULL) ORDER BY i.at) FILTER (
        WHERE p.topic_id IS NULL OR NOT p_live
          OR p.run_id IS DISTINCT FROM p_run OR p.epoch <> i.epoch
      ),
      json_agg(json_build_array(i.at - 1, p.next_offset) ORDER BY i.at)
        FILTER (WHERE p.next_offset <> i.base)
    INTO v_refused, v_defect
    FROM unnest(p_topics, p_partitions, p_epochs, p_bases)
      WITH ORDINALITY i (topic_id, partition, epoch, base, at)
    LEFT JOIN partitions p ON p.topic_id = i.topic_id AND p.partition = i.partition;
    IF v_refused IS NULL THEN
      RETURN json_build_object('status', 'defect', 'shares', v_defect);
    END IF;
    RETURN json_build_object('status', 'refused', 'shares', v_refused);
  END $$;

  -- After an unknown outcome. The write makes the answer wait for the standby, as the flush does.
  CREATE FUNCTION resolve_flush(
    p_run text, p_sequence int8, p_topics uuid[], p_partitions int4[]
  ) RETURNS boolean LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM lock_partitions(p_topics, p_partitions);
    UPDATE counters SET value = value + 1 WHERE name = 'resolves';
    RETURN EXISTS (SELECT 1 FROM flushes WHERE run_id = p_run AND flush_sequence = p_sequence);
  END $$;
`;

const merges = `
  CREATE FUNCTION commit_merge(
    p_run text, p_topic uuid, p_partition int4, p_base int8, p_end int8,
    p_key text, p_position int8, p_length int8, p_entries bytea, p_epochs int8[]
  ) RETURNS text LANGUAGE plpgsql ${PLANS} AS $$
  DECLARE
    v_partition partitions%ROWTYPE;
    v_live boolean;
    v_merge int8;
  BEGIN
    SELECT * INTO v_partition FROM partitions
      WHERE topic_id = p_topic AND partition = p_partition FOR NO KEY UPDATE;
    -- After the lock: the same merge may just have been committed.
    IF EXISTS (SELECT 1 FROM merges WHERE object_key = p_key) THEN
      RETURN 'committed';
    END IF;
    IF v_partition.topic_id IS NULL THEN
      RETURN 'stale';
    END IF;
    SELECT expires_at_ms > now_ms() INTO v_live FROM runs WHERE run_id = p_run;
    IF v_partition.run_id IS DISTINCT FROM p_run OR NOT coalesce(v_live, false)
      OR NOT v_partition.epoch = ALL (p_epochs) THEN
      RETURN 'fenced';
    END IF;
    IF greatest(v_partition.log_start, v_partition.merged_until) <> p_base THEN
      RETURN 'stale';
    END IF;
    IF p_end > v_partition.next_offset THEN
      RAISE EXCEPTION 'the partition ends at offset %', v_partition.next_offset
        USING ERRCODE = 'SH003';
    END IF;
    UPDATE partitions SET merged_until = p_end WHERE topic_id = p_topic AND partition = p_partition;
    INSERT INTO trims AS t (topic_id, partition, needed_from) VALUES (p_topic, p_partition, p_end)
      ON CONFLICT (topic_id, partition)
      DO UPDATE SET needed_from = greatest(t.needed_from, excluded.needed_from);
    UPDATE counters SET value = value + 1 WHERE name = 'merge_id' RETURNING value INTO v_merge;
    IF EXISTS (SELECT 1 FROM swept WHERE object_key = p_key) THEN
      RAISE EXCEPTION 'key % was given up', p_key USING ERRCODE = 'SH001';
    END IF;
    INSERT INTO merges (
      merge_id, topic_id, partition, base_offset, end_offset, object_key, position, length, entries
    ) VALUES (v_merge, p_topic, p_partition, p_base, p_end, p_key, p_position, p_length, p_entries);
    RETURN 'committed';
  END $$;

  -- Its locks keep commits out: one that comes before is seen, one that comes after sees the mark.
  CREATE FUNCTION sweep_keys(p_keys text[]) RETURNS SETOF text LANGUAGE plpgsql ${PLANS} AS $$
  BEGIN
    PERFORM 1 FROM (
      SELECT 1 FROM counters WHERE name IN ('flush_id', 'merge_id') ORDER BY name FOR NO KEY UPDATE
    ) locked;
    RETURN QUERY
      INSERT INTO swept (object_key, swept_at_ms)
        SELECT DISTINCT key, now_ms() FROM unnest(p_keys) key
        WHERE NOT EXISTS (SELECT 1 FROM flushes f WHERE f.object_key = key)
          AND NOT EXISTS (SELECT 1 FROM merges m WHERE m.object_key = key)
          AND NOT EXISTS (SELECT 1 FROM doomed d WHERE d.object_key = key)
        ON CONFLICT (object_key) DO UPDATE SET swept_at_ms = excluded.swept_at_ms
        RETURNING object_key;
  END $$;
`;

const bounds = `
  CREATE FUNCTION advance_log_starts(p_topics uuid[], p_partitions int4[], p_starts int8[])
  RETURNS void LANGUAGE plpgsql ${PLANS} AS $$
  BEGIN
    PERFORM lock_partitions(p_topics, p_partitions);
    WITH wanted AS (
      SELECT i.topic_id, i.partition, max(i.log_start) AS log_start
      FROM unnest(p_topics, p_partitions, p_starts) i (topic_id, partition, log_start)
      GROUP BY i.topic_id, i.partition
    ), raised AS (
      UPDATE partitions p SET log_start = least(i.log_start, p.next_offset) FROM wanted i
      WHERE p.topic_id = i.topic_id AND p.partition = i.partition
        AND least(i.log_start, p.next_offset) > p.log_start
      RETURNING p.topic_id, p.partition, p.log_start
    ), flushes_trimmed AS (
      INSERT INTO trims AS t (topic_id, partition, needed_from) SELECT * FROM raised ORDER BY 1, 2
        ON CONFLICT (topic_id, partition)
        DO UPDATE SET needed_from = greatest(t.needed_from, excluded.needed_from)
    )
    INSERT INTO merge_trims AS t (topic_id, partition, needed_from)
      SELECT * FROM raised ORDER BY 1, 2
      ON CONFLICT (topic_id, partition)
      DO UPDATE SET needed_from = greatest(t.needed_from, excluded.needed_from);
  END $$;

  -- Its flushes and merges go when trimming comes by.
  CREATE FUNCTION delete_topic(p_topic uuid) RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM 1 FROM (
      SELECT 1 FROM partitions WHERE topic_id = p_topic ORDER BY partition FOR UPDATE
    ) locked;
    INSERT INTO trims (topic_id, partition, needed_from)
      SELECT topic_id, partition, 9007199254740991 FROM partitions WHERE topic_id = p_topic
      ORDER BY partition
      ON CONFLICT (topic_id, partition) DO UPDATE SET needed_from = excluded.needed_from;
    INSERT INTO merge_trims (topic_id, partition, needed_from)
      SELECT topic_id, partition, 9007199254740991 FROM partitions WHERE topic_id = p_topic
      ORDER BY partition
      ON CONFLICT (topic_id, partition) DO UPDATE SET needed_from = excluded.needed_from;
    DELETE FROM partitions WHERE topic_id = p_topic;
    DELETE FROM producer_states WHERE topic_id = p_topic;
    DELETE FROM assignments WHERE topic_id = p_topic;
    DELETE FROM offsets WHERE topic_id = p_topic;
    DELETE FROM topics WHERE topic_id = p_topic;
  END $$;
`;

/** All of them. */
export const functions: string = [clock, flushes, leases, merges, bounds].join("\n");
