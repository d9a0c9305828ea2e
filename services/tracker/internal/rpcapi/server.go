// Package rpcapi serves TrackerService: it decodes, asks store and ledger, and
// encodes. Every question is asked for the caller's tenant alone.
package rpcapi

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
	"kurir.dev/services/tracker/internal/ledger"
	"kurir.dev/services/tracker/internal/mail"
	"kurir.dev/services/tracker/internal/store"
	"kurir.dev/services/tracker/internal/watch"
)

// Store answers; the tracker's store is one.
type Store interface {
	Story(ctx context.Context, tenant, mailID string) (mail.Mail, []mail.Event, error)
	Mails(ctx context.Context, tenant string, f store.Filter) ([]mail.Mail, error)
	Head(ctx context.Context) (int64, error)
	EventsAfter(ctx context.Context, tenant string, f store.EventFilter, after int64, limit int) (store.Page, error)
	Invoice(ctx context.Context, tenant, id string) (ledger.Invoice, error)
	Invoices(ctx context.Context, tenant string, f store.InvoiceFilter) ([]ledger.Invoice, error)
	Life(ctx context.Context, tenant, id string) ([]ledger.Entry, error)
	Report(ctx context.Context, r store.Report, now time.Time) (store.Outcome, error)
	Counts(ctx context.Context, tenant string, by store.GroupBy, from, to time.Time) ([]store.Count, error)
}

// Config bounds the server.
type Config struct {
	Attribution time.Duration // how long after a click a payment is laid to it
	MaxWatch    int           // streams at a time
	Poll        time.Duration // how often a stream looks by itself; 0: never
}

// Deps are what a Server works with; all are required.
type Deps struct {
	Log   *slog.Logger
	Store Store
	Hub   *watch.Hub
	// Errand runs an errand at once and returns how many reminders it
	// cancelled; an error means that it will be tried again.
	Errand func(ctx context.Context, e store.Errand) (int64, error)
	// Posted is called when a report left something in the outbox.
	Posted func()
	Now    func() time.Time
}

// Server implements TrackerService.
type Server struct {
	trackerv1.UnimplementedTrackerServiceServer
	deps     Deps
	cfg      Config
	watchers atomic.Int64
}

// New makes a server.
func New(deps Deps, cfg Config) *Server { return &Server{deps: deps, cfg: cfg} }

// storeFault is what the caller is told when the store fails.
func (s *Server) storeFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.deps.Log.ErrorContext(ctx, "the store does not answer", slog.Any("error", err))
	return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_STORE_UNAVAILABLE, "the store does not answer").
		WithRetry(time.Second).WithCause(err)
}

// limit is the size of a page.
func limit(asked int32) int {
	if asked <= 0 {
		return 100
	}
	return int(asked)
}

// cursor is where the next page begins: after the row with this time and id.
type cursor struct {
	at time.Time
	id string
}

func (c cursor) token() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.at.UnixNano(), 36) + " " + c.id))
}

// parseCursor reads a page token; an empty one is the zero cursor.
func parseCursor(token string) (cursor, error) {
	if token == "" {
		return cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	at, id, ok := strings.Cut(string(raw), " ")
	nanos, nerr := strconv.ParseInt(at, 36, 64)
	if err != nil || nerr != nil || !ok || id == "" || len(id) > 512 || strings.ContainsRune(id, 0) {
		return cursor{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "page_token", "is none of ours")
	}
	return cursor{at: time.Unix(0, nanos), id: id}, nil
}

// span reads two bounds in time; absent ones are zero.
func span(from, to *timestamppb.Timestamp, fromName, toName string) (a, b time.Time, err error) {
	read := func(ts *timestamppb.Timestamp, name string) (time.Time, error) {
		if ts == nil {
			return time.Time{}, nil
		}
		// What Unix nanoseconds can hold: 1970 to 2262.
		if ts.CheckValid() != nil || ts.GetSeconds() < 0 || ts.GetSeconds() > 9_000_000_000 {
			return time.Time{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, name, "is out of range")
		}
		return ts.AsTime(), nil
	}
	a, err = read(from, fromName)
	if err != nil {
		return a, b, err
	}
	b, err = read(to, toName)
	if err == nil && !a.IsZero() && !b.IsZero() && b.Before(a) {
		err = fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, toName, "is before %s", fromName)
	}
	return a, b, err
}

// clean refuses text that a database cannot hold.
func clean(fields map[string]string) error {
	for name, text := range fields {
		if strings.ContainsRune(text, 0) {
			return fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, name, "holds NUL")
		}
	}
	return nil
}

// unknown tells whether err says that there is no such row.
func unknown(err error) bool { return errors.Is(err, store.ErrUnknown) }
