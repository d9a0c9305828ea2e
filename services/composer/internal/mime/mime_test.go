package mime_test

import (
	"bytes"
	"errors"
	"io"
	stdmime "mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // more charsets for the foreign reader
	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/mailaddr"
	"kurir.dev/services/composer/internal/mime"
)

func addr(tb testing.TB, s string) mailaddr.Addr {
	tb.Helper()
	a, err := mailaddr.Parse(s)
	if err != nil {
		tb.Fatalf("Parse(%q) = %v", s, err)
	}
	return a
}

func sample(tb testing.TB) mime.Message {
	tb.Helper()
	return mime.Message{
		ID:      "0190f5fe-7c00-7000-8000-000000000001",
		Date:    time.Date(2026, 11, 2, 9, 4, 5, 0, time.UTC),
		From:    mime.Address{Name: "Kurir", Mailbox: addr(tb, "no-reply@kurir.example")},
		To:      mime.Address{Name: "Sari", Mailbox: addr(tb, "sari@example.co.id")},
		Subject: "Tagihan November",
		Text:    "Halo\nDunia",
		HTML:    "<p>Halo — Dunia</p>",
	}
}

// wire checks what holds of every message: CRLF only, bounded lines, ASCII
// unless SMTPUTF8 is asked for.
func wire(tb testing.TB, m *mime.Message, raw []byte) {
	tb.Helper()
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		tb.Errorf("the message does not end in CRLF")
	}
	for i, line := range strings.Split(string(raw), "\r\n") {
		if strings.ContainsAny(line, "\r\n\x00") {
			tb.Errorf("line %d holds a bare CR, LF or NUL: %q", i+1, line)
		}
		if len(line) > 998 {
			tb.Errorf("line %d has %d octets, want at most 998", i+1, len(line))
		}
	}
	for _, c := range raw {
		if c > '~' && !m.NeedsSMTPUTF8() {
			tb.Errorf("the message holds the octet %#x without SMTPUTF8", c)
			break
		}
	}
}

// bodies reads the text parts back with the standard library.
func bodies(tb testing.TB, msg *mail.Message) []string {
	tb.Helper()
	kind, params, err := stdmime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		tb.Fatalf("reading Content-Type: %v", err)
	}
	if kind == "text/plain" {
		all, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
		if err != nil {
			tb.Fatalf("reading the body: %v", err)
		}
		return []string{string(all)}
	}
	var out []string
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatalf("reading the parts: %v", err)
		}
		all, err := io.ReadAll(p)
		if err != nil {
			tb.Fatalf("reading a part: %v", err)
		}
		out = append(out, string(all))
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	m := sample(t)
	m.More = []mime.Header{{"Auto-Submitted", "auto-generated"}}
	raw, err := m.Bytes()
	if err != nil {
		t.Fatalf("Bytes() = %v", err)
	}
	want := strings.ReplaceAll(`Date: Mon, 02 Nov 2026 09:04:05 +0000
From: Kurir <no-reply@kurir.example>
To: Sari <sari@example.co.id>
Message-ID: <0190f5fe-7c00-7000-8000-000000000001@kurir.example>
Subject: Tagihan November
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: multipart/alternative;
 boundary="=_0190f5fe-7c00-7000-8000-000000000001"

--=_0190f5fe-7c00-7000-8000-000000000001
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Halo
Dunia
--=_0190f5fe-7c00-7000-8000-000000000001
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>Halo =E2=80=94 Dunia</p>
--=_0190f5fe-7c00-7000-8000-000000000001--
`, "\n", "\r\n")
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("Bytes() (-want +got):\n%s", diff)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("Tagihan yang panjang sekali ", 20) + "habis"
	for _, c := range []struct{ name, subject, display string }{
		{"ascii", "Your bill", "Kurir"},
		{"accents", "Café crème à la carte", "Zoë Müller"},
		{"script", "支払いのお知らせ " + strings.Repeat("長い", 60), "株式会社クリル"},
		{"long", long, "Somebody with a name that is rather long, longer than a line of a header may be"},
		{"word", strings.Repeat("x", 1200), strings.Repeat("y", 150)},
		{"specials", `He said "hi" (twice), <really>; =?utf-8?Q?no?=`, `Doe, John "Jack" (CEO) <x@y>`},
		{"spaces", " two  spaces ", "two  spaces"},
		{"tab", "a\tb", "a\tb"},
		{"empty", "", ""},
		{"emoji", strings.Repeat("🙂", 40), "🙂"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := sample(t)
			m.Subject, m.From.Name, m.To.Name = c.subject, c.display, c.display
			m.ReplyTo = mime.Address{Name: c.display, Mailbox: addr(t, "help@kurir.example")}
			raw, err := m.Bytes()
			if err != nil {
				t.Fatalf("Bytes() = %v", err)
			}
			wire(t, &m, raw)
			for line := range strings.SplitSeq(string(raw), "\r\n") {
				if len(line) > 78 {
					t.Errorf("line of %d octets, want at most 78: %q", len(line), line)
				}
			}
			msg, err := mail.ReadMessage(bytes.NewReader(raw))
			if err != nil {
				t.Fatalf("net/mail: %v", err)
			}
			got, err := new(stdmime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
			if err != nil || got != c.subject {
				t.Errorf("Subject = %q, %v, want %q", got, err, c.subject)
			}
			for _, header := range []string{"From", "To", "Reply-To"} {
				list, err := msg.Header.AddressList(header)
				if err != nil || len(list) != 1 || list[0].Name != c.display {
					t.Errorf("%s = %v, %v, want the name %q", header, list, err, c.display)
				}
			}
			entity, err := message.Read(bytes.NewReader(raw))
			if err != nil {
				t.Fatalf("go-message: %v", err)
			}
			if got, err := entity.Header.Text("Subject"); err != nil || got != c.subject {
				t.Errorf("go-message: Subject = %q, %v, want %q", got, err, c.subject)
			}
		})
	}
}

