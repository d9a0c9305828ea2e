package e2e_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kurir.dev/e2e/harness"
)

// prints checks that a program ended well and that its output holds all of
// want, and returns that.
func prints(t *testing.T, p *harness.Process, want ...string) string {
	t.Helper()
	if status := p.Status(t); status != 0 {
		t.Fatalf("exit status = %d, want 0; stderr:\n%s", status, p.Stderr())
	}
	for _, words := range want {
		if !strings.Contains(p.Stdout(), words) {
			t.Errorf("stdout = %q, want it to hold %q", p.Stdout(), words)
		}
	}
	return p.Stdout()
}

// eventually checks that a program that runs on prints all of want.
func eventually(t *testing.T, p *harness.Process, want ...string) {
	t.Helper()
	harness.Eventually(t, func() error {
		for _, words := range want {
			if out := p.Stdout(); !strings.Contains(out, words) {
				return fmt.Errorf("stdout = %q, want it to hold %q", out, words)
			}
		}
		return nil
	})
}

// page fetches a page and returns its text.
func page(t *testing.T, url string) (string, error) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, res.Status)
	}
	return string(text), err
}

// TestUp runs the whole mesh as a newcomer does, and sends and follows mail by
// the command line.
func TestUp(t *testing.T) {
	t.Parallel()
	settings := harness.FreeSettings(t)
	in := harness.Up(t, settings)
	for _, words := range []string{
		"No mail leaves this machine", in.Inbox, in.Composer, "http://" + settings["ops.router"].(string),
		"kurir send otp --to sari@example.com --code 482913 --composer " + in.Composer, "kurir watch --tracker " + in.Tracker,
	} {
		if !strings.Contains(in.Process.Stdout(), words) {
			t.Errorf("kurir up prints %q, want it to hold %q", in.Process.Stdout(), words)
		}
	}
	watch := harness.Spawn(t, "kurir", []string{"watch", "--tracker", in.Tracker, "--after", "0"})

	send := func(kind string, args ...string) (mailID string) {
		t.Helper()
		out := prints(t, harness.Command(t, "kurir", append([]string{"send", kind, "--composer", in.Composer, "--to", kind + "@example.com"}, args...)...), "queued")
		mailID, _, _ = strings.Cut(out, " ")
		return mailID
	}
	invoice := []string{
		"--invoice", "INV-7", "--biller", "PT Listrik", "--customer", "Ibu Sari", "--amount", "354200", "--due", "2030-12-05",
		"--pay-url", "https://bayar.example/INV-7",
	}
	subjects := map[string]string{"otp": "482913", "bill": "INV-7", "reminder": "INV-7"}
	ids := map[string]string{
		"otp":      send("otp", "--code", "482913", "--product", "Bank Contoh", "--locale", "id-ID"),
		"bill":     send("bill", invoice...),
		"reminder": send("reminder", append(invoice, "--locale", "en")...),
	}
	again := []string{"--code", "482913", "--key", "the-same"}
	if a, b := send("otp", again...), send("otp", again...); a != b {
		t.Errorf("one idempotency key gave the mails %s and %s", a, b)
	}
	for kind, id := range ids {
		eventually(t, watch, id+"  ", " delivered ")
		var status string
		harness.Eventually(t, func() error {
			p := harness.Command(t, "kurir", "status", id, "--tracker", in.Tracker)
			if status = p.Stdout(); !strings.Contains(status, " 250 ") {
				return fmt.Errorf("status of the %s = %q %q, want its delivery", kind, status, p.Stderr())
			}
			return nil
		})
		if !strings.HasPrefix(status, id+"  delivered  lane ") || !strings.Contains(status, " accepted\n") {
			t.Errorf("status of the %s = %q, want its state and timeline", kind, status)
		}
		inbox(t, in.Inbox, kind+"@example.com", subjects[kind])
	}

	in.Process.Terminate(t)
	if status := in.Process.Status(t); status != 0 {
		t.Errorf("kurir up ended with %d after SIGTERM:\n%s", status, in.Process.Stderr())
	}
	for line := range strings.Lines(in.Process.Stderr()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			t.Errorf("kurir up complained: %s", line)
		}
	}
	refused(t, harness.Command(t, "kurir", "status", ids["otp"], "--tracker", in.Tracker), "nobody answers at "+in.Tracker, "kurir up")
	refused(t, harness.Command(t, "kurir", "send", "otp", "--composer", in.Composer, "--to", "a@example.com", "--code", "1234"), "nobody answers at "+in.Composer)
}

