package apache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options of a cluster; the zero value is one node.
type Options struct {
	// Nodes is how many nodes there are; 0 means 1. With three or more,
	// topics that Kafka makes for itself have three replicas, and
	// min.insync.replicas is 2 where a topic does not say.
	Nodes int
	// Heap bounds each node's memory in megabytes; 0 means 256.
	Heap int
	// Properties are added to each node's server.properties and win over what
	// would stand there.
	Properties map[string]string
	// Detours is how many more addresses each node advertises, which lead
	// nowhere until the caller listens there and passes on to where they
	// belong, see [Cluster.Detour]. A client that begins at a detour stays on
	// it: its network can be cut.
	Detours int
}

// Cluster is a running cluster. Its methods may be used from any number of
// goroutines, but not two at once for the same node.
type Cluster struct {
	dir     string
	jars    string
	options Options
	nodes   []*node // node n at n-1
}

// Start starts a cluster and returns once all its nodes know one another. It
// fails when there is no Kafka to run ([ErrMissing]), no Java, or when the
// cluster is not ready before ctx ends.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	o.Nodes = max(o.Nodes, 1)
	if o.Heap == 0 {
		o.Heap = 256
	}
	c := &Cluster{options: o}
	if c.jars, err = jars(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "kurir-kafka-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting Kafka: %w\n%s", err, c.Log()), c.Close())
		}
	}()
	if err := c.lay(); err != nil {
		return nil, err
	}
	if err := c.format(ctx); err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		if err := n.start(c.java("kafka.Kafka", n.properties)); err != nil {
			return nil, err
		}
	}
	for _, n := range c.nodes {
		if err := c.ready(ctx, n); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ErrMissing says that there is no Kafka here to run.
var ErrMissing = errors.New("no Apache Kafka: run `make kafka`, or set KAFKA_HOME")

// jars is the class path of Kafka.
func jars() (string, error) {
	if home := os.Getenv("KAFKA_HOME"); home != "" {
		return filepath.Join(home, "libs", "*"), nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", ErrMissing
		}
	}
	dir = filepath.Join(dir, ".bin", "kafka")
	if _, err := os.Stat(dir); err != nil {
		return "", ErrMissing
	}
	return filepath.Join(dir, "*"), nil
}

// lay gives each node its ports and writes its properties.
func (c *Cluster) lay() error {
	var voters []string
	for id := 1; id <= c.options.Nodes; id++ {
		n := &node{id: id, properties: filepath.Join(c.dir, strconv.Itoa(id)+".properties")}
		n.detours, n.behind = make([]string, c.options.Detours), make([]string, c.options.Detours)
		addrs := []*string{&n.addr, &n.controller}
		for i := range c.options.Detours {
			addrs = append(addrs, &n.detours[i], &n.behind[i])
		}
		for _, addr := range addrs {
			var err error
			if *addr, err = unused.free(); err != nil {
				return err
			}
		}
		c.nodes = append(c.nodes, n)
		voters = append(voters, fmt.Sprintf("%d@%s", id, n.controller))
	}
	for _, n := range c.nodes {
		listeners, advertised := []string{"PLAINTEXT://" + n.addr}, []string{"PLAINTEXT://" + n.addr}
		protocols := []string{"PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"}
		for i := range c.options.Detours {
			name := "DETOUR" + strconv.Itoa(i)
			listeners = append(listeners, name+"://"+n.behind[i])
			advertised = append(advertised, name+"://"+n.detours[i])
			protocols = append(protocols, name+":PLAINTEXT")
		}
		listeners = append(listeners, "CONTROLLER://"+n.controller)
		replicas := strconv.Itoa(min(3, c.options.Nodes))
		insync := strconv.Itoa(min(2, (c.options.Nodes+1)/2))
		settings := map[string]string{
			"process.roles": "broker,controller", "node.id": strconv.Itoa(n.id),
			"controller.quorum.voters":       strings.Join(voters, ","),
			"listeners":                      strings.Join(listeners, ","),
			"advertised.listeners":           strings.Join(advertised, ","),
			"inter.broker.listener.name":     "PLAINTEXT",
			"controller.listener.names":      "CONTROLLER",
			"listener.security.protocol.map": strings.Join(protocols, ","),
			"log.dirs":                       filepath.Join(c.dir, strconv.Itoa(n.id)),

			"auto.create.topics.enable": "false", "unclean.leader.election.enable": "false",
			"default.replication.factor": replicas, "min.insync.replicas": insync,
			"offsets.topic.replication.factor": replicas, "offsets.topic.num.partitions": "6",
			"transaction.state.log.replication.factor": replicas, "transaction.state.log.min.isr": insync,
			"share.coordinator.state.topic.replication.factor": replicas, "share.coordinator.state.topic.min.isr": insync,
			"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "100",

			// A node that died is known to be dead sooner than the 9 s of Kafka.
			"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
			// Small machines, small tests.
			"num.network.threads": "2", "num.io.threads": "2", "log.index.size.max.bytes": "1048576",
			"group.coordinator.threads": "1", "background.threads": "2",
		}
		maps.Copy(settings, c.options.Properties)
		var text strings.Builder
		for key, value := range settings {
			fmt.Fprintf(&text, "%s=%s\n", key, value)
		}
		if err := os.WriteFile(n.properties, []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// format prepares the nodes' log directories, as an operator does once.
func (c *Cluster) format(ctx context.Context) error {
	id := newID()
	for _, n := range c.nodes {
		cmd := c.java("kafka.tools.StorageTool", "format", "-t", id, "-c", n.properties)
		n.out.attach(cmd)
		if err := run(ctx, cmd); err != nil {
			return fmt.Errorf("formatting the storage: %w", err)
		}
	}
	return nil
}

// Addrs are the nodes' addresses, to begin at.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.addr
	}
	return addrs
}

// Detour is the i-th detour of a node: the address to listen on, and the one
// to pass on to.
func (c *Cluster) Detour(node, i int) (listen, behind string) {
	n := c.nodes[node-1]
	return n.detours[i], n.behind[i]
}

// Nodes are the numbers of the nodes.
func (c *Cluster) Nodes() []int {
	ids := make([]int, len(c.nodes))
	for i := range ids {
		ids[i] = i + 1
	}
	return ids
}

// Kill ends a node as kill -9 does. One that does not run is left alone.
func (c *Cluster) Kill(id int) { c.nodes[id-1].kill() }

// Stop ends a node in good order: it hands its partitions over first.
func (c *Cluster) Stop(ctx context.Context, id int) error { return c.nodes[id-1].terminate(ctx) }

// Begin starts a node that was killed or stopped, with what it kept, and
// returns once it serves.
func (c *Cluster) Begin(ctx context.Context, id int) error {
	n := c.nodes[id-1]
	if err := n.start(c.java("kafka.Kafka", n.properties)); err != nil {
		return err
	}
	return c.ready(ctx, n)
}

// Log is the end of what each node printed so far: warnings and worse.
func (c *Cluster) Log() string {
	var all strings.Builder
	for _, n := range c.nodes {
		text := n.out.String()
		fmt.Fprintf(&all, "node %d printed:\n%s", n.id, text[max(0, len(text)-logTail):])
	}
	return all.String()
}

// logTail is how much of a node's log is shown: a node that misses another
// says so several times a second.
const logTail = 16 << 10

// Close kills all nodes and removes their data.
func (c *Cluster) Close() error {
	for _, n := range c.nodes {
		n.kill()
	}
	return os.RemoveAll(c.dir)
}

// poll is how often the harness looks whether what it waits for is so.
const poll = 20 * time.Millisecond
