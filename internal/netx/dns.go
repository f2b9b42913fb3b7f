package netx

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/postilion/postilion/internal/netx/names"
)

// Bounds on what one answer may make us do.
const (
	maxChain   = 8   // CNAMEs followed for one question; more is a loop or a mistake
	maxRecords = 256 // records of one answer that are kept
)

// The outcomes of a lookup that brings no records, tested for with errors.Is.
var (
	ErrTemporary = errors.New("no usable answer from DNS")    // time-out, SERVFAIL, REFUSED, garbage
	ErrNoName    = errors.New("no such domain name")          // NXDOMAIN
	ErrNoData    = errors.New("no records of the asked type") // NODATA
)

// DNSError tells what was asked and why there is no answer. It wraps one of the
// outcomes above.
type DNSError struct {
	Name, Type string
	Outcome    error
	Detail     string // what the servers said, for logs
}

// Error names the question and the outcome.
func (e *DNSError) Error() string {
	s := "DNS " + e.Type + " " + e.Name + ": " + e.Outcome.Error()
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// Unwrap returns the outcome.
func (e *DNSError) Unwrap() error { return e.Outcome }

// Result is the records of one answer, in the order of the answer.
type Result[T any] struct {
	Records []T
	Name    string        // the name that has the records, after CNAMEs
	Secure  bool          // a server that is believed vouches for the answer by DNSSEC (the AD bit)
	TTL     time.Duration // left until the answer expires
	Partial bool          // of addresses: only one family's, the other has not answered yet
}

// MX is one mail exchanger. Host is "" for the root, which alone means that no mail is
// taken (RFC 7505), and an address literal where the record has an IPv4 address in place of a name: that is
// against RFC 5321 5.1, but common, and qmail's dns_mxip, Postfix and sendmail take it for the address.
type MX struct {
	Pref uint16
	Host string
}

// The look-ups below have a *DNSError where there are no records.

// MX looks up the mail exchangers of a name. Exchangers whose names can be none
// are left out; if that leaves nothing, the outcome is ErrNoData.
func (r *Resolver) MX(ctx context.Context, name string) (Result[MX], error) {
	return pick(r, ctx, name, dns.TypeMX, func(rr dns.RR) (MX, bool) {
		mx, ok := rr.(*dns.MX)
		if !ok {
			return MX{}, false
		}
		if mx.Mx == "." {
			return MX{Pref: mx.Preference}, true
		}
		host := strings.TrimSuffix(mx.Mx, ".")
		for _, literal := range []string{host, "[" + host + "]"} {
			if a, ok := names.Literal(literal); ok && a.Is4() {
				return MX{mx.Preference, names.FormatLiteral(a)}, true
			}
		}
		host, err := names.Domain(host)
		return MX{mx.Preference, host}, err == nil
	})
}

// A looks up IPv4 addresses.
func (r *Resolver) A(ctx context.Context, name string) (Result[netip.Addr], error) {
	return pick(r, ctx, name, dns.TypeA, func(rr dns.RR) (netip.Addr, bool) {
		a, ok := rr.(*dns.A)
		if !ok {
			return netip.Addr{}, false
		}
		addr, ok := netip.AddrFromSlice(a.A)
		return addr.Unmap(), ok
	})
}

// AAAA looks up IPv6 addresses. An IPv4-mapped one is left out: it is no address of a host.
func (r *Resolver) AAAA(ctx context.Context, name string) (Result[netip.Addr], error) {
	return pick(r, ctx, name, dns.TypeAAAA, func(rr dns.RR) (netip.Addr, bool) {
		a, ok := rr.(*dns.AAAA)
		if !ok {
			return netip.Addr{}, false
		}
		addr, ok := netip.AddrFromSlice(a.AAAA)
		return addr, ok && !addr.Is4In6()
	})
}

// TXT looks up texts; the strings of one record are joined.
func (r *Resolver) TXT(ctx context.Context, name string) (Result[string], error) {
	return pick(r, ctx, name, dns.TypeTXT, func(rr dns.RR) (string, bool) {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return unescape(strings.Join(txt.Txt, "")), true
	})
}

// PTR looks up the names of an address.
func (r *Resolver) PTR(ctx context.Context, addr netip.Addr) (Result[string], error) {
	reverse, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return Result[string]{}, &DNSError{addr.String(), "PTR", ErrNoName, err.Error()}
	}
	return pick(r, ctx, strings.TrimSuffix(reverse, "."), dns.TypePTR, func(rr dns.RR) (string, bool) {
		ptr, ok := rr.(*dns.PTR)
		if !ok {
			return "", false
		}
		name, err := names.Domain(strings.TrimSuffix(ptr.Ptr, "."))
		return name, err == nil
	})
}

// TLSA is what a name's owner says of its certificates (RFC 6698 2.1). Data is a certificate, a public key, or a
// digest of one.
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// TLSA looks up what is said of the TLS server at a TCP port of a host. They count only where the result is
// Secure.
func (r *Resolver) TLSA(ctx context.Context, host string, port uint16) (Result[TLSA], error) {
	return pick(r, ctx, fmt.Sprintf("_%d._tcp.%s", port, host), dns.TypeTLSA, func(rr dns.RR) (TLSA, bool) {
		t, ok := rr.(*dns.TLSA)
		if !ok {
			return TLSA{}, false
		}
		data, err := hex.DecodeString(t.Certificate)
		return TLSA{t.Usage, t.Selector, t.MatchingType, data}, err == nil
	})
}

// resolutionDelay is how long the other family's answer is waited for once one has
// brought addresses (RFC 8305 3).
const resolutionDelay = 50 * time.Millisecond

