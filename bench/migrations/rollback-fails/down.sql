-- Never tried: a function cannot go while a trigger calls it.
DROP FUNCTION note_change();

DROP TABLE registration_changes;
