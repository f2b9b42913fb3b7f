package directory

// What a value must look like to be stored. Every check normalises its value in
// place and answers with *InvalidError, which names the value and what was
// expected. Rules that need a look at other rows are in internal/rules.

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/postilion/postilion/internal/mail"
)

// Bounds of what is stored.
const (
	MaxLocal      = 64   // bytes of a local part, RFC 5321 4.5.3.1.1
	MaxDomain     = 253  // bytes of a domain name in A-label form, RFC 1035 2.3.4 without the root
	MaxName       = 255  // bytes of a name or reason for people
	MaxTargets    = 1000 // targets of one alias
	MaxMailbox    = 1024 // bytes of a Maildir's path
	MaxSeparators = 8    // separators of one domain
	MaxFindLocals = 16   // local parts that one Find looks at
)

// NewDomain returns a domain with what new domains get.
func NewDomain(name string) Domain { return Domain{Name: name, Separators: "+"} }

// DomainKey returns the form that domain names are compared and stored in: A-labels
// in lower case (RFC 5891 with the mapping of UTS #46). The error is an *InvalidError.
func DomainKey(name string) (string, error) {
	if plainName(name) {
		return name, nil
	}
	bad := invalid("domain", name, "a name of letters, digits and hyphens in labels of at most 63 bytes, at most 253 in all, without a final dot")
	if len(name) > 4*MaxDomain || !utf8.ValidString(name) || strings.HasSuffix(name, ".") {
		return "", bad
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", bad
	}
	key, err := profile().ToASCII(name)
	if err != nil || key == "" || len(key) > MaxDomain {
		return "", bad
	}
	return key, nil
}

func profile() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))
}

// plainName reports whether name is in its compared form already, which nearly all are.
func plainName(name string) bool {
	if name == "" || len(name) > MaxDomain {
		return false
	}
	label, letters := 0, false
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 || name[i-1] == '-' {
				return false
			}
			label = -1
		case 'a' <= c && c <= 'z':
			letters = true
		case '0' <= c && c <= '9':
		case c == '-':
			// "xn--" and its like are checked by the full rules.
			if label == 0 || label == 2 || label == 3 {
				return false
			}
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return letters && label > 0 && name[len(name)-1] != '-'
}

// CheckDomain checks and normalises all of d but its relations to others. The error is an *InvalidError.
func CheckDomain(d *Domain) (err error) {
	if d.Name, err = DomainKey(d.Name); err != nil {
		return err
	}
	if d.AliasOf != "" {
		if d.AliasOf, err = DomainKey(d.AliasOf); err != nil {
			return err
		}
		if d.CatchAll != "" {
			return invalid("catch-all", d.CatchAll, "none for an alias domain: it has its target's")
		}
	}
	if d.CatchAll != "" {
		a, err := checkTarget("catch-all", mail.ParseAddress(d.CatchAll))
		if err != nil {
			return err
		}
		d.CatchAll = a.String()
	}
	for _, n := range []struct {
		what string
		n    int64
	}{{"max_size", d.MaxSize}, {"max_accounts", int64(d.MaxAccounts)}, {"max_aliases", int64(d.MaxAliases)},
		{"quota_bytes", d.QuotaBytes}, {"default_quota", d.DefaultQuota}} {
		if n.n < 0 {
			return negative(n.what, n.n)
		}
	}
	if d.QuotaBytes > 0 && d.DefaultQuota > d.QuotaBytes {
		return invalid("default_quota", strconv.FormatInt(d.DefaultQuota, 10), fmt.Sprintf("at most the %d of all accounts together", d.QuotaBytes))
	}
	return checkSeparators(d.Separators)
}

func checkSeparators(s string) error {
	bad := invalid("separators", s, "at most 8 different characters of !#$%&*+-/=?^_`{|}~.")
	if len(s) > MaxSeparators {
		return bad
	}
	for i := range len(s) {
		if strings.IndexByte("!#$%&*+-/=?^_`{|}~.", s[i]) < 0 || strings.IndexByte(s[:i], s[i]) >= 0 {
			return bad
		}
	}
	return nil
}

// CheckAccount checks and normalises all of a but its relations to others. The
// local part keeps its bytes. The error is an *InvalidError.
func CheckAccount(a *Account) error {
	if err := checkOwn("account", &a.Address); err != nil {
		return err
	}
	if err := checkText("name", a.Name); err != nil {
		return err
	}
	for _, n := range []struct {
		what string
		n    int64
	}{{"quota_bytes", a.QuotaBytes}, {"quota_messages", a.QuotaMessages}, {"max_size", a.MaxSize}, {"max_recipients", int64(a.MaxRecipients)}} {
		if n.n < 0 {
			return negative(n.what, n.n)
		}
	}
	if a.Mailbox != "" {
		return checkMailbox(a.Mailbox)
	}
	return nil
}

