package main

import (
	"errors"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/dispatcher"
)

// binary is the configuration of the process: the dispatcher's own keys and,
// beside them, those of what it is given.
type binary struct {
	dispatcher.Config `yaml:",inline"`
	// Telemetry is where logs, traces and metrics go.
	Telemetry telemetry.Config `yaml:"telemetry"`
	// Ops is where metrics, health and profiles are served; "" serves none.
	Ops string `yaml:"ops"`
	// Broker is the Kafka cluster.
	Broker broker.Config `yaml:"broker"`
	// Keyring is the file of the keys that seal records; all services share it.
	Keyring string `yaml:"keyring"`
}

func defaults() binary {
	return binary{
		Config: dispatcher.Default(), Telemetry: telemetry.Default(), Ops: "127.0.0.1:7431",
		Broker: broker.Default(), Keyring: "kurir-keyring.json",
	}
}

// Validate reports every fault at once.
func (b binary) Validate() error {
	faults := []error{b.Config.Validate(), conf.Under("telemetry", b.Telemetry.Validate()), conf.Under("broker", b.Broker.Validate())}
	if b.Keyring == "" {
		faults = append(faults, errors.New("keyring: must be given"))
	}
	return errors.Join(faults...)
}
