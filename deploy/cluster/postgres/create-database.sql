-- The role and the database of passmate-server. The image of PostgreSQL runs this file with psql when
-- it makes its data directory.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/postgres/passmate-password`
CREATE ROLE passmate LOGIN PASSWORD :'password';
CREATE DATABASE passmate OWNER passmate;
