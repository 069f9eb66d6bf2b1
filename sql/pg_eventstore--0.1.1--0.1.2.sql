-- What a first user met is mended.
\echo Use "ALTER EXTENSION pg_eventstore UPDATE" to load this file. \quit
