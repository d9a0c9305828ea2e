package session

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/services/dispatcher/internal/outcome"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]outcome.Reply{
		"250 ok\r\n":                                  {Code: 250, Text: "ok"},
		"250\r\n":                                     {Code: 250},
		"250 ok\n":                                    {Code: 250, Text: "ok"},
		"250-a\r\n250 b\r\n":                          {Code: 250, Text: "a\nb"},
		"550 5.1.1 no such user\r\n":                  {Code: 550, Enhanced: "5.1.1", Text: "no such user"},
		"550-5.7.26 one\r\n550 5.7.26 two\r\n":        {Code: 550, Enhanced: "5.7.26", Text: "one\ntwo"},
		"550 #5.1.0 Address rejected.\r\n":            {Code: 550, Enhanced: "5.1.0", Text: "Address rejected."},
		"450 5.1.1 class differs\r\n":                 {Code: 450, Text: "5.1.1 class differs"},
		"550 5.1.1\r\n":                               {Code: 550, Enhanced: "5.1.1"},
		"220 mx.example ESMTP\r\n250 unread rest\r\n": {Code: 220, Text: "mx.example ESMTP"},
	} {
		got, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxLine))
		if err != nil {
			t.Errorf("readReply(%q): %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("readReply(%q) (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{
		"hello\r\n", "25 x\r\n", "999 x\r\n", "250_x\r\n", "250-a\r\n251 b\r\n", "\r\n",
		"250 " + strings.Repeat("x", 5000) + "\r\n", strings.Repeat("250-x\r\n", 200),
	} {
		if got, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxLine)); err != errDesync { //nolint:errorlint // unwrapped by contract
			t.Errorf("readReply(%.20q) = %v, %v, want errDesync", in, got, err)
		}
	}
	if _, err := readReply(bufio.NewReader(strings.NewReader("250-a\r\n"))); err != io.EOF { //nolint:errorlint // unwrapped by contract
		t.Errorf("readReply of half a reply = %v, want EOF", err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("250-a\r\n250 b\r\n"))
	f.Add([]byte("550 5.1.1 x\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		reply, err := readReply(bufio.NewReaderSize(bytes.NewReader(in), maxLine))
		if err == nil && (reply.Code < 200 || reply.Code > 599) {
			t.Errorf("readReply(%q) = %d", in, reply.Code)
		}
		if strings.ContainsAny(reply.Enhanced, "\r\n ") {
			t.Errorf("readReply(%q) has enhanced code %q", in, reply.Enhanced)
		}
	})
}

func TestStuff(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\r\nb\r\n":     "a\r\nb\r\n",
		"a":              "a\r\n",
		".\r\n..\r\n.a":  "..\r\n...\r\n..a\r\n",
		"a\n.\nb":        "a\r\n..\r\nb\r\n",
		"a\r.\rb\r\n":    "a.b\r\n",
		"":               "",
		"a\r\n\r\n.\r\n": "a\r\n\r\n..\r\n",
	} {
		var out bytes.Buffer
		if err := stuff(&out, []byte(in)); err != nil || out.String() != want {
			t.Errorf("stuff(%q) = %q, %v, want %q", in, out.String(), err, want)
		}
	}
}

// FuzzStuff proves that no body can end the message early, whichever line
// ends a server believes in.
func FuzzStuff(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb"))
	f.Add([]byte("a\n.\nb\r.\r"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var out bytes.Buffer
		if err := stuff(&out, body); err != nil {
			t.Fatal(err)
		}
		wire := out.String()
		plain := strings.ReplaceAll(wire, "\r\n", "")
		if strings.ContainsAny(plain, "\r\n") {
			t.Errorf("stuff(%q) = %q has a bare CR or LF", body, wire)
		}
		for line := range strings.SplitSeq(wire, "\r\n") {
			if line == "." {
				t.Errorf("stuff(%q) = %q ends the message early", body, wire)
			}
		}
		if wire != "" && !strings.HasSuffix(wire, "\r\n") {
			t.Errorf("stuff(%q) = %q has no last line end", body, wire)
		}
	})
}