// inbox finds the recipient's mail in the sandbox inbox and reads its preview.
func inbox(t *testing.T, url, to, word string) {
	t.Helper()
	row := regexp.MustCompile(`(?s)<td class="to">` + regexp.QuoteMeta(html.EscapeString(to)) + `</td>.*?<a href="(/mail/[^"]+)">([^<]*)</a>`)
	var found []string
	harness.Eventually(t, func() error {
		list, err := page(t, url+"/")
		if err != nil {
			return err
		}
		if found = row.FindStringSubmatch(list); found == nil {
			return fmt.Errorf("the inbox does not list mail to %s:\n%s", to, list)
		}
		return nil
	})
	for _, view := range []string{"?view=html", "?view=text", "?view=headers", "?view=raw", "/html", "/raw"} {
		text, err := page(t, url+found[1]+view)
		if err != nil {
			t.Errorf("reading the mail to %s: %v", to, err)
		}
		switch view {
		case "?view=text", "/html":
			if !strings.Contains(text, word) {
				t.Errorf("%s of the mail to %s does not hold %q:\n%s", view, to, word, text)
			}
		case "?view=html":
			if !strings.Contains(text, `src="`+found[1]+`/html"`) {
				t.Errorf("the mail to %s has no preview of its HTML:\n%s", to, text)
			}
		}
	}
}

// TestRefusals sends what is refused, and reads why as at a terminal.
func TestRefusals(t *testing.T) {
	t.Parallel()
	in := harness.Up(t, harness.FreeSettings(t).With(harness.Settings{"telemetry.log.level": "error"}))
	send := func(kind string, args ...string) *harness.Process {
		return harness.Command(t, "kurir", append([]string{"send", kind, "--composer", in.Composer}, args...)...)
	}
	bill := func(change ...string) *harness.Process {
		args := map[string]string{
			"--to": "a@example.com", "--invoice": "INV-1", "--amount": "1000", "--due": "2030-01-01", "--pay-url": "https://bayar.example/1",
		}
		for i := 0; i < len(change); i += 2 {
			args[change[i]] = change[i+1]
		}
		var flat []string
		for flag, value := range args {
			flat = append(flat, flag+"="+value)
		}
		return send("bill", flat...)
	}
	refused(t, send("otp", "--to", "nonsense", "--code", "482913"), "kurir: to.email: ", "no @")
	refused(t, send("otp", "--to", "a@example.com", "--code", "482913", "--locale", "tlh"), "options.locale: ")
	refused(t, bill("--currency", "XQQ"), "bill.", "currency_code: ")
	refused(t, bill("--amount", "-5"), "bill.", "negative")
	refused(t, bill("--amount", "ten"), `--amount "ten"`, "19.90")
	refused(t, bill("--due", "tomorrow"), `--due "tomorrow"`, "2026-12-31")
	refused(t, bill("--pay-url", "bayar"), "bill.pay_url: ")
	refused(t, send("bill", "--to", "a@example.com"), "missing flags: ", "--amount", "--due")
	refused(t, harness.Command(t, "kurir", "status", "01a20000-0000-7000-8000-000000000000", "--tracker", in.Tracker), "no mail of that id is known")
	refused(t, harness.Command(t, "kurir", "sned"), "unexpected argument sned")
}

