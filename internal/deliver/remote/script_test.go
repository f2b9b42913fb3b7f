package remote

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postilion/postilion/internal/deliver"
	"github.com/postilion/postilion/internal/mail"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/netx/names"
	"github.com/postilion/postilion/internal/netx/nettest"
	"github.com/postilion/postilion/internal/route"
)

// Each file of testdata is a delivery: its DNS zone, its message, the dialogue on each
// connection, and the verdicts.
//
//	dns NAME RECORD        a line of the zone; KEY256 and CERT256 stand for digests of the test servers' certificate
//	policy LINE            of the MTA-STS policy that the web server of dest.test has, which is asked once at most
//	web WORDS              what it answers else: status=N type=T
//	from, to ADDRESS       the envelope; after to: notify=N orcpt=TEXT from=REVERSE-PATH
//	env WORDS              eight utf8 requiretls envid=X ret=FULL|HDRS size=N
//	hop WORDS              host=H port=N mx tls=POLICY user=U password=P
//	set WORDS              no_chunking no_pipelining max_recipients=N max_messages=N trust no_dane no_mta_sts mxps
//	body TEXT              one line of content
//	times N                the message is delivered N times; the verdicts are the last one's
//	once                   no connection is made but those with a dialogue
//	timeout ADDRESS        connections to it time out; others without a dialogue are refused
//	connect ADDRESS        begins the dialogue on the next connection to it:
//	S LINE, C LINE         the server says, the client must say
//	TLS                    the server's side of a handshake
//	CLOSE, HANG            the server closes; waits until the client does
//	certificate other      the SMTP servers show one that nobody knows, for mx.dest.test too
//	says TEXT              a part of what each recipient's verdict says
//	tls TEXT               how it says that the session was protected, at the end
//	verdict ADDRESS TEXT   begins with "delivered", or class, code, enhanced code, reason
//
// After its dialogue the server lets the client say QUIT and close, nothing else.
type script struct {
	zone     nettest.Zone
	job      deliver.Job
	next     route.NextHop
	options  Options
	trust    bool
	body     strings.Builder
	times    int
	dead     map[string]bool
	policy   strings.Builder
	status   int
	kind     string
	dialogue map[string][][]string // by address, a list of connections
	verdicts []string
	says     string
	tls      string
	once     bool
	stranger bool // shows the certificate
}

func readScript(t *testing.T, file string) *script {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sc := &script{zone: nettest.Zone{}, times: 1, dead: map[string]bool{}, dialogue: map[string][][]string{}, status: http.StatusOK, kind: "text/plain"}
	digests := strings.NewReplacer("KEY256", keyDigest(), "CERT256", fmt.Sprintf("%x", sha256.Sum256(certificate().Certificate[0])))
	sc.job.Envelope = &mail.Envelope{}
	var open *[]string
	for n, line := range strings.Split(string(text), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
		case "dns":
			name, record, _ := strings.Cut(rest, " ")
			sc.zone[name] = append(sc.zone[name], digests.Replace(record))
		case "policy":
			sc.policy.WriteString(rest + "\r\n")
		case "from":
			sc.job.Envelope.From = mail.ParseAddress(rest)
		case "to":
			sc.to(rest)
		case "env", "hop", "set", "web":
			for f := range strings.FieldsSeq(rest) {
				key, value, _ := strings.Cut(f, "=")
				if !sc.word(t, word, key, value) {
					t.Fatalf("%s:%d: unknown word %q", file, n+1, f)
				}
			}
		case "body":
			sc.body.WriteString(rest + "\n")
		case "times":
			sc.times, _ = strconv.Atoi(rest)
		case "timeout":
			sc.dead[rest] = true
		case "connect":
			sc.dialogue[rest] = append(sc.dialogue[rest], nil)
			open = &sc.dialogue[rest][len(sc.dialogue[rest])-1]
		case "S", "C", "TLS", "CLOSE", "HANG":
			*open = append(*open, line)
		case "once":
			sc.once = true
		case "certificate":
			sc.stranger = true
		case "tls":
			sc.tls = rest
		case "says":
			sc.says = rest
		case "verdict":
			sc.verdicts = append(sc.verdicts, rest)
		default:
			t.Fatalf("%s:%d: unknown word %q", file, n+1, word)
		}
	}
	for i := range sc.job.Recipients {
		if r := &sc.job.Recipients[i]; r.From.IsZero() {
			r.From = sc.job.Envelope.From
		}
	}
	if sc.next.Domain == "" {
		sc.next.Domain, _ = names.Domain(sc.job.Recipients[0].To.Domain)
		if sc.next.Domain == "" {
			sc.next.Domain = sc.job.Recipients[0].To.Domain
		}
	}
	sc.job.Next = &sc.next
	return sc
}

