// Package mtasts knows what other domains say of the mail servers that mail to them may be given to: SMTP
// MTA Strict Transport Security (RFC 8461).
//
// Its rule: a policy that was once fetched counts until it expires, whatever DNS and the web say
// meanwhile, so that nobody who stands between can talk it away; and a domain of which no policy
// was ever had is sent to as if there was none.
package mtasts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/netx/names"
)

// Mode is what a policy wants of hosts that it does not name, or that show no valid certificate.
type Mode string

// The modes (RFC 8461 5).
const (
	Enforce Mode = "enforce" // they get no mail
	Testing Mode = "testing" // they get it: the domain is trying out
	None    Mode = "none"    // there is no policy any more
)

// Bounds on a policy's text (RFC 8461 3.2 and 3.3).
const (
	maxPolicy = 64 << 10 // bytes
	maxHosts  = 64       // lines of mx; what is in use has a handful
	maxAge    = 31557600 * time.Second
)

// Policy is what a domain says.
type Policy struct {
	Mode   Mode
	MX     []string // host names in key form, or "*." and a suffix
	MaxAge time.Duration
}

// Parse reads a policy's text, as the well-known address of its domain has it. Of what stands twice the first
// counts, and what is not known is passed over (RFC 8461 3.2). The error names what is wrong.
func Parse(text string) (Policy, error) {
	var p Policy
	if len(text) > maxPolicy {
		return p, fmt.Errorf("a policy of more than %d bytes", maxPolicy)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return p, fmt.Errorf("%q: want NAME: VALUE", clip(line))
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "mx" {
			host, err := parsePattern(value)
			if err != nil {
				return p, fmt.Errorf("mx %q: %w", clip(value), err)
			}
			if p.MX = append(p.MX, host); len(p.MX) > maxHosts {
				return p, fmt.Errorf("more than %d mx", maxHosts)
			}
			continue
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		switch key {
		case "version":
			if value != "STSv1" {
				return p, fmt.Errorf("version %q: want STSv1", clip(value))
			}
		case "mode":
			if p.Mode = Mode(value); p.Mode != Enforce && p.Mode != Testing && p.Mode != None {
				return p, fmt.Errorf("mode %q: want enforce, testing or none", clip(value))
			}
		case "max_age":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return p, fmt.Errorf("max_age %q: want seconds", clip(value))
			}
			p.MaxAge = min(time.Duration(n)*time.Second, maxAge)
		}
	}
	for _, key := range []string{"version", "mode", "max_age"} {
		if !seen[key] {
			return p, fmt.Errorf("no %s", key)
		}
	}
	if len(p.MX) == 0 && p.Mode != None {
		return p, errors.New("no mx")
	}
	return p, nil
}

// parsePattern reads a host name, whose first label may be a star.
func parsePattern(s string) (string, error) {
	suffix, star := strings.CutPrefix(s, "*.")
	name, err := names.Domain(strings.TrimSuffix(suffix, "."))
	if err == nil && star {
		name = "*." + name
	}
	return name, err
}

// Names reports whether the policy names a host, which is in key form. A star stands for
// one label (RFC 8461 4.1).
func (p *Policy) Names(host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	return slices.Contains(p.MX, host) || parent != "" && slices.Contains(p.MX, "*."+parent)
}

// text writes the policy as Parse reads it.
func (p *Policy) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: STSv1\nmode: %s\nmax_age: %d\n", p.Mode, p.MaxAge/time.Second)
	for _, mx := range p.MX {
		b.WriteString("mx: " + mx + "\n")
	}
	return b.String()
}

// recordID returns the id that a domain's TXT records name; "" when they name no policy, or more than
// one (RFC 8461 3.1).
func recordID(records []string) string {
	id := ""
	for _, r := range records {
		fields := strings.Split(r, ";")
		if strings.TrimRight(fields[0], " \t") != "v=STSv1" {
			continue
		}
		if id != "" {
			return ""
		}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(strings.TrimSpace(f), "=")
			if strings.TrimSpace(key) == "id" && id == "" {
				id = strings.TrimSpace(value)
			}
		}
		if !isID(id) {
			return ""
		}
	}
	return id
}

// isID reports whether s is an id: 1 to 32 letters and digits.
func isID(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

func clip(s string) string { return s[:min(len(s), 80)] }
