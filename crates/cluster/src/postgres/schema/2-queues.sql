-- Queues. An item is a row; who has it, has its number of a session in the row, and is dead when the lifeline of that
-- session can be taken. So no clock decides that somebody is dead. A lease may be given a time as well, by the clock of
-- this server: it ends with its session or with its time, whichever is first.

CREATE TABLE queues (
    id int PRIMARY KEY,
    name text NOT NULL UNIQUE,
    codec text NOT NULL,
    max_attempts int NOT NULL,
    closed boolean NOT NULL DEFAULT false,
    -- The process that alone wants what is in it, and since when that is known to have no session.
    process bigint,
    gone timestamptz
);
CREATE TABLE items (
    queue int NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item bytea NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    lease int,
    dead boolean NOT NULL DEFAULT false,
    -- What tells this lease of the item from every other, for those who have no more of it than that.
    key bigint,
    -- When the lease is over, if it was given a time.
    until timestamptz
);
-- An item is in one of these. There is no index over all items of a queue: each change would cost more, and the planner,
-- which knows nothing of queues that were just filled, would read all of a queue to find one item of it.
CREATE INDEX items_ready ON items (queue, id) WHERE lease IS NULL AND NOT dead;
CREATE INDEX items_leased ON items (queue, lease) WHERE lease IS NOT NULL;
CREATE INDEX items_timed ON items (queue, until) WHERE until IS NOT NULL;
CREATE INDEX items_dead ON items (queue, id) WHERE dead;
-- Rows come and go: what is left of them is to be removed early.
ALTER TABLE items SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- What the queue of this id is; it is made if there is none, and the object of this id was not removed: else null.
CREATE FUNCTION find_queue(
    q int, a_name text, a_codec text, a_most int, a_process bigint, OUT found_codec text, OUT found_most int)
LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        SELECT codec, max_attempts INTO found_codec, found_most FROM queues WHERE id = q AND name = a_name;
        EXIT WHEN FOUND;
        -- Whoever removes the object waits until this queue is there, and removes it, too.
        PERFORM FROM objects WHERE id = q AND kind = 'queue' AND name = a_name FOR SHARE;
        EXIT WHEN NOT FOUND;
        INSERT INTO queues (id, name, codec, max_attempts, process) VALUES (q, a_name, a_codec, a_most, a_process)
            ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- Puts all or none; false when the queue is closed. Whoever closes it waits for those who put.
CREATE FUNCTION put_items(me int, space bigint, q int, all_items bytea[]) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    PERFORM FROM queues WHERE id = q AND NOT closed FOR SHARE;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO items (queue, item) SELECT q, unnest(all_items);
    PERFORM tell(space | q);
    RETURN true;
END $$;

