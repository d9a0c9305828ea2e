// Package e2e_test holds the scenarios that a whole mesh must pass, in process
// and as processes of its own: go test kurir.dev/e2e -runner=processes.
package e2e_test

import (
	"os"
	"testing"

	"kurir.dev/e2e/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