// Addrs looks up IPv4 and IPv6 addresses at once, IPv6 first. Trouble with one family
// does not hide the other's addresses. An address literal is its own. Without any the outcome is ErrTemporary if
// either family's was, so that no host is called addressless on half an answer.
func (r *Resolver) Addrs(ctx context.Context, name string) (Result[netip.Addr], error) {
	return r.families(ctx, name, -1)
}

// DialAddrs is Addrs for who wants to connect: once one family has brought addresses, the
// other is given 50 ms more. What comes later is kept in the cache, and Addrs tells of it; until
// then the result is Partial.
func (r *Resolver) DialAddrs(ctx context.Context, name string) (Result[netip.Addr], error) {
	return r.families(ctx, name, resolutionDelay)
}

func (r *Resolver) families(ctx context.Context, name string, patience time.Duration) (Result[netip.Addr], error) {
	if a, ok := names.Literal(name); ok {
		return Result[netip.Addr]{Records: []netip.Addr{a}, Name: name, TTL: time.Hour}, nil
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761 6.3
		loopback := []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		return Result[netip.Addr]{Records: loopback, Name: name, TTL: time.Hour}, nil
	}
	return twoFamilies(func() (Result[netip.Addr], error) { return r.A(ctx, name) },
		func() (Result[netip.Addr], error) { return r.AAAA(ctx, name) }, patience)
}

// twoFamilies asks both at once and joins their answers. Once one has brought addresses, the other has
// patience more; a negative one is without end. An answer that comes too late is dropped.
func twoFamilies(a, aaaa func() (Result[netip.Addr], error), patience time.Duration) (Result[netip.Addr], error) {
	type reply struct {
		res Result[netip.Addr]
		err error
	}
	ask := func(question func() (Result[netip.Addr], error)) <-chan reply {
		c := make(chan reply, 1)
		go func() {
			res, err := question()
			c <- reply{res, err}
		}()
		return c
	}
	fours, sixes := ask(a), ask(aaaa)
	var four, six reply
	var enough <-chan time.Time
	for fours != nil || sixes != nil {
		var got reply
		select {
		case four = <-fours:
			got, fours = four, nil
		case six = <-sixes:
			got, sixes = six, nil
		case <-enough:
			res := four.res // of the one that came, the other is empty
			if fours != nil {
				res = six.res
			}
			res.Partial = true
			return res, nil
		}
		if got.err == nil && patience >= 0 && enough == nil {
			enough = time.After(patience)
		}
	}
	switch {
	case four.err == nil && six.err == nil:
		four.res.Records = append(append([]netip.Addr{}, six.res.Records...), four.res.Records...)
		four.res.Secure = four.res.Secure && six.res.Secure
		four.res.TTL = min(four.res.TTL, six.res.TTL)
		return four.res, nil
	case four.err == nil:
		return four.res, nil
	case six.err == nil:
		return six.res, nil
	case errors.Is(six.err, ErrTemporary):
		return Result[netip.Addr]{}, six.err
	}
	return Result[netip.Addr]{}, four.err
}

// pick asks and turns the answer's records into values.
func pick[T any](r *Resolver, ctx context.Context, name string, qtype uint16, value func(dns.RR) (T, bool)) (Result[T], error) {
	a, err := r.lookup(ctx, name, qtype)
	if err != nil {
		return Result[T]{}, err
	}
	res := Result[T]{Name: a.name, Secure: a.secure, TTL: max(0, a.expires.Sub(r.now()))}
	for _, rr := range a.rrs {
		if v, ok := value(rr); ok {
			res.Records = append(res.Records, v)
		}
	}
	if len(res.Records) == 0 {
		return res, &DNSError{name, dns.TypeToString[qtype], ErrNoData, "no usable record"}
	}
	return res, nil
}

// unescape undoes package dns's presentation form of a character-string: \DDD and \X.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			if n := 0; i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]) {
				n = int(s[i+1]-'0')*100 + int(s[i+2]-'0')*10 + int(s[i+3]-'0')
				c, i = byte(n), i+3
			} else {
				i++
				c = s[i]
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// answer is what the servers said about one question, with records or with an error.
type answer struct {
	rrs     []dns.RR
	name    string
	secure  bool
	expires time.Time
	err     error
	size    int64 // about the bytes of memory that rrs take
}

// recordCost is what a record takes in memory besides its bytes, about.
const recordCost = 128

// collect follows the CNAMEs inside one message from name and takes the records of
// the asked type at the chain's end. next is set when the chain leaves the message.
func collect(m *dns.Msg, name string, qtype uint16) (rrs []dns.RR, end, next string, ttl uint32, err error) {
	end, ttl = name, 1<<31
	for range maxChain + 1 {
		alias := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !sameName(h.Name, end) {
				continue
			}
			switch {
			case h.Rrtype == qtype:
				if len(rrs) < maxRecords {
					rrs = append(rrs, rr)
				}
				ttl = min(ttl, h.Ttl)
			case h.Rrtype == dns.TypeCNAME && alias == "":
				alias = rr.(*dns.CNAME).Target
				ttl = min(ttl, h.Ttl)
			}
		}
		switch {
		case len(rrs) > 0:
			return rrs, end, "", ttl, nil
		case alias == "" && end != name:
			return nil, end, end, ttl, nil
		case alias == "":
			return nil, end, "", ttl, nil
		}
		target, err := names.Domain(strings.TrimSuffix(alias, "."))
		if err != nil {
			return nil, end, "", ttl, fmt.Errorf("alias to %q: %w", alias, err)
		}
		end = target
	}
	return nil, end, "", ttl, errors.New("too many aliases")
}

// sameName compares a name of a message with one in key form.
func sameName(wire, key string) bool {
	return strings.EqualFold(strings.TrimSuffix(wire, "."), key)
}
