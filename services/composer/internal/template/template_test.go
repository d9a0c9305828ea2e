package template_test

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/kind"
	"kurir.dev/services/composer/internal/template"
)

// previews, when set, is where TestBuiltin writes the HTML of all samples, for
// looking at them in a browser.
var previews = flag.String("previews", "", "write the HTML of the samples into this `directory`")

func builtin(tb testing.TB) *template.Catalog {
	tb.Helper()
	c, err := template.Builtin()
	if err != nil {
		tb.Fatalf("Builtin() = %v", err)
	}
	return c
}

func find(tb testing.TB, c *template.Catalog, name string) *template.Template {
	tb.Helper()
	t, err := c.Find(name)
	if err != nil {
		tb.Fatalf("Find(%q) = %v", name, err)
	}
	return t
}

// reasonOf returns the reason of an error and the fields it names.
func reasonOf(err error) (faultv1.Reason, []string) {
	var f *fault.Error
	if !errors.As(err, &f) {
		return faultv1.Reason_REASON_UNSPECIFIED, nil
	}
	var names []string
	for _, field := range f.Fields {
		names = append(names, field.Name)
	}
	return f.Reason, names
}

func TestBuiltin(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	var names []string
	for _, tmpl := range c.List() {
		names = append(names, tmpl.Name)
		if diff := cmp.Diff([]string{"en", "id-ID"}, tmpl.Locales()); diff != "" {
			t.Errorf("%s locales (-want +got):\n%s", tmpl.Name, diff)
		}
		for _, locale := range tmpl.Locales() {
			dress := template.Dress{
				Brand:       template.Brand{Name: "Nusanet", Address: "Jl. Jenderal Sudirman 1, Jakarta 10210"},
				Unsubscribe: "https://t.example/u/abc",
				Follow:      func(label, _ string) string { return "https://t.example/c/" + label },
			}
			if !tmpl.Kind.Unsubscribable() {
				dress.Unsubscribe = ""
			}
			r, err := tmpl.Render(locale, tmpl.Sample(), dress)
			if err != nil {
				t.Errorf("Render(%s, %s) = %v", tmpl.Name, locale, err)
				continue
			}
			inspect(t, tmpl, r)
			if *previews != "" {
				if err := os.WriteFile(filepath.Join(*previews, tmpl.Name+"."+locale+".html"), []byte(r.HTML), 0o600); err != nil {
					t.Errorf("writing a preview: %v", err)
				}
			}
		}
	}
	if want := []string{"bill", "notice", "otp", "receipt", "reminder"}; !slices.Equal(names, want) {
		t.Errorf("List() = %v, want %v", names, want)
	}
}

// inspect checks what holds of every built-in mail.
func inspect(t *testing.T, tmpl *template.Template, r *template.Rendered) {
	t.Helper()
	name := tmpl.Name + " " + r.Locale
	for _, want := range []string{`lang="` + r.Locale + `"`, "<title>", `name="color-scheme"`, "prefers-color-scheme:dark", `role="presentation"`} {
		if !strings.Contains(r.HTML, want) {
			t.Errorf("%s: the HTML has no %s", name, want)
		}
	}
	for _, bad := range []string{"ZgotmplZ", "<no value>", "<script", "<link", "{{", `class="title`} {
		if strings.Contains(r.HTML, bad) {
			t.Errorf("%s: the HTML holds %q", name, bad)
		}
	}
	if len(r.HTML) > 24<<10 {
		t.Errorf("%s: the HTML has %d bytes, want few enough that no client clips it", name, len(r.HTML))
	}
	if strings.Contains(r.Text, "\n\n\n") || strings.Contains(r.Text, " \n") || strings.Contains(r.Text, "<no value>") {
		t.Errorf("%s: the text is untidy:\n%s", name, r.Text)
	}
	if tmpl.Kind == kind.OTP && (strings.Contains(r.HTML, "http") || strings.Contains(r.HTML, "<a") || strings.Contains(r.HTML, "<img") || strings.Contains(r.Text, "http")) {
		t.Errorf("%s: an OTP holds a link", name)
	}
	if tmpl.Kind.Unsubscribable() && (!strings.Contains(r.HTML, "https://t.example/u/abc") || !strings.Contains(r.Text, "https://t.example/u/abc")) {
		t.Errorf("%s: no way to unsubscribe", name)
	}
}

