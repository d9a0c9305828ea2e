package dns

import (
	"testing"

	mdns "github.com/miekg/dns"
)

// FuzzAnswer feeds arbitrary messages to the reader of answers.
func FuzzAnswer(f *testing.F) {
	for _, records := range [][]string{
		{"a.test. 60 IN MX 10 b.test."},
		{"a.test. 60 IN CNAME b.test.", "b.test. 30 IN MX 10 c.test."},
		{"a.test. 60 IN CNAME a.test."},
		{"a.test. 0 IN MX 0 ."},
	} {
		m := new(mdns.Msg)
		m.SetQuestion("a.test.", mdns.TypeMX)
		m.Response = true
		for _, text := range records {
			rr, err := mdns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, "a.test")
	}
	f.Fuzz(func(t *testing.T, wire []byte, name string) {
		msg := new(mdns.Msg)
		if msg.Unpack(wire) != nil {
			return
		}
		a := read(name, mdns.TypeMX, msg)
		if a.ttl < 0 {
			t.Errorf("ttl %v is negative", a.ttl)
		}
		if a.problem != nil && len(a.records) > 0 {
			t.Errorf("an answer with records has problem %v", a.problem)
		}
		for _, rr := range a.records {
			if _, ok := rr.(*mdns.MX); !ok {
				t.Errorf("a record of type %T answers a question for MX", rr)
			}
		}
	})
}
