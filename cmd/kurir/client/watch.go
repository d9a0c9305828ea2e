package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/telemetry"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// Status shows a mail with its timeline, or how the lanes do.
type Status struct {
	Operate

	Tracker string `help:"Address of tracker." default:"127.0.0.1:7440"`
	MailID  string `arg:"" optional:"" name:"mail-id" help:"Id of the mail; without one, the lanes are shown."`
}

// Run prints the mail, or the lanes.
func (s *Status) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	if s.MailID == "" {
		return s.lanes(ctx, w, t)
	}
	conn, err := s.dial(s.Tracker, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	res, err := trackerv1.NewTrackerServiceClient(conn).GetMail(s.authorize(ctx), &trackerv1.GetMailRequest{MailId: s.MailID})
	if err != nil {
		return Explain(s.Tracker, err)
	}
	m := res.GetMail()
	if _, err := fmt.Fprintf(w, "%s  %s  lane %s  to %s  trace %s\n", m.GetMailId(), state(m.GetState()),
		m.GetLane(), m.GetFacts().GetRecipient(), m.GetTraceId()); err != nil {
		return err
	}
	for _, ev := range res.GetTimeline() {
		if _, err := fmt.Fprintln(w, "  "+Line(ev)); err != nil {
			return err
		}
	}
	return nil
}

// Watch prints events as they come.
type Watch struct {
	Access

	Tracker string   `help:"Address of tracker." default:"127.0.0.1:7440"`
	Mail    []string `help:"Only these mails."`
	After   string   `help:"Resume after this position; 0 is the oldest kept."`
}

// Run prints events until ctx is done.
func (c *Watch) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	conn, err := c.dial(c.Tracker, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := trackerv1.NewTrackerServiceClient(conn).WatchEvents(c.authorize(ctx),
		&trackerv1.WatchEventsRequest{MailIds: c.Mail, After: c.After})
	if err != nil {
		return Explain(c.Tracker, err)
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return Explain(c.Tracker, err)
		}
		if _, err := fmt.Fprintln(w, res.GetEvent().GetMailId()+"  "+Line(res.GetEvent())); err != nil {
			return err
		}
	}
}

// Line is an event on one line: time, what happened, and what the server said.
func Line(ev *eventsv1.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-10s", ev.GetOccurredAt().AsTime().Local().Format("15:04:05.000"), eventName(ev.GetType()))
	if a := ev.GetAttemptDetail(); a != nil {
		for _, s := range []string{a.GetHost(), a.GetRemoteIp(), a.GetTls()} {
			if s != "" {
				b.WriteString("  " + s)
			}
		}
		if a.GetCode() != 0 {
			fmt.Fprintf(&b, "  %d %s %s", a.GetCode(), a.GetEnhancedCode(), a.GetText())
		} else if a.GetText() != "" {
			b.WriteString("  " + a.GetText())
		}
		if a.GetNextAt() != nil {
			b.WriteString("  next " + a.GetNextAt().AsTime().Local().Format(time.TimeOnly))
		}
	}
	if h := ev.GetHit(); h != nil {
		b.WriteString("  " + strings.TrimSpace(h.GetLink()+" "+strings.ToLower(strings.TrimPrefix(h.GetClass().String(), "HIT_CLASS_"))))
	}
	if n := ev.GetNote(); n != nil {
		b.WriteString("  " + n.GetReason())
	}
	return strings.TrimRight(b.String(), " ")
}

func eventName(t eventsv1.EventType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "EVENT_TYPE_"))
}
