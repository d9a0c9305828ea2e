// Command kurir is the whole mesh in one binary, and the command line to it.
//
//	kurir up              run composer, router, dispatcher, tracker and the embedded broker
//	kurir demo            send real mail of all kinds on this machine and show what became of it
//	kurir send otp ...    send one mail
//	kurir status MAIL_ID  where is my mail?
//	kurir status          how do the lanes do?
//	kurir held ...        list and decide mail that is held
//	kurir dead ...        list, show and replay records nobody could open
//	kurir watch           events as they come
//	kurir broker          the embedded broker alone
//	kurir keys DIR        make the keys that services in processes of their own share
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"kurir.dev/cmd/kurir/client"
	"kurir.dev/kit/app"
	"kurir.dev/kit/telemetry"
)

type commands struct {
	Up   upCommand   `cmd:"" help:"Run the whole mesh with embedded defaults."`
	Demo demoCommand `cmd:"" help:"Show the mesh at work with real mail on this machine."`
	Send struct {
		OTP      client.OTP      `cmd:"" name:"otp" help:"Send a one-time password."`
		Bill     client.Bill     `cmd:"" help:"Send an e-bill."`
		Reminder client.Reminder `cmd:"" help:"Send a payment reminder."`
	} `cmd:"" help:"Send one mail."`
	Status client.Status `cmd:"" help:"Show a mail and what happened to it; without an id, how the lanes do."`
	Held   struct {
		List   client.HeldList   `cmd:"" help:"List mail that is held: in doubt after a crash, or by an operator."`
		Decide client.HeldDecide `cmd:"" help:"Decide about held mail."`
	} `cmd:"" help:"Mail that waits for a decision."`
	Dead struct {
		List   client.DeadList   `cmd:"" help:"List records that nobody could open."`
		Show   client.DeadShow   `cmd:"" help:"Show one, but never what is in it."`
		Replay client.DeadReplay `cmd:"" help:"Put records back to where they came from."`
	} `cmd:"" help:"Records on the dead topic."`
	Watch   client.Watch   `cmd:"" help:"Print events as they come."`
	Broker  brokerCommand  `cmd:"" help:"Run the embedded broker alone, for services in processes of their own."`
	Keys    keysCommand    `cmd:"" help:"Make the keys that services in processes of their own share."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() { app.Main("kurir", run) }

// run parses args and runs the command they name.
func run(ctx context.Context, args []string) error {
	var c commands
	parser, err := kong.New(&c, kong.Name("kurir"),
		kong.Description("A courier for transactional mail: one-time passwords, e-bills and reminders."),
		kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(os.Stdout, (*io.Writer)(nil)),
		kong.Bind(telemetry.Discard()))
	if err != nil {
		return fmt.Errorf("building the command line: %w", err)
	}
	command, err := parser.Parse(args)
	if err != nil {
		if parse, ok := errors.AsType[*kong.ParseError](err); ok {
			_ = parse.Context.PrintUsage(true)
		}
		return err
	}
	return command.Run()
}

// drain bounds the stop of the broker.
const drain = 30 * time.Second

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(w io.Writer) error {
	_, err := fmt.Fprintln(w, "kurir", app.Version())
	return err
}
