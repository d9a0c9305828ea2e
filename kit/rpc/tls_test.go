package rpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
)

// authority is a CA of the test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	path string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{path: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.path, "CERTIFICATE", der)
	return a
}

// issue returns the files of a certificate for name, a DNS name or a URI.
func (a *authority) issue(t *testing.T, name string) rpc.TLS {
	t.Helper()
	dir := t.TempDir()
	f := rpc.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: a.path}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if strings.Contains(name, "://") {
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	} else {
		template.DNSNames = []string{name}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, f.Cert, "CERTIFICATE", der)
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		t.Fatal(err)
	}
	writePEM(t, f.Key, "PRIVATE KEY", der)
	return f
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	server := ca.issue(t, "router.kurir")
	server.Allow = []string{"composer.kurir", "spiffe://kurir/tracker"}
	b := setup(t, &mails{otp: func(context.Context, *mailv1.SendOtpRequest) error { return nil }},
		rpc.ServerConfig{TLS: server}, rpc.ServerDeps{})

	client := func(files rpc.TLS, allow ...string) rpc.TLS {
		files.Allow = allow
		return files
	}
	composer := ca.issue(t, "composer.kurir")
	trusting := rpc.TLS{CA: ca.path, Allow: []string{"router.kurir"}}
	impostor := stranger.issue(t, "composer.kurir")
	impostor.CA = ca.path
	tests := []struct {
		name   string
		tls    rpc.TLS
		want   error
		reason faultv1.Reason
	}{
		{"DNS name allowed", client(composer, "router.kurir"), nil, 0},
		{"URI allowed", client(ca.issue(t, "spiffe://kurir/tracker"), "router.kurir"), nil, 0},
		{"one of several servers", client(composer, "other", "router.kurir"), nil, 0},
		{"name not allowed", client(ca.issue(t, "dispatcher.kurir"), "router.kurir"), fault.Denied, faultv1.Reason_REASON_NOT_ALLOWED},
		{"no certificate", trusting, fault.Unavailable, 0},
		{"certificate of another CA", client(impostor, "router.kurir"), fault.Unavailable, 0},
		{"server not allowed", client(composer, "tracker.kurir"), fault.Unavailable, 0},
		{"server of another CA", client(stranger.issue(t, "composer.kurir"), "router.kurir"), fault.Unavailable, 0},
		{"server not the target", client(composer), fault.Unavailable, 0},
		{"plaintext", rpc.TLS{}, fault.Unavailable, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mail := mailv1.NewMailServiceClient(dial(t, b.memory, rpc.ClientConfig{TLS: tt.tls}))
			_, err := mail.SendOtp(t.Context(), goodOtp())
			if !errors.Is(err, tt.want) {
				t.Fatalf("SendOtp() = %v, want %v", err, tt.want)
			}
			if tt.reason != 0 && fault.From(err).Reason != tt.reason {
				t.Errorf("SendOtp() has the reason %v, want %v", fault.From(err).Reason, tt.reason)
			}
		})
	}
	t.Run("health is open to all whom the CA knows", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, b.memory, rpc.ClientConfig{TLS: client(ca.issue(t, "probe.kurir"), "router.kurir")})
		if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Errorf("Check() = %v, want nil", err)
		}
	})
}

func TestCertificatesAreReadAnew(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	files := ca.issue(t, "old.kurir")
	server := files
	server.CA = ""
	b := setup(t, &mails{otp: func(context.Context, *mailv1.SendOtpRequest) error { return nil }},
		rpc.ServerConfig{TLS: server}, rpc.ServerDeps{})
	call := func(name string) error {
		mail := mailv1.NewMailServiceClient(dial(t, b.memory, rpc.ClientConfig{TLS: rpc.TLS{CA: ca.path, Allow: []string{name}}}))
		_, err := mail.SendOtp(t.Context(), goodOtp())
		return err
	}
	if err := call("old.kurir"); err != nil {
		t.Errorf("SendOtp(old certificate) = %v, want nil", err)
	}
	renewed := ca.issue(t, "new.kurir")
	for from, to := range map[string]string{renewed.Cert: files.Cert, renewed.Key: files.Key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := call("new.kurir"); err != nil {
		t.Errorf("SendOtp(renewed certificate) = %v, want nil without a restart", err)
	}
}

func TestTLSFilesMissing(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good := ca.issue(t, "router.kurir")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		tls  rpc.TLS
		want string
	}{
		{rpc.TLS{Cert: "/nonexistent", Key: good.Key}, "reading the certificate"},
		{rpc.TLS{Cert: good.Cert, Key: good.Key, CA: "/nonexistent"}, "reading the CA"},
		{rpc.TLS{Cert: good.Cert, Key: good.Key, CA: empty}, "holds no certificate"},
		{rpc.TLS{CA: ca.path}, "a server needs cert and key"},
	}
	for _, tt := range tests {
		_, err := rpc.NewServer(rpc.ServerConfig{TLS: tt.tls}, rpc.ServerDeps{
			Service: "router", Telemetry: telemetry.Discard(), Listener: rpc.Memory(),
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewServer(%+v) = %v, want %q", tt.tls, err, tt.want)
		}
	}
}
