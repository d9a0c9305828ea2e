package dispatcher_test

import (
	"strings"
	"testing"

	"kurir.dev/kit/conf"
	"kurir.dev/services/dispatcher"
)

func TestDefaultIsValid(t *testing.T) {
	t.Parallel()
	if err := dispatcher.Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*dispatcher.Config){
		`lanes: "vip"`: func(c *dispatcher.Config) { c.Lanes = []string{"vip"} },
		`budgets: "vip"`: func(c *dispatcher.Config) {
			c.Budgets = map[string]dispatcher.Budget{"vip": dispatcher.DefaultBudget()}
		},
		"budgets.otp":       func(c *dispatcher.Config) { c.Budgets = map[string]dispatcher.Budget{"otp": {}} },
		"routes[0]":         func(c *dispatcher.Config) { c.Routes = []dispatcher.Route{{}} },
		"sites.connections": func(c *dispatcher.Config) { c.Sites.Connections = 0 },
		"smtp.port":         func(c *dispatcher.Config) { c.SMTP.Port = 0 },
		"dns.timeout":       func(c *dispatcher.Config) { c.DNS.Timeout = 0 },
		"dkim.dir":          func(c *dispatcher.Config) { c.DKIM.Domains = []dispatcher.DKIMDomain{{Domain: "x", SelectorRSA: "s"}} },
		"sandbox.keep":      func(c *dispatcher.Config) { c.Sandbox.Keep = 0 },
		"group":             func(c *dispatcher.Config) { c.Group = "" },
	} {
		cfg := dispatcher.Default()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want it to name %s", err, want)
		}
	}
}

func TestConfigPrintsNoSecrets(t *testing.T) {
	t.Parallel()
	cfg := dispatcher.Default()
	cfg.Routes = []dispatcher.Route{{Type: dispatcher.RouteSmartHost, Hosts: []string{"relay:587"}, User: "me", Password: "swordfish"}}
	var out strings.Builder
	if err := conf.Print(&out, cfg); err != nil || strings.Contains(out.String(), "swordfish") || !strings.Contains(out.String(), "relay:587") {
		t.Errorf("Print = %v:\n%s", err, out.String())
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := dispatcher.New(t.Context(), dispatcher.Deps{}, dispatcher.Default()); err == nil || !strings.Contains(err.Error(), "keyring: is missing") {
		t.Errorf("New without anything = %v", err)
	}
}
