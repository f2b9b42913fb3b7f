package secrets

// The forms a password is stored in: crypt(3)'s, and Dovecot's {SCHEME} prefixes
// (doc.dovecot.org, "Password Schemes"). A form is checked when it comes in, so that
// what is stored can be verified, at a bounded cost.

import (
	"cmp"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	cryptpbkdf2 "github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/sha1crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// maxForm bounds a stored form in bytes.
const maxForm = 4096

// form is a stored password.
type form struct {
	kind   string                              // for people: "argon2id", "SSHA", …
	plain  string                              // the password, of form PLAIN
	memory int64                               // bytes that match needs, where it is much
	scram  *scramKeys                          // of form SCRAM-SHA-256
	match  func(password string) (bool, error) // in constant time for a given length
}

// forms parses stored passwords.
type forms struct{ decoder *crypt.Decoder }

func newForms() (*forms, error) {
	d := crypt.NewDecoder()
	for _, register := range []func(algorithm.DecoderRegister) error{
		argon2.RegisterDecoder, bcrypt.RegisterDecoder, scrypt.RegisterDecoder, shacrypt.RegisterDecoder,
		cryptpbkdf2.RegisterDecoder, md5crypt.RegisterDecoder, sha1crypt.RegisterDecoder,
	} {
		if err := register(d); err != nil {
			return nil, err
		}
	}
	return &forms{d}, nil
}

var errForm = errors.New("want a crypt(3) form such as $argon2id$…, $2y$…, $6$… or 13 characters of DES, or a {SCHEME} prefix")

// parse reads a stored password. The error does not repeat it.
func (f *forms) parse(s string) (*form, error) {
	switch {
	case len(s) > maxForm:
		return nil, fmt.Errorf("want at most %d bytes", maxForm)
	case strings.ContainsAny(s, "\x00\r\n"):
		return nil, errors.New("want one line")
	case s == "" || s[0] == '!' || s[0] == '*':
		return nil, errors.New("it is locked: no password matches it")
	case s[0] == '{':
		scheme, rest, ok := strings.Cut(s[1:], "}")
		if !ok {
			return nil, errForm
		}
		return f.scheme(strings.ToUpper(scheme), rest)
	}
	return f.crypt(s)
}

// scheme reads what follows {SCHEME} or {SCHEME.encoding}.
func (f *forms) scheme(scheme, rest string) (*form, error) {
	name, encoding, _ := strings.Cut(scheme, ".")
	switch name {
	case "PLAIN", "CLEAR", "CLEARTEXT":
		p, err := decodePlain(encoding, rest)
		if err != nil {
			return nil, err
		}
		return plainForm(p)
	case "CRYPT", "DES-CRYPT", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2I", "ARGON2ID":
		return f.only(name, rest)
	case "MD5":
		if strings.HasPrefix(rest, "$1$") {
			return f.only("MD5-CRYPT", rest)
		}
		return digestForm(name, encoding, rest, md5.New, false)
	case "LDAP-MD5":
		return digestForm(name, encoding, rest, md5.New, false)
	case "PLAIN-MD5":
		return digestForm(name, cmp.Or(encoding, "HEX"), rest, md5.New, false)
	case "SMD5":
		return digestForm(name, encoding, rest, md5.New, true)
	case "SHA", "SHA1":
		return digestForm(name, encoding, rest, sha1.New, false)
	case "SSHA":
		return digestForm(name, encoding, rest, sha1.New, true)
	case "SHA256":
		return digestForm(name, encoding, rest, sha256.New, false)
	case "SSHA256":
		return digestForm(name, encoding, rest, sha256.New, true)
	case "SHA512":
		return digestForm(name, encoding, rest, sha512.New, false)
	case "SSHA512":
		return digestForm(name, encoding, rest, sha512.New, true)
	case "PBKDF2":
		if strings.HasPrefix(rest, "$1$") {
			return dovecotPBKDF2(rest)
		}
		return f.crypt("$pbkdf2$" + strings.TrimPrefix(rest, "$"))
	case "PBKDF2-SHA1", "PBKDF2-SHA256", "PBKDF2-SHA512": // passlib's LDAP names
		return f.crypt("$" + strings.ToLower(name) + "$" + strings.TrimPrefix(rest, "$"))
	case "SCRAM-SHA-256":
		return scramForm(rest)
	}
	return nil, fmt.Errorf("want one of Dovecot's schemes, such as {SHA512-CRYPT}, {ARGON2ID}, {PBKDF2} or {SCRAM-SHA-256}: {%.20s} is not known", printable(name))
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// only reads a crypt form that must be the one its scheme names.
func (f *forms) only(scheme, rest string) (*form, error) {
	prefixes := map[string][]string{
		"MD5-CRYPT": {"$1$"}, "SHA256-CRYPT": {"$5$"}, "SHA512-CRYPT": {"$6$"}, "BLF-CRYPT": {"$2"},
		"ARGON2I": {"$argon2i$"}, "ARGON2ID": {"$argon2id$"},
	}[scheme]
	for _, p := range prefixes {
		if !strings.HasPrefix(rest, p) {
			return nil, fmt.Errorf("want %s… after {%s}", p, scheme)
		}
	}
	if scheme == "DES-CRYPT" && strings.HasPrefix(rest, "$") {
		return nil, errDESForm
	}
	return f.crypt(rest)
}

// crypt reads a crypt(3) form.
func (f *forms) crypt(s string) (*form, error) {
	if s == "" {
		return nil, errForm
	}
	if s[0] != '$' {
		h, err := parseDES(s)
		if err != nil {
			if len(s) == 13 || s[0] == '_' {
				return nil, err
			}
			return nil, errForm
		}
		return &form{kind: "DES", match: func(p string) (bool, error) { return h.match(p), nil }}, nil
	}
	id, _, _ := strings.Cut(s[1:], "$")
	if id == "2x" {
		return nil, errors.New("$2x$ marks hashes of a faulty program; set a new password")
	}
	memory, err := cost(id, s)
	if err != nil {
		return nil, err
	}
	if id == "2a" || id == "2b" || id == "2y" {
		return bcryptForm(s)
	}
	digest, err := f.decoder.Decode(s)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read as a form $%.20s$", errForm, printable(id))
	}
	kind, _, _ := strings.Cut(id, ",") // $md5,rounds=…
	return &form{kind: kind, memory: memory, match: digest.MatchAdvanced}, nil
}

// plainForm is a password that is stored as it is.
func plainForm(p string) (*form, error) {
	if err := checkPassword(p); err != nil {
		return nil, err
	}
	want := sha256.Sum256([]byte(p))
	return &form{kind: "PLAIN", plain: p, match: func(p string) (bool, error) {
		have := sha256.Sum256([]byte(p))
		return subtle.ConstantTimeCompare(have[:], want[:]) == 1, nil
	}}, nil
}

func decodePlain(encoding, s string) (string, error) {
	if encoding == "" {
		return s, nil
	}
	b, err := decode(encoding, s)
	return string(b), err
}

// decode reads hexadecimal or base64, with or without padding.
func decode(encoding, s string) ([]byte, error) {
	var b []byte
	var err error
	switch encoding {
	case "HEX":
		b, err = hex.DecodeString(s)
	case "", "B64", "BASE64":
		b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	default:
		return nil, errors.New("want .hex, .b64 or .base64 after the scheme")
	}
	if err != nil {
		return nil, errors.New("want hexadecimal or base64 after the scheme, as it says")
	}
	return b, nil
}

// digestForm is one round of a hash over password and salt, the salt following the sum.
func digestForm(kind, encoding, rest string, newHash func() hash.Hash, salted bool) (*form, error) {
	b, err := decode(encoding, rest)
	if err != nil {
		return nil, err
	}
	size := newHash().Size()
	if len(b) < size || !salted && len(b) != size {
		return nil, fmt.Errorf("want %d bytes after {%s}, have %d", size, kind, len(b))
	}
	sum, salt := b[:size], b[size:]
	return &form{kind: kind, match: func(p string) (bool, error) {
		h := newHash()
		h.Write([]byte(p))
		h.Write(salt)
		return subtle.ConstantTimeCompare(h.Sum(nil), sum) == 1, nil
	}}, nil
}

// dovecotPBKDF2 reads $1$salt$rounds$hex, PBKDF2 with SHA-1.
func dovecotPBKDF2(rest string) (*form, error) {
	parts := strings.Split(rest, "$")
	bad := errors.New("want $1$salt$rounds$hexadecimal after {PBKDF2}")
	if len(parts) != 5 {
		return nil, bad
	}
	rounds, err := strconv.Atoi(parts[3])
	sum, err2 := hex.DecodeString(parts[4])
	if err != nil || err2 != nil || rounds < 1 || len(sum) < 16 || len(sum) > 64 {
		return nil, bad
	}
	if rounds > maxRounds {
		return nil, errCostly
	}
	return &form{kind: "PBKDF2", match: func(p string) (bool, error) {
		key, err := pbkdf2.Key(sha1.New, p, []byte(parts[2]), rounds, len(sum))
		return err == nil && subtle.ConstantTimeCompare(key, sum) == 1, err
	}}, nil
}

// scramForm reads iterations,salt,StoredKey,ServerKey.
func scramForm(rest string) (*form, error) {
	bad := errors.New("want iterations,salt,stored key,server key in base64 after {SCRAM-SHA-256}")
	parts := strings.Split(rest, ",")
	if len(parts) != 4 {
		return nil, bad
	}
	k := new(scramKeys)
	var err error
	if k.iterations, err = strconv.Atoi(parts[0]); err != nil || k.iterations < 4096 {
		return nil, bad
	}
	if k.iterations > maxRounds {
		return nil, errCostly
	}
	for i, to := range []*[]byte{&k.salt, &k.stored, &k.server} {
		if *to, err = base64.StdEncoding.DecodeString(parts[i+1]); err != nil || len(*to) == 0 || i > 0 && len(*to) != sha256.Size {
			return nil, bad
		}
	}
	return &form{kind: "SCRAM-SHA-256", scram: k, match: func(p string) (bool, error) {
		have, err := deriveSCRAM(p, k.salt, k.iterations)
		if err != nil {
			return false, nil // SASLprep refuses it: it never was the password
		}
		return subtle.ConstantTimeCompare(have.stored, k.stored) == 1, nil
	}}, nil
}
