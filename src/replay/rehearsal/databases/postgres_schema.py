"""What makes up a schema in PostgreSQL, as the server itself writes it."""

# Not the places of columns: one that was dropped and came back is the same.
SCHEMA = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, {table},
       concat_ws(' ', c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f', 'S') AND {ours}
UNION ALL
SELECT 'column', {table} || '.' || a.attname,
       concat_ws(' ', c.relkind, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                 pg_get_expr(d.adbin, d.adrelid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {ours}
UNION ALL
SELECT 'constraint', {table} || '.' || k.conname, pg_get_constraintdef(k.oid) || ' ' || k.convalidated
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}
UNION ALL
SELECT 'index', {table} || '.' || x.relname, pg_get_indexdef(x.oid) || ' ' || i.indisvalid
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours}
UNION ALL
SELECT 'trigger', {table} || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND {ours}
UNION ALL
SELECT 'view', {table}, pg_get_viewdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND {ours}
UNION ALL
SELECT 'function', p.oid::regprocedure::text,
       md5(concat_ws(' ', p.prokind, p.prorettype::regtype, p.provolatile, p.prosecdef, p.probin, p.prosrc))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {ours} AND NOT EXISTS (
    SELECT FROM pg_depend o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid AND o.deptype = 'e'
)
UNION ALL
SELECT 'type', format_type(t.oid, NULL), string_agg(e.enumlabel, ' ' ORDER BY e.enumsortorder)
FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {ours}
GROUP BY t.oid
ORDER BY 1, 2, 3
""".replace("{table}", "CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname").replace(
    "{ours}", "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
)
