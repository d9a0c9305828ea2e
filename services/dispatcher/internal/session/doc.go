// Package session speaks SMTP (RFC 5321) and LMTP (RFC 2033) as a client.
package session
