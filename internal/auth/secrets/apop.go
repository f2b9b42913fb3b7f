package secrets

import (
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/postilion/postilion/internal/auth"
	"github.com/postilion/postilion/internal/reason"
)

// APOP implements auth.Service (RFC 1939 7): digest is the hexadecimal MD5 of timestamp
// and password. Only a password stored as it is can be checked.
func (s *Service) APOP(ctx context.Context, a auth.Attempt, user, timestamp, digest string) (auth.Identity, error) {
	at, err := s.begin(ctx, a, "APOP", user)
	if err == nil {
		err = s.verifyAPOP(ctx, at, timestamp, digest)
	}
	return at.finish(ctx, "", err)
}

func (s *Service) verifyAPOP(ctx context.Context, at *attempt, timestamp, digest string) error {
	var f *form
	if at.who.usable {
		c, err := s.store.load(ctx, at.who.account)
		if err != nil {
			return reason.LocalError.Because(err)
		}
		f = s.stored(at.who.account, c)
	}
	// A user whose password is not known in plain text fails like one with another.
	known := f != nil && f.plain != ""
	password := string(s.salts)
	if known {
		password = f.plain
	}
	sum := md5.Sum([]byte(timestamp + password))
	want := hex.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(digest))) != 1 || !known || timestamp == "" {
		return auth.Failed
	}
	return nil
}
