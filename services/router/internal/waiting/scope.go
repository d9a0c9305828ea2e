package waiting

import (
	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/router/internal/mail"
)

// Scope selects waiting mail; all that is set must match. The zero Scope is
// everything of every tenant.
type Scope struct {
	Tenant   string
	IDs      []string
	Lane     string
	Invoice  string
	Template string
	Domain   string
	Site     string
	Kind     mail.Kind
	// Held and InDoubt leave out what is not.
	Held, InDoubt bool
}

// Narrow refuses a scope that names nothing beside the tenant: verbs that
// change mail do not take "all of it" by leaving fields out.
func (s Scope) Narrow() error {
	if len(s.IDs) == 0 && s.Lane == "" && s.Invoice == "" && s.Template == "" && s.Domain == "" && s.Site == "" && s.Kind == mail.KindNone {
		return fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "scope", "names nothing beside the tenant")
	}
	return nil
}
