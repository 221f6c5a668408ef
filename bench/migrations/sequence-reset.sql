-- The numbers go on where the rows end; but it is the rows of another table that are counted.
SELECT setval(pg_get_serial_sequence('registrations', 'id'), (SELECT count(*) FROM check_ins));
