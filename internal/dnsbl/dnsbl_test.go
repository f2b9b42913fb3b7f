package dnsbl

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postilion/postilion/internal/netx"
)

// zone answers A and TXT; "hang" waits for the context, "fail" fails for now.
type zone map[string]string

func (z zone) find(ctx context.Context, key string) (string, error) {
	switch v, ok := z[key]; {
	case !ok:
		return "", &netx.DNSError{Name: key, Outcome: netx.ErrNoName}
	case v == "hang":
		<-ctx.Done()
		fallthrough
	case v == "fail":
		return "", &netx.DNSError{Name: key, Outcome: netx.ErrTemporary}
	default:
		return v, nil
	}
}

func (z zone) A(ctx context.Context, name string) (r netx.Result[netip.Addr], err error) {
	v, err := z.find(ctx, "A "+name)
	if err != nil {
		return r, err
	}
	for s := range strings.FieldsSeq(v) {
		r.Records = append(r.Records, netip.MustParseAddr(s))
	}
	return r, nil
}

func (z zone) TXT(ctx context.Context, name string) (r netx.Result[string], err error) {
	v, err := z.find(ctx, "TXT "+name)
	if err == nil {
		r.Records = []string{v}
	}
	return r, err
}

// Vector 44 of the qmail reference is here as far as it is about codes: 451 unless asked for 553.
func TestListsDecide(t *testing.T) {
	t.Parallel()
	const q = "7.2.0.192."
	z := zone{
		"A " + q + "bl.example": "127.0.0.2", "TXT " + q + "bl.example": "spam\r\nsource", "A " + q + "codes.example": "127.0.0.5",
		"TXT " + q + "txt.example": "only text", "A " + q + "good.example": "127.0.9.1", "A " + q + "refusing.example": "127.255.255.254",
		"A " + q + "both.example": "127.255.255.254 127.0.0.4", "A " + q + "down.example": "fail", "A " + q + "strange.example": "192.0.2.1",
		"A 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example": "127.0.0.2",
	}
	for _, c := range []struct {
		name   string
		o      Options
		client string
		want   string // "" or code, enhanced code, text
	}{
		{"no lists", Options{}, "192.0.2.7", ""},
		{"listed, text told", Options{Lists: []string{"bl.example"}}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by bl.example: spam??source"},
		{"-b", Options{Lists: []string{"bl.example"}, Permanent: true}, "::ffff:192.0.2.7", "553 5.7.1 your address 192.0.2.7 is listed by bl.example: spam??source"},
		{"not listed", Options{Lists: []string{"bl.example"}}, "192.0.2.8", ""},
		{"IPv6", Options{Lists: []string{"bl.example"}}, "2001:db8::1", "451 4.7.1 your address 2001:db8::1 is listed by bl.example: listed"},
		{"TXT alone", Options{Lists: []string{"txt.example lookup=txt"}}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by txt.example: only text"},
		{"TXT alone, A would be needed", Options{Lists: []string{"txt.example"}}, "192.0.2.7", ""},
		{"own text", Options{Lists: []string{"bl.example lookup=a text=go_away"}}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by bl.example: go away"},
		{"a code that counts", Options{Lists: []string{"codes.example codes=127.0.0.4-127.0.0.7"}}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by codes.example: listed"},
		{"a code that does not", Options{Lists: []string{"codes.example codes=127.0.0.2,127.0.0.9"}}, "192.0.2.7", ""},
		{"weights too small", Options{Lists: []string{"bl.example weight=2", "codes.example"}, Threshold: 4}, "192.0.2.7", ""},
		{"weights together", Options{Lists: []string{"bl.example weight=2", "codes.example"}, Threshold: 3}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by codes.example: listed"},
		{"-a before -r", Options{Lists: []string{"good.example allow", "bl.example"}}, "192.0.2.7", ""},
		{"-r before -a", Options{Lists: []string{"bl.example", "good.example allow"}}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by bl.example: spam??source"},
		{"refused questions are no listing", Options{Lists: []string{"refusing.example"}}, "192.0.2.7", ""},
		{"refused and listed", Options{Lists: []string{"both.example"}}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by both.example: listed"},
		{"an answer outside of 127", Options{Lists: []string{"strange.example"}}, "192.0.2.7", ""},
		{"-C: trouble lets in", Options{Lists: []string{"down.example"}}, "192.0.2.7", ""},
		{"-C: trouble with a good list counts as good", Options{Lists: []string{"down.example allow", "bl.example"}}, "192.0.2.7", ""},
		{"-c: trouble refuses for now, even with -b", Options{Lists: []string{"down.example"}, FailClosed: true, Permanent: true}, "192.0.2.7", "451 4.7.1 temporary RBL lookup error: down.example"},
		{"-c: trouble with a good list is no listing", Options{Lists: []string{"down.example allow", "bl.example"}, FailClosed: true}, "192.0.2.7", "451 4.7.1 your address 192.0.2.7 is listed by bl.example: spam??source"},
		{"loopback is never asked", Options{Lists: []string{"bl.example"}}, "127.0.0.1", ""},
	} {
		l, err := New(c.o, z, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := ""
		if e := l.Check(context.Background(), netip.MustParseAddr(c.client)); e != nil {
			got = strings.Join([]string{map[int]string{451: "451", 553: "553"}[e.Code], e.Enhanced, e.Text(0)}, " ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAListThatRefusesQuestionsIsToldOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	z := zone{"A 7.2.0.192.bl.example": "127.255.255.254", "A 8.2.0.192.bl.example": "127.255.255.255"}
	l, err := New(Options{Lists: []string{"bl.example"}}, z, func(err error) { mu.Lock(); told = append(told, err.Error()); mu.Unlock() })
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.7", "192.0.2.8", "192.0.2.7"} {
		l.Check(context.Background(), netip.MustParseAddr(a))
	}
	if len(told) != 1 || !strings.Contains(told[0], "bl.example answers 127.255.255.x") {
		t.Errorf("told %q", told)
	}
}

func TestAListThatHangsIsWaitedForWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Options{Lists: []string{"slow.example", "bl.example"}, Timeout: 3 * time.Second}, zone{"A 7.2.0.192.slow.example": "hang", "A 7.2.0.192.bl.example": "127.0.0.2"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		e := l.Check(context.Background(), netip.MustParseAddr("192.0.2.7"))
		if e == nil || e.Args[1] != "bl.example" || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", e, time.Since(began))
		}
	})
}

func TestWrongListsAreNamed(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"":                                     "want the name of a list",
		"a..b":                                 `lists[0] "a..b"`,
		"bl.example colour=red":                `"colour=red": want allow, lookup=, codes=, weight= or text=`,
		"bl.example weight=x":                  `"weight=x": want a weight from 0 to 1000`,
		"bl.example lookup=mx":                 `"lookup=mx": want lookup=a or lookup=txt`,
		"bl.example codes=10.0.0.1":            `codes "10.0.0.1": want addresses such as 127.0.0.2 or 127.0.0.4-127.0.0.7`,
		"bl.example codes=127.0.0.2-x":         `codes "127.0.0.2-x"`,
		"b.example lookup=txt codes=127.0.0.2": "contradict",
	} {
		if _, err := New(Options{Lists: []string{entry}}, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", entry, err, want)
		}
	}
}

func FuzzListEntry(f *testing.F) {
	for _, s := range []string{"bl.example", "bl.example allow weight=3 codes=127.0.0.2-127.0.0.9,127.0.0.11", "x lookup=txt text=a_b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := parseList(s); err == nil && (l.name == "" || l.weight < 0 || !l.a && !l.txt) {
			t.Errorf("%q: %+v", s, l)
		}
	})
}
