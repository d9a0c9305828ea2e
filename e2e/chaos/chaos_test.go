package chaos_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"kurir.dev/e2e/chaos"
	"kurir.dev/e2e/harness"
	"kurir.dev/kit/broker/brokertest"
)

var (
	kills = flag.Int("kills", 4, "how many processes the storm kills")
	mails = flag.Int("mails", 200, "how many mails are sent during it")
	seed  = flag.Uint64("seed", 0, "makes faults and mails; 0 takes one at random")
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

// TestChaos judges what becomes of mail in a storm; see the package.
func TestChaos(t *testing.T) {
	o := chaos.Options{Seed: *seed, Kills: *kills, Mails: *mails}
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1 << 32)
	}
	kind := "embedded"
	if brokertest.Apache() {
		kind = "apache"
	}
	chaos.Run(t, o, fmt.Sprintf("go test kurir.dev/e2e/chaos -count=1 -timeout=60m -v -run='^TestChaos$' -broker=%s -seed=%d -kills=%d -mails=%d",
		kind, o.Seed, o.Kills, o.Mails))
}