func TestRenderBill(t *testing.T) {
	t.Parallel()
	bill := find(t, builtin(t), "bill")
	follow := func(label, url string) string { return "https://t.example/" + label + "?" + url }
	for locale, want := range map[string][]string{
		"id-ID": {"Rp499.500", "21 November 2026", "1 × Rp350.000", "-Rp50.000"},
		"en":    {"IDR\u00a0499,500", "21 November 2026", "1 × IDR\u00a0350,000", "-IDR\u00a050,000"},
	} {
		r, err := bill.Render(locale, bill.Sample(), template.Dress{Follow: follow})
		if err != nil {
			t.Fatalf("Render(%s) = %v", locale, err)
		}
		for _, w := range append(want, "https://t.example/pay?https://pay.nusanet.example/i/00042") {
			if !strings.Contains(r.HTML, w) {
				t.Errorf("%s: the HTML has no %q", locale, w)
			}
			if w = strings.ReplaceAll(w, "×", "x"); !strings.Contains(r.Text, w) {
				t.Errorf("%s: the text has no %q", locale, w)
			}
		}
	}
}

func TestEscaping(t *testing.T) {
	t.Parallel()
	notice := find(t, builtin(t), "notice")
	values, err := notice.Bind(map[string]string{"title": "<script>alert(1)</script>", "message": `"><img src=x onerror=y>`})
	if err != nil {
		t.Fatalf("Bind = %v", err)
	}
	r, err := notice.Render("en", values, template.Dress{})
	if err != nil {
		t.Fatalf("Render = %v", err)
	}
	if strings.Contains(r.HTML, "<script>") || strings.Contains(r.HTML, "<img") {
		t.Errorf("Render did not escape:\n%s", r.HTML)
	}
	if r.Subject != "<script>alert(1)</script>" {
		t.Errorf("Subject = %q, want it as given", r.Subject)
	}
}

