package harness

import (
	"errors"
	"syscall"
	"testing"
)

// Stop stops the named process, or the broker's, in good order. It and the
// methods of this file need [Options.Processes].
func (m *Mesh) Stop(t *testing.T, service string) {
	t.Helper()
	member := m.member(t, service)
	if member.cluster != nil {
		for _, node := range member.cluster.Nodes() {
			if err := member.cluster.Stop(t.Context(), node); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	member.proc.Terminate(t)
	if status := member.proc.Status(t); status != 0 {
		t.Fatalf("%s stopped with status %d:\n%s", service, status, member.proc.out)
	}
	member.proc = nil
}

// Kill ends the named process as kill -9 does.
func (m *Mesh) Kill(t *testing.T, service string) {
	t.Helper()
	member := m.member(t, service)
	if member.cluster != nil {
		for _, node := range member.cluster.Nodes() {
			member.cluster.Kill(node)
		}
		return
	}
	member.proc.Kill()
	member.proc = nil
}

// Begin starts the named process, which was stopped, killed or left out.
func (m *Mesh) Begin(t *testing.T, service string) {
	t.Helper()
	m.member(t, service).proc = nil
	m.runs.(*fleet).start(service)
}

// Pause makes the named process stand still, connections and all, as SIGSTOP
// does; Resume lets it go on.
func (m *Mesh) Pause(t *testing.T, service string) { m.signal(t, service, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (m *Mesh) Resume(t *testing.T, service string) { m.signal(t, service, syscall.SIGCONT) }

func (m *Mesh) signal(t *testing.T, service string, s syscall.Signal) {
	t.Helper()
	member, err := m.member(t, service), error(nil)
	if member.cluster != nil {
		for _, node := range member.cluster.Nodes() {
			err = errors.Join(err, member.cluster.Signal(node, s))
		}
	} else {
		err = member.proc.Signal(s)
	}
	if err != nil {
		t.Fatalf("signalling %s: %v", service, err)
	}
}

// Ready waits until every process is ready.
func (m *Mesh) Ready(t *testing.T) {
	t.Helper()
	for _, name := range order {
		m.runs.(*fleet).wait(name)
	}
}

// Readiness asks the named process whether it can do its work, and if not, why.
func (m *Mesh) Readiness(t *testing.T, service string) (ready bool, why string, err error) {
	t.Helper()
	return readiness(m.member(t, service).ready)
}

// Log is what the named process wrote to its log so far.
func (m *Mesh) Log(t *testing.T, service string) string {
	t.Helper()
	return m.member(t, service).proc.Stderr()
}

func (m *Mesh) member(t *testing.T, service string) *member {
	t.Helper()
	f, ok := m.runs.(*fleet)
	if !ok {
		t.Fatal("the scenario needs Options.Processes")
	}
	if f.members[service] == nil {
		t.Fatalf("there is no %s of this mesh alone; for a broker the scenario needs Options.OwnBroker", service)
	}
	return f.members[service]
}
