package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/broker/brokertest"
	"kurir.dev/kit/broker/brokertest/apache"
)

// shared is the Apache Kafka of all meshes that leave their broker alone. Each
// has topics and groups of its own in it.
var shared struct {
	sync.Mutex
	cluster *apache.Cluster
	err     error
	meshes  int
}

// tenancy is a mesh's place in an Apache Kafka.
type tenancy struct {
	addrs  []string
	prefix string // of its topics and groups
}

// share gives a mesh a place in the shared Kafka, which is started for the
// first and lives until [Cleanup].
func share(t *testing.T) tenancy {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil && shared.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // outlives the test
		shared.cluster, shared.err = apache.Start(ctx, apache.Options{Heap: 768})
		cancel()
	}
	if errors.Is(shared.err, apache.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	shared.meshes++
	return tenancy{addrs: shared.cluster.Addrs(), prefix: "mesh" + strconv.Itoa(shared.meshes)}
}

// unshare ends the shared Kafka.
func unshare() {
	if shared.cluster != nil {
		_ = shared.cluster.Close()
	}
}

// settings are what a mesh needs to know of its place.
func (p tenancy) settings() Settings {
	return Settings{
		"broker.addrs": p.addrs, "broker.prefix": p.prefix,
		"router.groups.deferred":   p.prefix + ".router",
		"router.groups.dispatcher": p.prefix + ".dispatcher.%s",
		"dispatcher.group":         p.prefix + ".dispatcher.%s",
		"tracker.ingest.group":     p.prefix + ".tracker",
	}
}

// apply is the same for a configuration.
func (p tenancy) apply(c *mesh.Config) {
	c.Broker.Addrs, c.Broker.Prefix = p.addrs, p.prefix
	c.Router.Groups.Deferred, c.Router.Groups.Dispatcher = p.prefix+".router", p.prefix+".dispatcher.%s"
	c.Dispatcher.Group, c.Tracker.Ingest.Group = p.prefix+".dispatcher.%s", p.prefix+".tracker"
}

// kafka gives the mesh its broker, where that is Apache Kafka.
func (m *Mesh) kafka(t *testing.T, c *mesh.Config, opts Options) {
	t.Helper()
	switch {
	case !brokertest.Apache():
	case opts.OwnBroker || opts.Nodes > 0 || slices.Contains(opts.Without, "broker"):
		m.Kafka = brokertest.StartApache(t, apache.Options{Nodes: opts.Nodes})
		c.Broker.Addrs, c.Broker.Replication = m.Kafka.Addrs(), max(1, opts.Nodes)
	default:
		share(t).apply(c)
	}
}

// Group is the group that reads a lane of a mesh with a broker of its own.
func (*Mesh) Group(lane string) string { return fmt.Sprintf(mesh.Default("").Dispatcher.Group, lane) }
