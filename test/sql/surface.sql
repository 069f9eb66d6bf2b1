-- The whole public surface, made from the catalog: reviewed whenever it changes.
\set home :DBNAME
CREATE DATABASE es_test_surface;
\c es_test_surface
CREATE EXTENSION pg_eventstore;
SELECT es_init();
\pset format unaligned
\pset fieldsep ' | '
\pset footer off
\pset null '(none)'
SET search_path = pg_catalog;

-- Functions: arguments with types and defaults, results.
CREATE TEMP VIEW functions AS
SELECT p.* FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pg_eventstore';
SELECT proname || '(' || pg_get_function_arguments(oid) || ')' AS "function", pg_get_function_result(oid) AS result
FROM functions ORDER BY proname COLLATE "C";
-- How they may be called, and by whom; a null list of rights is EXECUTE for PUBLIC.
SELECT proname AS "function",
       CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
       CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel,
       CASE WHEN has_function_privilege('public', oid, 'EXECUTE') THEN 'public' ELSE 'owner' END AS who,
       CASE WHEN proretset THEN prorows END AS rows, proconfig AS settings
FROM functions ORDER BY proname COLLATE "C";
-- What they do.
SELECT proname AS "function", obj_description(oid, 'pg_proc') AS comment FROM functions ORDER BY proname COLLATE "C";
-- Other members of the extension.
SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND classid NOT IN ('pg_proc'::regclass, 'pg_type'::regclass)
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_eventstore')
ORDER BY pg_describe_object(classid, objid, objsubid) COLLATE "C";
-- Its views, their columns, and who may read them.
CREATE TEMP VIEW views AS
SELECT c.* FROM pg_class AS c JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'pg_eventstore';
SELECT relname AS view, array_agg(a.grantee::regrole::text || ' ' || a.privilege_type) FILTER (WHERE a.grantee <> relowner) AS grants,
       obj_description(oid, 'pg_class') AS comment
FROM views LEFT JOIN LATERAL aclexplode(relacl) AS a ON true GROUP BY oid, relname ORDER BY relname COLLATE "C";
SELECT relname AS view, attname AS column, format_type(atttypid, atttypmod) AS type
FROM views AS v JOIN pg_attribute ON attrelid = v.oid AND attnum > 0 ORDER BY relname COLLATE "C", attnum;

-- The tables.
CREATE TEMP VIEW relations AS
SELECT c.*, n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname IN ('es', 'es_private');
SELECT nspname AS schema, relname AS name,
       CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' END AS kind,
       relrowsecurity AS row_security, obj_description(oid, 'pg_class') AS comment
FROM relations WHERE relkind <> 'i' ORDER BY nspname COLLATE "C", relname COLLATE "C";
SELECT nspname || '.' || relname AS "table", attname AS column, format_type(atttypid, atttypmod) AS type, collname AS collation,
       attnotnull AS not_null, atthasdef AS has_default, col_description(r.oid, attnum) AS comment
FROM relations AS r JOIN pg_attribute ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_collation AS c ON c.oid = attcollation
WHERE relkind = 'r' ORDER BY nspname COLLATE "C", relname COLLATE "C", attnum;
-- Policies; they sleep until a role is bound to a tenant.
SELECT schemaname || '.' || tablename AS "table", policyname AS policy, permissive AS kind, cmd AS command, roles, qual AS using, with_check
FROM pg_policies WHERE schemaname IN ('es', 'es_private') ORDER BY tablename COLLATE "C", policyname COLLATE "C";
-- The view.
SELECT string_agg(attname, ', ' ORDER BY attnum) AS columns, reloptions AS options
FROM relations AS r JOIN pg_attribute ON attrelid = r.oid AND attnum > 0
WHERE relname = 'log' GROUP BY reloptions;
-- (PostgreSQL 18 lists NOT NULL among the constraints.)
SELECT conrelid::regclass AS "table", conname AS "constraint", pg_get_constraintdef(c.oid) AS definition, convalidated AS valid
FROM pg_constraint AS c JOIN relations AS r ON r.oid = conrelid WHERE contype <> 'n'
ORDER BY conrelid::regclass::text COLLATE "C", conname COLLATE "C";
SELECT pg_get_indexdef(oid) AS index, obj_description(oid, 'pg_class') AS comment
FROM relations WHERE relkind = 'i' ORDER BY relname COLLATE "C";
SELECT tgrelid::regclass AS "table", tgname AS "trigger", replace(pg_get_triggerdef(t.oid), 'public.', '') AS definition,
       CASE tgenabled WHEN 'A' THEN 'always' ELSE tgenabled::text END AS fires, obj_description(t.oid, 'pg_trigger') AS comment
