package service

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/postilion/postilion/internal/mail"
)

// The note of the first password goes when that account's password is changed, and stays
// when others' are.
func TestTheFirstPasswordIsForgottenWithItsAccountsOnly(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	note := filepath.Join(data, passwordFile)
	if err := os.WriteFile(note, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ForgetFirstPassword(data, mail.Address{Local: "joe", Domain: "example.test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(note); err != nil {
		t.Error("the note went with another account's password")
	}
	for range 2 { // it may be gone already
		if err := ForgetFirstPassword(data, mail.Address{Local: firstAccount, Domain: "example.test"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(note); err == nil {
		t.Error("the note of a password that was changed is still there")
	}
}
