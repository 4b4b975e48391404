-- What can be held, and by whom. All that is held is an advisory lock of the server: it ends with the session that has
-- it. Keys of one number are (oid of this schema << 32) | id; keys of two numbers, (oid, number), are the lifelines of
-- sessions. Ids below 16 are our own: 0 guards the tokens, 1 the names, 2 the waits. An object that is not held has a
-- key, too: whoever waits for a change of it has that key alone.

CREATE TABLE objects (
    kind text NOT NULL,
    name text NOT NULL,
    id int NOT NULL UNIQUE,
    size int NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE SEQUENCE ids AS int MINVALUE 16 CYCLE;
CREATE SEQUENCE tokens;
CREATE SEQUENCE session_numbers AS int CYCLE;

-- Neither has to outlive the server: sessions end with it.
CREATE UNLOGGED TABLE sessions (
    number int PRIMARY KEY,
    backend int NOT NULL,
    host text NOT NULL,
    pid int NOT NULL,
    process bigint NOT NULL,
    command text NOT NULL,
    -- For people: nothing is decided by it.
    since timestamptz NOT NULL DEFAULT now()
);
CREATE UNLOGGED TABLE waits (
    session int PRIMARY KEY,
    wanted bigint NOT NULL,
    held bigint[] NOT NULL
);

-- The sessions whose lifelines are held, each by its own backend.
CREATE VIEW living AS
    SELECT s.* FROM sessions s JOIN pg_locks l ON l.objid = s.number::oid AND l.pid = s.backend
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid = (SELECT oid FROM pg_namespace WHERE nspname = current_schema());

-- What is held or waited for, by whom.
CREATE VIEW claims AS
    SELECT o.kind, o.name, o.id, o.size, l.objid::bigint AS key_id, l.mode, l.granted, l.pid AS backend
    FROM pg_locks l JOIN objects o
      ON l.objid::bigint BETWEEN o.id AND o.id + CASE WHEN o.kind = 'semaphore' THEN o.size ELSE 0 END
    WHERE l.locktype = 'advisory' AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid = (SELECT oid FROM pg_namespace WHERE nspname = current_schema());

-- Another backend than the one that began the session answers: there is a pooler in between.
CREATE FUNCTION same_backend(me int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF pg_backend_pid() <> me THEN
        RAISE EXCEPTION 'backend % answers for %', pg_backend_pid(), me USING ERRCODE = 'PRX01';
    END IF;
END $$;

CREATE FUNCTION begin_session(class int, host text, pid int, process bigint, command text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    mine int;
BEGIN
    LOOP
        mine := nextval('session_numbers');
        EXIT WHEN pg_try_advisory_lock(class, mine);
    END LOOP;
    DELETE FROM sessions s WHERE NOT EXISTS (SELECT FROM living l WHERE l.number = s.number);
    DELETE FROM waits w WHERE NOT EXISTS (SELECT FROM living l WHERE l.number = w.session) AND w.session <> mine;
    INSERT INTO sessions VALUES (mine, pg_backend_pid(), host, pid, process, command);
    PERFORM bury_queue(class);
    RETURN mine;
END $$;

-- Whether the session is whole: its backend answers, and its lifeline is held.
CREATE FUNCTION beat(me int, class int, mine int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    -- Advisory locks stack: one more, and one less, tells nothing about the first. A second unlock would.
    RETURN EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.pid = me AND l.objsubid = 2
        AND l.classid = ((class::bigint + 4294967296) % 4294967296)::oid AND l.objid = mine::oid AND l.granted);
END $$;

-- The object of this name; new ones get as many ids as they have permits, and one for the queue of those who wait. Ids
-- come again, after two thousand millions: every call of a pool has a queue for a while.
CREATE FUNCTION find_object(space bigint, a_kind text, a_name text, a_size int, OUT found_id int, OUT found_size int)
LANGUAGE plpgsql AS $$
DECLARE
    more int := CASE WHEN a_kind = 'semaphore' THEN a_size ELSE 0 END;
BEGIN
    SELECT id, size INTO found_id, found_size FROM objects WHERE kind = a_kind AND name = a_name;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(space | 1);
    SELECT id, size INTO found_id, found_size FROM objects WHERE kind = a_kind AND name = a_name;
    IF FOUND THEN
        RETURN;
    END IF;
    LOOP
        found_id := nextval('ids');
        IF found_id > 2147483647 - more THEN
            PERFORM setval('ids', 16, false);
            CONTINUE;
        END IF;
        -- Only the one before can reach into these.
        EXIT WHEN NOT EXISTS (SELECT FROM objects WHERE id BETWEEN found_id AND found_id + more)
            AND NOT EXISTS (
                SELECT FROM (SELECT * FROM objects WHERE id < found_id ORDER BY id DESC LIMIT 1) o
                WHERE o.kind = 'semaphore' AND o.id::bigint + o.size >= found_id);
    END LOOP;
    found_size := a_size;
    IF more > 0 THEN
        PERFORM setval('ids', found_id + more);
    END IF;
    INSERT INTO objects VALUES (a_kind, a_name, found_id, a_size);
END $$;

-- Whoever waits for an object says so by having its key alone; whether that is so.
CREATE FUNCTION mark(me int, key bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    RETURN pg_try_advisory_lock(key);
END $$;

CREATE FUNCTION unmark(me int, key bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    PERFORM pg_advisory_unlock(key);
END $$;

-- Tells those who wait for an object that it was changed.
CREATE FUNCTION announce(key bigint) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('procession_' || current_schema(), (key & 4294967295)::text)
$$;

-- Does that if anybody waits: all that is told costs every commit of the server a lock.
CREATE FUNCTION tell(key bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_lock_shared(key) THEN
        PERFORM pg_advisory_unlock_shared(key);
    ELSE
        PERFORM announce(key);
    END IF;
END $$;

-- The next token. Whoever comes next for one waits until this one is on the disk: a sequence writes only each 32nd
-- number, and a number that another transaction has yet to write would come again after a crash.
CREATE FUNCTION next_token(space bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(space);
    RETURN nextval('tokens');
END $$;

-- A token when the lock was free, else null.
CREATE FUNCTION try_lock(me int, space bigint, key bigint, shared boolean) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF pg_backend_pid() <> me THEN
        PERFORM same_backend(me);
    END IF;
    IF shared THEN
        IF NOT pg_try_advisory_lock_shared(key) THEN RETURN NULL; END IF;
    ELSE
        IF NOT pg_try_advisory_lock(key) THEN RETURN NULL; END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(space);
    RETURN nextval('tokens');
END $$;

-- Waits for a lock of the session, for as long as lock_timeout says. The time can be over in the moment in which the lock
-- is granted: then there is an error, and a lock of the session is held all the same, by a session that does not know of
-- it and lets go of it never. A lock of the transaction is undone by an error; and while that is held, one of the session
-- is there at once.
CREATE FUNCTION wait_advisory(key bigint, shared boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF shared THEN
        PERFORM pg_advisory_xact_lock_shared(key);
        PERFORM pg_advisory_lock_shared(key);
    ELSE
        PERFORM pg_advisory_xact_lock(key);
        PERFORM pg_advisory_lock(key);
    END IF;
END $$;

-- Waits for one slice only: who waits pins xmin, and VACUUM removes nothing that is newer.
CREATE FUNCTION wait_lock(me int, key bigint, shared boolean, slice_ms int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    PERFORM set_config('lock_timeout', slice_ms::text, true);
    PERFORM wait_advisory(key, shared);
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;

-- One of the permits key + 1 .. key + size but for those that this session has; null when none is free.
CREATE FUNCTION try_permit(me int, key bigint, size int, mine bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    -- Those who look at once begin at different ones.
    start int := pg_backend_pid() % size;
    slot bigint;
BEGIN
    PERFORM same_backend(me);
    FOR i IN 0 .. size - 1 LOOP
        slot := key + 1 + (start + i) % size;
        CONTINUE WHEN slot = ANY (mine);
        IF pg_try_advisory_lock(slot) THEN
            RETURN slot;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- So many of them; null, and none taken, when too few are free.
CREATE FUNCTION try_permits(me int, key bigint, size int, wanted int, mine bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    slot bigint;
    taken bigint[] := '{}';
BEGIN
    WHILE cardinality(taken) < wanted LOOP
        slot := try_permit(me, key, size, mine || taken);
        IF slot IS NULL THEN
            PERFORM pg_advisory_unlock(t) FROM unnest(taken) t;
            RETURN NULL;
        END IF;
        taken := taken || slot;
    END LOOP;
    RETURN taken;
END $$;

-- Waits for so many permits for one slice: half of it in the queue of those who wait, half of it, being its head, for any
-- of the permits. Nobody can wait for several locks at once: it waits for one after the other, ten milliseconds each. It
-- counts these, and reads no clock: one that is set back would have it wait for as long. Who wants several keeps what it
-- has gathered, and its place at the head, from one slice to the next. The permits it has then.
CREATE FUNCTION wait_permits(me int, key bigint, size int, wanted int, gathered bigint[], slice_ms int) RETURNS bigint[]
LANGUAGE plpgsql AS $$
DECLARE
    half int := greatest(slice_ms / 2, 1);
    slot bigint;
    turn int := pg_backend_pid() % size;
    waited int := 0;
BEGIN
    PERFORM set_config('lock_timeout', half::text, true);
    BEGIN
        IF wanted = 1 THEN
            PERFORM pg_advisory_xact_lock(key);
        ELSIF cardinality(gathered) = 0 THEN
            -- Until it has all of them; a session that gives up is ended, and lets go of it.
            PERFORM wait_advisory(key, false);
        END IF;
    EXCEPTION WHEN lock_not_available THEN
        RETURN gathered;
    END;
    PERFORM set_config('lock_timeout', least(half, 10)::text, true);
    WHILE cardinality(gathered) < wanted LOOP
        slot := try_permit(me, key, size, gathered);
        IF slot IS NULL THEN
            EXIT WHEN waited > half / 10;
            waited := waited + 1;
            LOOP
                turn := (turn + 1) % size;
                EXIT WHEN key + 1 + turn <> ALL (gathered);
            END LOOP;
            BEGIN
                PERFORM wait_advisory(key + 1 + turn, false);
                slot := key + 1 + turn;
            EXCEPTION WHEN lock_not_available THEN
                CONTINUE;
            END;
        END IF;
        gathered := gathered || slot;
    END LOOP;
    IF wanted > 1 AND (cardinality(gathered) = wanted OR cardinality(gathered) = 0) THEN
        PERFORM pg_advisory_unlock(key);
    END IF;
    RETURN gathered;
END $$;

-- Whether it was held until now.
CREATE FUNCTION unlock(me int, key bigint, shared boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF pg_backend_pid() <> me THEN
        PERFORM same_backend(me);
    END IF;
    IF shared THEN
        RETURN pg_advisory_unlock_shared(key);
    END IF;
    RETURN pg_advisory_unlock(key);
END $$;

-- Says that this session waits for a thread that holds these; true, and nothing said, when that closes a circle. They
-- come one after the other, so that of those in a circle only the last one is told.
CREATE FUNCTION say_wait(space bigint, mine int, a_wanted bigint, a_held bigint[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    closes boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(space | 2);
    WITH RECURSIVE waiting AS (
        SELECT w.* FROM waits w JOIN living l ON l.number = w.session WHERE w.session <> mine
    ), reached AS (
        SELECT w.session, w.wanted FROM waiting w WHERE a_wanted = ANY (w.held)
        UNION
        SELECT w.session, w.wanted FROM reached r JOIN waiting w ON r.wanted = ANY (w.held)
    ) SELECT EXISTS (SELECT FROM reached r WHERE r.wanted = ANY (a_held)) INTO closes;
    IF NOT closes THEN
        INSERT INTO waits VALUES (mine, a_wanted, a_held)
            ON CONFLICT (session) DO UPDATE SET wanted = excluded.wanted, held = excluded.held;
    END IF;
    RETURN closes;
END $$;

-- Lets a role use the cluster: for whoever owns the schema.
CREATE FUNCTION admit(who text) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    here text := quote_ident(current_schema());
    whom text := CASE WHEN lower(who) = 'public' THEN 'PUBLIC' ELSE quote_ident(who) END;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s', here, whom);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s', here, whom);
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %s.version FROM %s', here, whom);
    EXECUTE format('GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA %s TO %s', here, whom);
    EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %s TO %s', here, whom);
END $$;

-- Lets all who may use the schema use what a new version has added to it.
CREATE FUNCTION admit_all_again() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM admit(CASE WHEN a.grantee = 0 THEN 'public' ELSE pg_get_userbyid(a.grantee) END)
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.nspname = current_schema() AND a.privilege_type = 'USAGE' AND a.grantee <> n.nspowner;
END $$;
