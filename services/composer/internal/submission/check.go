package submission

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/mailaddr"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/mime"
	"kurir.dev/services/composer/internal/money"
)

// furthest is how far ahead a mail can be scheduled.
const furthest = 90 * 24 * time.Hour

// draft is a checked request: all but the id, and what follows from it.
type draft struct {
	req     *Request
	tenant  *tenant
	to      mime.Address
	from    mime.Address
	replyTo mime.Address
	content *content
	sendAt  time.Time
	expires time.Duration
}

// Check checks a request in full and tells all that is wrong with it at once.
func (c *Composer) Check(req *Request) error {
	_, err := c.check(req)
	return err
}

func (c *Composer) check(req *Request) (*draft, error) {
	t, err := c.tenant(req.Tenant)
	if err != nil {
		return nil, err
	}
	d := &draft{req: req, tenant: t}
	var to, from, reply, content, kind error
	d.to, to = recipient(req.To)
	d.from, from = t.sender(req.Options.From)
	if req.Options.ReplyTo != nil {
		d.replyTo, reply = mailbox("options.reply_to", req.Options.ReplyTo, faultv1.Reason_REASON_INVALID_FIELD)
	}
	if d.content, content = req.Item.content(c, t, &req.Options); d.content != nil {
		kind = fault.Join(c.checkLane(d), c.checkExpiry(d))
	}
	if err := fault.Join(to, from, reply, content, req.checkNotes(), c.checkSendAt(d), kind); err != nil {
		return nil, err
	}
	return d, nil
}

// checkNotes checks what no reader sees but every event carries: NUL is no text
// to the databases it ends up in.
func (r *Request) checkNotes() error {
	bad := []error{noNUL("idempotency_key", r.Key), noNUL("options.campaign", r.Options.Campaign)}
	for name, value := range r.Options.Labels {
		bad = append(bad, noNUL("options.labels", name+value))
	}
	return fault.Join(bad...)
}

// recipient checks the To address.
func recipient(to *Address) (mime.Address, error) {
	if to == nil {
		return mime.Address{}, fault.Invalidf(faultv1.Reason_REASON_INVALID_RECIPIENT, "to.email", "must be given: an address such as name@example.com")
	}
	return mailbox("to", to, faultv1.Reason_REASON_INVALID_RECIPIENT)
}

// mailbox checks an address and its name; a malformed one has the reason.
func mailbox(field string, a *Address, reason faultv1.Reason) (mime.Address, error) {
	if err := oneLine(text{field + ".email", a.Email}, text{field + ".display_name", a.Name}); err != nil {
		return mime.Address{}, err
	}
	addr, err := mailaddr.Parse(a.Email)
	if err != nil {
		return mime.Address{}, fault.Invalidf(reason, field+".email",
			"must be an address such as name@example.com: it %s", strings.TrimPrefix(err.Error(), "address "))
	}
	return mime.Address{Name: a.Name, Mailbox: addr}, nil
}

// sender returns the From address: the tenant's own, or one in a domain that
// the tenant may use.
func (t *tenant) sender(from *Address) (mime.Address, error) {
	if from == nil {
		return mime.Address{Name: t.FromName, Mailbox: t.From}, nil
	}
	a, err := mailbox("options.from", from, faultv1.Reason_REASON_INVALID_FIELD)
	if err != nil {
		return mime.Address{}, err
	}
	if domain := a.Mailbox.Domain(); domain != t.From.Domain() && !slices.Contains(t.Domains, domain) {
		e := fault.Newf(fault.Denied, faultv1.Reason_REASON_SENDER_NOT_ALLOWED, "options.from.email: the tenant may not send as this domain")
		return mime.Address{}, e.WithField("options.from.email", "its domain is not one the tenant may use")
	}
	return a, nil
}

// text is a field with its value.
type text struct{ field, value string }

// oneLine checks texts that can come to stand in a header.
func oneLine(texts ...text) error {
	var bad []error
	for _, t := range texts {
		if mime.Unsafe(t.value) {
			bad = append(bad, fault.Invalidf(faultv1.Reason_REASON_HEADER_INJECTION, t.field, "must be one line: it holds CR, LF or NUL"))
		}
	}
	return fault.Join(bad...)
}

// filled checks texts that must not be empty.
func filled(texts ...text) error {
	var bad []error
	for _, t := range texts {
		if strings.TrimSpace(t.value) == "" {
			bad = append(bad, invalid(t.field, "must not be empty"))
		}
	}
	return fault.Join(bad...)
}

// invalid is a fault of the reason INVALID_FIELD.
func invalid(field, why string) error {
	return fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, field, "%s", why)
}

// lane is the lane the draft travels.
func (d *draft) lane() string {
	if asked := d.req.Options.Lane; asked != "" {
		return asked
	}
	return d.content.kind.Lane()
}