// TestCommands runs the commands that need no mesh.
func TestCommands(t *testing.T) {
	t.Parallel()
	for _, program := range append([]string{"kurir"}, daemons...) {
		arg := "-version"
		if program == "kurir" {
			arg = "version"
		}
		if out := strings.Fields(prints(t, harness.Command(t, program, arg))); len(out) != 2 || out[0] != program {
			t.Errorf("the version of %s is %q", program, out)
		}
	}
	settings := harness.FreeSettings(t).With(harness.Settings{"broker.sasl": map[string]string{
		"mechanism": "plain", "user": "kurir", "password": "hunter2",
	}})
	file := harness.WriteFile(t, "kurir.yaml", settings.YAML(t))
	data := filepath.Join(t.TempDir(), "data")
	prints(t, harness.Command(t, "kurir", "up", "--check", "--data", data, "--config", file), "the configuration is good")
	out := prints(t, harness.Command(t, "kurir", "up", "--print", "--data", data, "--config", file),
		"data: "+data, "listen: "+settings["composer.grpc.listen"].(string), "url: sqlite:"+data+"/router.db", "password: '***'")
	if strings.Contains(out, "hunter2") {
		t.Errorf("kurir up --print tells the password:\n%s", out)
	}
	for _, program := range daemons {
		file := harness.WriteFile(t, "kurir.yaml", daemonSettings(t, program).YAML(t))
		prints(t, harness.Command(t, program, "-check", "-config", file), "the configuration is good")
		prints(t, harness.Command(t, program, "-print", "-config", file), "grpc:\n", "listen: 127.0.0.1:")
	}
	prints(t, harness.Command(t, "kurir", "--help"), "send otp", "demo")
	keys := filepath.Join(t.TempDir(), "keys")
	prints(t, harness.Command(t, "kurir", "keys", keys), filepath.Join(keys, "keyring.json"), filepath.Join(keys, "tokens"))
}

// TestDemo runs a small demonstration, for programs and for people.
func TestDemo(t *testing.T) {
	t.Parallel()
	out := prints(t, harness.Command(t, "kurir", "demo", "--json", "--bulk", "200", "--otp", "10"))
	var r struct {
		Accepted, Delivered, Lost, Duplicates *int
		BulkPerSecond                         *float64 `json:"bulk_per_second"`
		OTPIdleP50                            *float64 `json:"otp_idle_p50_ms"`
		OTPIdleP99                            *float64 `json:"otp_idle_p99_ms"`
		OTPFloodP50                           *float64 `json:"otp_flood_p50_ms"`
		OTPFloodP99                           *float64 `json:"otp_flood_p99_ms"`
		OTPP99Ratio                           *float64 `json:"otp_p99_ratio"`
		Invoice                               *struct {
			Opens, Clicks *int
			Paid          *bool
		}
		TraceID *string `json:"trace_id"`
	}
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("the demonstration printed %q: %v", out, err)
	}
	if dec.More() {
		t.Errorf("the demonstration printed more than one object: %q", out)
	}
	const mails = 200 + 2*10 + 3 // the flood, the OTPs twice, and one of each kind
	for name, n := range map[string]struct {
		got  *int
		want int
	}{
		"accepted": {r.Accepted, mails}, "delivered": {r.Delivered, mails}, "lost": {r.Lost, 0}, "duplicates": {r.Duplicates, 0},
	} {
		if n.got == nil || *n.got != n.want {
			t.Errorf("%s is not %d in %s", name, n.want, out)
		}
	}
	for name, x := range map[string]*float64{
		"bulk_per_second": r.BulkPerSecond, "otp_idle_p50_ms": r.OTPIdleP50, "otp_idle_p99_ms": r.OTPIdleP99,
		"otp_flood_p50_ms": r.OTPFloodP50, "otp_flood_p99_ms": r.OTPFloodP99, "otp_p99_ratio": r.OTPP99Ratio,
	} {
		if x == nil || *x <= 0 {
			t.Errorf("%s is missing or not positive in %s", name, out)
		}
	}
	if i := r.Invoice; i == nil || i.Opens == nil || *i.Opens != 1 || i.Clicks == nil || *i.Clicks != 1 || i.Paid == nil || !*i.Paid {
		t.Errorf("the invoice was not opened once, clicked once and paid in %s", out)
	}
	if r.TraceID == nil || len(*r.TraceID) != 32 {
		t.Errorf("the trace id is no trace id in %s", out)
	}

	prints(t, harness.Command(t, "kurir", "demo", "--bulk", "50", "--otp", "5"),
		"Nothing leaves this machine", "an OTP: delivered", "50 of 50 delivered", "63 accepted, 63 delivered, 0 lost, 0 sent twice",
		"opened once, clicked once, paid", "kurir status ")
	refused(t, harness.Command(t, "kurir", "demo", "--otp", "0"), "--otp at least 1")
}
