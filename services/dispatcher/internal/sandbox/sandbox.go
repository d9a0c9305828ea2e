// Package sandbox is an inbox for mail that must not leave the machine: a
// small SMTP server that takes everything, a store that keeps the newest, and
// a page that shows it. It is the default route, so that a fresh installation
// sends nothing to anybody by accident.
//
// It listens on loopback and asks nobody for a password: it is for
// development and demonstrations.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"kurir.dev/kit/app"
)

const maxMessage = 64 << 20

// Inbox is the sandbox inbox: listening once made, serving between Start and
// Stop of its Part.
type Inbox struct {
	store *store
	smtp  *smtp.Server
	page  *http.Server
	doors [2]net.Listener // SMTP, page; the page's may be nil
	wg    sync.WaitGroup
}

// New opens the store and listens.
func New(ctx context.Context, cfg Config, log *slog.Logger, now func() time.Time) (*Inbox, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	in := &Inbox{}
	var err error
	if in.doors[0], err = app.Listen(ctx, cfg.SMTPListen, "choose another with sandbox.smtp_listen"); err != nil {
		return nil, err
	}
	if cfg.PageListen != "" {
		if in.doors[1], err = app.Listen(ctx, cfg.PageListen, "choose another with sandbox.page_listen"); err != nil {
			return nil, errors.Join(err, in.doors[0].Close())
		}
	}
	if in.store, err = openStore(ctx, cfg.Path, cfg.Keep); err != nil {
		return nil, errors.Join(err, in.closeDoors())
	}
	in.smtp = smtp.NewServer(backend{in.store, now})
	in.smtp.Domain = "sandbox.localhost"
	in.smtp.MaxMessageBytes = maxMessage
	in.smtp.MaxRecipients = 100
	in.smtp.EnableSMTPUTF8 = true
	in.smtp.ReadTimeout, in.smtp.WriteTimeout = 5*time.Minute, time.Minute
	in.smtp.ErrorLog = quiet{log, in.store.ctx}
	in.page = &http.Server{
		Handler: pages(in.store), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return in, nil
}

// Addr is where it takes mail.
func (in *Inbox) Addr() net.Addr { return in.doors[0].Addr() }

// PageAddr is where its page is; nil without one.
func (in *Inbox) PageAddr() net.Addr {
	if in.doors[1] == nil {
		return nil
	}
	return in.doors[1].Addr()
}

// Part serves.
func (in *Inbox) Part() app.Part {
	failed := make(chan error, 2)
	batch := app.Loop("sandbox store", in.store.run)
	return app.Part{
		Name:   "sandbox",
		Failed: failed,
		Start: func(ctx context.Context) error {
			if err := batch.Start(ctx); err != nil {
				return err
			}
			in.wg.Go(func() {
				if err := in.smtp.Serve(in.doors[0]); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
					failed <- fmt.Errorf("serving the sandbox's SMTP: %w", err)
				}
			})
			if in.doors[1] != nil {
				in.wg.Go(func() {
					if err := in.page.Serve(in.doors[1]); err != nil && !errors.Is(err, http.ErrServerClosed) {
						failed <- fmt.Errorf("serving the sandbox's page: %w", err)
					}
				})
			}
			return nil
		},
		Stop: func(ctx context.Context) error {
			err := errors.Join(in.smtp.Shutdown(ctx), in.page.Shutdown(ctx))
			in.wg.Wait()
			return errors.Join(err, batch.Stop(ctx), in.store.close())
		},
	}
}

// Close ends an inbox that was never started; nil is fine.
func (in *Inbox) Close() error {
	if in == nil {
		return nil
	}
	return errors.Join(in.closeDoors(), in.store.close())
}

func (in *Inbox) closeDoors() error {
	err := in.doors[0].Close()
	if in.doors[1] != nil {
		err = errors.Join(err, in.doors[1].Close())
	}
	return err
}

// quiet keeps the server's chatter about clients that left to debug level.
type quiet struct {
	log  *slog.Logger
	life func() context.Context
}

func (q quiet) Printf(format string, v ...any) { q.Println(fmt.Sprintf(format, v...)) }

func (q quiet) Println(v ...any) {
	q.log.LogAttrs(q.life(), slog.LevelDebug, "sandbox smtp", slog.String("detail", fmt.Sprint(v...)))
}

type backend struct {
	store *store
	now   func() time.Time
}

func (b backend) NewSession(*smtp.Conn) (smtp.Session, error) { return &letter{backend: b}, nil }

// letter is one session's mail under way.
type letter struct {
	backend
	from string
	to   []string
}

func (l *letter) Mail(from string, _ *smtp.MailOptions) error {
	l.from, l.to = from, nil
	return nil
}

func (l *letter) Rcpt(to string, _ *smtp.RcptOptions) error {
	l.to = append(l.to, to)
	return nil
}

func (l *letter) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	at := l.now()
	for _, to := range l.to {
		if err := l.store.add(l.from, to, raw, at); err != nil {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "the sandbox cannot store this now"}
		}
	}
	return nil
}

func (l *letter) Reset() { l.from, l.to = "", nil }

func (l *letter) Logout() error { return nil }
