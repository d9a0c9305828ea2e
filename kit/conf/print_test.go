package conf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/conf"
)

func TestPrint(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Store = store{URL: "postgres://kurir:hunter2@db/kurir", Password: "hunter2"}
	c.Lanes = []lane{{Name: "otp", Key: "hunter2"}, {Name: "bulk"}}
	var out strings.Builder
	if err := conf.Print(&out, &c); err != nil {
		t.Fatalf("Print() = %v, want nil", err)
	}
	got := out.String()
	if strings.Contains(got, "hunter2") {
		t.Errorf("Print() shows a secret:\n%s", got)
	}
	for _, want := range []string{
		"listen: 127.0.0.1:7420\n", "  url: postgres://kurir:***@db/kurir\n", "  password: '***'\n",
		"drain: 5s\n", "  - name: otp\n", "    key: '***'\n", "    key: \"\"\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("Print() lacks %q:\n%s", want, got)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := conf.Secret("hunter2")
	holder := struct{ Password conf.Secret }{s}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).InfoContext(t.Context(), "x", slog.Any("secret", s), slog.Any("holder", holder))
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	all.WriteString(log.String() + string(asJSON))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		for _, v := range []any{s, holder, &holder} {
			fmt.Fprintf(&all, verb, v)
		}
	}
	if strings.Contains(all.String(), "hunter2") || strings.Contains(all.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("a secret leaked into %s", all.String())
	}
	if got := s.Reveal(); got != "hunter2" {
		t.Errorf("Reveal() = %q, want the secret", got)
	}
	if got := conf.Secret("").String(); got != "" {
		t.Errorf("empty secret prints %q, want nothing", got)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want conf.Options
		fail string
	}{
		{nil, conf.Options{}, ""},
		{[]string{"-config", "r.yaml", "-listen", ":1", "-check"}, conf.Options{Config: "r.yaml", Listen: ":1", Check: true}, ""},
		{[]string{"--print", "--version"}, conf.Options{Print: true, Version: true}, ""},
		{[]string{"-colour"}, conf.Options{}, "flag provided but not defined: -colour"},
		{[]string{"start"}, conf.Options{}, `unexpected argument "start"`},
	}
	for _, tt := range tests {
		got, err := conf.Flags("routerd", tt.args)
		if tt.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("Flags(%q) = %v, want %q", tt.args, err, tt.fail)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("Flags(%q) = %v, mismatch (-want +got):\n%s", tt.args, err, diff)
		}
	}
	if _, err := conf.Flags("routerd", []string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("Flags(-h) = %v, want ErrHelp", err)
	}
}
