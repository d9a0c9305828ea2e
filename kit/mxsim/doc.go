// Package mxsim is a small internet on loopback: a DNS server and mail hosts
// for demos, tests and benchmarks. It mocks nothing: names are asked over UDP
// and TCP, mail goes over SMTP (RFC 5321) or LMTP (RFC 2033) on TCP, and TLS
// is TLS. What it adds is obedience: a [Script] decides each reply, so a host
// can greylist, tarpit, lie, or drop the connection after the final dot.
//
// Hosts are fast: several thousand mails a second per core, kept, counted or
// handed to a callback.
package mxsim
