package conf

import (
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Print writes the effective configuration as YAML. Secrets print as ***, and so
// do passwords in URLs. What it writes can be loaded again once the secrets are
// put back.
func Print(w io.Writer, cfg any) error {
	var doc yaml.Node
	if err := doc.Encode(cfg); err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	redact(&doc, regexp.MustCompile(`(://[^/?#\s:@]*:)[^/?#\s]*@`))
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	return nil
}

// redact hides the password of every URL among the values of n.
func redact(n *yaml.Node, userinfo *regexp.Regexp) {
	if n.Kind == yaml.ScalarNode {
		n.Value = userinfo.ReplaceAllString(n.Value, "${1}"+redacted+"@")
	}
	for _, child := range n.Content {
		redact(child, userinfo)
	}
}
