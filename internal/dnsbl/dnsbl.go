// Package dnsbl asks DNS lists about addresses: lists of senders of spam, and lists of good senders
// (RFC 5782; rblsmtpd of ucspi-tcp, qmail reference 22.3).
//
// Its rule: trouble with a list lets the client in, unless the operator wants it otherwise, and an answer
// that says that our question was refused (127.255.255.0/24) is no listing.
package dnsbl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/reason"
	"github.com/postilion/postilion/internal/smtp"
)

// Options say which lists are asked. Without lists nothing is.
type Options struct {
	Lists []string `toml:"lists" doc:"DNS lists in the order in which they count, as NAME with the words allow (a list of good senders: its listing ends the search), lookup=txt or lookup=a, codes=127.0.0.2,127.0.0.4-127.0.0.7 (only these answers count), weight=N, text=WORDS_WITH_UNDERSCORES; without lookup both are asked and A decides" example:"[\"list.dnswl.example allow\", \"zen.example codes=127.0.0.2-127.0.0.11\", \"bl.example weight=2 lookup=txt\"]"`
	// Weight at which a client is refused.
	Threshold  int           `toml:"threshold" default:"1" doc:"sum of the weights of its listings from which on a client is refused" example:"3"`
	Permanent  bool          `toml:"permanent" default:"false" doc:"refuse with 553 (rblsmtpd -b), not with 451 (-B)" example:"true"`
	FailClosed bool          `toml:"fail_closed" default:"false" doc:"where a list gives no answer, refuse for now with 451 (rblsmtpd -c), not take the mail (-C)" example:"true"`
	Timeout    time.Duration `toml:"timeout" default:"5s" doc:"how long RCPT waits for the lists, counted from the connection's begin" example:"10s"`
}

// Resolver is what is asked of DNS; *netx.Resolver is one, whose cache keeps what the lists say.
type Resolver interface {
	A(ctx context.Context, name string) (netx.Result[netip.Addr], error)
	TXT(ctx context.Context, name string) (netx.Result[string], error)
}

// list is one entry of Options.Lists.
type list struct {
	name     string
	allow    bool
	a, txt   bool
	weight   int
	codes    []codeRange // empty: any of 127.0.0.0/8
	text     string
	silenced sync.Once // the warning about refused questions
}

type codeRange struct{ from, to netip.Addr }

// Lists are compiled Options. It is safe for concurrent use.
type Lists struct {
	o     Options
	dns   Resolver
	warn  func(error)
	lists []*list
}

// New compiles options. dns may be nil to check them. warn is told once of each list that refuses
// our questions; nil forgets. The error names every wrong entry.
func New(o Options, dns Resolver, warn func(error)) (*Lists, error) {
	l := &Lists{o: o, dns: dns, warn: warn}
	l.o.Threshold = cmp.Or(l.o.Threshold, 1)
	l.o.Timeout = cmp.Or(l.o.Timeout, 5*time.Second)
	var errs []error
	if l.o.Threshold < 0 || l.o.Timeout < 0 {
		errs = append(errs, errors.New("threshold, timeout: want nothing negative"))
	}
	for i, line := range o.Lists {
		x, err := parseList(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("lists[%d] %q: %w", i, line, err))
			continue
		}
		l.lists = append(l.lists, x)
	}
	return l, errors.Join(errs...)
}

func parseList(line string) (*list, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, errors.New("want the name of a list")
	}
	name, err := names.Domain(strings.TrimSuffix(words[0], "."))
	if err != nil {
		return nil, err
	}
	l := &list{name: name, a: true, txt: true, weight: 1}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "allow":
			l.allow = true
		case "lookup":
			l.a, l.txt = value == "a", value == "txt"
			if !l.a && !l.txt {
				return nil, fmt.Errorf("%q: want lookup=a or lookup=txt", w)
			}
		case "weight":
			if l.weight, err = strconv.Atoi(value); err != nil || l.weight < 0 || l.weight > 1000 {
				return nil, fmt.Errorf("%q: want a weight from 0 to 1000", w)
			}
		case "codes":
			if l.codes, err = parseCodes(value); err != nil {
				return nil, err
			}
		case "text":
			l.text = smtp.Text(strings.ReplaceAll(value, "_", " "), 200)
		default:
			return nil, fmt.Errorf("%q: want allow, lookup=, codes=, weight= or text=", w)
		}
	}
	if len(l.codes) > 0 && !l.a {
		return nil, errors.New("codes are of A records: they contradict lookup=txt")
	}
	return l, nil
}