FROM pg_trigger AS t JOIN relations AS r ON r.oid = tgrelid WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text COLLATE "C", tgname COLLATE "C";
SELECT seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle, format_type(seqtypid, NULL) AS type
FROM pg_sequence JOIN relations AS r ON r.oid = seqrelid;
-- No role but the owner has any right to them.
SELECT nspname, acl.grantee::regrole, acl.privilege_type FROM pg_namespace, LATERAL aclexplode(nspacl) AS acl
WHERE nspname IN ('es', 'es_private') AND acl.grantee <> nspowner;
SELECT relname, acl.grantee::regrole, acl.privilege_type FROM relations, LATERAL aclexplode(relacl) AS acl
WHERE acl.grantee <> relowner;

-- The settings.
SELECT name, vartype AS type, context, boot_val AS "default", short_desc, extra_desc
FROM pg_settings WHERE name LIKE 'pg_eventstore.%' ORDER BY name COLLATE "C";

-- The SQLSTATEs.
\pset tuples_only on
\set errors `cat "${ES_TOP:-.}/src/errors.h"`
SELECT regexp_replace(line[1], '\s+', ' ', 'g') || ': ' || line[2] || line[3] || line[4] || line[5] || line[6]
FROM regexp_matches(:'errors', '/\* ([^*]+) \*/\n#define ERRCODE_\w+ MAKE_SQLSTATE\(''(.)'', ''(.)'', ''(.)'', ''(.)'', ''(.)''\)', 'g') AS line
ORDER BY line[6];
\pset tuples_only off

-- The rules (DESIGN.md 7).  Each of these lists what breaks one.
-- No function is STRICT.
SELECT proname FROM functions WHERE proisstrict;
-- None is overloaded, not even by what others brought.
SELECT proname, count(*) FROM pg_proc WHERE proname IN (SELECT proname FROM functions) GROUP BY proname HAVING count(*) > 1;
-- None takes a composite, or an array of them.
SELECT proname, t.typname FROM functions, unnest(proargtypes) AS a JOIN pg_type AS t ON t.oid = a LEFT JOIN pg_type AS e ON e.oid = t.typelem
WHERE 'c' IN (t.typtype, e.typtype) OR t.typtype = 'p';
-- Every argument is named, and none "position".
SELECT proname FROM functions WHERE pronargs > 0 AND (proargnames IS NULL OR '' = ANY (proargnames[1:pronargs]) OR 'position' = ANY (proargnames[1:pronargs]));
-- The tenant is the last argument, and has a default.
SELECT proname FROM functions WHERE 'tenant' = ANY (proargnames[1:pronargs]) AND (proargnames[pronargs] <> 'tenant' OR pronargdefaults = 0);
-- Everything has a comment.
SELECT proname FROM functions WHERE obj_description(oid, 'pg_proc') IS NULL;
SELECT relname FROM views WHERE obj_description(oid, 'pg_class') IS NULL;
SELECT nspname FROM pg_namespace WHERE nspname IN ('es', 'es_private') AND obj_description(oid, 'pg_namespace') IS NULL;
SELECT nspname, relname FROM relations WHERE obj_description(oid, 'pg_class') IS NULL
	AND NOT (relkind = 'i' AND EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = relations.oid AND obj_description(c.oid, 'pg_constraint') IS NOT NULL));
SELECT relname, attname FROM relations AS r JOIN pg_attribute ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind = 'r' AND col_description(r.oid, attnum) IS NULL;
SELECT conrelid::regclass, conname FROM pg_constraint JOIN relations AS r ON r.oid = conrelid
WHERE contype <> 'n' AND obj_description(pg_constraint.oid, 'pg_constraint') IS NULL;
-- A comment begins with one short sentence that says what it is for, so that a list of them can be read (F9).
SELECT name, first FROM (
	SELECT proname AS name, substring(obj_description(oid, 'pg_proc') FROM '^.*?(?=[.;?]( |$))') AS first FROM functions
	UNION ALL SELECT relname, substring(obj_description(oid, 'pg_class') FROM '^.*?(?=[.;?]( |$))') FROM views) AS comments
WHERE first IS NULL OR length(first) > 100 OR first !~ '^[A-Z]';
-- Functions that only read are parallel safe, those that write are unsafe.
SELECT proname FROM functions WHERE (provolatile = 'v') <> (proparallel = 'u');
-- Only the guard is closed to PUBLIC.
SELECT proname FROM functions WHERE NOT has_function_privilege('public', oid, 'EXECUTE');
-- Nothing that stores data depends on a member of the extension but the guards (O2); the view stores none.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object FROM pg_depend AS d
JOIN functions AS f ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
WHERE NOT EXISTS (SELECT FROM pg_depend AS m WHERE m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e'
	AND (m.classid, m.objid) IN ((d.classid, d.objid), ('pg_class'::regclass, r.ev_class)))
ORDER BY pg_describe_object(d.classid, d.objid, d.objsubid) COLLATE "C";

\c :home
DROP DATABASE es_test_surface;
