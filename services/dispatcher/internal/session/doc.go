// Package session speaks SMTP (RFC 5321) and LMTP (RFC 2033) as a client, one
// recipient a transaction.
//
// It is a client of its own because a dispatcher must know more than "it
// failed": the reply of every stage with its codes, whether the final dot was
// on the wire when a connection broke, and which name stood in the EHLO before
// STARTTLS; and because it checks lease and deadline at the two moments after
// which a mail cannot be taken back, before MAIL FROM and before the final
// dot. The final dot is a write of its own for that reason.
//
// A session is opened by [Open]:
//
//  1. greeting
//  2. EHLO (LHLO for LMTP; HELO where EHLO is not known)
//  3. STARTTLS, if asked for and offered (RFC 3207), and EHLO again
//  4. AUTH PLAIN, at a smart host (RFC 4954)
//
// and carries mails by [Session.Send] until it is closed or [Session.Usable]
// says no. Commands are pipelined where offered (RFC 2920). A reply that is no
// SMTP reply, or one that nothing asked for, makes the session unusable.
//
// A Session belongs to one goroutine; only [Session.Info] may be called from
// others.
package session
