package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// The scopes of an API key.
const (
	// ScopeSend allows to submit mail.
	ScopeSend = "send"
	// ScopeRead allows to ask after mail, invoices and reports.
	ScopeRead = "read"
	// ScopeAdmin allows to hold, cancel, suspend and suppress.
	ScopeAdmin = "admin"
)

// AuthConfig says who may call. Without keys it is for development: everybody has
// all scopes, and is the tenant that the metadata "kurir-tenant" names, or
// "default".
type AuthConfig struct {
	// Keys are the API keys known.
	Keys []APIKey `yaml:"keys"`
}

// APIKey is one key of one tenant. A tenant may have several, to change them
// without a gap.
type APIKey struct {
	// Tenant is who calls with this key.
	Tenant string `yaml:"tenant"`
	// SHA256 is the SHA-256 of the key in hexadecimal; the key itself is kept by
	// the tenant alone. Keys are random and long, so a plain hash is enough.
	SHA256 string `yaml:"sha256"`
	// Scopes are what the key is good for: send, read, admin.
	Scopes []string `yaml:"scopes"`
}

// Auth knows the API keys. It does not change and may be shared.
type Auth struct {
	keys map[[sha256.Size]byte]*principal // empty in development
}

// principal is who calls. An open server knows no tenants and allows everything.
type principal struct {
	tenant string
	scopes []string
}

// NewAuth returns an Auth for cfg, or all that is wrong with cfg, joined.
func NewAuth(cfg AuthConfig) (*Auth, error) {
	a := &Auth{keys: make(map[[sha256.Size]byte]*principal, len(cfg.Keys))}
	var faults []error
	for i, k := range cfg.Keys {
		bad := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("keys[%d]."+format, append([]any{i}, args...)...))
		}
		if k.Tenant == "" {
			bad("tenant: is missing")
		}
		if len(k.Scopes) == 0 {
			bad("scopes: is empty, such a key is good for nothing")
		}
		for _, s := range k.Scopes {
			if !slices.Contains(allScopes(), s) {
				bad("scopes: %q is none of %s", s, strings.Join(allScopes(), ", "))
			}
		}
		sum, err := hex.DecodeString(k.SHA256)
		if err != nil || len(sum) != sha256.Size {
			bad("sha256: is not the 64 hexadecimal digits of a SHA-256")
			continue
		}
		id := [sha256.Size]byte(sum)
		if a.keys[id] != nil {
			bad("sha256: is the key of another entry too")
		}
		a.keys[id] = &principal{tenant: k.Tenant, scopes: slices.Clone(k.Scopes)}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a, nil
}

func allScopes() []string { return []string{ScopeSend, ScopeRead, ScopeAdmin} }

// Metadata keys of a call.
const (
	metaAuthorization = "authorization"
	metaTenant        = "kurir-tenant"
)

// identify returns who makes the call that came with md.
func (a *Auth) identify(md metadata.MD) (*principal, error) {
	if len(a.keys) == 0 {
		tenant := "default"
		if v := md.Get(metaTenant); len(v) > 0 && v[0] != "" {
			tenant = v[0]
		}
		return &principal{tenant: tenant, scopes: allScopes()}, nil
	}
	v := md.Get(metaAuthorization)
	if len(v) == 0 {
		return nil, fault.Newf(fault.Unauthenticated, faultv1.Reason_REASON_API_KEY_INVALID,
			"an API key is needed: send the metadata authorization: Bearer <key>")
	}
	scheme, key, _ := strings.Cut(v[0], " ")
	if strings.EqualFold(scheme, "Bearer") && len(v) == 1 {
		// The map compares hashes, so its timing tells nothing of a key.
		if p := a.keys[sha256.Sum256([]byte(strings.TrimSpace(key)))]; p != nil {
			return p, nil
		}
	}
	return nil, fault.Newf(fault.Unauthenticated, faultv1.Reason_REASON_API_KEY_INVALID, "the API key is not known")
}

type principalKey struct{}

// Tenant returns who makes the call that ctx belongs to. It is "" on a server
// without Auth, where the request itself names the tenant.
func Tenant(ctx context.Context) string {
	if p, ok := ctx.Value(principalKey{}).(*principal); ok {
		return p.tenant
	}
	return ""
}

// Require returns nil if the caller of ctx has the scope, else a Denied fault. On
// a server without Auth everybody has it; outside of a server nobody has.
func Require(ctx context.Context, scope string) error {
	p, ok := ctx.Value(principalKey{}).(*principal)
	if ok && slices.Contains(p.scopes, scope) {
		return nil
	}
	return fault.Newf(fault.Denied, faultv1.Reason_REASON_NOT_ALLOWED, "the API key lacks the scope %q", scope)
}

// WithTenant returns ctx so that a call made with it names the tenant. Only a
// server in development believes it.
func WithTenant(ctx context.Context, tenant string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, metaTenant, tenant)
}
