package mxsim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kurir.dev/kit/mxsim"
)

// page is a multipart mail whose HTML part holds the given links.
func page(pixel, link string) []byte {
	body := `<p>Halo</p><a href=3D"` + link + `">bayar</a><img src=3D"` + pixel + `">`
	return []byte(strings.ReplaceAll(`From: a@example.test
To: b@example.test
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain

Halo
--b
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

`+body+`
--b--
`, "\n", "\r\n"))
}

func TestReader(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 2)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path
		if strings.HasPrefix(r.URL.Path, "/o/") {
			w.Header().Set("Content-Type", "image/gif")
			return
		}
		http.Redirect(w, r, "https://bayar.example/1?kurir_click=x", http.StatusFound)
	}))
	t.Cleanup(site.Close)

	r, err := mxsim.NewReader(page(site.URL+"/o/t.gif", site.URL+"/c/t"))
	if err != nil {
		t.Fatalf("NewReader() = %v", err)
	}
	if err := r.Open(t.Context()); err != nil || <-seen != "/o/t.gif" {
		t.Errorf("Open() = %v, want the pixel fetched", err)
	}
	target, err := r.Click(t.Context())
	if err != nil || target.Host != "bayar.example" || <-seen != "/c/t" {
		t.Errorf("Click() = %v, %v, want where the link leads", target, err)
	}
}

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"no mail":      "nonsense",
		"no multipart": "From: a@example.test\r\n\r\nHalo\r\n",
		"no HTML":      "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
	} {
		if _, err := mxsim.NewReader([]byte(raw)); err == nil {
			t.Errorf("NewReader(%s) = nil, want an error", name)
		}
	}
	r, err := mxsim.NewReader(page("x", "y"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context()); err == nil {
		t.Error("Open() without a pixel = nil, want an error")
	}
}
