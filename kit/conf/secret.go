package conf

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a Secret looks like wherever it is printed.
const redacted = "***"

// Secret is a value that prints as *** everywhere: in logs, in fmt with any verb,
// in YAML and in JSON. An empty Secret prints as nothing, so that one sees that it
// is not set. In a file, a field `x: Secret` may be given as `x_file: path`; the
// content of the file, without its last line break, is then the secret.
type Secret string

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// String returns ***, or "" if there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format prints what String returns, whatever the verb asks for.
func (s Secret) Format(f fmt.State, _ rune) {
	// fmt reports its own write errors; this one is not ours to handle.
	_, _ = io.WriteString(f, s.String())
}

// LogValue makes slog print what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalYAML makes YAML print what String returns.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalText makes JSON and the like print what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
