package mime

import (
	"bytes"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// FuzzQuoted: the encoder writes what the standard library's does.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{
		"", "a", " ", "\t", "\n", "a \n", "a\t\nb", "=", "a=b", "grüße\n", "\x00\x7f\xff",
		strings.Repeat("a", 75), strings.Repeat("a", 76), strings.Repeat("a", 75) + "\n", strings.Repeat("a", 74) + " ",
		strings.Repeat("a", 74) + " \n", strings.Repeat("ü", 100), strings.Repeat("word ", 40) + "\n\n" + strings.Repeat("=", 80),
		strings.Repeat("a", 72) + "=", strings.Repeat("a", 73) + "=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = lineFeeds(s)
		var want bytes.Buffer
		w := quotedprintable.NewWriter(&want)
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := string(appendQuoted(nil, s)); got != want.String() {
			t.Errorf("appendQuoted(%q) = %q, want %q", s, got, want.String())
		}
	})
}

func BenchmarkQuoted(b *testing.B) {
	s := strings.Repeat("Tagihan Anda untuk bulan ini telah terbit dan dapat dibayar hingga akhir bulan.\n", 128)
	b.Run("own", func(b *testing.B) {
		out := make([]byte, 0, 2*len(s))
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			appendQuoted(out, s)
		}
	})
	b.Run("standard", func(b *testing.B) {
		var out bytes.Buffer
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			out.Reset()
			w := quotedprintable.NewWriter(&out)
			if _, err := w.Write([]byte(s)); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
