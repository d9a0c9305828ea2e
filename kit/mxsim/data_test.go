package mxsim

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

func TestReadData(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1200)
	tests := []struct {
		name, wire, want          string
		bareCR, bareLF, longLines int
		rest                      string
	}{
		{name: "empty", wire: ".\r\n", want: ""},
		{name: "one line", wire: "a\r\n.\r\nQUIT", want: "a\r\n", rest: "QUIT"},
		{name: "stuffed dots", wire: "..\r\n...a\r\n.b\r\n.\r\n", want: ".\r\n..a\r\nb\r\n"},
		{name: "dot after bare LF is text", wire: "a\n.\r\nb\r\n.\r\n", want: "a\n.\r\nb\r\n", bareLF: 1},
		{name: "LF dot LF is text", wire: "a\r\n.\nb\r\n.\r\n", want: "a\r\n\nb\r\n", bareLF: 1},
		{name: "dot after bare CR is text", wire: "a\r.\r\n.\r\n", want: "a\r.\r\n", bareCR: 1},
		{name: "CR CR LF", wire: "a\r\r\n.\r\n", want: "a\r\r\n", bareCR: 1},
		{name: "long line", wire: long + "\r\n.\r\n", want: long + "\r\n", longLines: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := bufio.NewReader(strings.NewReader(tt.wire))
			b, err := readData(r, 1<<20, 0)
			if err != nil {
				t.Fatalf("readData(%q): %v", tt.wire, err)
			}
			if got := string(b.data); got != tt.want {
				t.Errorf("readData(%q) = %q, want %q", tt.wire, got, tt.want)
			}
			if b.bareCR != tt.bareCR || b.bareLF != tt.bareLF || b.longLines != tt.longLines {
				t.Errorf("readData(%q) breaches = %d CR, %d LF, %d long, want %d, %d, %d",
					tt.wire, b.bareCR, b.bareLF, b.longLines, tt.bareCR, tt.bareLF, tt.longLines)
			}
			rest, _ := r.Peek(r.Buffered())
			if string(rest) != tt.rest {
				t.Errorf("readData(%q) left %q, want %q", tt.wire, rest, tt.rest)
			}
		})
	}
}

func TestReadDataBuffersAndLimits(t *testing.T) {
	t.Parallel()
	// A line that ends exactly between two buffers, its CR in one, its LF in
	// the next, is still a line; too large a message is read to its end.
	text := strings.Repeat("y", 15) + "\r\n"
	for _, limit := range []int{8, 1 << 20} {
		r := bufio.NewReaderSize(strings.NewReader(text+text+".\r\nNOOP"), 16)
		b, err := readData(r, limit, 0)
		if err != nil {
			t.Fatalf("readData(limit %d): %v", limit, err)
		}
		if b.tooLarge != (limit == 8) || b.bareCR != 0 || b.bareLF != 0 {
			t.Errorf("readData(limit %d) = too large %v, %d CR, %d LF", limit, b.tooLarge, b.bareCR, b.bareLF)
		}
		if !b.tooLarge && string(b.data) != text+text {
			t.Errorf("readData(limit %d) = %q, want %q", limit, b.data, text+text)
		}
	}
}

// FuzzReadData checks that stuffing undoes unstuffing and that the buffer's
// size makes no difference.
func FuzzReadData(f *testing.F) {
	for _, seed := range []string{"", "a\r\n", ".\r\n", "..\n.\r\n", "a\n.\r\nb\r", "\r\n.\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := append(bytes.Clone(text), "\r\n"...)
		wire := append(stuff(want), ".\r\n"...)
		for _, size := range []int{16, 17, 4096} {
			b, err := readData(bufio.NewReaderSize(bytes.NewReader(wire), size), 1<<20, 0)
			if err != nil {
				t.Fatalf("readData(%q): %v", wire, err)
			}
			if !bytes.Equal(b.data, want) {
				t.Fatalf("readData(%q) with buffer %d = %q, want %q", wire, size, b.data, want)
			}
		}
	})
}

// stuff doubles the dot at the beginning of each CRLF line.
func stuff(text []byte) []byte {
	out := []byte{}
	for i, c := range text {
		if c == '.' && (i == 0 || i >= 2 && text[i-2] == '\r' && text[i-1] == '\n') {
			out = append(out, '.')
		}
		out = append(out, c)
	}
	return out
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		arg, addr string
		params    int
		ok        bool
	}{
		{"FROM:<a@b.test>", "a@b.test", 0, true},
		{"from: <a@b.test> SIZE=10 BODY=8BITMIME", "a@b.test", 2, true},
		{"FROM:<>", "", 0, true},
		{`FROM:<"a>b\""@c.test>`, `"a>b\""@c.test`, 0, true},
		{"FROM:<@relay.test,@two.test:a@b.test>", "a@b.test", 0, true},
		{"FROM:a@b.test", "", 0, false},
		{"FROM:<a@b.test", "", 0, false},
		{"TO:<a@b.test>", "", 0, false},
		{"", "", 0, false},
	}
	for _, tt := range tests {
		addr, params, ok := parsePath(tt.arg, "FROM:")
		if addr != tt.addr || len(params) != tt.params || ok != tt.ok {
			t.Errorf("parsePath(%q) = %q, %v, %v, want %q, %d params, %v", tt.arg, addr, params, ok, tt.addr, tt.params, tt.ok)
		}
	}
}
