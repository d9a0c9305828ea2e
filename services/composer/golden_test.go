package composer_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is a file in txtar form: the request and the message it makes, with
// LF where the wire has CRLF.
type golden struct{ request, want string }

const (
	requestMark = "-- request.json --\n"
	wantMark    = "-- want.eml --\n"
)

func readGolden(tb testing.TB, path string) golden {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatalf("reading: %v", err)
	}
	head, want, ok := strings.Cut(string(raw), wantMark)
	request, marked := strings.CutPrefix(head, requestMark)
	if !ok || !marked {
		tb.Fatalf("%s does not hold request.json and want.eml", path)
	}
	return golden{request: request, want: want}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("Glob = %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			g := readGolden(t, path)
			raw := goldenMail(t, g.request)
			wire(t, raw)
			reread(t, raw)
			got := strings.ReplaceAll(string(raw), "\r\n", "\n")
			if *update {
				if err := os.WriteFile(path, []byte(requestMark+g.request+wantMark+got), 0o600); err != nil {
					t.Fatalf("writing: %v", err)
				}
				return
			}
			if diff := cmp.Diff(g.want, got); diff != "" {
				t.Errorf("the mail changed (-want +got); -update rewrites it:\n%s", diff)
			}
		})
	}
}

// goldenMail sends a request and returns the message the router got.
func goldenMail(t *testing.T, request string) []byte {
	t.Helper()
	var req mailv1.SendBatchRequest
	if err := protojson.Unmarshal([]byte(request), &req); err != nil {
		t.Fatalf("request.json: %v", err)
	}
	b := setup(t, &fakeRouter{}, nil)
	var what any
	switch item := req.GetItem().(type) {
	case *mailv1.SendBatchRequest_Otp:
		what = item.Otp
	case *mailv1.SendBatchRequest_Bill:
		what = item.Bill
	case *mailv1.SendBatchRequest_Reminder:
		what = item.Reminder
	case *mailv1.SendBatchRequest_Mail:
		what = item.Mail
	}
	if err := call(t.Context(), b.client, what); err != nil {
		t.Fatalf("sending: %v", err)
	}
	return b.router.one(t).GetMessage()
}

// wire checks what the wire asks for: CRLF only, lines of at most 76 octets
// but for addresses and links in headers, which are not folded.
func wire(t *testing.T, raw []byte) {
	t.Helper()
	if bytes.Contains(bytes.ReplaceAll(raw, []byte("\r\n"), nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(raw, []byte("\r\n"), nil), []byte("\r")) {
		t.Errorf("the message holds a bare CR or LF")
	}
	body := false
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		body = body || line == ""
		if len(line) > 998 || body && len(line) > 76 {
			t.Errorf("a line of %d octets: %q", len(line), line)
		}
	}
}

// reread reads the message with a parser that is not the standard library's.
func reread(t *testing.T, raw []byte) {
	t.Helper()
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("go-message: %v", err)
	}
	for _, name := range []string{"Date", "From", "To", "Message-Id", "Subject", "Mime-Version"} {
		if values := entity.Header.Values(name); len(values) != 1 {
			t.Errorf("%s stands %d times, want once (RFC 5322 §3.6)", name, len(values))
		}
	}
	var kinds []string
	err = entity.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil {
			return err
		}
		kind, _, err := part.Header.ContentType()
		kinds = append(kinds, kind)
		return err
	})
	if err != nil {
		t.Fatalf("go-message: %v", err)
	}
	switch got := strings.Join(kinds, " "); got {
	case "multipart/alternative text/plain text/html", "text/plain":
	default:
		t.Errorf("parts = %s", got)
	}
}
