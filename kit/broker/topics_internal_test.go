package broker

import (
	"testing"

	"kurir.dev/kit/telemetry"
)

func TestTopicConfigOfACluster(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Addrs, cfg.Replication = []string{"127.0.0.1:9092"}, 3
	c, err := Dial(cfg, telemetry.Discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for topic, want := range map[string]map[string]string{
		"kurir.lane.otp": {"retention.ms": "1209600000", "min.insync.replicas": "2"},
		"kurir.control":  {"retention.ms": "-1", "min.insync.replicas": "2"},
	} {
		got := map[string]string{}
		for _, e := range c.topicConfig(topic, nil, []string{"otp"}).ConfigEntries {
			got[e.ConfigName] = e.ConfigValue
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("topicConfig(%q) has %s = %q, want %q", topic, name, got[name], value)
			}
		}
	}
}
