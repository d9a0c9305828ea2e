package mail_test

import (
	"testing"

	"kurir.dev/services/router/internal/mail"
)

func TestHint(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"budi@example.com":         "b***@example.com",
		"b@example.com":            "***@example.com",
		"é@example.com":            "***@example.com",
		"ébudi@example.com":        "é***@example.com",
		`"a@b c"@example.com`:      "***@example.com",
		"@example.com":             "***",
		"nobody":                   "***",
		"":                         "***",
		"sari.dewi+x@mail.example": "s***@mail.example",
	} {
		if got := mail.Hint(in); got != want {
			t.Errorf("Hint(%q) = %q, want %q", in, got, want)
		}
	}
}
