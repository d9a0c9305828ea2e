package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
)

// Config is how a process is observed. Start from Default: the zero Config
// samples no trace.
type Config struct {
	// Log is what is written to standard error.
	Log LogConfig `yaml:"log"`
	// Traces is where spans go.
	Traces TracesConfig `yaml:"traces"`
}

// LogConfig is how the process logs.
type LogConfig struct {
	// Level is debug, info, warn or error; "" is info.
	Level string `yaml:"level"`
	// Format is json or text; "" is json.
	Format string `yaml:"format"`
}

// TracesConfig is where spans go and how many of them.
type TracesConfig struct {
	// Endpoint is the host:port of an OTLP/gRPC collector, or its URL. "" exports
	// nothing; spans are still made, and propagated to others.
	Endpoint string `yaml:"endpoint"`
	// Insecure speaks to Endpoint without TLS.
	Insecure bool `yaml:"insecure"`
	// Ratio is the share of traces begun here that are sampled, 0 to 1. A caller's
	// decision is always followed.
	Ratio float64 `yaml:"ratio"`
}

// Default returns JSON logs from info up, and every trace sampled and none
// exported.
func Default() Config {
	return Config{Log: LogConfig{Level: "info", Format: "json"}, Traces: TracesConfig{Ratio: 1}}
}

// Validate returns all that is wrong with c, joined.
func (c Config) Validate() error {
	var faults []error
	if err := setLevel(new(slog.LevelVar), c.Log.Level); err != nil {
		faults = append(faults, err)
	}
	switch c.Log.Format {
	case "", "json", "text":
	default:
		faults = append(faults, fmt.Errorf("log.format: %q is neither json nor text", c.Log.Format))
	}
	if r := c.Traces.Ratio; !(r >= 0 && r <= 1) {
		faults = append(faults, fmt.Errorf("traces.ratio: %v is not between 0 and 1", r))
	}
	return errors.Join(faults...)
}

func setLevel(v *slog.LevelVar, name string) error {
	if name == "" {
		return nil
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return fmt.Errorf("log.level: %q is none of debug, info, warn, error", name)
	}
	v.Set(l)
	return nil
}
