package store

import (
	"strings"

	"kurir.dev/kit/db"
)

// migrations is the schema, step by step; see db.Migration.
func migrations() []db.Migration {
	postgres := strings.NewReplacer(
		"INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		"INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY",
		"BLOB", "BYTEA",
	)
	return []db.Migration{
		{Version: 1, SQLite: schema, Postgres: postgres.Replace(schema)},
		{Version: 2, SQLite: leaner, Postgres: postgres.Replace(leaner)},
	}
}

// schema is written in SQLite's words; three of them differ in PostgreSQL's.
// Times are Unix nanoseconds, 0 for none. Numbers of kinds, types and states
// are those of the interface.
const schema = `
CREATE TABLE head (
	id       INTEGER PRIMARY KEY,
	position BIGINT NOT NULL
);
INSERT INTO head (id, position) VALUES (1, 0);

CREATE TABLE offsets (
	topic       TEXT NOT NULL,
	part        BIGINT NOT NULL,
	next        BIGINT NOT NULL,
	owner       TEXT NOT NULL,
	lease_until BIGINT NOT NULL,
	PRIMARY KEY (topic, part)
);

CREATE TABLE replicas (
	id          TEXT PRIMARY KEY,
	alive_until BIGINT NOT NULL
);

CREATE TABLE events (
	position    INTEGER PRIMARY KEY,
	event_id    TEXT NOT NULL UNIQUE,
	tenant      TEXT NOT NULL,
	mail_id     TEXT NOT NULL,
	lane        TEXT NOT NULL,
	type        BIGINT NOT NULL,
	attempt     BIGINT NOT NULL,
	sequence    BIGINT NOT NULL,
	occurred_at BIGINT NOT NULL,
	traceparent TEXT NOT NULL,
	body        BLOB NOT NULL
);
CREATE INDEX events_by_mail ON events (tenant, mail_id);
CREATE INDEX events_by_tenant ON events (tenant, position);

CREATE TABLE mails (
	tenant        TEXT NOT NULL,
	mail_id       TEXT NOT NULL,
	lane          TEXT NOT NULL,
	state         BIGINT NOT NULL,
	at_attempt    BIGINT NOT NULL,
	at_rank       BIGINT NOT NULL,
	at_time       BIGINT NOT NULL,
	accepted_at   BIGINT NOT NULL,
	accepted      BIGINT NOT NULL,
	delivered_at  BIGINT NOT NULL,
	settled_at    BIGINT NOT NULL,
	opens         BIGINT NOT NULL,
	clicks        BIGINT NOT NULL,
	machine_hits  BIGINT NOT NULL,
	traceparent   TEXT NOT NULL,
	kind          BIGINT NOT NULL,
	template      TEXT NOT NULL,
	version       TEXT NOT NULL,
	locale        TEXT NOT NULL,
	invoice_id    TEXT NOT NULL,
	reminder_step TEXT NOT NULL,
	campaign      TEXT NOT NULL,
	recipient     TEXT NOT NULL,
	domain        TEXT NOT NULL,
	sender_domain TEXT NOT NULL,
	currency      TEXT NOT NULL,
	units         BIGINT NOT NULL,
	nanos         BIGINT NOT NULL,
	due_on        TEXT NOT NULL,
	facts         BLOB NOT NULL,
	PRIMARY KEY (tenant, mail_id)
);
CREATE INDEX mails_by_time ON mails (tenant, accepted_at, mail_id);
CREATE INDEX mails_by_lane ON mails (tenant, lane, accepted_at, mail_id);
CREATE INDEX mails_by_state ON mails (tenant, state, accepted_at, mail_id);
CREATE INDEX mails_by_recipient ON mails (tenant, recipient, accepted_at, mail_id);
CREATE INDEX mails_by_invoice ON mails (tenant, invoice_id, accepted_at, mail_id) WHERE invoice_id <> '';
CREATE INDEX mails_by_campaign ON mails (tenant, campaign, accepted_at, mail_id) WHERE campaign <> '';

CREATE TABLE hits (
	event_id TEXT PRIMARY KEY,
	tenant   TEXT NOT NULL,
	mail_id  TEXT NOT NULL,
	type     BIGINT NOT NULL,
	human    BIGINT NOT NULL,
	link     TEXT NOT NULL,
	at       BIGINT NOT NULL
);
CREATE INDEX hits_by_mail ON hits (tenant, mail_id, at);

CREATE TABLE invoices (
	tenant        TEXT NOT NULL,
	invoice_id    TEXT NOT NULL,
	state         BIGINT NOT NULL,
	currency      TEXT NOT NULL,
	units         BIGINT NOT NULL,
	nanos         BIGINT NOT NULL,
	due_on        TEXT NOT NULL,
	first_seen_at BIGINT NOT NULL,
	paid_at       BIGINT NOT NULL,
	paid_currency TEXT NOT NULL,
	paid_units    BIGINT NOT NULL,
	paid_nanos    BIGINT NOT NULL,
	paid_by       TEXT NOT NULL,
	attribution   TEXT NOT NULL,
	paid_click    TEXT NOT NULL,
	opens         BIGINT NOT NULL,
	clicks        BIGINT NOT NULL,
	mails         BIGINT NOT NULL,
	PRIMARY KEY (tenant, invoice_id)
);
CREATE INDEX invoices_by_time ON invoices (tenant, first_seen_at, invoice_id);
CREATE INDEX invoices_by_state ON invoices (tenant, state, first_seen_at, invoice_id);
CREATE INDEX invoices_by_mail ON invoices (tenant, paid_by) WHERE paid_by <> '';

CREATE TABLE billing (
	entry_id    TEXT PRIMARY KEY,
	type        BIGINT NOT NULL,
	tenant      TEXT NOT NULL,
	invoice_id  TEXT NOT NULL,
	at          BIGINT NOT NULL,
	currency    TEXT NOT NULL,
	units       BIGINT NOT NULL,
	nanos       BIGINT NOT NULL,
	mail_id     TEXT NOT NULL,
	reference   TEXT NOT NULL,
	fingerprint BLOB NOT NULL,
	cancelled   BIGINT NOT NULL
);
CREATE INDEX billing_by_invoice ON billing (tenant, invoice_id, at);

CREATE TABLE outbox (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	entry_id      TEXT NOT NULL,
	topic         TEXT NOT NULL,
	part          BIGINT NOT NULL,
	key           BLOB NOT NULL,
	value         BLOB NOT NULL,
	headers       BLOB NOT NULL,
	claimed_until BIGINT NOT NULL
);

CREATE TABLE errands (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	kind     TEXT NOT NULL,
	tenant   TEXT NOT NULL,
	subject  TEXT NOT NULL,
	entry_id TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	due_at   BIGINT NOT NULL,
	since    BIGINT NOT NULL
);
CREATE INDEX errands_by_due ON errands (due_at);
`

