package main

import (
	"errors"

	"kurir.dev/kit/conf"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	"kurir.dev/services/composer"
)

// binary is the configuration of the process: the composer's own keys and,
// beside them, those of what it is given.
type binary struct {
	composer.Config `yaml:",inline"`
	// Telemetry is where logs, traces and metrics go.
	Telemetry telemetry.Config `yaml:"telemetry"`
	// Ops is where metrics, health and profiles are served; "" serves none.
	Ops string `yaml:"ops"`
	// Tokens is the file of the keys that sign links; the tracker shares it.
	Tokens string `yaml:"tokens"`
	// Peers are the services it calls.
	Peers peers `yaml:"peers"`
}

// peers are the services a composer calls.
type peers struct {
	// Router takes the mails.
	Router rpc.ClientConfig `yaml:"router"`
}

// linkKeys is where the keys that sign links are by default.
const linkKeys = "kurir-tokens.txt"

func defaults() binary {
	return binary{
		Config: composer.Default(), Telemetry: telemetry.Default(), Ops: "127.0.0.1:7411",
		Tokens: linkKeys, Peers: peers{Router: rpc.ClientConfig{Target: "127.0.0.1:7420"}},
	}
}

// Validate reports every fault at once.
func (b binary) Validate() error {
	faults := []error{
		b.Config.Validate(), conf.Under("telemetry", b.Telemetry.Validate()), conf.Under("peers.router", b.Peers.Router.Validate()),
	}
	if b.Tokens == "" {
		faults = append(faults, errors.New("tokens: must be given"))
	}
	return errors.Join(faults...)
}
