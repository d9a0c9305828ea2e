package store

import (
	"strings"

	"kurir.dev/kit/db"
)

// Times are microseconds since 1970 in UTC, 0 for none. Recipients stand as
// mail.Key except on the suppression list, which people must be able to read.
// waiting_counts is kept by the same transactions that change waiting, so that
// counting does not take the longer the more there is.
const schema = `
CREATE TABLE idempotency (
	tenant      TEXT   NOT NULL,
	idem_key    TEXT   NOT NULL,
	fingerprint TEXT   NOT NULL,
	mail_id     TEXT   NOT NULL,
	lane        TEXT   NOT NULL,
	pending     BIGINT NOT NULL,
	accepted_at BIGINT NOT NULL,
	expires_at  BIGINT NOT NULL,
	send_at     BIGINT NOT NULL,
	PRIMARY KEY (tenant, idem_key)
);
CREATE INDEX idempotency_mail ON idempotency (mail_id);
CREATE INDEX idempotency_age ON idempotency (accepted_at);

CREATE TABLE suppressions (
	recipient BLOB   NOT NULL PRIMARY KEY,
	tenant    TEXT   NOT NULL,
	address   TEXT   NOT NULL,
	cause     BIGINT NOT NULL,
	note      TEXT   NOT NULL,
	since     BIGINT NOT NULL
);
CREATE UNIQUE INDEX suppressions_address ON suppressions (tenant, address);

CREATE TABLE waiting (
	mail_id    TEXT   NOT NULL PRIMARY KEY,
	attempt    BIGINT NOT NULL,
	tenant     TEXT   NOT NULL,
	lane       TEXT   NOT NULL,
	kind       BIGINT NOT NULL,
	domain     TEXT   NOT NULL,
	site       TEXT   NOT NULL,
	invoice    TEXT   NOT NULL,
	template   TEXT   NOT NULL,
	recipient  BLOB   NOT NULL,
	state      TEXT   NOT NULL,
	held       BIGINT NOT NULL,
	hold_until BIGINT NOT NULL,
	reason     TEXT   NOT NULL,
	ending     TEXT   NOT NULL,
	due_at     BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	wake_at    BIGINT NOT NULL,
	envelope   BLOB   NOT NULL
);
CREATE INDEX waiting_wake ON waiting (lane, wake_at);
CREATE INDEX waiting_due ON waiting (due_at, mail_id);
CREATE INDEX waiting_tenant ON waiting (tenant, due_at, mail_id);
CREATE INDEX waiting_invoice ON waiting (tenant, invoice) WHERE invoice <> '';

CREATE TABLE waiting_counts (
	lane TEXT   NOT NULL PRIMARY KEY,
	n    BIGINT NOT NULL
);

CREATE TABLE departures (
	mail_id TEXT   NOT NULL PRIMARY KEY,
	tenant  TEXT   NOT NULL,
	attempt BIGINT NOT NULL,
	left_at BIGINT NOT NULL
);
CREATE INDEX departures_age ON departures (left_at);
`

// decisions adds what holding and deciding needs, when pending keys were tried,
// how far they were swept, and which dead records were replayed. A pending of 2
// says that the mail was looked for and is nowhere.
const decisions = `
ALTER TABLE waiting ADD COLUMN hint     TEXT   NOT NULL DEFAULT '';
ALTER TABLE waiting ADD COLUMN held_at  BIGINT NOT NULL DEFAULT 0;
ALTER TABLE waiting ADD COLUMN in_doubt BIGINT NOT NULL DEFAULT 0;
ALTER TABLE waiting ADD COLUMN tell     BIGINT NOT NULL DEFAULT 0;
CREATE INDEX waiting_held ON waiting (due_at, mail_id) WHERE held = 1;

ALTER TABLE idempotency ADD COLUMN tried_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE idempotency ADD COLUMN tried_to   BIGINT NOT NULL DEFAULT 0;

CREATE TABLE progress (
	name TEXT   NOT NULL PRIMARY KEY,
	at   BIGINT NOT NULL
);

CREATE TABLE replays (
	dead_id TEXT   NOT NULL PRIMARY KEY,
	begun   BIGINT NOT NULL,
	done    BIGINT NOT NULL
);
`

// bands adds where on their lanes mails are put; of keys that were entered
// before, nobody knows.
const bands = `
ALTER TABLE idempotency ADD COLUMN band BIGINT NOT NULL DEFAULT -1;
ALTER TABLE waiting ADD COLUMN band BIGINT NOT NULL DEFAULT 0;
`

// migrations are the steps of the schema; ones that have shipped are never
// edited.
func migrations() []db.Migration {
	return []db.Migration{
		{Version: 1, SQLite: schema, Postgres: strings.ReplaceAll(schema, " BLOB ", " BYTEA ")},
		{Version: 2, SQLite: decisions, Postgres: decisions},
		{Version: 3, SQLite: bands, Postgres: bands},
	}
}
