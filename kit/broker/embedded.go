package broker

import (
	"context"
	"log/slog"

	"kurir.dev/kit/app"
	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// EmbeddedConfig of the in-process broker.
type EmbeddedConfig struct {
	// Dir is where it keeps everything; made if missing.
	Dir string `yaml:"dir"`
	// Socket is the path of its unix socket; empty means kafka.sock in Dir.
	Socket string `yaml:"socket"`
	// Sync makes every acknowledged record survive a power cut, not only a
	// kill.
	Sync bool `yaml:"sync"`
	// MinFreeBytes of the disk under which records are refused.
	MinFreeBytes int64 `yaml:"min_free_bytes"`
}

// Embedded is an in-process broker that speaks the Kafka protocol.
type Embedded struct{ addr string }

// StartEmbedded opens the data directory and serves it.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig, log *slog.Logger) (*Embedded, error) {
	return nil, fault.Newf(fault.Unimplemented, faultv1.Reason_REASON_NOT_IMPLEMENTED, "embedded broker is not built yet")
}

// Addr is its address for [Config.Addrs].
func (e *Embedded) Addr() string { return e.addr }

// Part closes the broker at its end.
func (e *Embedded) Part() app.Part { return app.Part{Name: "embedded broker", Stop: e.Close} }

// Close stops serving and closes the data directory.
func (e *Embedded) Close(context.Context) error { return nil }