func (sc *script) to(rest string) {
	fields := strings.Fields(rest)
	a := mail.ParseAddress(fields[0])
	n := len(sc.job.Recipients)
	r := deliver.Recipient{N: n, To: a, Final: a}
	for _, f := range fields[1:] {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "notify":
			bits, _ := strconv.Atoi(value)
			r.Notify = mail.Notify(bits)
		case "orcpt":
			r.ORcpt = value
		case "from":
			r.From = mail.ParseAddress(value)
		}
	}
	sc.job.Recipients = append(sc.job.Recipients, r)
}

func (sc *script) word(t *testing.T, kind, key, value string) bool {
	env := sc.job.Envelope
	n, _ := strconv.Atoi(value)
	switch kind + " " + key {
	case "env eight":
		env.Eight = true
	case "env utf8":
		env.UTF8 = true
	case "env requiretls":
		env.TLSOnly = true
	case "env envid":
		env.EnvID = value
	case "env ret":
		env.Ret = map[string]mail.Ret{"FULL": mail.RetFull, "HDRS": mail.RetHeaders}[value]
	case "env size":
		env.CRLFSize = int64(n)
	case "hop host":
		sc.next.Host = value
	case "hop port":
		sc.next.Port = n
	case "hop mx":
		sc.next.MX = true
	case "hop tls":
		p, err := route.ParseTLSPolicy(value)
		if err != nil {
			t.Fatal(err)
		}
		sc.next.TLS = p
	case "hop user":
		sc.next.User = value
	case "hop password":
		sc.next.Password = value
	case "set no_chunking":
		sc.options.NoChunking = true
	case "set no_pipelining":
		sc.options.NoPipelining = true
	case "set max_recipients":
		sc.options.MaxRecipients = n
	case "set max_messages":
		sc.options.MaxMessages = n
	case "web status":
		sc.status = n
	case "web type":
		sc.kind = value
	case "set no_dane":
		sc.options.NoDANE = true
	case "set no_mta_sts":
		sc.options.NoMTASTS = true
	case "set mxps":
		sc.options.MXPS = true
	case "set trust":
		sc.trust = true
	default:
		return false
	}
	return true
}

// certificate is the test servers' one, for mx.dest.test, the web server of dest.test, and 192.0.2.1.
var certificate = sync.OnceValue(newCertificate)

func newCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.dest.test"}, DNSNames: []string{"mx.dest.test", "mta-sts.dest.test"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func keyDigest() string {
	c, err := x509.ParseCertificate(certificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

func caFile(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate().Certificate[0]})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// servers plays the dialogues of a script.
type servers struct {
	t  *testing.T
	sc *script
	wg sync.WaitGroup

	mu      sync.Mutex
	fetched int // of the policy
	left    map[string][][]string
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func (v *servers) dial(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	address := to.Addr().String()
	if v.sc.dead[address] {
		return nil, &net.OpError{Op: "dial", Err: timeoutError{}}
	}
	play, ok := v.next(to)
	if !ok {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	server, err := l.Accept()
	if err != nil {
		return nil, err
	}
	v.wg.Go(func() { play(server) })
	return client, nil
}

// next returns what happens on the next connection to an address; false where it is refused.
func (v *servers) next(to netip.AddrPort) (play func(net.Conn), ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if to.Port() == 443 {
		if v.fetched++; v.fetched > 1 {
			v.t.Error("the policy is fetched again")
		}
		return v.serveWeb, v.sc.policy.Len() > 0
	}
	address := to.Addr().String()
	list := v.left[address]
	if len(list) == 0 {
		if v.sc.once {
			v.t.Errorf("one more connection to %s", address)
		}
		return nil, false
	}
	v.left[address] = list[1:]
	return func(c net.Conn) { v.play(c, address, list[0]) }, true
}

// serveWeb answers one request for the policy.
func (v *servers) serveWeb(c net.Conn) {
	defer c.Close()
	s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	r, err := http.ReadRequest(bufio.NewReader(s))
	if err != nil {
		return // it does not trust the certificate
	}
	if r.Host != "mta-sts.dest.test" || r.URL.Path != "/.well-known/mta-sts.txt" {
		v.t.Errorf("asked for %s of %s", r.URL, r.Host)
	}
	text := v.sc.policy.String()
	fmt.Fprintf(s, "HTTP/1.1 %d X\r\nContent-Type: %s\r\nLocation: https://elsewhere.test/\r\nContent-Length: %d\r\n\r\n%s", v.sc.status, v.sc.kind, len(text), text)
}

func (v *servers) play(c net.Conn, address string, lines []string) {
	defer func() { c.Close() }()
	c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	says := ""
	for n, l := range lines {
		word, rest, _ := strings.Cut(l, " ")
		if word != "S" && says != "" {
			fmt.Fprint(c, says) // lines in a row leave in one segment
			says = ""
		}
		switch word {
		case "S":
			says += rest + "\r\n"
		case "C":
			got, err := in.ReadString('\n')
			if got != rest+"\r\n" {
				v.t.Errorf("%s, line %d: client says %q, %v; want %q", address, n+1, got, err, rest)
				return
			}
		case "TLS":
			shown := certificate()
			if v.sc.stranger {
				shown = newCertificate()
			}
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{shown}})
			if err := s.Handshake(); err != nil {
				return // the client's verdict tells whether that was right
			}
			c, in = s, bufio.NewReader(s)
		case "CLOSE":
			return
		case "HANG":
			_, _ = io.Copy(io.Discard, in)
			return
		}
	}
	fmt.Fprint(c, says)
	if rest, _ := io.ReadAll(in); len(rest) > 0 && string(rest) != "QUIT\r\n" {
		v.t.Errorf("%s: after the dialogue the client says %q", address, rest)
	}
}

