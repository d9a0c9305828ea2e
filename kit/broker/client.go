package broker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"kurir.dev/kit/broker/internal/sock"
	"kurir.dev/kit/fault"
	"kurir.dev/kit/telemetry"
	"kurir.dev/kit/topic"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

const (
	// metadataTTL bounds how long the client routes by an old layout.
	metadataTTL = 2 * time.Second
	// requestTimeout bounds one request where the caller set no bound.
	requestTimeout = 10 * time.Second
	// retryAfter is what callers are told to wait while the broker is away.
	retryAfter = time.Second
)

// Client talks to one broker or cluster. Connections are made when needed and
// again when lost, so a Client outlives any absence of the broker. Safe for
// concurrent use; whoever dialled it closes it.
type Client struct {
	cfg       Config
	names     topic.Names
	telemetry *telemetry.Telemetry
	transport *kafka.Transport
	kafka     *kafka.Client
	dialer    *kafka.Dialer
	parts     partitions
	oldest    sync.Map // line to produced, see timeOf
	gate      *gate
}

// Dial makes a client from a valid configuration. It connects lazily: that
// the broker is away is no error here, see [Client.Ping]. Unreadable
// certificate files are.
func Dial(cfg Config, t *telemetry.Telemetry) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("broker configuration: %w", err)
	}
	tlsConfig, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	login, err := cfg.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	addr, dial := cfg.dial()
	id := "kurir-" + strings.ToLower(rand.Text()[:10]) // one of its own: see Members
	transport := &kafka.Transport{
		Dial: dial, DialTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		MetadataTTL: metadataTTL, ClientID: id, TLS: tlsConfig, SASL: login,
	}
	return &Client{
		cfg:       cfg,
		names:     topic.Names{Prefix: cfg.Prefix},
		telemetry: t,
		gate:      newGate(cfg),
		transport: transport,
		kafka:     &kafka.Client{Addr: addr, Transport: transport},
		dialer: &kafka.Dialer{
			ClientID: id, DialFunc: dial, Timeout: 5 * time.Second, TLS: tlsConfig, SASLMechanism: login,
		},
	}, nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func (c Config) dial() (net.Addr, dialFunc) {
	path := c.socket()
	if path == "" {
		var d net.Dialer
		return kafka.TCP(c.Addrs...), d.DialContext
	}
	return kafka.TCP(sock.Host), func(ctx context.Context, _, _ string) (net.Conn, error) {
		return sock.Dial(ctx, path)
	}
}

func (t TLS) load() (*tls.Config, error) {
	if !t.Enable {
		return nil, nil //nolint:nilnil // no TLS is a configuration, not a fault
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("reading broker CA: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading broker CA %q: no certificate in it", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading broker client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	algo := scram.SHA512
	switch s.Mechanism {
	case "":
		return nil, nil //nolint:nilnil // no login is a configuration, not a fault
	case "plain":
		return plain.Mechanism{Username: s.User, Password: s.Password.Reveal()}, nil
	case "scram-sha-256":
		algo = scram.SHA256
	}
	m, err := scram.Mechanism(algo, s.User, s.Password.Reveal())
	if err != nil {
		return nil, fmt.Errorf("preparing SASL login: %w", err)
	}
	return m, nil
}

// Topics makes the installation's topic names.
func (c *Client) Topics() topic.Names { return c.names }

// Kafka is the request-level client below, for what this package does not
// wrap.
func (c *Client) Kafka() *kafka.Client { return c.kafka }

// Dialer dials for partition readers and consumer groups.
func (c *Client) Dialer() *kafka.Dialer { return c.dialer }

// Bootstrap are the addresses to give to partition readers and consumer
// groups together with [Client.Dialer].
func (c *Client) Bootstrap() []string {
	if c.cfg.socket() != "" {
		return []string{sock.Host}
	}
	return c.cfg.Addrs
}

// Close drops idle connections. Requests still running finish.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Ping asks for a sign of life, of any broker it can begin at, over
// connections of its own: one that hangs says nothing of the others. Failure
// is fault.Unavailable.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	addrs := c.Bootstrap()
	answers := make(chan error, len(addrs))
	var asking sync.WaitGroup
	for _, addr := range addrs {
		asking.Go(func() { answers <- c.ask(ctx, addr) })
	}
	defer asking.Wait()
	defer cancel() // whoever hangs
	var errs []error
	for range addrs {
		err := <-answers
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return unavailable("broker does not answer", errors.Join(errs...))
}

// ask asks one broker what it speaks.
func (c *Client) ask(ctx context.Context, addr string) error {
	conn, err := c.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // fails only on a closed connection
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, err = conn.ApiVersions()
	return err
}

// unavailable is the fault of everything the broker did not do in time.
func unavailable(msg string, cause error) error {
	return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_BROKER_UNAVAILABLE, "%s", msg).
		WithRetry(retryAfter).WithCause(cause)
}

// overloaded is the fault of a full queue.
func overloaded(msg string) error {
	return fault.Newf(fault.Exhausted, faultv1.Reason_REASON_OVERLOADED, "%s", msg).WithRetry(retryAfter)
}

// retriable tells errors that another try may cure from those it cannot.
func retriable(err error) bool {
	if ke, ok := errors.AsType[kafka.Error](err); ok {
		return ke.Temporary() || ke.Timeout() || errors.Is(ke, kafka.Unknown)
	}
	return !errors.Is(err, context.Canceled)
}
