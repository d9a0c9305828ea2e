// Package mime builds the RFC 5322 message of one mail. It knows one shape, a
// text part with or without an HTML alternative, and by construction cannot
// write anything else:
//
//  1. Lines end in CRLF and none is longer than 998 octets (RFC 5322 §2.1.1);
//     bodies are quoted-printable, so theirs stay within 76.
//  2. Headers are ASCII: other text goes as encoded words (RFC 2047), folded
//     at 76. The exception is a mailbox whose local part is not ASCII, which
//     only SMTPUTF8 (RFC 6532 §3.2) can carry.
//  3. A CR, LF or NUL in a value bound for a header is refused, never cleaned.
//  4. The same [Message] gives the same bytes: date and id come from outside,
//     the boundary comes from the id.
package mime

import (
	"bytes"
	"strings"
	"time"

	"kurir.dev/kit/mailaddr"
)

// maxLine is what RFC 5322 §2.1.1 allows on a line, without its CRLF.
const maxLine = 998

// HeaderError says that a value cannot be written into a header.
type HeaderError struct {
	// Header is the header's name.
	Header string
	// Why completes the sentence that begins with the name.
	Why string
}

// Error names the header, never the value.
func (e *HeaderError) Error() string { return "header " + e.Header + " " + e.Why }

// Address is a mailbox as a header shows it.
type Address struct {
	// Name is shown beside the mailbox; empty shows the mailbox alone.
	Name string
	// Mailbox is the address itself; zero is no address.
	Mailbox mailaddr.Addr
}

// Header is one more header, for machines: printable ASCII.
type Header struct{ Name, Value string }

// Message is what a mail is made of.
type Message struct {
	// ID is the mail's id: the left side of Message-ID and seed of the
	// boundary; letters, digits and '-' only.
	ID string
	// Date is the Date header, in the zone it comes with.
	Date time.Time
	// From is the author; its domain is the right side of Message-ID.
	From Address
	// To is the recipient.
	To Address
	// ReplyTo is where answers go; zero leaves the header out.
	ReplyTo Address
	// Subject is one line of any text.
	Subject string
	// More headers, written in order after the usual ones.
	More []Header
	// Text is the plain text part; any line ends.
	Text string
	// HTML is its alternative; empty leaves the mail plain.
	HTML string
}

// MessageID returns the Message-ID, angle brackets included (RFC 5322 §3.6.4).
func (m *Message) MessageID() string {
	return "<" + m.ID + "@" + m.From.Mailbox.Domain() + ">"
}

// NeedsSMTPUTF8 reports whether a header can only be carried by SMTPUTF8
// (RFC 6531): when a local part is not ASCII.
func (m *Message) NeedsSMTPUTF8() bool {
	return m.From.Mailbox.NeedsSMTPUTF8() || m.To.Mailbox.NeedsSMTPUTF8() || m.ReplyTo.Mailbox.NeedsSMTPUTF8()
}

// Bytes returns the message. The error is a *[HeaderError].
func (m *Message) Bytes() ([]byte, error) {
	if m.ID == "" || strings.Trim(m.ID, idChars) != "" {
		return nil, &HeaderError{Header: "Message-ID", Why: "needs an id of letters, digits and hyphens"}
	}
	var b bytes.Buffer
	b.Grow(1024 + len(m.Text) + len(m.Text)/8 + len(m.HTML) + len(m.HTML)/6)
	h := headerWriter{b: &b}
	h.line("Date", m.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700")) // RFC 5322 §3.3
	h.address("From", m.From)
	h.address("To", m.To)
	if !m.ReplyTo.Mailbox.IsZero() {
		h.address("Reply-To", m.ReplyTo)
	}
	h.line("Message-ID", m.MessageID())
	h.text("Subject", m.Subject)
	for _, more := range m.More {
		h.line(more.Name, more.Value)
	}
	h.line("MIME-Version", "1.0") // RFC 2045 §4
	if h.err != nil {
		return nil, h.err
	}
	if m.HTML == "" {
		part(&b, "text/plain", m.Text)
		return b.Bytes(), nil
	}
	// "=_" cannot stand in quoted-printable text (RFC 2045 §6.7), so that no
	// body can contain the boundary.
	boundary := "=_" + m.ID
	b.WriteString("Content-Type: multipart/alternative;\r\n boundary=\"" + boundary + "\"\r\n\r\n")
	for _, alternative := range []struct{ kind, body string }{{"text/plain", m.Text}, {"text/html", m.HTML}} {
		b.WriteString("--" + boundary + "\r\n")
		part(&b, alternative.kind, alternative.body)
	}
	b.WriteString("--" + boundary + "--\r\n")
	return b.Bytes(), nil
}

// idChars are the characters of an id.
const idChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"

// part writes the headers and the body of one text part.
func part(b *bytes.Buffer, kind, body string) {
	b.WriteString("Content-Type: " + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	b.Write(appendQuoted(b.AvailableBuffer(), lineFeeds(body)))
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		b.WriteString("\r\n")
	}
}

// lineFeeds makes every line end LF.
func lineFeeds(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// headerWriter writes headers until the first that cannot be written.
type headerWriter struct {
	b   *bytes.Buffer
	err error
}

// fail keeps the first fault.
func (h *headerWriter) fail(name, why string) {
	if h.err == nil {
		h.err = &HeaderError{Header: name, Why: why}
	}
}

// line writes a header of printable ASCII, folded at its spaces.
func (h *headerWriter) line(name, value string) {
	if !printable(value) || !printable(name) || strings.ContainsAny(name, " :") || name == "" {
		h.fail(name, "holds a character that is not printable ASCII")
		return
	}
	h.fold(name, strings.Split(value, " "))
}

// text writes an unstructured header (RFC 5322 §3.6.5).
func (h *headerWriter) text(name, value string) {
	if Unsafe(value) {
		h.fail(name, "holds CR, LF or NUL")
		return
	}
	if plain(value) {
		h.fold(name, strings.Split(value, " "))
		return
	}
	h.fold(name, encodedWords(value))
}

// address writes a header of one mailbox (RFC 5322 §3.4).
func (h *headerWriter) address(name string, a Address) {
	switch {
	case a.Mailbox.IsZero():
		h.fail(name, "has no address")
	case Unsafe(a.Name):
		h.fail(name, "holds CR, LF or NUL")
	case a.Name == "":
		h.fold(name, []string{a.Mailbox.String()})
	default:
		h.fold(name, append(phrase(a.Name), "<"+a.Mailbox.String()+">"))
	}
}

// fold writes a header from its words, a space between each two; a line that
// would grow past 76 is folded there (RFC 5322 §2.2.3).
func (h *headerWriter) fold(name string, words []string) {
	h.b.WriteString(name)
	h.b.WriteByte(':')
	length := len(name) + 1
	for i, word := range words {
		if i > 0 && length+1+len(word) > 76 {
			h.b.WriteString("\r\n")
			length = 0
		}
		if length+1+len(word) > maxLine {
			h.fail(name, "holds a word longer than a line")
			return
		}
		h.b.WriteByte(' ')
		h.b.WriteString(word)
		length += 1 + len(word)
	}
	h.b.WriteString("\r\n")
}