func parseCodes(s string) (codes []codeRange, err error) {
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		a, err1 := netip.ParseAddr(from)
		b, err2 := netip.ParseAddr(to)
		if err1 != nil || err2 != nil || !a.Is4() || !b.Is4() || b.Less(a) || a.As4()[0] != 127 {
			return nil, fmt.Errorf("codes %q: want addresses such as 127.0.0.2 or 127.0.0.4-127.0.0.7", part)
		}
		codes = append(codes, codeRange{a, b})
	}
	return codes, nil
}

// Names tells which lists there are.
func (l *Lists) Names() (names []string) {
	if l == nil {
		return nil
	}
	for _, x := range l.lists {
		names = append(names, x.name)
	}
	return names
}

// Timeout is how long a caller should wait for Check.
func (l *Lists) Timeout() time.Duration { return l.o.Timeout }

// answer is what one list says of an address.
type answer struct {
	listed  bool
	trouble bool
	text    string
}

// Check asks all lists at once and returns why the address is refused, or nil. It ends with ctx at
// the latest; lists that have not answered by then are in trouble.
func (l *Lists) Check(ctx context.Context, client netip.Addr) *reason.Error {
	client = client.Unmap().WithZone("")
	if l == nil || len(l.lists) == 0 || !client.IsValid() || client.IsLoopback() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.Timeout)
	defer cancel()
	answers := make([]answer, len(l.lists))
	var wg sync.WaitGroup
	for i, x := range l.lists {
		wg.Go(func() { answers[i] = l.ask(ctx, x, Query(client, x.name)) })
	}
	wg.Wait()
	return l.judge(client, answers)
}

// judge goes through the answers in the lists' order, as rblsmtpd does.
func (l *Lists) judge(client netip.Addr, answers []answer) *reason.Error {
	sum := 0
	for i, x := range l.lists {
		a := answers[i]
		switch {
		case a.trouble && l.o.FailClosed && !x.allow:
			return reason.ListsSilent.With(x.name)
		case x.allow && (a.listed || a.trouble && !l.o.FailClosed):
			// rblsmtpd -C: a good sender is not refused for a name server's sake.
			return nil
		case x.allow || !a.listed:
			continue
		}
		if sum += x.weight; sum < l.o.Threshold {
			continue
		}
		text := a.text
		if x.text != "" {
			text = x.text
		}
		text = cmp.Or(text, "listed")
		e := reason.ClientListed.With(client.String(), x.name, text)
		if l.o.Permanent {
			e.Class, e.Code, e.Enhanced = reason.Permanent, 553, "5.7.1"
		}
		return e
	}
	return nil
}

// ask asks one list.
func (l *Lists) ask(ctx context.Context, x *list, name string) (a answer) {
	if x.a {
		res, err := l.dns.A(ctx, name)
		switch {
		case errors.Is(err, netx.ErrNoName), errors.Is(err, netx.ErrNoData):
			return a
		case err != nil:
			return answer{trouble: true}
		}
		refused := false
		for _, r := range res.Records {
			b := r.As4()
			switch {
			case b[0] == 127 && b[1] == 255 && b[2] == 255:
				refused = true
			case b[0] == 127 && x.counts(r):
				a.listed = true
			}
		}
		if !a.listed {
			if refused {
				l.refused(x)
			}
			return a
		}
	}
	if x.txt {
		res, err := l.dns.TXT(ctx, name)
		switch {
		case err == nil:
			a.listed, a.text = true, smtp.Text(res.Records[0], 200)
		case !x.a && !errors.Is(err, netx.ErrNoName) && !errors.Is(err, netx.ErrNoData):
			a.trouble = true
		}
	}
	return a
}

func (x *list) counts(a netip.Addr) bool {
	for _, c := range x.codes {
		if !a.Less(c.from) && !c.to.Less(a) {
			return true
		}
	}
	return len(x.codes) == 0
}

// refused tells once that a list does not answer the name server that we ask.
func (l *Lists) refused(x *list) {
	x.silenced.Do(func() {
		if l.warn != nil {
			l.warn(fmt.Errorf("DNS list %s answers 127.255.255.x: it refuses questions from this name server, usually a public one; it counts as no answer. Ask it through a name server of your own (dns.server)", x.name))
		}
	})
}

// Query is the name under which a list has an address: its octets or nibbles backwards before the
// list's name (RFC 5782 2.1, 2.4).
func Query(a netip.Addr, list string) string {
	var b strings.Builder
	if a.Is4() {
		p := a.As4()
		fmt.Fprintf(&b, "%d.%d.%d.%d.", p[3], p[2], p[1], p[0])
	} else {
		p := a.As16()
		const hex = "0123456789abcdef"
		for i := 15; i >= 0; i-- {
			b.Write([]byte{hex[p[i]&15], '.', hex[p[i]>>4], '.'})
		}
	}
	return b.String() + list
}