// checkLane lets a tenant lower the lane of a mail, not raise it.
func (c *Composer) checkLane(d *draft) error {
	asked, own := d.req.Options.Lane, d.content.kind.Lane()
	switch {
	case asked == "" || c.cfg.Lanes.Allowed(own, asked):
		return nil
	case !slices.Contains(c.cfg.Lanes.Names(), asked):
		return fault.Invalidf(faultv1.Reason_REASON_LANE_UNKNOWN, "options.lane", "must be one of %s, or empty", strings.Join(c.cfg.Lanes.Names(), ", "))
	}
	return fault.Invalidf(faultv1.Reason_REASON_LANE_UNKNOWN, "options.lane", "must be %s, the lane of this kind of mail, or one below it", own)
}

// checkSendAt checks when the mail is to leave.
func (c *Composer) checkSendAt(d *draft) error {
	now := c.cfg.Now()
	if at := d.req.Options.SendAt; at.After(now) {
		if at.After(now.Add(furthest)) {
			return invalid("options.send_at", "must be at most 90 days ahead")
		}
		d.sendAt = at
	}
	return nil
}

// checkExpiry checks when the mail is to expire. The bounds are those of the
// kind's own lane also when a lower one is asked for: a code that travels with
// the bulk is no longer of use for it.
func (c *Composer) checkExpiry(d *draft) error {
	var err error
	d.expires, err = c.expiry(d.content.kind.Lane(), d.req.Options.ExpiresIn)
	return err
}

// expiry checks an asked expiry by the bounds of a lane; nil is zero, which is
// the lane's default.
func (c *Composer) expiry(name string, asked *time.Duration) (time.Duration, error) {
	if asked == nil {
		return 0, nil
	}
	l, _ := c.cfg.Lanes.Lookup(name)
	if _, ok := l.ClampExpiry(*asked); !ok || *asked <= 0 {
		return 0, fault.Invalidf(faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE, "options.expires_in",
			"must be from %s to %s", l.MinExpiry, l.MaxExpiry)
	}
	return *asked, nil
}

// checkCode holds to the proto's pattern: 4 to 32 letters and digits, with '-'
// and spaces between them.
func checkCode(code string) error {
	inner := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
	}
	if len(code) < 4 || len(code) > 32 || !inner(rune(code[0])) || !inner(rune(code[len(code)-1])) ||
		strings.ContainsFunc(code, func(r rune) bool { return !inner(r) && r != '-' && r != ' ' }) {
		return invalid("code", "must be 4 to 32 letters and digits, with '-' and spaces between them")
	}
	return nil
}

// checkOrigin checks the host a code is for; empty is allowed.
func checkOrigin(host string) (string, error) {
	if host == "" {
		return "", nil
	}
	origin, err := mailaddr.ParseDomain(host)
	if err != nil {
		return "", invalid("origin", "must be a host name such as example.co.id, or empty")
	}
	return origin, nil
}

// checkIP checks an IP address; empty is allowed.
func checkIP(ip string) error {
	if ip == "" {
		return nil
	}
	if _, err := netip.ParseAddr(ip); err != nil {
		return invalid("client_ip", "must be an IP address, or empty")
	}
	return nil
}

// checkPayURL checks an address people are sent to with their money: https, or
// http on this machine, and nothing that can mislead.
func checkPayURL(field, s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return invalid(field, "must be an absolute https address")
	case u.User != nil:
		return invalid(field, "must hold no user name")
	case len(s) > 2000:
		return invalid(field, "must be at most 2000 long")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return invalid(field, "must be https")
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true // RFC 6761 §6.3
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// checkDay checks a day; zero is allowed unless it is required.
func checkDay(field string, d civil.Date, required bool) error {
	if d.Zero() && !required || d.Valid() {
		return nil
	}
	return invalid(field, "must be a day of the calendar")
}

// checkAmount checks an amount by itself and against the currency of the
// total, "" for the total itself.
func checkAmount(field string, a money.Amount, currency string, negative bool) error {
	bad := func(part, why string) error {
		return fault.Invalidf(faultv1.Reason_REASON_AMOUNT_INVALID, field+part, "%s", why)
	}
	switch {
	case !money.Known(a.Currency):
		return fault.Invalidf(faultv1.Reason_REASON_CURRENCY_UNKNOWN, field+".currency_code", "must be an ISO 4217 code, such as IDR")
	case currency != "" && a.Currency != currency:
		return bad(".currency_code", "must be the currency of the total")
	case a.Mixed():
		return bad("", "must have units and nanos of the same sign")
	case a.Negative() && !negative:
		return bad("", "must not be negative")
	case !a.Fits():
		return bad(".nanos", "must have no more decimals than the currency")
	}
	return nil
}
