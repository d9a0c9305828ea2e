package mesh

import (
	"errors"
	"fmt"
	"path/filepath"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/broker/embedded"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/composer"
	"kurir.dev/services/dispatcher"
	"kurir.dev/services/router"
	"kurir.dev/services/tracker"
)

// Config is the whole mesh's configuration: each service's own, under its name.
type Config struct {
	// Data is the directory of everything that is kept: the embedded broker's
	// log, the databases, the keys. It is made when missing.
	Data string `yaml:"data"`
	// Ops is where each service serves metrics, health and its configuration.
	Ops Ops `yaml:"ops"`
	// Telemetry is logs and traces.
	Telemetry telemetry.Config `yaml:"telemetry"`
	// Broker is the Kafka cluster; without addresses the embedded broker runs
	// under Data.
	Broker broker.Config `yaml:"broker"`
	// BrokerTCP is a loopback address, as 127.0.0.1:9092, at which the embedded
	// broker listens as well, for tools such as kcat; empty for none. Everybody
	// on the machine can read and write its records there.
	BrokerTCP string `yaml:"broker_tcp"`
	// Composer, Router, Dispatcher and Tracker are the services'.
	Composer   composer.Config   `yaml:"composer"`
	Router     router.Config     `yaml:"router"`
	Dispatcher dispatcher.Config `yaml:"dispatcher"`
	Tracker    tracker.Config    `yaml:"tracker"`
}

// Ops are the addresses of the services' ops pages; empty serves none.
type Ops struct {
	Composer   string `yaml:"composer"`
	Router     string `yaml:"router"`
	Dispatcher string `yaml:"dispatcher"`
	Tracker    string `yaml:"tracker"`
}

// Default is a mesh on one machine that keeps everything under data.
func Default(data string) Config {
	c := Config{
		Data:      data,
		Ops:       Ops{Composer: "127.0.0.1:7411", Router: "127.0.0.1:7421", Dispatcher: "127.0.0.1:7431", Tracker: "127.0.0.1:7441"},
		Telemetry: telemetry.Default(), Broker: broker.Default(),
		Composer: composer.Default(), Router: router.Default(), Dispatcher: dispatcher.Default(), Tracker: tracker.Default(),
	}
	c.Telemetry.Log.Format = "text" // for the person at the terminal
	c.Broker.Addrs, c.Broker.Partitions = nil, 1
	c.Router.Store.URL = "sqlite:" + filepath.Join(data, "router.db")
	c.Tracker.Store.URL = "sqlite:" + filepath.Join(data, "tracker.db")
	return c
}

// Validate reports every fault at once, each under the name of its service.
func (c Config) Validate() error {
	var faults []error
	if c.Data == "" {
		faults = append(faults, errors.New("data: must be given"))
	}
	if len(c.Broker.Addrs) > 0 {
		faults = append(faults, conf.Under("broker", c.Broker.Validate()))
	}
	if err := embedded.CheckTCP(c.BrokerTCP); err != nil {
		faults = append(faults, fmt.Errorf("broker_tcp: %w", err))
	}
	return errors.Join(append(faults,
		conf.Under("telemetry", c.Telemetry.Validate()),
		conf.Under("composer", c.Composer.Validate()),
		conf.Under("router", c.Router.Validate()),
		conf.Under("dispatcher", c.Dispatcher.Validate()),
		conf.Under("tracker", c.Tracker.Validate()),
	)...)
}
