package dkim

import (
	"errors"
	"fmt"
)

// Config says which domains are signed for.
type Config struct {
	// Dir holds the private keys, <domain>.<selector>.pem each.
	Dir string `yaml:"dir"`
	// Generate makes keys that are missing, and a .txt beside each with the
	// DNS record to publish.
	Generate bool `yaml:"generate"`
	// Domains are the signing domains; mail of others is not signed.
	Domains []Domain `yaml:"domains"`
}

// Domain is one signing domain (d=) and its selectors (s=).
type Domain struct {
	// Domain is the domain of the From header; mail of its subdomains is
	// signed with it too, unless they are listed themselves.
	Domain string `yaml:"domain"`
	// SelectorRSA names the RSA-2048 key; empty does not sign with one.
	SelectorRSA string `yaml:"selector_rsa"`
	// SelectorEd25519 names the Ed25519 key (RFC 8463); empty likewise.
	SelectorEd25519 string `yaml:"selector_ed25519"`
}

// Validate reports every fault, joined.
func (c Config) Validate() error {
	var faults []error
	if len(c.Domains) > 0 && c.Dir == "" {
		faults = append(faults, errors.New("dkim.dir: must be given with domains"))
	}
	for i, d := range c.Domains {
		if d.Domain == "" {
			faults = append(faults, fmt.Errorf("dkim.domains[%d].domain: must be given", i))
		}
		if d.SelectorRSA == "" && d.SelectorEd25519 == "" {
			faults = append(faults, fmt.Errorf("dkim.domains[%d]: selector_rsa or selector_ed25519 must be given", i))
		}
		if d.SelectorRSA != "" && d.SelectorRSA == d.SelectorEd25519 {
			faults = append(faults, fmt.Errorf("dkim.domains[%d]: the two keys need two selectors", i))
		}
	}
	return errors.Join(faults...)
}