func TestInjection(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a\r\nBcc: x@y.example", "a\nb", "a\rb", "a\x00b"} {
		for header, put := range map[string]func(m *mime.Message){
			"Subject":          func(m *mime.Message) { m.Subject = bad },
			"From":             func(m *mime.Message) { m.From.Name = bad },
			"To":               func(m *mime.Message) { m.To.Name = bad },
			"Reply-To":         func(m *mime.Message) { m.ReplyTo = mime.Address{Name: bad, Mailbox: m.To.Mailbox} },
			"List-Unsubscribe": func(m *mime.Message) { m.More = []mime.Header{{"List-Unsubscribe", bad}} },
			"Message-ID":       func(m *mime.Message) { m.ID = bad },
		} {
			m := sample(t)
			put(&m)
			raw, err := m.Bytes()
			var he *mime.HeaderError
			if !errors.As(err, &he) || he.Header != header || raw != nil {
				t.Errorf("Bytes() with %q in %s = %d bytes, %v, want a HeaderError of it", bad, header, len(raw), err)
			}
		}
	}
}

func TestNeedsSMTPUTF8(t *testing.T) {
	t.Parallel()
	for give, want := range map[string]bool{
		"sari@example.co.id": false, "sari@bücher.example": false, "señor@example.com": true,
	} {
		m := sample(t)
		m.To.Mailbox = addr(t, give)
		if got := m.NeedsSMTPUTF8(); got != want {
			t.Errorf("NeedsSMTPUTF8(%q) = %v, want %v", give, got, want)
		}
		raw, err := m.Bytes()
		if err != nil {
			t.Fatalf("Bytes() = %v", err)
		}
		wire(t, &m, raw)
		list, err := mail.ParseAddressList(header(t, raw, "To"))
		if err != nil || list[0].Address != m.To.Mailbox.String() {
			t.Errorf("To = %v, %v, want %s", list, err, m.To.Mailbox)
		}
	}
}

func header(tb testing.TB, raw []byte, name string) string {
	tb.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		tb.Fatalf("net/mail: %v", err)
	}
	return msg.Header.Get(name)
}

// unified is a body as it reads after its journey: LF line ends, and no matter
// how many of them at the end.
func unified(s string) string {
	return strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s), "\n")
}

func FuzzBytes(f *testing.F) {
	f.Add("Tagihan", "Sari", "Halo\nDunia", "<p>x</p>")
	f.Add("Café "+strings.Repeat("é", 300), `A "b" <c>`, "a\r\nb\rc\n", "")
	f.Add("=?utf-8?Q?x?=", "株式会社", strings.Repeat("x", 3000), "--=_x\r\n.\r\n")
	f.Add("Baris", "Sari", "satu\rdua é\ntiga", "<p>\ré\n</p>")
	f.Add("a\x00b", "c\r\nd", "\x00 \t", " \r\n.\r\n")
	f.Fuzz(func(t *testing.T, subject, name, text, html string) {
		m := sample(t)
		m.Subject, m.To.Name, m.Text, m.HTML = subject, name, text, html
		raw, err := m.Bytes()
		if bad := mime.Unsafe(subject) || mime.Unsafe(name); bad || err != nil {
			if !bad || err == nil {
				t.Fatalf("Bytes() = %v, want an error exactly for CR, LF or NUL in a header", err)
			}
			return
		}
		wire(t, &m, raw)
		msg, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("net/mail: %v", err)
		}
		got, err := new(stdmime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
		if want := strings.ToValidUTF8(subject, "\ufffd"); err != nil || got != want {
			t.Errorf("Subject = %q, %v, want %q", got, err, want)
		}
		want := []string{unified(text)}
		if html != "" {
			want = append(want, unified(html))
		}
		parts := bodies(t, msg)
		for i := range parts {
			parts[i] = unified(parts[i])
		}
		if diff := cmp.Diff(want, parts); diff != "" {
			t.Errorf("bodies (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkBytes(b *testing.B) {
	m := sample(b)
	m.Text, m.HTML = strings.Repeat("Sebaris teks biasa.\n", 20), strings.Repeat("<p style=\"margin:0\">Sebaris teks.</p>\n", 60)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Bytes(); err != nil {
			b.Fatal(err)
		}
	}
}