// CheckAlias checks and normalises all of a but its relations to others. The error is an *InvalidError.
func CheckAlias(a *Alias) error {
	if err := checkOwn("alias", &a.Address); err != nil {
		return err
	}
	if len(a.Targets) == 0 || len(a.Targets) > MaxTargets {
		return invalid("targets of alias", a.Address.String(), "1 to 1000 addresses")
	}
	targets := make([]mail.Address, 0, len(a.Targets))
	for _, t := range a.Targets {
		t, err := checkTarget("target", t)
		if err != nil {
			return err
		}
		if !slices.Contains(targets, t) {
			targets = append(targets, t)
		}
	}
	a.Targets = targets
	return nil
}

// CheckBlock checks and normalises b. The error is an *InvalidError.
func CheckBlock(b *Block) (err error) {
	if b.What, err = BlockKey(b.What); err != nil {
		return err
	}
	return checkText("reason", b.Reason)
}

// BlockKey returns the form that a Block's What is stored in: an address of IPv4 or
// IPv6, a masked CIDR range, or an account's address in lower case. The error is an *InvalidError.
func BlockKey(what string) (string, error) {
	if a, err := netip.ParseAddr(what); err == nil {
		return a.WithZone("").Unmap().String(), nil
	}
	if p, err := netip.ParsePrefix(what); err == nil {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked().String(), nil
	}
	if a := mail.ParseAddress(what); a.Domain != "" && checkOwn("block", &a) == nil {
		return LocalKey(a.Local, false) + "@" + a.Domain, nil
	}
	return "", invalid("block", what, "an IP address, a CIDR range such as 192.0.2.0/24, or an account's address")
}

// checkOwn checks an address of this host and puts its domain into compared form.
func checkOwn(what string, a *mail.Address) (err error) {
	bad := invalid(what, a.String(), "local@domain, the local part 1 to 64 bytes of letters, digits and !#$%&'*+-/=?^_`{|}~.")
	if a.Local == "" || len(a.Local) > MaxLocal || a.Domain == "" || !utf8.ValidString(a.Local) {
		return bad
	}
	if len(norm.NFC.String(a.Local)) > MaxLocal || len(LocalKey(a.Local, false)) > 2*MaxLocal {
		return bad
	}
	for _, r := range a.Local {
		if r < 0x80 && !mail.IsAtext(byte(r)) && r != '.' || r >= 0x80 && !unicode.IsPrint(r) || r == utf8.RuneError {
			return bad
		}
	}
	if a.Domain, err = DomainKey(a.Domain); err != nil {
		return err
	}
	return nil
}

// checkTarget checks an address that mail is sent on to: any local part a peer
// could take, at a domain name or an address literal.
func checkTarget(what string, a mail.Address) (mail.Address, error) {
	bad := invalid(what, a.String(), "an address local@domain of at most 320 bytes without control characters")
	if a.Local == "" || len(a.Local) > MaxName || len(a.String()) > 320 || !utf8.ValidString(a.Local) {
		return a, bad
	}
	if strings.ContainsFunc(a.Local, unicode.IsControl) {
		return a, bad
	}
	if lit, ok := strings.CutPrefix(a.Domain, "["); ok {
		lit, ok = strings.CutSuffix(lit, "]")
		ip := strings.TrimPrefix(strings.ToLower(lit), "ipv6:")
		if _, err := netip.ParseAddr(ip); !ok || err != nil {
			return a, bad
		}
		return a, nil
	}
	d, err := DomainKey(a.Domain)
	if err != nil {
		return a, bad
	}
	a.Domain = d
	return a, nil
}

func checkText(what, s string) error {
	if len(s) > MaxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return invalid(what, s, "at most 255 bytes of UTF-8 without control characters")
	}
	return nil
}

// checkMailbox checks a path that the operator gave.
func checkMailbox(p string) error {
	bad := invalid("mailbox", p, "a relative path without control characters whose parts do not begin with a dot, at most 1024 bytes")
	if len(p) > MaxMailbox || path.IsAbs(p) || path.Clean(p) != p || !utf8.ValidString(p) || strings.ContainsFunc(p, unicode.IsControl) || strings.Contains(p, `\`) {
		return bad
	}
	for part := range strings.SplitSeq(p, "/") {
		if part[0] == '.' || len(part) > 255 {
			return bad
		}
	}
	return nil
}

func invalid(what, value, want string) *InvalidError {
	return &InvalidError{What: what, Value: value, Want: want}
}

func negative(what string, n int64) error {
	return invalid(what, strconv.FormatInt(n, 10), "0 or more")
}

// MailboxPath returns the default path of an account's Maildir for its domain and the
// key of its local part: domain/local/Maildir. Bytes outside a-z 0-9 . _ + - and a leading
// dot are written as %xx, so that no local part leaves its folder and no two share one.
func MailboxPath(domain, key string) string {
	var b strings.Builder
	b.WriteString(domain)
	b.WriteByte('/')
	for i := range len(key) {
		c := key[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("._+-", c) >= 0 && (c != '.' || i > 0) {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789abcdef"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	b.WriteString("/Maildir")
	return b.String()
}
