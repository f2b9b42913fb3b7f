package mtasts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/postilion/postilion/internal/netx"
)

// newFetcher returns what fetches policies. Its certificates are checked, and no redirection is
// followed (RFC 8461 3.3).
func newFetcher(deps Deps) *http.Client {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		found, err := deps.Resolver.Addrs(ctx, host)
		if err != nil {
			return nil, err
		}
		to := make([]netip.AddrPort, 0, maxAddresses)
		for _, a := range found.Records[:min(len(found.Records), maxAddresses)] {
			to = append(to, netip.AddrPortFrom(a, uint16(n)))
		}
		conn, _, failures, err := netx.HappyEyeballs(ctx, to, deps.Dial)
		if conn == nil {
			errs := []error{err}
			for _, f := range failures {
				errs = append(errs, f.Err)
			}
			return nil, errors.Join(errs...)
		}
		return conn, nil
	}
	return &http.Client{
		Timeout: fetchTime,
		Transport: &http.Transport{
			DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10,
			TLSClientConfig: &tls.Config{RootCAs: deps.Roots, MinVersion: tls.VersionTLS12, Time: deps.Clock.Now},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxAddresses is how many of the web server's addresses are tried.
const maxAddresses = 8

// fetch gets a domain's policy.
func (c *Cache) fetch(ctx context.Context, domain string) (Policy, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return Policy{}, err
	}
	request.Header.Set("User-Agent", "postilion")
	r, err := c.web.Do(request)
	if err != nil {
		return Policy{}, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("%s answers %d, want 200", request.URL, r.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "text/plain" {
		return Policy{}, fmt.Errorf("%s is of type %q, want text/plain", request.URL, clip(r.Header.Get("Content-Type")))
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, maxPolicy+1))
	if err != nil {
		return Policy{}, err
	}
	p, err := Parse(string(text))
	if err != nil {
		return Policy{}, fmt.Errorf("%s: %w", request.URL, err)
	}
	return p, nil
}
