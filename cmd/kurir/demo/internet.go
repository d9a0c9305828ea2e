package demo

import (
	"errors"
	"net"
	"strconv"

	"kurir.dev/kit/mxsim"
)

// domain is whom the demonstration writes to.
const domain = "penerima.example"

// internet is the demonstration's own: a DNS server and the recipients' mail
// server, two MX names of equal preference for one host.
type internet struct {
	dns  *mxsim.DNS
	host *mxsim.Host
}

// newInternet starts the servers; every mail taken goes to sink.
func newInternet(sink *arrivals) (*internet, error) {
	dns, err := mxsim.NewDNS("")
	if err != nil {
		return nil, err
	}
	host, err := mxsim.NewHost(mxsim.HostConfig{
		Name:     "mx." + domain,
		Received: func(r mxsim.Received) { sink.took(r.To, r.Data, r.At) },
	})
	if err != nil {
		return nil, errors.Join(err, dns.Close())
	}
	dns.MXAt(domain, 10, "mx1."+domain, "mx2."+domain)
	dns.Host("mx1."+domain, "127.0.0.1")
	dns.Host("mx2."+domain, "127.0.0.1")
	return &internet{dns: dns, host: host}, nil
}

// port is where the mail server listens, in place of 25.
func (n *internet) port() int {
	_, port, err := net.SplitHostPort(n.host.Addr())
	if err != nil {
		return 0
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return p
}

// Close stops the servers.
func (n *internet) Close() error { return errors.Join(n.host.Close(), n.dns.Close()) }
