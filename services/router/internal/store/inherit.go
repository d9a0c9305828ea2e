package store

import (
	"context"
	"time"

	"kurir.dev/kit/db"
	"kurir.dev/services/router/internal/waiting"
)

// orphans makes the mail due that was claimed by who cannot finish it. A claim
// is nothing but a time to wake that lies a lease ahead, of mail that is on its
// way out or has something to tell: so the index of these times finds them
// among however much waits.
const orphans = `UPDATE waiting SET wake_at = ?
	WHERE lane IN (SELECT lane FROM waiting_counts) AND wake_at > ? AND wake_at <= ?
	AND (tell <> 0 OR state IN (?, ?))`

// Heir is what db.Open calls for whoever opens a store that nobody else has.
type Heir = func(ctx context.Context, d *db.DB) error

// Inherit makes mail due now that a dead process had claimed, for a lease at the
// longest.
func Inherit(now time.Time, lease time.Duration) Heir {
	return func(ctx context.Context, d *db.DB) error {
		_, err := d.W.ExecContext(ctx, orphans, micros(now), micros(now), micros(now.Add(lease)),
			waiting.Leaving.String(), waiting.Settling.String())
		return err
	}
}
