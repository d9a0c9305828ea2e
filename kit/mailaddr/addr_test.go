package mailaddr_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kurir.dev/kit/mailaddr"
)

func TestParse(t *testing.T) {
	t.Parallel()
	x := strings.Repeat
	tests := []struct{ in, want, unicode string }{
		{"a@b.test", "a@b.test", "a@b.test"},
		{"First.Last+tag@Shop.Example", "First.Last+tag@shop.example", "First.Last+tag@shop.example"},
		{"!#$%&'*+-/=?^_`{|}~@b.test", "!#$%&'*+-/=?^_`{|}~@b.test", "!#$%&'*+-/=?^_`{|}~@b.test"},
		{`"plain"@b.test`, "plain@b.test", "plain@b.test"},
		{`"a.b"@b.test`, "a.b@b.test", "a.b@b.test"},
		{`"a\b"@b.test`, "ab@b.test", "ab@b.test"},
		{`"a b"@b.test`, `"a b"@b.test`, `"a b"@b.test`},
		{`"a\"\\b"@b.test`, `"a\"\\b"@b.test`, `"a\"\\b"@b.test`},
		{`"a@b"@b.test`, `"a@b"@b.test`, `"a@b"@b.test`},
		{`"a..b"@b.test`, `"a..b"@b.test`, `"a..b"@b.test`},
		{"jürgen@bücher.example", "jürgen@xn--bcher-kva.example", "jürgen@bücher.example"},
		{"a@BÜCHER.example", "a@xn--bcher-kva.example", "a@bücher.example"},
		{"a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example", "a@bücher.example"},
		{"a@faß.example", "a@xn--fa-hia.example", "a@faß.example"},
		{"用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d", "用户@例子.测试"},
		{"a@r3---sn-x.example", "a@r3---sn-x.example", "a@r3---sn-x.example"},
		{"a@1.2.3.x4", "a@1.2.3.x4", "a@1.2.3.x4"},
		{x("a", 64) + "@b.test", x("a", 64) + "@b.test", x("a", 64) + "@b.test"},
	}
	for _, tt := range tests {
		a, err := mailaddr.Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q) = %v, want %q", tt.in, err, tt.want)
			continue
		}
		if a.String() != tt.want || a.Unicode() != tt.unicode {
			t.Errorf("Parse(%q) = %q, Unicode %q, want %q, %q", tt.in, a, a.Unicode(), tt.want, tt.unicode)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	x := strings.Repeat
	long := x(x("d", 60)+".", 4) + "test"
	tests := []struct {
		in   string
		want mailaddr.Reason
	}{
		{"", mailaddr.Empty},
		{"a\xff@b.test", mailaddr.Encoding},
		{"a\r\n@b.test", mailaddr.Control},
		{"a@b.test\r\nRCPT TO:<c@d.test>", mailaddr.Control},
		{"a\x00@b.test", mailaddr.Control},
		{"\"a\tb\"@b.test", mailaddr.Control},
		{"a\u0085@b.test", mailaddr.Control},
		{"a\x7f@b.test", mailaddr.Control},
		{"plain", mailaddr.NoAt},
		{"@b.test", mailaddr.LocalEmpty},
		{`""@b.test`, mailaddr.LocalEmpty},
		{".a@b.test", mailaddr.LocalDots},
		{"a.@b.test", mailaddr.LocalDots},
		{"a..b@b.test", mailaddr.LocalDots},
		{"a b@b.test", mailaddr.LocalChar},
		{" a@b.test", mailaddr.LocalChar},
		{"<a@b.test>", mailaddr.LocalChar},
		{"Joe <a@b.test>", mailaddr.LocalChar},
		{"a,c@b.test", mailaddr.LocalChar},
		{"a\u202eb@b.test", mailaddr.LocalChar},
		{"a\u00a0b@b.test", mailaddr.LocalChar},
		{"\"a\u2028b\"@b.test", mailaddr.LocalChar},
		{`"a@b.test`, mailaddr.LocalQuote},
		{`"a"b@b.test`, mailaddr.LocalQuote},
		{`"a\`, mailaddr.LocalQuote},
		{`"a"`, mailaddr.LocalQuote},
		{"\"a\\ü\"@b.test", mailaddr.LocalQuote},
		{x("a", 65) + "@b.test", mailaddr.LocalTooLong},
		{x("ü", 33) + "@b.test", mailaddr.LocalTooLong},
		{x("a", 20) + "@" + long, mailaddr.TooLong},
		{"a@", mailaddr.DomainEmpty},
		{"a@" + x("d", 64) + ".test", mailaddr.DomainLong},
		{"a@" + x("d.", 130) + "test", mailaddr.DomainLong},
		{"a@" + x("d", 2000), mailaddr.DomainLong},
		{"a@localhost", mailaddr.DomainSingle},
		{"a@b.test.", mailaddr.DomainSyntax},
		{"a@.b.test", mailaddr.DomainSyntax},
		{"a@b..test", mailaddr.DomainSyntax},
		{"a@-b.test", mailaddr.DomainSyntax},
		{"a@b-.test", mailaddr.DomainSyntax},
		{"a@b_c.test", mailaddr.DomainSyntax},
		{"a@b c.test", mailaddr.DomainSyntax},
		{"a@b@c.test", mailaddr.DomainSyntax},
		{"a@b.test>", mailaddr.DomainSyntax},
		{"a@xn--a.test", mailaddr.DomainSyntax},
		{"a@127.0.0.1", mailaddr.DomainSyntax},
		{"a@\u200bb.test.", mailaddr.DomainSyntax},
		{"a@[127.0.0.1]", mailaddr.Literal},
		{"a@[IPv6:::1]", mailaddr.Literal},
	}
	for _, tt := range tests {
		a, err := mailaddr.Parse(tt.in)
		var refused *mailaddr.ParseError
		if !errors.As(err, &refused) || refused.Reason != tt.want {
			t.Errorf("Parse(%q) = %q, %v, want %q", tt.in, a, err, tt.want)
		}
		if !a.IsZero() {
			t.Errorf("Parse(%q) gave %q beside its error", tt.in, a)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"First.Last+shop@GMail.com", "firstlast@gmail.com"},
		{"firstlast@googlemail.com", "firstlast@gmail.com"},
		{"+tag@gmail.com", "+tag@gmail.com"},
		{"First.Last+shop@outlook.com", "first.last@outlook.com"},
		{"First.Last+Shop@corp.test", "first.last+shop@corp.test"},
		{"JÜRGEN@b.test", "jürgen@b.test"},
		{"ju\u0308rgen@b.test", "jürgen@b.test"},
		{`"A B"@b.test`, `"a b"@b.test`},
	}
	for _, tt := range tests {
		a, err := mailaddr.Parse(tt.in)
		if err != nil {
			t.Fatalf("Parse(%q): %v", tt.in, err)
		}
		if got := a.Key(); got != tt.want {
			t.Errorf("Parse(%q).Key() = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestViews(t *testing.T) {
	t.Parallel()
	a, err := mailaddr.Parse("Jürgen@bücher.example")
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	b, err := mailaddr.Parse("jürgen@BÜCHER.example")
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	if a.Local() != "Jürgen" || a.Domain() != "xn--bcher-kva.example" || !a.NeedsSMTPUTF8() {
		t.Errorf("Local, Domain, NeedsSMTPUTF8 = %q, %q, %v", a.Local(), a.Domain(), a.NeedsSMTPUTF8())
	}
	if got, want := a.Redacted(), "J***@xn--bcher-kva.example"; got != want {
		t.Errorf("Redacted() = %q, want %q", got, want)
	}
	if len(a.Hash()) != 12 || a.Hash() != b.Hash() || a == b {
		t.Errorf("Hash() = %q and %q, want 12 equal digits", a.Hash(), b.Hash())
	}
	short, err := mailaddr.Parse("x@b.test")
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	if got, want := short.Redacted(), "***@b.test"; got != want || short.NeedsSMTPUTF8() {
		t.Errorf("Redacted() = %q, NeedsSMTPUTF8 %v, want %q, false", got, short.NeedsSMTPUTF8(), want)
	}
	var zero mailaddr.Addr
	if s := zero.String() + zero.Unicode() + zero.Key() + zero.Redacted() + zero.Hash(); s != "" || !zero.IsZero() {
		t.Errorf("the zero Addr shows as %q", s)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"a@b.test", `"a b\"\\"@b.test`, "jürgen@bücher.example", "用户@例子.测试", "a+b.c@gmail.com",
		"a@xn--bcher-kva.example", "İ@b.test", "a@K.example", "a@b。test", "\"\u200d\"@b.test", "a@b.test\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := mailaddr.Parse(in)
		if err != nil {
			if _, ok := errors.AsType[*mailaddr.ParseError](err); !ok {
				t.Fatalf("Parse(%q) = %T, want *ParseError", in, err)
			}
			return
		}
		wire := a.String()
		again, err := mailaddr.Parse(wire)
		if err != nil || again != a {
			t.Fatalf("Parse(%q) = %q, which parses as %q, %v", in, wire, again, err)
		}
		if strings.ContainsFunc(wire, unicode.IsControl) || !utf8.ValidString(wire) {
			t.Fatalf("Parse(%q) = %q holds control characters or bad UTF-8", in, wire)
		}
		local := strings.TrimSuffix(wire, "@"+a.Domain())
		if len(wire) > 254 || len(local) > 64 || strings.Count(a.Domain(), ".") == 0 {
			t.Fatalf("Parse(%q) = %q breaks the limits", in, wire)
		}
		if a.NeedsSMTPUTF8() == (len(local) == utf8.RuneCountInString(local)) {
			t.Fatalf("Parse(%q).NeedsSMTPUTF8() = %v", in, a.NeedsSMTPUTF8())
		}
		if shown, err := mailaddr.Parse(a.Unicode()); err != nil || shown != a {
			t.Fatalf("Parse(%q).Unicode() = %q, which parses as %q, %v", in, a.Unicode(), shown, err)
		}
	})
}
