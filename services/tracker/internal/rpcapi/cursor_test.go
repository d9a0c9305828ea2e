package rpcapi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"kurir.dev/kit/fault"
)

func TestCursor(t *testing.T) {
	t.Parallel()
	c := cursor{time.Date(2026, 11, 21, 12, 0, 0, 1, time.UTC), "INV 1"}
	if got, err := parseCursor(c.token()); err != nil || !got.at.Equal(c.at) || got.id != c.id {
		t.Errorf("parseCursor(token()) = %v, %v, want %v", got, err, c)
	}
	for _, bad := range []string{"?", "AA", "eA", strings.Repeat("A", 9000)} {
		if got, err := parseCursor(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("parseCursor(%.20q) = %v, %v, want %v", bad, got, err, fault.Invalid)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add(cursor{time.Unix(1, 2), "01900000-0000-7000-8000-000000000001"}.token())
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseCursor(token)
		if err != nil || token == "" {
			return
		}
		again, err := parseCursor(c.token())
		if err != nil || !again.at.Equal(c.at) || again.id != c.id {
			t.Errorf("parseCursor(%q) = %v, and again %v, %v", token, c, again, err)
		}
	})
}

func TestSpan(t *testing.T) {
	t.Parallel()
	one, two := &timestamppb.Timestamp{Seconds: 1}, &timestamppb.Timestamp{Seconds: 2}
	for _, c := range []struct {
		name     string
		from, to *timestamppb.Timestamp
		ok       bool
	}{
		{"none", nil, nil, true},
		{"both", one, two, true},
		{"one", nil, two, true},
		{"turned round", two, one, false},
		{"broken", &timestamppb.Timestamp{Nanos: -1}, nil, false},
		{"too far", nil, &timestamppb.Timestamp{Seconds: 10_000_000_000}, false},
	} {
		if a, b, err := span(c.from, c.to, "from", "to"); (err == nil) != c.ok {
			t.Errorf("%s: span() = %v, %v, %v, want ok %v", c.name, a, b, err, c.ok)
		}
	}
}

func TestTraceID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "0af7651916cd43dd8448eb211c80319c", "": "", "00-x-y-01": "", "nonsense": "",
	} {
		if got := traceID(in); got != want {
			t.Errorf("traceID(%q) = %q, want %q", in, got, want)
		}
	}
}
