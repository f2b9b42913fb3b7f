package secrets

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// What a stored form may cost to check. Forms come from operators and old systems, but
// whoever knows a user name makes the server pay.
const (
	maxRounds     = 10_000_000 // of PBKDF2 and SHA-crypt, some seconds
	maxBcryptCost = 15         // two seconds
	maxFormMemory = 256 << 20  // bytes, of argon2 and scrypt
	maxPasses     = 32         // of argon2
	maxYescryptN  = 17         // log2, 256 MiB at r = 16
)

var errCostly = errors.New("it costs too much to check, a login could take the machine: want at most 256 MiB and 32 passes of argon2, bcrypt cost 15, 10000000 rounds")

// cost refuses forms above the bounds and tells how much memory the others take.
func cost(id, s string) (memory int64, err error) {
	switch {
	case strings.HasPrefix(id, "argon2"):
		m, t, p := number(s, "m=", 32<<10), number(s, "t=", 1), number(s, "p=", 4)
		if m > maxFormMemory>>10 || t > maxPasses || p > 64 {
			return 0, errCostly
		}
		return m << 10, nil
	case id == "scrypt":
		ln, r, p := number(s, "ln=", 16), number(s, "r=", 8), number(s, "p=", 1)
		if ln > 24 || r > 64 || p > 16 || 128*r<<ln > maxFormMemory {
			return 0, errCostly
		}
		return 128 * r << ln, nil
	case id == "y" || id == "7" || id == "gy":
		return yescryptCost(s)
	case id == "5" || id == "6":
		if number(s, "rounds=", 5000) > maxRounds {
			return 0, errCostly
		}
	case id == "sha1" || strings.HasPrefix(id, "pbkdf2"):
		rounds, _, _ := strings.Cut(strings.TrimPrefix(s, "$"+id+"$"), "$")
		if n, err := strconv.ParseInt(rounds, 10, 64); err != nil || n > maxRounds {
			return 0, errCostly
		}
	case strings.HasPrefix(id, "md5"):
		if number(s, "iterations=", 0) > maxRounds || number(s, "rounds=", 0) > maxRounds {
			return 0, errCostly
		}
	case id == "bcrypt-sha256":
		if number(s, "r=", 12) > maxBcryptCost {
			return 0, errCostly
		}
	}
	return 0, nil
}

// yescryptCost reads the second character of the parameters, log2(N) - 1 (crypt(5)).
func yescryptCost(s string) (int64, error) {
	parts := strings.Split(s, "$")
	if len(parts) < 5 || len(parts[2]) != 3 {
		return 0, errForm
	}
	n := strings.IndexByte(cryptAlphabet, parts[2][1]) + 1
	r := strings.IndexByte(cryptAlphabet, parts[2][2]) + 1
	if n > maxYescryptN || r > 64 || 128*int64(r)<<n > maxFormMemory {
		return 0, errCostly
	}
	return 128 * int64(r) << n, nil
}

// number reads the parameter that key introduces, up to the next "," or "$". What
// does not fit is more than any bound.
func number(s, key string, absent int64) int64 {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '$' || r == ',' }) {
		if v, ok := strings.CutPrefix(part, key); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < 0 {
				return 1 << 40
			}
			return n
		}
	}
	return absent
}

// bcryptForm reads $2a$, $2b$ and $2y$, which differ for no password of ours.
func bcryptForm(s string) (*form, error) {
	c, err := bcrypt.Cost([]byte(s))
	if err != nil || len(s) != 60 {
		return nil, errors.New("want 60 characters of bcrypt, $2y$cost$…")
	}
	if c > maxBcryptCost {
		return nil, errCostly
	}
	return &form{kind: "bcrypt", match: func(p string) (bool, error) {
		// bcrypt ends at 72 bytes, as it did where the form was made.
		err := bcrypt.CompareHashAndPassword([]byte(s), []byte(p)[:min(len(p), 72)])
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	}}, nil
}