-- Takes the items that have waited longest; those that others are taking are passed over. It need not wait for the
-- disk: after a crash of the server they are there again.
CREATE FUNCTION take_items(me int, mine int, q int, most int)
RETURNS TABLE (item_id bigint, bytes bytea, attempt int, lease_key bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY
        UPDATE items i
        SET lease = mine, attempts = i.attempts + 1, until = NULL, key = (random() * 9007199254740992)::bigint
        WHERE i.id = ANY (ARRAY(
            SELECT r.id FROM items r WHERE r.queue = q AND r.lease IS NULL AND NOT r.dead
            ORDER BY r.id LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING i.id, i.item, i.attempts, i.key;
END $$;

-- Gives back what dead sessions have taken, and what was taken for a time that is over. As long as this has the lifeline of
-- a session, nobody can begin one of its number; and a row that was given back meanwhile and taken by another has another
-- number.
CREATE FUNCTION bury(me int, class int, mine int, q int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    most int := (SELECT max_attempts FROM queues WHERE id = q);
    holder int;
    changed bigint;
    buried bigint;
BEGIN
    PERFORM same_backend(me);
    UPDATE items i SET lease = NULL, until = NULL, dead = i.attempts >= most
        WHERE i.queue = q AND i.until IS NOT NULL AND i.until <= clock_timestamp() AND i.lease IS NOT NULL;
    GET DIAGNOSTICS buried = ROW_COUNT;
    FOR holder IN SELECT DISTINCT lease FROM items WHERE queue = q AND lease IS NOT NULL AND lease <> mine LOOP
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(class, holder);
        UPDATE items i SET lease = NULL, until = NULL, dead = i.attempts >= most
            WHERE i.queue = q AND i.lease = holder;
        GET DIAGNOSTICS changed = ROW_COUNT;
        buried := buried + changed;
    END LOOP;
    IF buried > 0 THEN
        PERFORM tell(class::bigint << 32 | q);
    END IF;
    RETURN buried;
END $$;

-- Whether something is neither done nor a dead letter: without counting.
CREATE FUNCTION has_more(q int) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM items WHERE queue = q AND lease IS NULL AND NOT dead)
        OR EXISTS (SELECT FROM items WHERE queue = q AND lease IS NOT NULL)
$$;

-- Ends leases: done (the items go), failed (they are taken again, unless that was too often), untried (this attempt
-- does not count), or dead. The ids of those that were ours until now. A crash of the server may undo the last moment's.
CREATE FUNCTION end_leases(me int, space bigint, mine int, q int, ids bigint[], tried int[], fate text)
RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    PERFORM set_config('synchronous_commit', 'off', true);
    IF fate = 'done' THEN
        -- `+ 0`: they are found by their ids, and not among all that this session has.
        RETURN QUERY DELETE FROM items i USING unnest(ids, tried) AS a(id, attempt)
            WHERE i.id = a.id AND i.lease + 0 = mine AND i.attempts = a.attempt
              AND (i.until IS NULL OR i.until > clock_timestamp()) RETURNING i.id;
    ELSE
        RETURN QUERY UPDATE items i
            SET lease = NULL, until = NULL, attempts = i.attempts - CASE fate WHEN 'untried' THEN 1 ELSE 0 END,
                dead = fate = 'dead'
                    OR fate = 'failed' AND i.attempts >= (SELECT max_attempts FROM queues WHERE queues.id = q)
            FROM unnest(ids, tried) AS a(id, attempt)
            WHERE i.id = a.id AND i.lease + 0 = mine AND i.attempts = a.attempt RETURNING i.id;
    END IF;
    -- Those who wait want to hear of items that are there again, and that nothing is left.
    IF fate <> 'done' OR NOT has_more(q) THEN
        PERFORM tell(space | q);
    END IF;
END $$;

-- Whose lease of the item has this key; null when it is over, or its session is.
CREATE FUNCTION holder_of(class int, mine int, q int, item_id bigint, a_key bigint, OUT holder int, OUT ends timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT i.lease, i.until INTO holder, ends FROM items i
        WHERE i.id = item_id AND i.queue + 0 = q AND i.key = a_key AND i.lease IS NOT NULL
          AND (i.until IS NULL OR i.until > clock_timestamp()) FOR UPDATE;
    IF FOUND AND holder <> mine AND pg_try_advisory_xact_lock(class, holder) THEN
        holder := NULL;
    END IF;
END $$;

-- Decides about an item by the key of its lease, whoever has that: its end as in `end_leases`, or that it `lasts` for so
-- many milliseconds from now on; null is for as long as its session. Whether it was somebody's until now.
CREATE FUNCTION redeem(me int, class int, mine int, q int, item_id bigint, a_key bigint, fate text, ms bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    holder int;
BEGIN
    PERFORM same_backend(me);
    holder := (holder_of(class, mine, q, item_id, a_key)).holder;
    IF holder IS NULL THEN
        RETURN false;
    ELSIF fate = 'lasts' THEN
        UPDATE items SET until = clock_timestamp() + ms * interval '1 millisecond' WHERE id = item_id;
    ELSE
        PERFORM end_leases(me, class::bigint << 32, holder, q, ARRAY[item_id], ARRAY[i.attempts], fate)
            FROM items i WHERE i.id = item_id;
    END IF;
    RETURN true;
END $$;

-- Whether a lease is somebody's, and for how many milliseconds; null is for as long as its session.
CREATE FUNCTION time_left(me int, class int, mine int, q int, item_id bigint, a_key bigint, OUT is_held boolean, OUT ms bigint)
LANGUAGE plpgsql AS $$
DECLARE
    lease record;
BEGIN
    PERFORM same_backend(me);
    lease := holder_of(class, mine, q, item_id, a_key);
    is_held := lease.holder IS NOT NULL;
    -- By the clock it can be over by now.
    ms := CASE WHEN lease.ends IS NOT NULL THEN greatest(ceil(extract(epoch FROM lease.ends - clock_timestamp()) * 1000), 0) END;
END $$;

-- Acknowledges an item in the caller's own transaction: it is done if that is committed, and not otherwise.
CREATE FUNCTION ack(queue_name text, item_id bigint, session int, attempt int) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM items i WHERE i.id = item_id AND i.lease + 0 = session AND i.attempts = attempt
        AND (i.until IS NULL OR i.until > clock_timestamp())
        AND i.queue + 0 = (SELECT q.id FROM queues q WHERE q.name = queue_name);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'item % of the queue % is not leased to session % in attempt %', item_id, queue_name, session, attempt
            USING ERRCODE = 'PRX02', HINT = 'its lease was lost: somebody else has it, or has done it';
    END IF;
END $$;

CREATE FUNCTION queue_state(me int, q int, OUT ready bigint, OUT leased bigint, OUT dead_ones bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    SELECT (SELECT count(*) FROM items WHERE queue = q AND lease IS NULL AND NOT dead),
           (SELECT count(*) FROM items WHERE queue = q AND lease IS NOT NULL),
           (SELECT count(*) FROM items WHERE queue = q AND dead) INTO ready, leased, dead_ones;
END $$;

-- What those who wait want to know.
CREATE FUNCTION queue_rest(me int, q int, OUT is_closed boolean, OUT more boolean) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    SELECT coalesce((SELECT closed FROM queues WHERE id = q), true), has_more(q) INTO is_closed, more;
END $$;

CREATE FUNCTION close_queue(me int, space bigint, q int, as_closed boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    UPDATE queues SET closed = as_closed WHERE id = q;
    PERFORM tell(space | q);
    RETURN as_closed;
END $$;

-- Removes the queue with all that is in it: those who wait are told that it is closed.
CREATE FUNCTION remove_queue(me int, space bigint, q int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    DELETE FROM objects WHERE id = q AND kind = 'queue';
    -- Waits for those who put; from then on nobody does.
    DELETE FROM queues WHERE id = q;
    DELETE FROM items WHERE queue = q AND lease IS NULL AND NOT dead;
    DELETE FROM items WHERE queue = q AND lease IS NOT NULL;
    DELETE FROM items WHERE queue = q AND dead;
    PERFORM tell(space | q);
    RETURN true;
END $$;

-- Removes one of the queues whose processes have had no session for a day: whoever was cut off, or waits for a server that
-- is started again, comes back sooner than that. What is in it goes first, so much at a time that whoever connects need not
-- wait for long.
CREATE FUNCTION bury_queue(class int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    q int;
BEGIN
    UPDATE queues SET gone = CASE WHEN gone IS NULL THEN now() END
        WHERE process IS NOT NULL
          AND (gone IS NULL) <> EXISTS (SELECT FROM living l WHERE l.process = queues.process);
    SELECT id INTO q FROM queues WHERE gone < now() - interval '1 day' LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        DELETE FROM items WHERE id = ANY (ARRAY(
            SELECT i.id FROM items i WHERE i.queue = q AND i.lease IS NULL AND NOT i.dead LIMIT 10000));
        IF NOT FOUND THEN
            PERFORM remove_queue(pg_backend_pid(), class::bigint << 32, q);
        END IF;
    END IF;
END $$;

CREATE FUNCTION dead_items(me int, q int) RETURNS TABLE (item_id bigint, bytes bytea, attempt int, no_key bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    RETURN QUERY SELECT i.id, i.item, i.attempts, NULL::bigint FROM items i WHERE i.queue = q AND i.dead ORDER BY i.id;
END $$;

-- A dead letter is taken again, or removed; whether it was there.
CREATE FUNCTION settle_dead(me int, space bigint, q int, item_id bigint, again boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    IF again THEN
        PERFORM tell(space | q);
        UPDATE items i SET dead = false, attempts = 0 WHERE i.id = item_id AND i.queue + 0 = q AND i.dead;
        RETURN FOUND;
    END IF;
    DELETE FROM items i WHERE i.id = item_id AND i.queue + 0 = q AND i.dead;
    RETURN FOUND;
END $$;
