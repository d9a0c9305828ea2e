// Package scenario is what the benchmark measures, one function for each
// subject. A scenario starts meshes of its own, with what it compares taken in
// turns within the one run, and returns its figures.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"kurir.dev/bench/internal/load"
	"kurir.dev/bench/internal/node"
	"kurir.dev/bench/internal/report"
	"kurir.dev/bench/internal/sink"
	"kurir.dev/kit/mxsim"
)

// Sizes are how much is sent; see the program's flags.
type Sizes struct {
	Mail     int           // bytes
	Rounds   int           // of what is compared
	Mails    int           // per round, unsigned; signed half of it
	Backlog  int           // in front of OTPs and small tenants
	Rate     float64       // of OTPs, per second
	Stretch  time.Duration // of one idle round
	Tarpit   time.Duration // before each answer to RCPT
	Tenants  int           // small ones
	Each     int           // mails of a small tenant
	Floor    int           // backlog in front of sustained OTPs
	Callers  int           // who send OTPs as fast as they can
	Slow     int           // mails for a site with a limit, in front of Fast
	Limit    float64       // of that site, mails per second
	Fast     int           // mails for a site without one, behind Slow
	Few      int           // the small backlog of memory
	Many     int           // the large one
	Queries  int           // of each kind
	Patience time.Duration // for mails that do not come
}

// Default are the sizes the targets are set for.
func Default() Sizes {
	return Sizes{
		Mail: 10 << 10, Rounds: 3, Mails: 10_000, Backlog: 100_000, Rate: 50, Stretch: 12 * time.Second, Tarpit: time.Second,
		Tenants: 50, Each: 10, Floor: 150_000, Callers: 64,
		Slow: 20_000, Limit: 500, Fast: 1000, Few: 10_000, Many: 300_000, Queries: 300, Patience: 30 * time.Second,
	}
}

// Validate says what cannot be measured.
func (s Sizes) Validate() error {
	var faults []error
	for name, n := range map[string]int{
		"rounds": s.Rounds, "mails": s.Mails, "backlog": s.Backlog, "tenants": s.Tenants, "each": s.Each, "floor": s.Floor,
		"callers": s.Callers, "slow": s.Slow, "fast": s.Fast, "few": s.Few, "many": s.Many, "queries": s.Queries,
	} {
		if n < 1 {
			faults = append(faults, fmt.Errorf("-%s: must be at least 1", name))
		}
	}
	if s.Mail < 1024 || s.Mail > 900<<10 {
		faults = append(faults, errors.New("-mail: must be within 1024 and 921600 bytes"))
	}
	if s.Rate <= 0 || s.Limit <= 0 || s.Stretch <= 0 || s.Tarpit <= 0 {
		faults = append(faults, errors.New("-rate, -limit, -stretch and -tarpit: must be above 0"))
	}
	return errors.Join(faults...)
}

// Lab is where scenarios run.
type Lab struct {
	// Sizes are how much is sent.
	Sizes Sizes
	// Dir holds the meshes' data; each scenario cleans up behind itself.
	Dir string
	// Brokers is a Kafka cluster; none runs the embedded broker.
	Brokers []string
	// Seed is of everything random.
	Seed uint64
	// Profiles is a directory for a profile of each mesh; none for none.
	Profiles string
	// Out is told how far things are.
	Out io.Writer

	meshes, runs int // so far
}

// Scenario measures one subject.
type Scenario struct {
	Name string
	Run  func(ctx context.Context, lab *Lab) ([]report.Row, error)
}

// All are the scenarios, in the order they are run.
func All() []Scenario {
	return []Scenario{
		{"throughput", throughput},
		{"otp", otp},
		{"fairness", fairness},
		{"floor", floor},
		{"parking", parking},
		{"memory", memory},
	}
}

func (l *Lab) tell(format string, args ...any) { fmt.Fprintf(l.Out, format+"\n", args...) }

// world is one scenario's internet: a name server, a sink, and the data of the
// scenario's meshes.
type world struct {
	*Lab
	sink *sink.Sink
	dns  *mxsim.DNS
	dir  string
}

// with runs a scenario in a world of its own.
func (l *Lab) with(ctx context.Context, run func(w *world) error) (err error) {
	w := &world{Lab: l}
	if w.dir, err = os.MkdirTemp(l.Dir, "kurir-bench-"); err != nil {
		return fmt.Errorf("making a directory for the meshes: %w", err)
	}
	defer os.RemoveAll(w.dir)
	if w.sink, err = sink.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.sink.Close()) }()
	if w.dns, err = mxsim.NewDNS(""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.dns.Close()) }()
	for _, domain := range []string{load.Domain, slowDomain} {
		w.dns.MX(domain, "mx."+domain)
		w.dns.Host("mx."+domain, "127.0.0.1")
	}
	return run(w)
}

// spec is a mesh with data of its own.
func (w *world) spec() node.Spec {
	w.meshes++
	name := fmt.Sprintf("mesh-%d", w.meshes)
	return node.Spec{
		Data: filepath.Join(w.dir, name), NameServer: w.dns.Addr(), Port: w.sink.Port(), Brokers: w.Brokers,
		Prefix: fmt.Sprintf("bench-%d-%s", os.Getpid(), name),
	}
}

// mesh runs a mesh while work does, and stops it. The product that work is
// given sends the same texts in the same order, whatever the mesh.
func (w *world) mesh(ctx context.Context, spec node.Spec, work func(n *node.Node, p *load.Product) error) error {
	w.runs++
	if w.Profiles != "" { // a mesh that is started again makes another
		spec.Profile = filepath.Join(w.Profiles, fmt.Sprintf("run-%d.cpu", w.runs))
	}
	n, err := node.Start(ctx, spec)
	if err != nil {
		return err
	}
	err = work(n, load.NewProduct(n.Mail, w.sink, fmt.Sprintf("%d-", w.runs), w.random(0), w.Sizes.Mail))
	return errors.Join(err, n.Stop())
}

// random is a source of its own for each use.
func (w *world) random(use uint64) *rand.Rand { return rand.New(rand.NewPCG(w.Seed, use)) }

// The letters of the series.
const (
	bulkMail  = 'b'
	otpMail   = 'o'
	smallMail = 's'
	fastMail  = 'f'
	warmMail  = 'w'
)

// warm sends n mails that are not measured, for pages, pools and connections.
func (w *world) warm(ctx context.Context, p *load.Product, n int) error {
	b := p.NewBatch(warmMail, n)
	if err := p.Submit(ctx, node.DefaultTenant, b); err != nil {
		return err
	}
	return b.Series.Wait(ctx, n, w.Sizes.Patience)
}

// conditions are the words every figure carries.
func (w *world) conditions(sign, more string) string {
	signed := "no DKIM"
	switch sign {
	case node.RSA:
		signed = "DKIM RSA-2048"
	case node.RSAEd25519:
		signed = "DKIM RSA-2048 and Ed25519"
	}
	fsync := "fsync"
	if len(w.Brokers) > 0 {
		fsync = "fsync as the cluster has it"
	}
	return fmt.Sprintf("%d KB, %s, %s, connections reused; %s", w.Sizes.Mail>>10, fsync, signed, more)
}
