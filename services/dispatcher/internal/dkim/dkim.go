// Package dkim signs mail for its sending domain (RFC 6376): once with
// RSA-2048, which everybody verifies, and once with Ed25519 (RFC 8463), which
// is short and quick. From, To and Subject are signed once more often than
// they occur, so that none can be added afterwards (RFC 6376 §8.15).
package dkim

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"kurir.dev/kit/gate"
)

// Signer signs. It does not change and is safe for concurrent use.
type Signer struct {
	domains map[string][]identity
	gate    *gate.Gate
}

type identity struct {
	selector string
	key      crypto.Signer
}

// New loads the keys of cfg, and makes missing ones if it says so. Signatures
// pass g one by one.
func New(cfg Config, g *gate.Gate) (*Signer, error) {
	s := &Signer{domains: map[string][]identity{}, gate: g}
	var faults []error
	for _, d := range cfg.Domains {
		domain := strings.ToLower(d.Domain)
		for _, k := range []struct {
			selector string
			generate func() (crypto.Signer, error)
		}{{d.SelectorRSA, newRSA}, {d.SelectorEd25519, newEd25519}} {
			if k.selector == "" {
				continue
			}
			if !cfg.Generate {
				k.generate = nil
			}
			key, err := loadKey(cfg.Dir, domain, k.selector, k.generate)
			if err != nil {
				faults = append(faults, fmt.Errorf("loading the DKIM key %s of %s: %w", k.selector, domain, err))
				continue
			}
			s.domains[domain] = append(s.domains[domain], identity{k.selector, key})
		}
	}
	return s, errors.Join(faults...)
}

// Records are the DNS records to publish, one for each key, in order.
func (s *Signer) Records() []string {
	var all []string
	for domain, ids := range s.domains {
		for _, id := range ids {
			all = append(all, Record(domain, id.selector, id.key.Public()))
		}
	}
	slices.Sort(all)
	return all
}

// Signed is a message with its signatures.
type Signed struct {
	// Message is the signatures and the message.
	Message []byte
	// Selectors made them; none when the domain is not signed for.
	Selectors []string
}

// Sign signs for the domain of the From header or the nearest parent there
// are keys of; without keys the message comes back as it is. Each signature
// waits for a processor, as the lane and the tenant may have one. The error is ctx's, or says
// which signature could not be made.
func (s *Signer) Sign(ctx context.Context, fromDomain string, message []byte, lane, tenant string) (Signed, error) {
	domain, ids := s.lookup(strings.ToLower(fromDomain))
	if len(ids) == 0 {
		return Signed{Message: message}, nil
	}
	keys := headerKeys(message)
	var head bytes.Buffer
	signed := Signed{}
	for _, id := range ids {
		leave, err := s.gate.Enter(ctx, lane, tenant)
		if err != nil {
			return Signed{}, fmt.Errorf("waiting to sign: %w", err)
		}
		signature, err := id.sign(domain, keys, message)
		leave()
		if err != nil {
			return Signed{}, fmt.Errorf("signing with %s: %w", id.selector, err)
		}
		head.WriteString(signature)
		signed.Selectors = append(signed.Selectors, id.selector)
	}
	head.Grow(len(message))
	head.Write(message)
	signed.Message = head.Bytes()
	return signed, nil
}

// sign makes one signature, the header field with its line end.
func (id identity) sign(domain string, keys []string, message []byte) (string, error) {
	signer, err := dkim.NewSigner(&dkim.SignOptions{
		Domain: domain, Selector: id.selector, Signer: id.key, Hash: crypto.SHA256, HeaderKeys: keys,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return "", err
	}
	_, err = signer.Write(message)
	if err := errors.Join(err, signer.Close()); err != nil {
		return "", err
	}
	return signer.Signature(), nil
}

func (s *Signer) lookup(domain string) (string, []identity) {
	for {
		if ids, ok := s.domains[domain]; ok {
			return domain, ids
		}
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return "", nil
		}
		domain = parent
	}
}

// headerKeys are the fields to sign: those of RFC 6376 §5.4.1 that the message
// has, as often as it has them, and those that must not be added once more.
func headerKeys(message []byte) []string {
	wanted := []string{
		"from", "reply-to", "subject", "date", "to", "cc", "message-id", "in-reply-to", "references",
		"mime-version", "content-type", "content-transfer-encoding",
		"list-id", "list-unsubscribe", "list-unsubscribe-post", "auto-submitted",
	}
	count := map[string]int{}
	for len(message) > 0 {
		line, rest, _ := bytes.Cut(message, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		message = rest
		if name, _, ok := bytes.Cut(line, []byte(":")); ok && line[0] != ' ' && line[0] != '\t' {
			count[strings.ToLower(string(bytes.TrimSpace(name)))]++
		}
	}
	var keys []string
	for _, name := range wanted {
		n := count[name]
		switch name {
		case "from", "to", "subject":
			n++
		}
		for range n {
			keys = append(keys, name)
		}
	}
	return keys
}