// run plays a script and returns the verdicts of the last delivery.
func (sc *script) run(t *testing.T) []deliver.Verdict {
	t.Helper()
	dns := nettest.NewDNS(t, sc.zone)
	resolver, err := netx.NewResolver(netx.Options{Server: dns.Addr, Timeout: time.Minute, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	v := &servers{t: t, sc: sc, left: sc.dialogue}
	sc.options.Host = "here.test"
	if sc.trust {
		sc.options.CAFile = caFile(t)
	}
	own := func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("192.0.2.99") }
	target, err := New(sc.options, Deps{Resolver: resolver, Dial: v.dial, Own: own})
	if err != nil {
		t.Fatal(err)
	}
	sc.job.Body = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(sc.body.String())), nil }
	var verdicts []deliver.Verdict
	for range sc.times {
		verdicts = target.Deliver(t.Context(), &sc.job)
	}
	target.Close()
	v.wg.Wait()
	for address, list := range v.left {
		if len(list) > 0 {
			t.Errorf("%s: %d dialogues were not used", address, len(list))
		}
	}
	return verdicts
}

func describe(to mail.Address, v deliver.Verdict) string {
	if v.Err == nil {
		text, _, _ := strings.Cut(v.Text, "STARTTLS failed:") // the rest is the system's word for it
		text, _, _ = strings.Cut(text, " (the MTA-STS policy")
		return fmt.Sprintf("%s delivered %s", to, text)
	}
	s := fmt.Sprintf("%s %s %d %s %s", to, v.Err.Class, v.Err.Code, v.Err.Enhanced, v.Err.Reason)
	if v.Err.Remote != "" {
		s += fmt.Sprintf(" %q", v.Err.Remote)
	}
	return s
}

func TestDialogues(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			sc := readScript(t, file)
			verdicts := sc.run(t)
			var got []string
			for i, v := range verdicts {
				got = append(got, describe(sc.job.Recipients[i].To, v))
				if !strings.Contains(v.Text, sc.says) {
					t.Errorf("the verdict says %q; want %q in it", v.Text, sc.says)
				}
				if !strings.HasSuffix(v.TLS, sc.tls) {
					t.Errorf("the session was protected by %q; want %q", v.TLS, sc.tls)
				}
				if v.Err != nil && (v.Text == "" || len(v.Transcript) > maxRemote) {
					t.Errorf("verdict without a text or with too long a transcript: %+v", v)
				}
			}
			if diff := cmp.Diff(sc.verdicts, got); diff != "" {
				t.Error(diff)
				for _, v := range verdicts {
					if v.Err != nil {
						t.Logf("cause %v\n%s", errors.Unwrap(v.Err), v.Transcript)
					}
				}
			}
		})
	}
}
