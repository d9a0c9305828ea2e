package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"kurir.dev/services/tracker/internal/mail"
)

// GroupBy is what Counts groups mails by.
type GroupBy int

// The groups.
const (
	ByAll GroupBy = iota
	ByTemplate
	ByCampaign
	ByStep
	ByDomain
)

// expression is the group's key in SQL.
func (g GroupBy) expression() string {
	switch g {
	case ByTemplate:
		return `m.template || ' ' || m.version`
	case ByCampaign:
		return `m.campaign`
	case ByStep:
		return `m.reminder_step`
	case ByDomain:
		return `m.domain`
	default:
		return `''`
	}
}

// Count is the figures of one group of mails.
type Count struct {
	Key         string
	Accepted    int64
	Delivered   int64
	Bounced     int64
	Opened      int64 // mails with a human open
	Clicked     int64 // mails with a human click
	Paid        int64 // invoices paid through a mail of the group
	DeliveryP50 time.Duration
}

// Counts counts a tenant's mails accepted within [from, to) by group, in the
// order of the keys; a zero bound is none.
func (s *Store) Counts(ctx context.Context, tenant string, by GroupBy, from, to time.Time) ([]Count, error) {
	until := nanos(to)
	if to.IsZero() {
		until = 1<<63 - 1
	}
	// The median is the middle row of each group's deliveries by time taken:
	// neither database has to have a function for it.
	query := `WITH picked AS MATERIALIZED (
		SELECT ` + by.expression() + ` AS grp, m.state, m.opens, m.clicks,
			CASE WHEN m.delivered_at > 0 THEN m.delivered_at - m.accepted_at END AS took,
			(SELECT COUNT(*) FROM invoices i WHERE i.tenant = m.tenant AND i.paid_by = m.mail_id AND i.paid_by <> '') AS paid
		FROM mails m WHERE m.tenant = ? AND m.accepted_at >= ? AND m.accepted_at < ?
	), ranked AS (
		SELECT grp, took, ROW_NUMBER() OVER (PARTITION BY grp ORDER BY took) AS n, COUNT(*) OVER (PARTITION BY grp) AS total
		FROM picked WHERE took IS NOT NULL
	), medians AS MATERIALIZED (
		SELECT grp, took FROM ranked WHERE n = (total + 1) / 2
	), counts AS MATERIALIZED (
		SELECT grp, COUNT(*) AS accepted, SUM(CASE WHEN state = ? THEN 1 ELSE 0 END) AS delivered,
			SUM(CASE WHEN state = ? THEN 1 ELSE 0 END) AS bounced, SUM(CASE WHEN opens > 0 THEN 1 ELSE 0 END) AS opened,
			SUM(CASE WHEN clicks > 0 THEN 1 ELSE 0 END) AS clicked, CAST(SUM(paid) AS BIGINT) AS paid
		FROM picked GROUP BY grp
	)
	SELECT c.grp, c.accepted, c.delivered, c.bounced, c.opened, c.clicked, c.paid, COALESCE(d.took, 0)
	FROM counts c LEFT JOIN medians d ON d.grp = c.grp ORDER BY c.grp`
	args := []any{tenant, nanos(from), until, int64(mail.Delivered), int64(mail.Bounced)}
	var out []Count
	err := scan(ctx, s.db.R, s.db.Rebind(query), args, func(r *sql.Rows) error {
		var c Count
		err := r.Scan(&c.Key, &c.Accepted, &c.Delivered, &c.Bounced, &c.Opened, &c.Clicked, &c.Paid, &c.DeliveryP50)
		out = append(out, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting mails: %w", err)
	}
	return out, nil
}