// leaner spares every mail index entries:
//
//   - One index finds an event by its mail and keeps it from being stored twice,
//     where there were two. Ids begin with that of the mail, which is left out
//     (see eventKey).
//   - The index by state leaves the delivered out, who are nearly all: they are
//     found by time.
const leaner = `
CREATE TABLE leaner_events (
	position    INTEGER PRIMARY KEY,
	mail_id     TEXT NOT NULL,
	event_key   TEXT NOT NULL,
	tenant      TEXT NOT NULL,
	lane        TEXT NOT NULL,
	type        BIGINT NOT NULL,
	attempt     BIGINT NOT NULL,
	sequence    BIGINT NOT NULL,
	occurred_at BIGINT NOT NULL,
	traceparent TEXT NOT NULL,
	body        BLOB NOT NULL,
	UNIQUE (mail_id, event_key)
);
INSERT INTO leaner_events (position, mail_id, event_key, tenant, lane, type, attempt, sequence, occurred_at, traceparent, body)
	SELECT position, mail_id,
		CASE WHEN substr(event_id, 1, length(mail_id) + 1) = mail_id || '/' THEN substr(event_id, length(mail_id) + 1)
			WHEN substr(event_id, 1, 1) IN ('/', '=') THEN '=' || event_id
			ELSE event_id END,
		tenant, lane, type, attempt, sequence, occurred_at, traceparent, body
	FROM events;
DROP TABLE events;
ALTER TABLE leaner_events RENAME TO events;
CREATE INDEX events_by_tenant ON events (tenant, position);

DROP INDEX mails_by_state;
CREATE INDEX mails_by_state ON mails (tenant, state, accepted_at, mail_id) WHERE state <> 5;
`
