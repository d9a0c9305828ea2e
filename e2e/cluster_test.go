package e2e_test

import (
	"strings"
	"testing"
	"time"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
)

// strike does something to the broker under a mesh and undoes it; between the
// two the mesh must go on by itself if it is a cluster.
type strike struct {
	name        string
	begin, mend func(t *testing.T, m *harness.Mesh)
	goesOn      bool // although it is not mended
	node        int  // that was killed
}

// strikes are what may happen to a broker: to one of three nodes of Apache
// Kafka, or to the only one there is.
func strikes(m *harness.Mesh) []*strike {
	if m.Kafka == nil {
		return []*strike{{
			name:  "the broker is killed",
			begin: func(t *testing.T, m *harness.Mesh) { t.Helper(); m.Kill(t, "broker") },
			mend:  func(t *testing.T, m *harness.Mesh) { t.Helper(); m.Begin(t, "broker") },
		}}
	}
	otp := "kurir.lane.otp"
	// down kills the node that find names, and mend brings it back.
	down := func(name string, find func(t *testing.T, m *harness.Mesh) (int, error)) *strike {
		s := &strike{name: name, goesOn: true}
		s.begin = func(t *testing.T, m *harness.Mesh) {
			t.Helper()
			var err error
			if s.node, err = find(t, m); err != nil {
				t.Fatal(err)
			}
			m.Kafka.Kill(s.node)
		}
		s.mend = func(t *testing.T, m *harness.Mesh) {
			t.Helper()
			if err := m.Kafka.Begin(t.Context(), s.node); err != nil {
				t.Fatal(err)
			}
			if err := m.Kafka.InSync(t.Context(), otp, 0, 3); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	return []*strike{
		down("a leader is killed", func(t *testing.T, m *harness.Mesh) (int, error) {
			t.Helper()
			return m.Kafka.Leader(t.Context(), otp, 0)
		}),
		{
			name: "a leader moves", goesOn: true,
			begin: func(t *testing.T, m *harness.Mesh) {
				t.Helper()
				node, err := m.Kafka.Leader(t.Context(), otp, 0)
				if err == nil {
					err = m.Kafka.MoveLeader(t.Context(), otp, 0, node%3+1)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			mend: func(*testing.T, *harness.Mesh) {},
		},
		down("the coordinator is killed", func(t *testing.T, m *harness.Mesh) (int, error) {
			t.Helper()
			return m.Kafka.Coordinator(t.Context(), m.Group("otp"))
		}),
	}
}

// TestStrikes strikes the broker while mail flows, on Apache Kafka a cluster of
// three of which one is missing at a time: mail goes on, nothing is lost, and
// only what was on the wire may go twice. What happens is told in few words.
func TestStrikes(t *testing.T) {
	t.Parallel()
	m := harness.Start(t, harness.Options{Processes: true, OwnBroker: true, Nodes: 3})
	mx := m.Host(t, "mx.strike.example", mxsim.HostConfig{Script: mxsim.Tarpit(5 * time.Millisecond), Keep: 100_000})
	m.DNS.MX("strike.example", "mx.strike.example")
	s := startStream(t, m, "strike.example")
	s.mails.More(t, 60)
	all := strikes(m)
	for _, strike := range all {
		before := time.Now()
		strike.begin(t, m)
		if strike.goesOn {
			s.mails.More(t, 60)
			wait(t, mx, mx.Stats().Mails+60)
		}
		t.Logf("%s: 60 mails more after %v", strike.name, time.Since(before))
		strike.mend(t, m)
		s.mails.More(t, 60)
		wait(t, mx, mx.Stats().Mails+60)
	}
	allEnded(t, m, mx, s.end(), len(all)*mx.Stats().Peak)
	for _, service := range []string{"composer", "router", "dispatcher", "tracker"} {
		log := m.Log(t, service)
		lines := strings.Count(log, "\n")
		t.Logf("%s logged %d lines", service, lines)
		if strings.Contains(log, "panic") || lines > len(all)*logLines {
			t.Errorf("%s logged %d lines or panics, want at most %d for each strike:\n%s", service, lines, logLines, log[:min(len(log), 20_000)])
		}
	}
}

// logLines is how many lines a service may need to tell of one strike.
const logLines = 100
