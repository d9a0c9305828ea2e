package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const rsaBits = 2048 // RFC 8301 §3.2: at least 1024 to verify, 2048 to sign

// loadKey reads a private key, or makes it when it is missing and make is not
// nil: into a file of its own first, so that no half key is ever read.
func loadKey(dir, domain, selector string, generate func() (crypto.Signer, error)) (crypto.Signer, error) {
	if strings.ContainsAny(domain+selector, `/\`) {
		return nil, fmt.Errorf("domain %q or selector %q holds a path", domain, selector)
	}
	path := filepath.Join(dir, domain+"."+selector+".pem")
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && generate != nil:
		return makeKey(path, domain, selector, generate)
	case err != nil:
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if legacy, other := x509.ParsePKCS1PrivateKey(block.Bytes); other == nil {
			return legacy, nil
		}
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("%s holds a key of type %T, not RSA or Ed25519", path, key)
}

func makeKey(path, domain, selector string, generate func() (crypto.Signer, error)) (crypto.Signer, error) {
	key, err := generate()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("storing a key: %w", err)
	}
	text := strings.TrimSuffix(path, ".pem") + ".txt"
	if err := os.WriteFile(text, []byte(Record(domain, selector, key.Public())+"\n"), 0o644); err != nil { //nolint:gosec // it is to be published
		return nil, fmt.Errorf("storing a DNS record: %w", err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(path+".new", private, 0o600); err != nil {
		return nil, fmt.Errorf("storing a key: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, fmt.Errorf("storing a key: %w", err)
	}
	return key, nil
}

func newRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }

func newEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// Record is the TXT record to publish for a key, in zone-file form, its text
// split into strings of 255 octets (RFC 6376 §3.6.1, RFC 8463 §4). The key is
// an RSA or Ed25519 one; of any other it is empty.
func Record(domain, selector string, public crypto.PublicKey) string {
	var text string
	switch key := public.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return ""
		}
		text = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	case ed25519.PublicKey:
		text = "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key)
	default:
		return ""
	}
	var parts []string
	for len(text) > 255 {
		parts, text = append(parts, `"`+text[:255]+`"`), text[255:]
	}
	parts = append(parts, `"`+text+`"`)
	return fmt.Sprintf("%s._domainkey.%s. 3600 IN TXT %s", selector, domain, strings.Join(parts, " "))
}
