/**
 * What the third migration of the PostgreSQL metadata adds for consumer groups of many members: columns, indexes, and two functions that
 * make loading and saving a group one round trip each. Part of `postgres-schema.ts`; called by `postgres-membership.ts`.
 *
 * - A group's row is locked by whoever changes its members or targets. A heartbeat that changes nothing locks its own member's row
 *   only; that is enough, because whoever has something for a member to do, or puts it out, writes that row, too.
 * - `assignments`: one row for each partition, with its holder (`member_id`) and who is to have it (`target_id`). A commit locks those of
 *   its partitions against changes, so that nobody gets them before it is over; it does not lock the group.
 * - The version of all topics is the counter `topics`.
 * - Plans are made once, for any number of rows: see `postgres-functions.ts`.
 */

const PLANS = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off";

export const groupMigration: string = `
  ALTER TABLE consumer_groups
    ADD COLUMN topics_version int8 NOT NULL DEFAULT -1,
    ADD COLUMN check_at_ms int8 NOT NULL DEFAULT 0,
    ADD COLUMN active_at_ms int8 NOT NULL DEFAULT 0;
  ALTER TABLE consumer_groups SET (fillfactor = 50);
  ALTER TABLE members
    ADD COLUMN instance_id text NOT NULL DEFAULT '',
    ADD COLUMN session_timeout_ms int8 NOT NULL DEFAULT 10000,
    ADD COLUMN rebalance_timeout_ms int8 NOT NULL DEFAULT 60000,
    ADD COLUMN is_away boolean NOT NULL DEFAULT false,
    ADD COLUMN is_pending boolean NOT NULL DEFAULT true;
  ALTER TABLE assignments
    ADD COLUMN target_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN revoke_by_ms int8 NOT NULL DEFAULT 0;
  UPDATE assignments SET target_id = member_id;
  CREATE INDEX assignments_by_member ON assignments (group_name, member_id);
  CREATE INDEX assignments_by_target ON assignments (group_name, target_id);
  INSERT INTO counters (name, value) VALUES ('topics', 0);

  -- All of a group at one moment. The names are of topics that are wanted besides.
  CREATE FUNCTION read_group(p_group text, p_names text[], p_now int8)
  RETURNS json LANGUAGE plpgsql ${PLANS} AS $$
  BEGIN
    RETURN (
      SELECT json_build_object(
        'now', p_now,
        'epoch', g.epoch,
        'version', g.topics_version,
        'versionNow', (SELECT value FROM counters WHERE name = 'topics'),
        'topics', (
          SELECT json_agg(json_build_array(t.topic_id, t.name, t.partitions)) FROM topics t
          WHERE t.topic_id IN (
            SELECT n.topic_id FROM topics n WHERE n.name = ANY (p_names)
            UNION SELECT a.topic_id FROM assignments a WHERE a.group_name = p_group
          )
        ),
        'members', (
          SELECT json_agg(json_build_array(
            m.member_id, m.instance_id, m.client_id, m.topics, m.joined_epoch, m.member_epoch,
            m.previous_epoch, m.session_timeout_ms, m.rebalance_timeout_ms, m.expires_at_ms,
            m.is_away, m.is_pending
          )) FROM members m WHERE m.group_name = p_group
        ),
        'placements', (
          SELECT json_agg(json_build_array(
            a.topic_id, a.partition, a.member_id, a.epoch, a.target_id, a.revoke_by_ms
          )) FROM assignments a WHERE a.group_name = p_group
        )
      ) FROM consumer_groups g WHERE g.name = p_group
    );
  END $$;

  -- Locks the group, then reads the clock, then locks the member that calls and those whose session
  -- seems to have ended: one that is renewed meanwhile is seen renewed. Topics stay until what is
  -- made of them is written: deleting one takes its assignments along.
  CREATE FUNCTION open_group(p_group text, p_member text, p_topics text[], p_create boolean)
  RETURNS json LANGUAGE plpgsql ${PLANS} AS $$
  DECLARE
    v_now int8;
    v_names text[];
  BEGIN
    LOOP
      PERFORM 1 FROM consumer_groups WHERE name = p_group FOR NO KEY UPDATE;
      EXIT WHEN FOUND;
      IF NOT p_create THEN
        RETURN NULL;
      END IF;
      INSERT INTO consumer_groups (name, epoch) VALUES (p_group, 0)
        ON CONFLICT (name) DO NOTHING;
    END LOOP;
    v_now := now_ms();
    PERFORM 1 FROM (
      SELECT 1 FROM members
      WHERE group_name = p_group AND (member_id = p_member OR expires_at_ms <= v_now)
      ORDER BY member_id FOR NO KEY UPDATE
    ) locked;
    SELECT coalesce(array_agg(name), '{}') INTO v_names FROM (
      SELECT unnest(p_topics) AS name UNION
      SELECT json_array_elements_text(kinds.topics::json) FROM (
        SELECT DISTINCT m.topics FROM members m WHERE m.group_name = p_group
      ) kinds
    ) wanted;
    PERFORM 1 FROM (
      SELECT 1 FROM topics WHERE name = ANY (v_names) ORDER BY topic_id FOR KEY SHARE
    ) locked;
    RETURN read_group(p_group, v_names, v_now);
  END $$;

  CREATE FUNCTION save_group(
    p_group text, p_epoch int8, p_version int8, p_check_at int8, p_now int8,
    p_removed text[], p_pending text[], p_members json,
    p_gone_topics uuid[], p_gone_partitions int4[],
    p_topics uuid[], p_partitions int4[], p_holders text[], p_epochs int8[], p_targets text[],
    p_revoke_by int8[]
  ) RETURNS void LANGUAGE plpgsql ${PLANS} AS $$
  BEGIN
    UPDATE consumer_groups
      SET epoch = p_epoch, topics_version = p_version, check_at_ms = p_check_at,
        active_at_ms = p_now
      WHERE name = p_group;
    IF cardinality(p_removed) > 0 THEN
      DELETE FROM members WHERE group_name = p_group AND member_id = ANY (p_removed);
    END IF;
    INSERT INTO members (
      group_name, member_id, instance_id, client_id, topics, joined_epoch, member_epoch,
      previous_epoch, session_timeout_ms, rebalance_timeout_ms, expires_at_ms, is_away, is_pending
    )
      SELECT p_group, m.* FROM json_to_recordset(p_members) m (
        "memberId" text, "instanceId" text, "clientId" text, topics text, "joinedEpoch" int8,
        "memberEpoch" int8, "previousEpoch" int8, "sessionTimeoutMs" int8,
        "rebalanceTimeoutMs" int8, "expiresAtMs" int8, "isAway" boolean, "isPending" boolean
      )
      ON CONFLICT (group_name, member_id) DO UPDATE SET
        instance_id = excluded.instance_id, client_id = excluded.client_id,
        topics = excluded.topics, joined_epoch = excluded.joined_epoch,
        member_epoch = excluded.member_epoch, previous_epoch = excluded.previous_epoch,
        session_timeout_ms = excluded.session_timeout_ms,
        rebalance_timeout_ms = excluded.rebalance_timeout_ms,
        expires_at_ms = excluded.expires_at_ms, is_away = excluded.is_away,
        is_pending = excluded.is_pending;
    IF cardinality(p_pending) > 0 THEN
      UPDATE members SET is_pending = true
        WHERE group_name = p_group AND member_id = ANY (p_pending) AND NOT is_pending;
    END IF;
    -- In this order, as commits lock them.
    PERFORM 1 FROM (
      SELECT 1 FROM unnest(p_topics || p_gone_topics, p_partitions || p_gone_partitions)
        i (topic_id, partition)
      JOIN assignments a
        ON a.group_name = p_group AND a.topic_id = i.topic_id AND a.partition = i.partition
      ORDER BY a.topic_id, a.partition FOR UPDATE OF a
    ) locked;
    IF cardinality(p_gone_topics) > 0 THEN
      DELETE FROM assignments a
        USING unnest(p_gone_topics, p_gone_partitions) i (topic_id, partition)
        WHERE a.group_name = p_group AND a.topic_id = i.topic_id AND a.partition = i.partition;
    END IF;
    IF cardinality(p_topics) > 0 THEN
      INSERT INTO assignments (
        group_name, topic_id, partition, member_id, epoch, target_id, revoke_by_ms
      )
        SELECT p_group, * FROM unnest(
          p_topics, p_partitions, p_holders, p_epochs, p_targets, p_revoke_by
        )
        ON CONFLICT (group_name, topic_id, partition) DO UPDATE SET
          member_id = excluded.member_id, epoch = excluded.epoch, target_id = excluded.target_id,
          revoke_by_ms = excluded.revoke_by_ms;
    END IF;
  END $$;
`;
