package submission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/gate"
	"kurir.dev/kit/lane"
	"kurir.dev/kit/mailaddr"
	"kurir.dev/kit/token"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/template"
)

// Tenant is what a composer knows of one sender.
type Tenant struct {
	// From and FromName are its default sender.
	From mailaddr.Addr
	// FromName is shown beside From.
	FromName string
	// Domains are those its senders may be in, A-labels; that of From always is.
	Domains []string
	// ReturnDomain is the domain of the return path.
	ReturnDomain string
	// Locale is its default locale.
	Locale string
	// Templates are what it can send.
	Templates *template.Catalog
	// Brand dresses its mail.
	Brand template.Brand
	// Untracked leaves pixels and click links out.
	Untracked bool
}

// tenant is a Tenant under its name.
type tenant struct {
	Tenant
	name string
}

// Config is what a [Composer] works by; all of it is needed but Fallback.
type Config struct {
	// Tenants are those who may send.
	Tenants map[string]Tenant
	// Fallback serves tenants that are not in Tenants; nil refuses them.
	Fallback *Tenant
	// Lanes are those of the router.
	Lanes lane.Set
	// PublicURL is the tracker's, without a slash at its end.
	PublicURL string
	// Tokens sign pixels and links.
	Tokens *token.Ring
	// MaxBytes bounds a finished message.
	MaxBytes int
	// Gate guards the rendering; nil lets all mail be rendered at once.
	Gate *gate.Gate
	// Now is the clock.
	Now func() time.Time
	// NewID returns a fresh UUIDv7.
	NewID func() (string, error)
}

// Composer composes mail. It is safe for concurrent use.
type Composer struct{ cfg Config }

// New returns a Composer.
func New(cfg Config) *Composer {
	return &Composer{cfg: cfg}
}

// Send composes a mail and hands it to the custodian. Mail of higher lanes is
// rendered first when many wait.
func (c *Composer) Send(ctx context.Context, to Custodian, req *Request) (Receipt, error) {
	d, err := c.check(req)
	if err != nil {
		return Receipt{}, err
	}
	defer c.cfg.Gate.Begin(d.lane(), d.req.Tenant)()
	id, err := c.cfg.NewID()
	if err != nil {
		return Receipt{}, fmt.Errorf("making a mail id: %w", err)
	}
	receipt, err := c.submit(ctx, to, d, id)
	if earlier := pending(err); earlier != "" && earlier != id {
		// The earlier try may have reached the lane: only the same mail, with
		// the same id and Message-ID, can follow it without being a second one.
		receipt, err = c.submit(ctx, to, d, earlier)
	}
	return receipt, err
}

// submit composes the draft under an id and hands it over.
func (c *Composer) submit(ctx context.Context, to Custodian, d *draft, id string) (Receipt, error) {
	s, err := c.inTurn(ctx, d, id)
	if err != nil {
		return Receipt{}, err
	}
	return to.Submit(ctx, s)
}

// inTurn composes when it is the draft's turn, and gives the turn up whatever
// comes of it, a panic of a template too.
func (c *Composer) inTurn(ctx context.Context, d *draft, id string) (*Submission, error) {
	leave, err := c.cfg.Gate.Enter(ctx, d.lane(), d.req.Tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	return c.compose(d, id)
}

// pending returns the mail id of the try that left the key pending; "" for any
// other error and for none.
func pending(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Reason == faultv1.Reason_REASON_IDEMPOTENCY_PENDING {
		return f.Meta["mail_id"]
	}
	return ""
}

// Preview renders a template without sending: with its own sample when
// variables is nil.
func (c *Composer) Preview(tenantName, name, locale string, variables map[string]string) (*template.Template, *template.Rendered, error) {
	t, err := c.tenant(tenantName)
	if err != nil {
		return nil, nil, err
	}
	tmpl, err := t.Templates.Find(name)
	if err != nil {
		return nil, nil, err
	}
	chosen, err := chooseLocale(t, tmpl, locale)
	if err != nil {
		return nil, nil, err
	}
	values := tmpl.Sample()
	if variables != nil {
		if values, err = tmpl.Bind(variables); err != nil {
			return nil, nil, err
		}
	}
	dress := template.Dress{Brand: t.Brand}
	if tmpl.Kind.Unsubscribable() {
		dress.Unsubscribe = c.cfg.PublicURL + "/u/preview"
	}
	rendered, err := tmpl.Render(chosen, values, dress)
	if err != nil {
		return nil, nil, err
	}
	return tmpl, rendered, nil
}

// Templates lists what a tenant can send.
func (c *Composer) Templates(tenantName string) ([]*template.Template, error) {
	t, err := c.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	return t.Templates.List(), nil
}

// tenant returns the settings of a tenant.
func (c *Composer) tenant(name string) (*tenant, error) {
	if t, ok := c.cfg.Tenants[name]; ok {
		return &tenant{Tenant: t, name: name}, nil
	}
	if c.cfg.Fallback == nil || name == "" || len(name) > 64 {
		return nil, fault.Newf(fault.Denied, faultv1.Reason_REASON_NOT_ALLOWED, "the tenant is not configured to send")
	}
	return &tenant{Tenant: *c.cfg.Fallback, name: name}, nil
}

// chooseLocale returns the template's locale for a wanted one, or for the
// tenant's own when none is wanted.
func chooseLocale(t *tenant, tmpl *template.Template, wanted string) (string, error) {
	if wanted == "" {
		return tmpl.MatchFirst(t.Locale, "en"), nil
	}
	return tmpl.Match(wanted)
}
