-- A nullable column is added in no time; but it waits for the report that reads the table, and all others wait behind it.
ALTER TABLE registrations ADD COLUMN gate text;
