package store

import (
	"context"
	"database/sql"

	"kurir.dev/kit/db"
)

// orphans let go of the partitions, parcels and errands of processes that died.
// An errand that was tried is due: it was claimed, or has been put off for a
// while that a new process need not wait. One that was never tried keeps its
// time.
var orphans = [...]string{
	`UPDATE offsets SET owner = '', lease_until = 0 WHERE owner <> ''`,
	`DELETE FROM replicas`,
	`UPDATE outbox SET claimed_until = 0 WHERE claimed_until <> 0`,
	`UPDATE errands SET due_at = 0 WHERE attempts > 0`,
}

// inherit is for a store that no other process has open.
func inherit(ctx context.Context, d *db.DB) error {
	return d.Tx(ctx, func(tx *sql.Tx) error {
		for _, q := range orphans {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
}
