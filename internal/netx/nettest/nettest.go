// Package nettest is a DNS server for tests: a zone written as text, with the ways
// in which real servers go wrong.
//
//	dns := nettest.NewDNS(t, nettest.Zone{
//		"example.test":    {"MX 10 mx.example.test.", "TXT \"v=spf1 -all\""},
//		"mx.example.test": {"A 127.0.0.2", "AAAA !SERVFAIL"},
//		"www.example.test": {"CNAME example.test."},
//		"slow.test":       {"MX !DELAY 50ms", "MX 10 mx.example.test."},
//	})
//	resolver, err := netx.NewResolver(netx.Options{Server: dns.Addr})
//
// A name that is not in the zone does not exist; a type that a name lacks has no data.
// Instead of data a record may say what happens to questions of its type, or of any
// type with ANY: !SERVFAIL, !REFUSED, !FORMERR, !NXDOMAIN, !DROP (no answer), !TRUNCATE (over UDP the
// answer is empty with TC set), !GARBAGE (bytes that are no message), !DELAY duration,
// !TTL seconds, !AD (the AD bit is set).
package nettest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Zone is records by name, in key form (lower case, no final dot).
type Zone map[string][]string

// DNS is a server on 127.0.0.1, UDP and TCP.
type DNS struct {
	Addr string // address:port

	mu      sync.Mutex
	zone    map[string][]record
	queries []string
}

// record is a line of a Zone.
type record struct {
	rtype  string // "MX", …, "ANY"
	data   string // of a record
	fault  string // or what happens, without its "!"
	faultV string
}

// NewDNS starts a server, which ends with the test. A zone that cannot be read
// fails the test.
func NewDNS(t testing.TB, zone Zone) *DNS {
	t.Helper()
	d := &DNS{zone: map[string][]record{}}
	for name, lines := range zone {
		if err := d.set(name, lines); err != nil {
			t.Fatal(err)
		}
	}
	udp, tcp := Listen(t)
	d.Addr = udp.LocalAddr().String()
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: dns.HandlerFunc(d.serve)}, {Listener: tcp, Handler: dns.HandlerFunc(d.serve)}} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			if err := s.ActivateAndServe(); err != nil {
				t.Errorf("DNS server: %v", err)
			}
		}()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return d
}

// Listen listens on a port of 127.0.0.1 that is free for UDP and TCP. The caller closes both.
func Listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if udp, err := net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// set replaces the records of a name.
func (d *DNS) set(name string, lines []string) error {
	var records []record
	for _, l := range lines {
		rtype, data, _ := strings.Cut(l, " ")
		rec := record{rtype: rtype, data: data}
		if fault, ok := strings.CutPrefix(data, "!"); ok {
			rec.fault, rec.faultV, _ = strings.Cut(fault, " ")
		} else if _, err := newRR(name, 1, rec); err != nil {
			return fmt.Errorf("zone: %s %q: %w", name, l, err)
		}
		records = append(records, rec)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.zone[name] = records; len(lines) == 0 {
		delete(d.zone, name)
	}
	return nil
}

func newRR(name string, ttl int, r record) (dns.RR, error) {
	return dns.NewRR(dns.Fqdn(name) + " " + strconv.Itoa(ttl) + " IN " + r.rtype + " " + r.data)
}

// Queries returns what was asked so far, as "udp A example.test".
func (d *DNS) Queries() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.queries...)
}

// lookup returns the records of a name for one type, with the faults of the type.
func (d *DNS) lookup(name, rtype string) (data []record, faults map[string]string, exists bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	records, exists := d.zone[name]
	faults = map[string]string{}
	for _, r := range records {
		switch {
		case r.fault != "" && (r.rtype == rtype || r.rtype == "ANY"):
			faults[r.fault] = r.faultV
		case r.fault == "" && (r.rtype == rtype || r.rtype == "CNAME"):
			data = append(data, r)
		}
	}
	return data, faults, exists
}

func (d *DNS) serve(w dns.ResponseWriter, q *dns.Msg) {
	network := w.RemoteAddr().Network()
	name := strings.ToLower(strings.TrimSuffix(q.Question[0].Name, "."))
	rtype := dns.TypeToString[q.Question[0].Qtype]
	d.mu.Lock()
	d.queries = append(d.queries, network+" "+rtype+" "+name)
	d.mu.Unlock()

	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	ttl := 300
	for range 20 { // aliases within the zone are followed, as a recursive server does
		data, faults, exists := d.lookup(name, rtype)
		if !d.misbehave(w, m, faults, network) {
			return
		}
		if v, ok := faults["TTL"]; ok {
			ttl, _ = strconv.Atoi(v)
		}
		alias := ""
		for _, r := range data {
			rr, err := newRR(name, ttl, r)
			if err != nil {
				continue
			}
			m.Answer = append(m.Answer, rr)
			if c, ok := rr.(*dns.CNAME); ok && rtype != "CNAME" {
				alias = strings.TrimSuffix(c.Target, ".")
			}
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if len(m.Answer) == 0 || m.Rcode == dns.RcodeNameError {
		if soa, err := dns.NewRR("test. " + strconv.Itoa(ttl) + " IN SOA ns.test. root.test. 1 1 1 1 " + strconv.Itoa(ttl)); err == nil {
			m.Ns = append(m.Ns, soa)
		}
	}
	size := dns.MinMsgSize
	if e := q.IsEdns0(); e != nil {
		size = int(e.UDPSize())
		m.SetEdns0(e.UDPSize(), false)
	}
	if network == "udp" {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

// misbehave acts on a name's faults. It reports whether an answer is still to be given.
func (d *DNS) misbehave(w dns.ResponseWriter, m *dns.Msg, faults map[string]string, network string) bool {
	if v, ok := faults["DELAY"]; ok {
		delay, _ := time.ParseDuration(v)
		time.Sleep(delay)
	}
	if _, ok := faults["AD"]; ok {
		m.AuthenticatedData = true
	}
	for fault, rcode := range map[string]int{
		"SERVFAIL": dns.RcodeServerFailure, "REFUSED": dns.RcodeRefused, "NXDOMAIN": dns.RcodeNameError, "FORMERR": dns.RcodeFormatError,
	} {
		if _, ok := faults[fault]; ok {
			m.Rcode = rcode
			_ = w.WriteMsg(m)
			return false
		}
	}
	if _, ok := faults["DROP"]; ok {
		return false
	}
	if _, ok := faults["GARBAGE"]; ok {
		_, _ = w.Write([]byte("this is no DNS message"))
		return false
	}
	if _, ok := faults["TRUNCATE"]; ok && network == "udp" {
		m.Truncated = true
		_ = w.WriteMsg(m)
		return false
	}
	return true
}
