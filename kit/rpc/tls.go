package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// TLS names the files of a server or a client. The zero value speaks plaintext.
type TLS struct {
	// Cert and Key are our certificate chain and its key, PEM files. They are read
	// at each handshake, so that a renewed certificate needs no restart.
	Cert string `yaml:"cert"`
	// Key belongs to Cert.
	Key string `yaml:"key"`
	// CA is a PEM file of the authorities that vouch for peers. A server with a CA
	// asks every client for a certificate; a client without one trusts the
	// authorities of the system.
	CA string `yaml:"ca"`
	// Allow lists the subject alternative names (DNS names, URIs, IP addresses) of
	// the peers to speak with: of callers for a server, of the server for a client,
	// whose certificate then need not name the target. Empty allows every peer
	// that a CA vouches for.
	Allow []string `yaml:"allow"`
}

// Validate returns all that is wrong with t, joined. It does not read the files.
func (t TLS) Validate() error {
	var faults []error
	if (t.Cert == "") != (t.Key == "") {
		faults = append(faults, errors.New("tls: cert and key go together"))
	}
	if len(t.Allow) > 0 && t.CA == "" {
		faults = append(faults, errors.New("tls.allow: without tls.ca nobody vouches for the names"))
	}
	return errors.Join(faults...)
}

func (t TLS) plain() bool { return t.Cert == "" && t.Key == "" && t.CA == "" && len(t.Allow) == 0 }

// server returns the credentials of a server.
func (t TLS) server() (credentials.TransportCredentials, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if t.plain() {
		return insecure.NewCredentials(), nil
	}
	if t.Cert == "" {
		return nil, errors.New("tls: a server needs cert and key")
	}
	if _, err := t.load(); err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.load() },
	}
	if t.CA != "" {
		pool, err := t.pool()
		if err != nil {
			return nil, err
		}
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return credentials.NewTLS(cfg), nil
}

// client returns the credentials of a client.
func (t TLS) client() (credentials.TransportCredentials, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if t.plain() {
		return insecure.NewCredentials(), nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if t.CA != "" {
		pool, err := t.pool()
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if t.Cert != "" {
		if _, err := t.load(); err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.load() }
	}
	if len(t.Allow) > 0 {
		// The name to find in the certificate is not that of the target but one of
		// Allow, so the standard check gives way to the one below, which verifies
		// the same chain.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(cs tls.ConnectionState) error { return t.verifyServer(cs, cfg.RootCAs) }
	}
	return credentials.NewTLS(cfg), nil
}

func (t TLS) verifyServer(cs tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	leaf := cs.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
		return fmt.Errorf("verifying the server's certificate: %w", err)
	}
	if !t.allows(leaf) {
		return fmt.Errorf("the server's certificate is for %s, which is not on the allow-list", strings.Join(names(leaf), ", "))
	}
	return nil
}

func (t TLS) load() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return &c, nil
}

func (t TLS) pool() (*x509.CertPool, error) {
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the CA: %s holds no certificate in PEM", t.CA)
	}
	return pool, nil
}

func (t TLS) allows(c *x509.Certificate) bool {
	return slices.ContainsFunc(names(c), func(n string) bool { return slices.Contains(t.Allow, n) })
}

// checkPeer returns a Denied fault if the caller p is not on the allow-list. The
// handshake has verified the certificate already.
func (t TLS) checkPeer(p *peer.Peer) error {
	if len(t.Allow) == 0 {
		return nil
	}
	if p != nil {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			if t.allows(info.State.PeerCertificates[0]) {
				return nil
			}
		}
	}
	return fault.Newf(fault.Denied, faultv1.Reason_REASON_NOT_ALLOWED, "the peer's certificate is not on the allow-list")
}

// names returns the subject alternative names of c.
func names(c *x509.Certificate) []string {
	all := slices.Clone(c.DNSNames)
	for _, u := range c.URIs {
		all = append(all, u.String())
	}
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
