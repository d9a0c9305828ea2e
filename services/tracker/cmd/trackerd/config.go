package main

import (
	"errors"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/tracker"
)

// binary is the configuration of the process: the tracker's own keys and, beside
// them, those of what it is given.
type binary struct {
	tracker.Config `yaml:",inline"`
	// Telemetry is where logs, traces and metrics go.
	Telemetry telemetry.Config `yaml:"telemetry"`
	// Ops is where metrics, health and profiles are served; "" serves none.
	Ops string `yaml:"ops"`
	// Broker is the Kafka cluster.
	Broker broker.Config `yaml:"broker"`
	// Keyring is the file of the keys that seal records; all services share it.
	Keyring string `yaml:"keyring"`
	// Tokens is the file of the keys that sign links; composer shares it.
	Tokens string `yaml:"tokens"`
	// Peers are the other services.
	Peers peers `yaml:"peers"`
}

// peers are the services the tracker calls.
type peers struct {
	// Router cancels reminders and keeps the suppression list.
	Router rpc.ClientConfig `yaml:"router"`
}

func defaults() binary {
	return binary{
		Config: tracker.Default(), Telemetry: telemetry.Default(), Ops: "127.0.0.1:7441",
		Broker: broker.Default(), Keyring: "kurir-keyring.json", Tokens: "kurir-tokens.txt",
		Peers: peers{Router: rpc.ClientConfig{Target: "127.0.0.1:7420"}},
	}
}

// Validate reports every fault at once.
func (b binary) Validate() error {
	faults := []error{
		b.Config.Validate(), conf.Under("telemetry", b.Telemetry.Validate()), conf.Under("broker", b.Broker.Validate()),
		conf.Under("peers.router", b.Peers.Router.Validate()),
	}
	if b.Keyring == "" {
		faults = append(faults, errors.New("keyring: must be given"))
	}
	if b.Tokens == "" {
		faults = append(faults, errors.New("tokens: must be given"))
	}
	return errors.Join(faults...)
}
