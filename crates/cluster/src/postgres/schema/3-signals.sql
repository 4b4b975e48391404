-- What nobody holds: events, latches and counters are a number each; a barrier is a row, and one for each arrival, which
-- names the session that waits. A session whose lifeline can be taken is dead.

CREATE TABLE signals (
    id int PRIMARY KEY,
    value bigint NOT NULL,
    -- How often those who wait for an event were let go.
    pulses bigint NOT NULL,
    -- The session for which an event is set: it is set for as long as that lives.
    owner int
);

-- Neither has to outlive the server: all who wait learn that it has ended.
CREATE UNLOGGED TABLE barriers (
    id int PRIMARY KEY,
    generation bigint NOT NULL DEFAULT 0,
    -- Why it is broken, and who has died if that is why.
    broken text,
    died text
);
CREATE UNLOGGED TABLE arrivals (
    barrier int NOT NULL,
    generation bigint NOT NULL,
    place int NOT NULL,
    session int NOT NULL,
    -- Why this wait failed although the barrier went on.
    failed text,
    PRIMARY KEY (barrier, generation, place)
);
ALTER TABLE signals SET (fillfactor = 50);
ALTER TABLE barriers SET (fillfactor = 50);

-- Changes a signal: set, clear, pulse, add, put. What it is then; null when that would be too large.
CREATE FUNCTION change_signal(me int, space bigint, a_id int, change text, n bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    was signals;
BEGIN
    PERFORM same_backend(me);
    INSERT INTO signals VALUES (a_id, 0, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO was FROM signals WHERE id = a_id FOR UPDATE;
    -- Set for nobody, or not at all. A pulse leaves it as it is.
    was.owner := CASE WHEN change IN ('set', 'clear') THEN NULL ELSE was.owner END;
    was.pulses := was.pulses + CASE WHEN change IN ('set', 'pulse') THEN 1 ELSE 0 END;
    was.value := CASE change WHEN 'set' THEN 1 WHEN 'clear' THEN 0 WHEN 'add' THEN was.value + n WHEN 'put' THEN n
                             ELSE was.value END;
    UPDATE signals SET value = was.value, pulses = was.pulses, owner = was.owner WHERE id = a_id;
    PERFORM tell(space | a_id);
    RETURN was.value;
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN NULL;
END $$;

-- Whether a session lives. Those who ask share the lifeline of one that is dead: each of them is told so.
CREATE FUNCTION lives(class int, mine int, session int) RETURNS boolean LANGUAGE sql AS $$
    SELECT CASE WHEN session = mine THEN true ELSE NOT pg_try_advisory_xact_lock_shared(class, session) END
$$;

-- What a signal is. An event that is set for a dead session is cleared; a crash of the server may undo that, and then
-- whoever looks next does it again.
CREATE FUNCTION read_signal(me int, class int, mine int, a_id int, OUT value bigint, OUT pulses bigint) LANGUAGE plpgsql AS $$
DECLARE
    for_whom int;
BEGIN
    PERFORM same_backend(me);
    SELECT s.value, s.pulses, s.owner INTO value, pulses, for_whom FROM signals s WHERE s.id = a_id;
    IF for_whom IS NOT NULL AND NOT lives(class, mine, for_whom) THEN
        PERFORM set_config('synchronous_commit', 'off', true);
        UPDATE signals s SET value = 0, owner = NULL WHERE s.id = a_id AND s.owner = for_whom;
        -- Otherwise somebody else has set it meanwhile: that is seen with the next look.
        value := 0;
        PERFORM tell(class::bigint << 32 | a_id);
    END IF;
    value := coalesce(value, 0);
    pulses := coalesce(pulses, 0);
END $$;

-- Sets an event for as long as this session lives; null, or another process for which it is set, and which lives.
CREATE FUNCTION own_event(me int, class int, mine int, a_id int, OUT host text, OUT pid int, OUT command text, OUT since bigint)
LANGUAGE plpgsql AS $$
DECLARE
    for_whom int;
    other sessions;
    self sessions;
BEGIN
    PERFORM same_backend(me);
    INSERT INTO signals VALUES (a_id, 0, 0) ON CONFLICT DO NOTHING;
    SELECT s.owner INTO for_whom FROM signals s WHERE s.id = a_id FOR UPDATE;
    IF for_whom IS NOT NULL AND lives(class, mine, for_whom) THEN
        SELECT * INTO other FROM sessions s WHERE s.number = for_whom;
        SELECT * INTO self FROM sessions s WHERE s.number = mine;
        -- A process may have several connections.
        IF other.process IS DISTINCT FROM self.process THEN
            SELECT coalesce(other.host, ''), coalesce(other.pid, 0), coalesce(other.command, ''),
                coalesce(extract(epoch FROM other.since), 0)::bigint INTO host, pid, command, since;
            RETURN;
        END IF;
    END IF;
    UPDATE signals s SET value = 1, pulses = s.pulses + 1, owner = mine WHERE s.id = a_id;
    PERFORM tell(class::bigint << 32 | a_id);
END $$;

-- Breaks a barrier if somebody is dead who waits at it in that generation.
CREATE FUNCTION miss_the_dead(me int, class int, mine int, b int, a_generation bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    other int;
    who text;
BEGIN
    IF NOT EXISTS (SELECT FROM barriers WHERE id = b AND generation = a_generation AND broken IS NULL) THEN RETURN; END IF;
    FOR other IN SELECT DISTINCT session FROM arrivals a WHERE a.barrier = b AND a.generation = a_generation LOOP
        CONTINUE WHEN lives(class, mine, other);
        SELECT format('%s (pid %s on %s)', s.command, s.pid, s.host) INTO who FROM sessions s WHERE s.number = other;
        PERFORM break_barrier(me, class::bigint << 32, b, a_generation, 'died', coalesce(who, 'a process that nobody remembers'));
    END LOOP;
END $$;

-- Arrives at a barrier: the generation and the place that this wait has; the last one ends the generation. Of a broken
-- barrier only why it is.
CREATE FUNCTION arrive(me int, space bigint, mine int, b int, parties int,
                       OUT a_generation bigint, OUT a_place int, OUT is_last boolean, OUT why text, OUT who text)
LANGUAGE plpgsql AS $$
DECLARE
    arrived int;
BEGIN
    PERFORM same_backend(me);
    INSERT INTO barriers (id) VALUES (b) ON CONFLICT DO NOTHING;
    SELECT generation INTO a_generation FROM barriers WHERE id = b FOR UPDATE;
    SELECT count(*) INTO arrived FROM arrivals a WHERE a.barrier = b AND a.generation = a_generation;
    IF arrived + 1 >= parties THEN
        -- The others look while they wait; of one that died alone, this has to be told.
        PERFORM miss_the_dead(me, (space >> 32)::int, mine, b, a_generation);
    END IF;
    SELECT broken, died INTO why, who FROM barriers WHERE id = b;
    is_last := why IS NULL AND arrived + 1 >= parties;
    IF why IS NOT NULL THEN RETURN; END IF;
    -- A wait that was taken back has left its place to others.
    SELECT min(free) INTO a_place FROM generate_series(0, parties - 1) free WHERE NOT EXISTS (
        SELECT FROM arrivals a WHERE a.barrier = b AND a.generation = a_generation AND a.place = free);
    IF NOT is_last THEN
        INSERT INTO arrivals VALUES (b, a_generation, a_place, mine);
        RETURN;
    END IF;
    UPDATE barriers SET generation = a_generation + 1 WHERE id = b;
    -- The others take away what is theirs; what the dead have left is taken away here.
    DELETE FROM arrivals a WHERE a.barrier = b AND a.generation < a_generation
        AND NOT EXISTS (SELECT FROM living l WHERE l.number = a.session);
    PERFORM tell(space | b);
END $$;

-- What became of a wait: waits, passed or broken, why, and who has died. Somebody who waits and is dead breaks the barrier.
CREATE FUNCTION look_at_barrier(me int, class int, mine int, b int, a_generation bigint, a_place int,
                                OUT state text, OUT why text, OUT who text) LANGUAGE plpgsql AS $$
DECLARE
    now barriers;
BEGIN
    PERFORM same_backend(me);
    PERFORM miss_the_dead(me, class, mine, b, a_generation);
    SELECT * INTO now FROM barriers WHERE id = b;
    state := 'waits';
    IF now.generation IS DISTINCT FROM a_generation OR now.broken IS NOT NULL THEN
        DELETE FROM arrivals a WHERE a.barrier = b AND a.generation = a_generation AND a.place = a_place AND a.session = mine
            RETURNING a.failed INTO why;
        -- A row that is gone went with the server's crash.
        why := CASE WHEN NOT FOUND THEN 'the server was started again' ELSE why END;
        IF now.generation = a_generation THEN
            why := now.broken;
            who := now.died;
        END IF;
        state := CASE WHEN why IS NULL THEN 'passed' ELSE 'broken' END;
    END IF;
END $$;

-- Breaks a barrier in that generation, or in whichever it is (null).
CREATE FUNCTION break_barrier(me int, space bigint, b int, a_generation bigint, why text, who text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    IF a_generation IS NULL THEN
        INSERT INTO barriers (id) VALUES (b) ON CONFLICT DO NOTHING;
    END IF;
    UPDATE barriers SET broken = why, died = who
        WHERE id = b AND broken IS NULL AND generation = coalesce(a_generation, generation);
    PERFORM tell(space | b);
END $$;

-- Makes a barrier whole: those who wait are told, if they were not yet, that it was broken.
CREATE FUNCTION reset_barrier(me int, space bigint, b int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now barriers;
BEGIN
    PERFORM same_backend(me);
    SELECT * INTO now FROM barriers WHERE id = b FOR UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    UPDATE arrivals SET failed = coalesce(now.broken, 'it was reset') WHERE barrier = b AND generation = now.generation;
    UPDATE barriers SET generation = now.generation + 1, broken = NULL, died = NULL WHERE id = b;
    PERFORM tell(space | b);
END $$;

-- Takes a wait back that was interrupted; whether its generation had not ended.
CREATE FUNCTION withdraw(me int, b int, mine int, a_generation bigint, a_place int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM same_backend(me);
    PERFORM FROM barriers WHERE id = b AND generation = a_generation FOR UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    DELETE FROM arrivals a WHERE a.barrier = b AND a.generation = a_generation AND a.place = a_place AND a.session = mine;
    RETURN true;
END $$;

-- How many wait; null while it is broken.
CREATE FUNCTION barrier_state(me int, class int, mine int, b int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    now barriers;
BEGIN
    PERFORM same_backend(me);
    PERFORM miss_the_dead(me, class, mine, b, (SELECT generation FROM barriers WHERE id = b));
    SELECT * INTO now FROM barriers WHERE id = b;
    IF now.broken IS NOT NULL THEN RETURN NULL; END IF;
    RETURN (SELECT count(*) FROM arrivals a WHERE a.barrier = b AND a.generation = now.generation);
END $$;

-- What people are told of an object that is not held: a number, and its state in words.
CREATE FUNCTION state_of(o objects, OUT number bigint, OUT state text) LANGUAGE plpgsql AS $$
DECLARE
    is_closed boolean;
    why text;
BEGIN
    IF o.kind IN ('event', 'latch', 'counter') THEN
        SELECT coalesce(max(value), 0) INTO number FROM signals
            WHERE id = o.id AND (owner IS NULL OR owner IN (SELECT l.number FROM living l));
        state := CASE
            WHEN o.kind = 'counter' THEN number::text
            WHEN o.kind = 'event' THEN CASE WHEN number = 1 THEN 'set' ELSE 'not set' END
            WHEN number >= o.size THEN 'open'
            ELSE format('%s of %s arrived', number, o.size) END;
    ELSIF o.kind = 'barrier' THEN
        SELECT count(*) INTO number FROM arrivals a JOIN barriers b ON b.id = a.barrier AND b.generation = a.generation
            WHERE b.id = o.id;
        SELECT broken || coalesce(': ' || died, '') INTO why FROM barriers WHERE id = o.id;
        state := coalesce('broken: ' || why, format('%s of %s arrived', number, o.size));
    ELSIF o.kind = 'queue' THEN
        SELECT (SELECT count(*) FROM items WHERE queue = o.id AND lease IS NULL AND NOT dead)
             + (SELECT count(*) FROM items WHERE queue = o.id AND lease IS NOT NULL) INTO number;
        SELECT closed INTO is_closed FROM queues WHERE id = o.id;
        state := format('%s items', number) || CASE WHEN is_closed THEN ', closed' ELSE '' END;
    END IF;
END $$;
