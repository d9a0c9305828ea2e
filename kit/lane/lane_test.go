package lane_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"kurir.dev/kit/lane"
)

func TestDefault(t *testing.T) {
	t.Parallel()
	s := lane.Default()
	if err := s.Validate(); err != nil {
		t.Fatalf("Default().Validate() = %v, want nil", err)
	}
	if got, want := s.Names(), []string{lane.OTP, lane.Billing, lane.Reminder, lane.Bulk}; !cmp.Equal(got, want) {
		t.Errorf("Names() = %v, want %v", got, want)
	}
	tests := []struct {
		name, ladder string
		expiry       time.Duration
		inDoubt      lane.InDoubt
		inline       bool
	}{
		{lane.OTP, "2s 5s 10s 20s 40s 1m0s", 5 * time.Minute, lane.Resend, true},
		{lane.Billing, "30s 2m0s 10m0s 30m0s 2h0m0s 6h0m0s", 72 * time.Hour, lane.Hold, false},
		{lane.Reminder, "1m0s 10m0s 30m0s 2h0m0s 6h0m0s", 48 * time.Hour, lane.Resend, false},
		{lane.Bulk, "10m0s 30m0s 2h0m0s 6h0m0s", 24 * time.Hour, lane.Resend, false},
	}
	for _, tt := range tests {
		l, ok := s.Lookup(tt.name)
		if !ok {
			t.Fatalf("Lookup(%q) found nothing", tt.name)
		}
		var steps []string
		for _, d := range l.Ladder {
			steps = append(steps, d.String())
		}
		if got := strings.Join(steps, " "); got != tt.ladder || l.Expiry != tt.expiry || l.InDoubt != tt.inDoubt || l.Inline != tt.inline {
			t.Errorf("lane %q = ladder %s, expiry %s, in doubt %s, inline %v, want %s, %s, %s, %v",
				tt.name, got, l.Expiry, l.InDoubt, l.Inline, tt.ladder, tt.expiry, tt.inDoubt, tt.inline)
		}
	}
	if _, ok := s.Lookup("express"); ok {
		t.Error(`Lookup("express") found something`)
	}
}

func TestNextDelay(t *testing.T) {
	t.Parallel()
	otp, _ := lane.Default().Lookup(lane.OTP)
	low, mid := func() float64 { return 0 }, func() float64 { return 0.5 }
	tests := []struct {
		attempt int
		rnd     func() float64
		want    time.Duration
	}{
		{-1, mid, 2 * time.Second},
		{1, mid, 2 * time.Second},
		{1, low, 1600 * time.Millisecond},
		{2, mid, 5 * time.Second},
		{6, mid, time.Minute},
		{60, mid, time.Minute},
	}
	for _, tt := range tests {
		if got := otp.NextDelay(tt.attempt, tt.rnd); got != tt.want {
			t.Errorf("NextDelay(%d) = %s, want %s", tt.attempt, got, tt.want)
		}
	}
	for range 1000 {
		if got := otp.NextDelay(2, nil); got < 4*time.Second || got > 6*time.Second {
			t.Fatalf("NextDelay(2) = %s, want within 20 %% of 5s", got)
		}
	}
	if got := (lane.Lane{}).NextDelay(1, nil); got != 0 {
		t.Errorf("NextDelay without a ladder = %s, want 0", got)
	}
}

func TestClampExpiry(t *testing.T) {
	t.Parallel()
	otp, _ := lane.Default().Lookup(lane.OTP)
	tests := []struct {
		ask, want time.Duration
		ok        bool
	}{
		{0, 5 * time.Minute, true},
		{30 * time.Second, 30 * time.Second, true},
		{30 * time.Minute, 30 * time.Minute, true},
		{29 * time.Second, 29 * time.Second, false},
		{31 * time.Minute, 31 * time.Minute, false},
		{-time.Second, -time.Second, false},
	}
	for _, tt := range tests {
		if got, ok := otp.ClampExpiry(tt.ask); got != tt.want || ok != tt.ok {
			t.Errorf("ClampExpiry(%s) = %s, %v, want %s, %v", tt.ask, got, ok, tt.want, tt.ok)
		}
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	s := lane.Default()
	for i, own := range s.Names() {
		for j, asked := range s.Names() {
			if got, want := s.Allowed(own, asked), j >= i; got != want {
				t.Errorf("Allowed(%q, %q) = %v, want %v", own, asked, got, want)
			}
		}
	}
	if s.Allowed("express", lane.Bulk) || s.Allowed(lane.OTP, "express") {
		t.Error("Allowed took an unknown lane")
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(s lane.Set) lane.Set
		want string
	}{
		{"empty", func(lane.Set) lane.Set { return nil }, "empty"},
		{"name", func(s lane.Set) lane.Set { s[0].Name = "O T P"; return s }, "a name is"},
		{"no name", func(s lane.Set) lane.Set { s[0].Name = ""; return s }, "a name is"},
		{"twice", func(s lane.Set) lane.Set { s[1].Name = s[0].Name; return s }, "listed twice"},
		{"rank", func(s lane.Set) lane.Set { s[1].Rank = s[0].Rank; return s }, "rank 0 does not follow"},
		{"weight", func(s lane.Set) lane.Set { s[3].Weight = 0; return s }, "weight 0"},
		{"floor", func(s lane.Set) lane.Set { s[3].FloorPercent = -1; return s }, "floor_percent -1"},
		{"floors", func(s lane.Set) lane.Set { s[1].FloorPercent, s[2].FloorPercent = 60, 60; return s }, "sum to 125"},
		{"no ladder", func(s lane.Set) lane.Set { s[3].Ladder = nil; return s }, "no step"},
		{"ladder zero", func(s lane.Set) lane.Set { s[3].Ladder[0] = 0; return s }, "step 1 is 0s"},
		{"ladder falls", func(s lane.Set) lane.Set { s[3].Ladder[1] = time.Second; return s }, "step 2 is 1s"},
		{"expiry", func(s lane.Set) lane.Set { s[0].Expiry = time.Hour; return s }, "expiry 1h0m0s must lie"},
		{"in doubt", func(s lane.Set) lane.Set { s[0].InDoubt = 7; return s }, "in_doubt"},
	}
	for _, tt := range tests {
		err := tt.edit(lane.Default()).Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Validate() = %v, want mention of %q", tt.name, err, tt.want)
		}
	}
}

func TestYAML(t *testing.T) {
	t.Parallel()
	text, err := yaml.Marshal(lane.Default())
	if err != nil {
		t.Fatalf("Marshal: %v", err)
	}
	if !strings.Contains(string(text), "in_doubt: hold") || !strings.Contains(string(text), "expiry: 5m0s") {
		t.Errorf("Marshal(Default()) =\n%s", text)
	}
	got := lane.Set{{Name: "replaced"}}
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatalf("Unmarshal: %v", err)
	}
	if diff := cmp.Diff(lane.Default(), got); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	if err := yaml.Unmarshal([]byte("- in_doubt: maybe"), &got); err == nil {
		t.Error("Unmarshal(in_doubt: maybe) = nil, want an error")
	}
}
