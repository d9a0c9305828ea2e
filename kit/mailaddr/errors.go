package mailaddr

// Reason says what is wrong with an address, in words fit for its sender.
type Reason string

// Why an address is refused.
const (
	Empty        Reason = "is empty"
	Encoding     Reason = "is not valid UTF-8"
	Control      Reason = "holds a control character"
	NoAt         Reason = "has no @ between local part and domain"
	LocalEmpty   Reason = "has an empty local part"
	LocalDots    Reason = "has a leading, trailing or doubled dot in its local part"
	LocalChar    Reason = "has a character in its local part that must be quoted or is not allowed"
	LocalQuote   Reason = "has a badly quoted local part"
	LocalTooLong Reason = "has a local part longer than 64 octets"
	TooLong      Reason = "is longer than 254 octets"
	DomainEmpty  Reason = "has an empty domain"
	DomainSyntax Reason = "has a domain that is not a valid host name"
	DomainLong   Reason = "has a domain or label that is too long"
	DomainSingle Reason = "has a domain of a single label"
	Literal      Reason = "has an address literal for a domain"
)

// ParseError is why an address or domain was refused. It holds no part of it.
type ParseError struct{ Reason Reason }

// Error reads "address " and the reason.
func (e *ParseError) Error() string { return "address " + string(e.Reason) }
