package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/netx/nettest"
)

// TestPublishedTLSIsKept has one server send to another, whose domains publish by DANE and by MTA-STS which certificates are
// right: mail goes where they are, and waits with the reason where they are not.
func TestPublishedTLSIsKept(t *testing.T) {
	t.Parallel()
	needRoot(t) // the policies' web server has port 443
	there := newServer(t, setup{single: true, config: map[string]string{"host": `"mx.dest.test"`}})
	domains := []string{"dane.test", "dane-wrong.test", "sts.test", "sts-wrong.test", "sts-testing.test", "none.test"}
	for _, d := range domains {
		there.Must("domain", "add", d)
		there.addAccount("ann@" + d)
	}
	text, err := os.ReadFile(there.cert())
	check(t, err)
	block, _ := pem.Decode(text)
	shown, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	right := fmt.Sprintf("%x", sha256.Sum256(shown.RawSubjectPublicKeyInfo))
	port := there.port("smtp")
	web, authority := policyServer(t, map[string]string{
		"sts.test":         "version: STSv1\nmode: enforce\nmx: mx.dest.test\nmax_age: 86400\n",
		"sts-wrong.test":   "version: STSv1\nmode: enforce\nmx: mx.other.test\nmax_age: 86400\n",
		"sts-testing.test": "version: STSv1\nmode: testing\nmx: mx.other.test\nmax_age: 86400\n",
	})
	zone := nettest.Zone{
		"mx.dest.test":  {"A 127.0.0.1"},
		"mx1.dane.test": {"A 127.0.0.1", "ANY !AD"}, "mx2.dane.test": {"A 127.0.0.1", "ANY !AD"},
		"_" + port + "._tcp.mx1.dane.test": {"TLSA 3 1 1 " + right, "ANY !AD"},
		"_" + port + "._tcp.mx2.dane.test": {"TLSA 3 1 1 " + strings.Repeat("0", 64), "ANY !AD"},
		"dane.test":                        {"MX 10 mx1.dane.test.", "ANY !AD"},
		"dane-wrong.test":                  {"MX 10 mx2.dane.test.", "ANY !AD"},
		"none.test":                        {"MX 10 mx.dest.test."},
	}
	for _, d := range domains {
		if strings.HasPrefix(d, "sts") {
			zone[d] = []string{"MX 10 mx.dest.test."}
			zone["_mta-sts."+d] = []string{`TXT "v=STSv1; id=1;"`}
			zone["mta-sts."+d] = []string{"A " + web}
		}
	}
	// There its own certificate is an authority: who trusts it trusts it.
	trusted := filepath.Join(newFolder(t), "ca.pem")
	check(t, os.WriteFile(trusted, append(text, authority...), 0o644), os.Chmod(trusted, 0o644))
	here := newServer(t, setup{config: map[string]string{
		"host": `"out.example.test"`, "dns.server": strconv.Quote(nettest.NewDNS(t, zone).Addr), "remote.port": port, "remote.ca_file": strconv.Quote(trusted),
	}})
	for _, d := range domains {
		check(t, here.submit("ann@"+d, []byte("Subject: to "+d+"\r\n\r\nx\r\n")))
	}
	reasons := map[string]string{"ann@dane-wrong.test": "dane-failed", "ann@sts-wrong.test": "mta-sts-failed"}
	eventually(t, "all are sent but those with a wrong certificate", func() bool {
		waiting := map[string]string{}
		for _, m := range here.queue() {
			for _, r := range m.Recipients {
				waiting[r.To] = r.Reason
			}
		}
		return fmt.Sprint(waiting) == fmt.Sprint(reasons)
	})
	for to, how := range map[string]string{"ann@dane.test": " verified DANE", "ann@sts.test": " verified MTA-STS", "ann@sts-testing.test": " unverified", "ann@none.test": " unverified"} {
		eventually(t, "the log tells of "+to+how, func() bool {
			for line := range strings.Lines(here.Log.String()) {
				if strings.Contains(line, "msg=delivered") && strings.Contains(line, "to="+to+" ") && strings.Contains(line, how+`"`) {
					return true
				}
			}
			return false
		})
	}
	kept, err := os.ReadDir(filepath.Join(here.Data, "mta-sts"))
	check(t, err)
	if len(kept) != 3 {
		t.Errorf("%d policies are kept, want 3: %v", len(kept), kept)
	}
}

// policyServer serves MTA-STS policies by domain at port 443 of the loopback address that it returns, with the certificate of its authority in PEM.
func policyServer(t testing.TB, policies map[string]string) (address string, authority []byte) {
	t.Helper()
	var l net.Listener
	err := error(nil)
	for i := range 250 { // another test run may have one
		address = fmt.Sprintf("127.%d.%d.1", 80+os.Getpid()%100, i)
		if l, err = net.Listen("tcp", address+":443"); err == nil {
			break
		}
	}
	check(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	for d := range policies {
		template.DNSNames = append(template.DNSNames, "mta-sts."+d)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, policies[strings.TrimPrefix(r.Host, "mta-sts.")])
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	go s.ServeTLS(l, "", "")
	t.Cleanup(func() { s.Close() })
	return address, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