func TestOriginIsTheLastLine(t *testing.T) {
	t.Parallel()
	otp := find(t, builtin(t), "otp")
	for _, locale := range otp.Locales() {
		r, err := otp.Render(locale, otp.Sample(), template.Dress{Brand: template.Brand{Address: "Jl. Sudirman 1"}})
		if err != nil {
			t.Fatalf("Render(%s) = %v", locale, err)
		}
		if want := "\n\n@nusapay.example #482913\n"; !strings.HasSuffix(r.Text, want) {
			t.Errorf("%s: the text ends in %q, want %q", locale, r.Text[max(0, len(r.Text)-60):], want)
		}
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	receipt := find(t, builtin(t), "receipt")
	good := map[string]string{"biller_name": "B", "customer_name": "C", "number": "1", "amount": "IDR 5000", "paid_on": "2026-11-18"}
	with := func(change map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range []map[string]string{good, change} {
			maps.Copy(out, m)
		}
		return out
	}
	if _, err := receipt.Bind(good); err != nil {
		t.Errorf("Bind(good) = %v", err)
	}
	for _, c := range []struct {
		name string
		give map[string]string
		want []string
	}{
		{"missing", map[string]string{"number": "1"}, []string{"variables[biller_name]", "variables[customer_name]", "variables[amount]", "variables[paid_on]"}},
		{"surplus", with(map[string]string{"colour": "red", "size": "1"}), []string{"variables[colour]", "variables[size]"}},
		{"empty", with(map[string]string{"number": ""}), []string{"variables[number]"}},
		{"amount", with(map[string]string{"amount": "many"}), []string{"variables[amount]"}},
		{"currency", with(map[string]string{"amount": "QQQ 1"}), []string{"variables[amount]"}},
		{"decimals", with(map[string]string{"amount": "JPY 1.5"}), []string{"variables[amount]"}},
		{"date", with(map[string]string{"paid_on": "2026-02-30"}), []string{"variables[paid_on]"}},
	} {
		_, err := receipt.Bind(c.give)
		reason, fields := reasonOf(err)
		if reason != faultv1.Reason_REASON_TEMPLATE_VARIABLES {
			t.Errorf("%s: Bind = %v, want REASON_TEMPLATE_VARIABLES", c.name, err)
		}
		if diff := cmp.Diff(c.want, fields); diff != "" {
			t.Errorf("%s: fields (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestSubjectInjection(t *testing.T) {
	t.Parallel()
	notice := find(t, builtin(t), "notice")
	values, err := notice.Bind(map[string]string{"title": "a\r\nBcc: x@y.example", "message": "m"})
	if err != nil {
		t.Fatalf("Bind = %v", err)
	}
	_, err = notice.Render("en", values, template.Dress{})
	if reason, fields := reasonOf(err); reason != faultv1.Reason_REASON_HEADER_INJECTION || !slices.Equal(fields, []string{"variables[title]"}) {
		t.Errorf("Render = %v, want REASON_HEADER_INJECTION of variables[title]", err)
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	otp := find(t, builtin(t), "otp")
	for give, want := range map[string]string{
		"en": "en", "en-GB": "en", "en-US": "en", "EN": "en", "id": "id-ID", "id-ID": "id-ID", "id_ID": "id-ID", "in": "id-ID",
	} {
		if got, err := otp.Match(give); err != nil || got != want {
			t.Errorf("Match(%q) = %q, %v, want %q", give, got, err, want)
		}
	}
	for _, give := range []string{"fr", "x", "zz-ZZ-zz-z", "id-Arab", "not a locale", ""} {
		if got, err := otp.Match(give); err == nil {
			t.Errorf("Match(%q) = %q, want an error", give, got)
		} else if reason, _ := reasonOf(err); reason != faultv1.Reason_REASON_LOCALE_UNKNOWN {
			t.Errorf("Match(%q) = %v, want REASON_LOCALE_UNKNOWN", give, err)
		}
	}
	if got := otp.MatchFirst("fr", "en-GB"); got != "en" {
		t.Errorf("MatchFirst = %q, want en", got)
	}
	if got := otp.MatchFirst("fr"); got != "en" {
		t.Errorf("MatchFirst = %q, want the first", got)
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestOverride(t *testing.T) {
	t.Parallel()
	c, err := template.Load(fstest.MapFS{
		"mine/template.yaml":  file("name: notice\nversion: \"7\"\nkind: generic\nvariables: [{name: who, required: true}]\nsample: {who: You}\n"),
		"mine/style.css":      file(".loud { color: red; }"),
		"mine/en/subject.txt": file("Hi {{.who}}"),
		"mine/en/mail.txt":    file("Hello {{.who}}"),
		"mine/en/mail.html":   file(`{{define "body"}}<p class="loud title">{{.who}}</p>{{end}}{{template "layout" .}}`),
	}, builtin(t))
	if err != nil {
		t.Fatalf("Load = %v", err)
	}
	notice := find(t, c, "notice")
	if notice.Version != "7" {
		t.Errorf("Version = %q, want the override's", notice.Version)
	}
	if _, err := c.Find("bill"); err != nil {
		t.Errorf("Find(bill) = %v, want the built-in one", err)
	}
	if len(c.List()) != 5 {
		t.Errorf("List() has %d, want 5", len(c.List()))
	}
	r, err := notice.Render("en", template.Values{"who": "Sari"}, template.Dress{})
	if err != nil || !strings.Contains(r.HTML, `<p style="color:red;margin:0 0 12px;`) {
		t.Errorf("Render = %v, want the styles inlined:\n%s", err, r.HTML)
	}
	_, err = c.Find("none")
	if reason, _ := reasonOf(err); reason != faultv1.Reason_REASON_TEMPLATE_UNKNOWN {
		t.Errorf("Find(none) = %v, want REASON_TEMPLATE_UNKNOWN", err)
	}
}

func TestLoadFaults(t *testing.T) {
	t.Parallel()
	yaml := "name: x\nversion: \"1\"\nkind: generic\nvariables: [{name: who}]\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no schema", map[string]string{"x/en/subject.txt": "s"}, "template.yaml"},
		{"unknown key", map[string]string{"x/template.yaml": yaml + "colour: red\n"}, "colour"},
		{"bad kind", map[string]string{"x/template.yaml": "name: x\nversion: \"1\"\nkind: spam\n"}, "spam"},
		{"bad type", map[string]string{"x/template.yaml": "name: x\nversion: \"1\"\nkind: otp\nvariables: [{name: a, type: list}]\n"}, "list"},
		{"reserved", map[string]string{"x/template.yaml": "name: x\nversion: \"1\"\nkind: otp\nvariables: [{name: accent}]\n"}, "reserved"},
		{"not of the input", map[string]string{"x/template.yaml": "name: x\nversion: \"1\"\nkind: otp\ninput: otp\nvariables: [{name: total, type: money}]\n"}, "total"},
		{"no locale", map[string]string{"x/template.yaml": yaml}, "no locale"},
		{"bad locale", map[string]string{"x/template.yaml": yaml, "x/not_one/subject.txt": "s"}, "BCP 47"},
		{"no text", map[string]string{"x/template.yaml": yaml, "x/en/subject.txt": "s"}, "mail.txt"},
		{"syntax", map[string]string{"x/template.yaml": yaml, "x/en/subject.txt": "{{", "x/en/mail.txt": "t"}, "compiling"},
		{"undeclared", map[string]string{"x/template.yaml": yaml, "x/en/subject.txt": "{{.whom}}", "x/en/mail.txt": "t"}, "sample"},
		{"surplus sample", map[string]string{"x/template.yaml": yaml + "sample: {b: 1}\n", "x/en/subject.txt": "s", "x/en/mail.txt": "t"}, `"b"`},
		{"bad style", map[string]string{"x/template.yaml": yaml, "x/style.css": "p { x: y }"}, "style.css"},
	} {
		fsys := fstest.MapFS{}
		for name, text := range c.files {
			fsys[name] = file(text)
		}
		if _, err := template.Load(fsys, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Load = %v, want an error that says %q", c.name, err, c.want)
		}
	}
}

func FuzzRender(f *testing.F) {
	notice := find(f, builtin(f), "notice")
	f.Add("Title", "A message\n\nwith paragraphs", "Sari", "https://x.example/?a=b")
	f.Add("<b>", "{{.}}", `"`, "javascript:alert(1)")
	f.Add("a\x00", "\r", "\xff", "http://")
	f.Fuzz(func(t *testing.T, title, message, name, url string) {
		values, err := notice.Bind(map[string]string{"title": title, "message": message, "name": name, "action_url": url})
		if err != nil {
			return
		}
		r, err := notice.Render("id-ID", values, template.Dress{})
		if err != nil {
			if reason, _ := reasonOf(err); reason != faultv1.Reason_REASON_HEADER_INJECTION {
				t.Errorf("Render = %v", err)
			}
			return
		}
		if strings.ContainsAny(r.Subject, "\r\n\x00") {
			t.Errorf("Subject = %q", r.Subject)
		}
		if got, want := strings.Count(r.HTML, "<td"), strings.Count(r.HTML, "</td>"); got != want || strings.Contains(r.HTML, "javascript:") && !strings.Contains(title+message+name, "javascript:") {
			t.Errorf("Render made broken HTML of %q %q %q %q:\n%s", title, message, name, url, r.HTML)
		}
	})
}
