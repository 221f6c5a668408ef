-- Last season's tickets of staff get the new notation, a few rows at a time: locks are short, and the replica keeps up.
DO $$
DECLARE
    batch constant bigint := 4000;
    highest constant bigint := (SELECT max(id) FROM registrations WHERE created_at < '2026-01-01');
BEGIN
    FOR lowest IN 0..highest BY batch LOOP
        UPDATE registrations SET ticket = 'staff/2025'
        WHERE id > lowest AND id <= lowest + batch AND ticket = 'staff';
        COMMIT;
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
