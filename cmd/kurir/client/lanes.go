package client

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	"kurir.dev/kit/telemetry"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
)

// Operate is how operators reach the router.
type Operate struct {
	Access

	Router string `help:"Address of router." default:"127.0.0.1:7420"`
}

// ask calls the router.
func (o Operate) ask(ctx context.Context, t *telemetry.Telemetry, call func(ctx context.Context, c routerv1.RouterServiceClient) error) error {
	conn, err := o.dial(o.Router, t)
	if err != nil {
		return err
	}
	defer func(c *grpc.ClientConn) { _ = c.Close() }(conn)
	if err := call(o.authorize(ctx), routerv1.NewRouterServiceClient(conn)); err != nil {
		return Explain(o.Router, err)
	}
	return nil
}

// lanes prints how the lanes do.
func (o Operate) lanes(ctx context.Context, w io.Writer, t *telemetry.Telemetry) error {
	var lanes []*routerv1.Lane
	err := o.ask(ctx, t, func(ctx context.Context, c routerv1.RouterServiceClient) error {
		res, err := c.ListLanes(ctx, &routerv1.ListLanesRequest{})
		lanes = res.GetLanes()
		return err
	})
	if err != nil {
		return err
	}
	return table(w, func(w io.Writer) {
		fmt.Fprintln(w, "LANE\tDEPTH\tIN FLIGHT\tOLDEST\tIN/S\tDONE/S\tOVER\tWAITING")
		for _, l := range lanes {
			oldest, over, in, done := "-", "-", "-", "-"
			if l.GetOldestAge() != nil {
				oldest = l.GetOldestAge().AsDuration().Round(100 * time.Millisecond).String()
			}
			if l.GetRateWindow() != nil {
				over = l.GetRateWindow().AsDuration().Round(time.Second).String()
				in, done = fmt.Sprintf("%.1f", l.GetAcceptedRate()), fmt.Sprintf("%.1f", l.GetSettledRate())
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%d\n", l.GetName(), l.GetDepth(), l.GetInFlight(), oldest, in, done, over, l.GetWaiting())
		}
	})
}

// table prints columns.
func table(w io.Writer, rows func(w io.Writer)) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	rows(tw)
	return tw.Flush()
}
