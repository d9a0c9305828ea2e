package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"kurir.dev/kit/telemetry"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// Which selects waiting mail.
type Which struct {
	Tenant string   `help:"Only this tenant's; all of them ask for the admin scope."`
	Lane   string   `help:"Only this lane's."`
	Site   string   `help:"Only for this site."`
	Domain string   `help:"Only to this domain."`
	Doubt  bool     `help:"Only what may have been delivered already." name:"in-doubt"`
	Mails  []string `arg:"" optional:"" name:"mail-id" help:"Only these mails."`
}

func (s Which) scope() *routerv1.Scope {
	return &routerv1.Scope{
		Tenant: s.Tenant, MailIds: s.Mails, Lane: s.Lane, Site: s.Site, Domain: s.Domain, Held: true, InDoubt: s.Doubt,
	}
}

// HeldList lists mail that is held.
type HeldList struct {
	Operate
	Which

	Limit int `help:"At most so many." default:"1000"`
}

// Run prints it, the earliest due first.
func (l *HeldList) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	var mails []*routerv1.WaitingMail
	more := false
	err := l.ask(ctx, t, func(ctx context.Context, c routerv1.RouterServiceClient) error {
		for token := ""; ; {
			res, err := c.ListWaiting(ctx, &routerv1.ListWaitingRequest{Scope: l.scope(), PageSize: int32(min(max(l.Limit-len(mails), 1), 1000)), PageToken: token})
			if err != nil {
				return err
			}
			mails, token = append(mails, res.GetMails()...), res.GetNextPageToken()
			if more = token != ""; !more || len(mails) >= l.Limit {
				return nil
			}
		}
	})
	if err != nil {
		return err
	}
	if err := table(w, func(w io.Writer) {
		fmt.Fprintln(w, "MAIL\tTENANT\tLANE\tTO\tSITE\tSINCE\tUNTIL\tIN DOUBT\tEXPIRES\tWHY")
		for _, m := range mails {
			since, until, doubt := "-", "decided", "no"
			if m.GetHeldSince() != nil {
				since = m.GetHeldSince().AsTime().Local().Format(time.DateTime)
			}
			if m.GetHeldUntil() != nil {
				until = m.GetHeldUntil().AsTime().Local().Format(time.DateTime)
			}
			if m.GetInDoubt() {
				doubt = "yes"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.GetMailId(), m.GetTenant(), m.GetLane(), m.GetRecipient(), m.GetSite(),
				since, until, doubt, m.GetExpiresAt().AsTime().Local().Format(time.DateTime), m.GetReason())
		}
	}); err != nil {
		return err
	}
	if more {
		_, err = fmt.Fprintln(w, "there are more; see --limit")
	}
	return err
}

// HeldDecide decides about mail that is held.
type HeldDecide struct {
	Operate
	Which

	Verdict string `help:"What becomes of it: send it again, or end it as delivered, cancelled or expired." enum:"send,delivered,cancel,expire" required:""`
	Why     string `help:"Why, for the mail's timeline."`
}

// Run decides and prints how many.
func (d *HeldDecide) Run(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	if len(d.Mails) == 0 && d.Lane == "" && d.Site == "" && d.Domain == "" {
		return errors.New("name mails, or a lane, a site or a domain: all that is held is not decided about at once")
	}
	var n int64
	err := d.ask(ctx, t, func(ctx context.Context, c routerv1.RouterServiceClient) error {
		res, err := c.Decide(ctx, &routerv1.DecideRequest{
			Scope: d.scope(), Verdict: routerv1.Verdict(routerv1.Verdict_value["VERDICT_"+strings.ToUpper(d.Verdict)]), Reason: d.Why,
		})
		n = res.GetDecided()
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d decided: %s\n", n, d.Verdict)
	return err
}
