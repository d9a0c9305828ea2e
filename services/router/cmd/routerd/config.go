package main

import (
	"errors"
	"fmt"

	"kurir.dev/kit/broker"
	"kurir.dev/kit/conf"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/router"
)

// envelopeRoom is what a record needs beside the mail.
const envelopeRoom = 64 << 10

// binary is the configuration of the process: the router's own keys and, beside
// them, those of what it is given.
type binary struct {
	router.Config `yaml:",inline"`
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
		Config: router.Default(), Telemetry: telemetry.Default(), Ops: "127.0.0.1:7421",
		Broker: broker.Default(), Keyring: "kurir-keyring.json",
	}
}

// Validate reports every fault at once.
func (b binary) Validate() error {
	faults := []error{b.Config.Validate(), conf.Under("telemetry", b.Telemetry.Validate()), conf.Under("broker", b.Broker.Validate())}
	if b.Admission.MaxMailBytes+envelopeRoom > b.Broker.MaxRecordBytes {
		faults = append(faults, fmt.Errorf("admission.max_mail_bytes: a mail of %d bytes and its envelope do not fit broker.max_record_bytes, %d",
			b.Admission.MaxMailBytes, b.Broker.MaxRecordBytes))
	}
	if b.Keyring == "" {
		faults = append(faults, errors.New("keyring: must be given"))
	}
	return errors.Join(faults...)
}
