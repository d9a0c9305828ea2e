package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"kurir.dev/e2e/harness"
	"kurir.dev/kit/mxsim"
)

// Dest is a destination, by what becomes of mail to it.
type Dest string

// The destinations.
const (
	Fast     Dest = "fast"     // takes everything at once
	Slow     Dest = "slow"     // takes everything, each reply delayed
	Failing  Dest = "failing"  // refuses for good
	Dead     Dest = "dead"     // refuses connections
	Grey     Dest = "grey"     // 450 first, then takes
	Dropping Dest = "dropping" // hangs up, before the dot or after it
	Kept     Dest = "kept"     // takes everything; the operator holds its mail now and then
)

func (d Dest) domain() string { return string(d) + ".example" }

// internet is where the mail goes.
type internet struct {
	dns   *mxsim.DNS
	port  string
	judge *judge
}

// newInternet starts name server and mail hosts until the end of the test.
func newInternet(t *testing.T, seed uint64) *internet {
	t.Helper()
	dns, err := mxsim.NewDNS("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	_, port, err := net.SplitHostPort(harness.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	in := &internet{dns: dns, port: port, judge: newJudge()}
	network := fmt.Sprintf("127.%d.%d.", 16+rand.IntN(200), rand.IntN(255))
	scripts := map[Dest]mxsim.Script{
		Fast: nil, Kept: nil, Slow: slow, Failing: failing, Grey: grey(mxsim.Greylist(1)), Dropping: dropping(seed),
	}
	next := 1
	for dest, script := range scripts {
		name, ip := "mx."+dest.domain(), network+strconv.Itoa(next)
		next++
		host, err := mxsim.NewHost(mxsim.HostConfig{
			Name: name, Listen: net.JoinHostPort(ip, port), Script: in.judge.listen(script), Received: in.judge.receive,
			Timeout: 30 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = host.Close() })
		dns.Host(name, ip)
		dns.MX(dest.domain(), name)
	}
	dns.Host("mx."+Dead.domain(), network+strconv.Itoa(next)) // where nobody listens
	dns.MX(Dead.domain(), "mx."+Dead.domain())
	return in
}

// grey says when to come back, sooner than greylists of this world.
func grey(list mxsim.Script) mxsim.Script {
	return func(e mxsim.Event) mxsim.Reply {
		r := list(e)
		if r.Code != 0 {
			r.Text = "4.7.1 greylisted, try again in 3 seconds"
		}
		return r
	}
}

// slow takes its time, most of it over the dot.
func slow(e mxsim.Event) mxsim.Reply {
	if e.Stage == mxsim.Dot {
		return mxsim.Reply{Delay: 250 * time.Millisecond}
	}
	return mxsim.Reply{Delay: 20 * time.Millisecond}
}

// failing refuses every other recipient at RCPT and the rest at the dot.
func failing(e mxsim.Event) mxsim.Reply {
	early := func(to string) bool { return share(0, to, 0) < 50 }
	switch {
	case e.Stage == mxsim.Rcpt && early(e.Arg):
		return mxsim.Reply{Code: 550, Text: "5.1.1 no such user"}
	case e.Stage == mxsim.Dot:
		return mxsim.Reply{Code: 554, Text: "5.7.1 not wanted here"}
	default:
		return mxsim.Reply{}
	}
}

// dropping hangs up at DATA for a fifth of the tries, and after the dot for a
// twentieth, having taken the message.
func dropping(seed uint64) mxsim.Script {
	var mu sync.Mutex
	tries := map[string]int{}
	return func(e mxsim.Event) mxsim.Reply {
		if e.Stage != mxsim.Data && e.Stage != mxsim.Dot || len(e.To) == 0 {
			return mxsim.Reply{}
		}
		to := e.To[0]
		mu.Lock()
		if e.Stage == mxsim.Data {
			tries[to]++
		}
		n := tries[to]
		mu.Unlock()
		luck := share(seed, to, n)
		if e.Stage == mxsim.Data && luck < 20 || e.Stage == mxsim.Dot && luck >= 95 {
			return mxsim.Reply{Drop: true}
		}
		return mxsim.Reply{}
	}
}

// share lays the n-th try of a recipient evenly onto 0 to 99, the same for a
// seed each time.
func share(seed uint64, to string, n int) int {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s %d", seed, to, n)
	return int(h.Sum64() >> 17 % 100)
}
