// Package node runs the mesh that is measured, in a process of its own: the
// four services and the embedded broker, and nothing of the benchmark but a
// line of questions and answers over its standard input and output. So what
// the process uses is what the mesh uses.
package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"kurir.dev/bench/internal/meter"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	trackerv1 "kurir.dev/proto/gen/kurir/tracker/v1"
)

// Command is the argument by which the program runs as a node, before the
// Spec in JSON.
const Command = "node"

// Node is a running mesh.
type Node struct {
	// Mail, Router and Tracker are clients of the services, over TCP.
	Mail    mailv1.MailServiceClient
	Router  routerv1.RouterServiceClient
	Tracker trackerv1.TrackerServiceClient

	process *exec.Cmd
	ask     io.WriteCloser
	answers *json.Decoder
	conns   []*grpc.ClientConn
}

// Start runs a mesh and returns when it is ready. Stop it in the end.
func Start(ctx context.Context, spec Spec) (*Node, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("writing the node's specification: %w", err)
	}
	// Without ctx: the node ends when its input does, in good order.
	n := &Node{process: exec.CommandContext(context.WithoutCancel(ctx), program, Command, string(text))} //nolint:gosec // it is this very program
	n.process.Stderr = os.Stderr
	n.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this process
	if n.ask, err = n.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	out, err := n.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	n.answers = json.NewDecoder(bufio.NewReader(out))
	if err := n.process.Start(); err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	if err := n.greet(); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// greet waits for the node and connects to it.
func (n *Node) greet() error {
	var h hello
	if err := n.answers.Decode(&h); err != nil {
		return fmt.Errorf("the node did not start: %w", err)
	}
	dial := func(name string) (*grpc.ClientConn, error) {
		conn, err := rpc.Dial(rpc.ClientConfig{Target: h.Doors[name]}, rpc.ClientDeps{Telemetry: telemetry.Discard()})
		if err == nil {
			n.conns = append(n.conns, conn)
		}
		return conn, err
	}
	composer, err := dial("composer")
	if err != nil {
		return err
	}
	router, err := dial("router")
	if err != nil {
		return err
	}
	tracker, err := dial("tracker")
	if err != nil {
		return err
	}
	n.Mail = mailv1.NewMailServiceClient(composer)
	n.Router = routerv1.NewRouterServiceClient(router)
	n.Tracker = trackerv1.NewTrackerServiceClient(tracker)
	return nil
}

// Use is what the mesh has used since it began.
type Use struct {
	meter.Usage
	Runtime
}

// Use asks what the mesh has used so far.
func (n *Node) Use() (Use, error) {
	if _, err := io.WriteString(n.ask, "use\n"); err != nil {
		return Use{}, fmt.Errorf("asking the node: %w", err)
	}
	var u Use
	if err := n.answers.Decode(&u.Runtime); err != nil {
		return Use{}, fmt.Errorf("hearing the node: %w", err)
	}
	var err error
	u.Usage, err = meter.Process(n.process.Process.Pid)
	return u, err
}

// Quiet waits until the mesh has nothing more to do: until it uses less than a
// twentieth of one processor for half a second. It gives up after a minute.
func (n *Node) Quiet(ctx context.Context) error {
	return n.settle(ctx, time.Minute, 25*time.Millisecond)
}

// Rest waits until the mesh does no more than mail before a tarpit takes: until
// it uses less than a tenth of one processor for half a second. It gives up
// after patience.
func (n *Node) Rest(ctx context.Context, patience time.Duration) error {
	return n.settle(ctx, patience, 50*time.Millisecond)
}

// settle waits until the mesh uses less than most in half a second.
func (n *Node) settle(ctx context.Context, patience, most time.Duration) error {
	const window = 500 * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the mesh did not come to rest within %v", patience))
	defer cancel()
	tick := time.NewTicker(window)
	defer tick.Stop()
	last := time.Duration(-1)
	for {
		u, err := meter.Process(n.process.Process.Pid)
		if err != nil {
			return err
		}
		if last >= 0 && u.CPU-last < most {
			return nil
		}
		last = u.CPU
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stopping is how long a node may take to stop before it is killed.
const stopping = 90 * time.Second

// Stop ends the mesh in good order.
func (n *Node) Stop() error {
	for _, c := range n.conns {
		_ = c.Close()
	}
	_ = n.ask.Close()
	late := time.AfterFunc(stopping, func() { _ = n.process.Process.Kill() })
	defer late.Stop()
	if err := n.process.Wait(); err != nil {
		return fmt.Errorf("stopping a node: %w", err)
	}
	return nil
}
