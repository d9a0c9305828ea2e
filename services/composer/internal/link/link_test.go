package link_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/token"
	"kurir.dev/services/composer/internal/link"
)

const mailID = "0190f5fe-7c00-7000-8000-000000000001"

func maker(tb testing.TB) link.Maker {
	tb.Helper()
	ring, err := token.NewRing(token.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	if err != nil {
		tb.Fatalf("NewRing = %v", err)
	}
	return link.Maker{Base: "https://t.example", Ring: ring, Tenant: "acme", MailID: mailID}
}

var clicks = regexp.MustCompile(`https://t\.example/c/([A-Za-z0-9_-]+)`)

// followed returns the claims of the click links of page, in order.
func followed(tb testing.TB, m link.Maker, page string) []token.Claims {
	tb.Helper()
	var out []token.Claims
	for _, found := range clicks.FindAllStringSubmatch(page, -1) {
		c, err := m.Ring.Verify(found[1])
		if err != nil {
			tb.Fatalf("Verify(%q) = %v", found[1], err)
		}
		out = append(out, c)
	}
	return out
}

func TestFollow(t *testing.T) {
	t.Parallel()
	m := maker(t)
	claim := func(label, url string) token.Claims {
		return token.Claims{Tenant: "acme", MailID: mailID, Link: label, URL: url}
	}
	ours := m.Click("pay", "https://pay.example/1")
	for _, c := range []struct {
		name, give string
		want       []token.Claims
	}{
		{"one", `<p><a href="https://x.example/?a=1&amp;b=2">x</a></p>`, []token.Claims{claim("link-1", "https://x.example/?a=1&b=2")}},
		{"two", `<A HREF='http://x.example'>x</A><map><area href=https://y.example></map>`, []token.Claims{claim("link-1", "http://x.example"), claim("link-2", "https://y.example")}},
		{"others", `<a href="mailto:a@b.example">m</a><a href="#top">t</a><a href="/rel">r</a><a>n</a><a href="javascript:x()">j</a><link href="https://css.example"><abbr>x</abbr>`, nil},
		{"ours", `<a href="` + ours + `">pay</a>`, []token.Claims{claim("pay", "https://pay.example/1")}},
		{"too long", `<a href="https://x.example/` + strings.Repeat("x", 3000) + `">x</a>`, nil},
		{"script", `<script>"<a href='https://x.example'>"</script>`, nil},
		{"comment", `<!-- <a href="https://x.example">x</a> -->`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := m.Follow(c.give)
			if diff := cmp.Diff(c.want, followed(t, m, got)); diff != "" {
				t.Errorf("Follow(%q) links (-want +got):\n%s", c.give, diff)
			}
			if c.want == nil && !strings.HasPrefix(got, c.give) {
				t.Errorf("Follow(%q) = %q, want the page unchanged before its pixel", c.give, got)
			}
		})
	}
}

func TestPixel(t *testing.T) {
	t.Parallel()
	m := maker(t)
	if got, want := m.Follow("<body>x</body></html>"), `<body>x<img src="`+m.Pixel()+`" width="1" height="1" alt="" style="display:block;width:1px;height:1px;border:0"></body></html>`; got != want {
		t.Errorf("Follow = %q, want %q", got, want)
	}
	tok := strings.TrimSuffix(strings.TrimPrefix(m.Pixel(), "https://t.example/o/"), ".gif")
	if got, err := m.Ring.Verify(tok); err != nil || got != (token.Claims{Tenant: "acme", MailID: mailID}) {
		t.Errorf("Verify(pixel) = %+v, %v", got, err)
	}
	tok = strings.TrimPrefix(m.Unsubscribe(), "https://t.example/u/")
	if got, err := m.Ring.Verify(tok); err != nil || got != (token.Claims{Tenant: "acme", MailID: mailID, Unsubscribe: true}) {
		t.Errorf("Verify(unsubscribe) = %+v, %v", got, err)
	}
}

func TestZeroMaker(t *testing.T) {
	t.Parallel()
	var m link.Maker
	page := `<a href="https://x.example">x</a>`
	if got := m.Follow(page); got != page {
		t.Errorf("Follow(%q) = %q, want it unchanged", page, got)
	}
	if m.Pixel() != "" || m.Unsubscribe() != "" || m.Click("a", "https://x.example") != "https://x.example" {
		t.Errorf("the zero Maker makes links")
	}
}

func FuzzFollow(f *testing.F) {
	m := maker(f)
	pixel := `<img src="` + m.Pixel() + `" width="1" height="1" alt="" style="display:block;width:1px;height:1px;border:0">`
	for _, s := range []string{"", "<a href=https://x.example>", "<a href=\"https://x.example", "</body>", "<a\x00href='http://y'>", "<title><a href='https://x.example'>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, page string) {
		got := m.Follow(page)
		if strings.Count(got, pixel) < 1 {
			t.Errorf("Follow(%q) has no pixel", page)
		}
		for _, c := range followed(t, m, got) {
			if !strings.HasPrefix(strings.ToLower(c.URL), "http") {
				t.Errorf("Follow(%q) follows %q", page, c.URL)
			}
		}
		if !strings.Contains(strings.ToLower(page), "<a") {
			if bare := strings.Replace(got, pixel, "", 1); bare != page {
				t.Errorf("Follow(%q) = %q, want the page and a pixel", page, got)
			}
		}
	})
}
