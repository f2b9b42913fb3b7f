package secrets

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const umlaut = "Grüße, Postilion 1"

// vectors are forms made by other programs: [libxcrypt] by Python's crypt module,
// [hashlib] by Python's hashlib from the definition of the form, [openssl] by openssl passwd,
// [P-H-C] from the reference implementation's test.c.
var vectors = []struct{ form, password string }{
	{"abJnggxhB/yWI", "password"},                                         // [libxcrypt]
	{"{CRYPT}aaQSqAReePlq6", ""},                                          // [libxcrypt]; an empty password is never asked for
	{"zZYNOWaQCjivk", "Grüße"},                                            // [libxcrypt]
	{"./JR89XC5uDJI", umlaut},                                             // [libxcrypt]
	{"abkpzmEPq4NEA", umlaut},                                             // [libxcrypt]
	{"_J9..rasmDEhQHI647u6", umlaut},                                      // [libxcrypt]
	{"{DES-CRYPT}_J9..rasm4uqaIbzIhNY", "a longer password than eight"},   // [libxcrypt]
	{"$1$abcdefgh$2Y9wsBNPlTCv.hehHiGLD1", umlaut},                        // [libxcrypt]; vpopmail's
	{"{MD5-CRYPT}$1$abcdefgh$Gqo0dW5ZZwRMuhky6A93q0", "pencil"},           // [openssl]
	{"{MD5}$1$abcdefgh$Gqo0dW5ZZwRMuhky6A93q0", "pencil"},                 // [openssl]
	{"$5$abcdefgh$2fBC4A6a5zMUaFynrzCXz1gz3QtUtBsVxjmcncJUE67", "pencil"}, // [openssl]
	{"{SHA256-CRYPT}$5$saltstring$iF0pVONZmBOwl82NiUt2bPlrn45GBJ.SzwAUagFEeNB", umlaut},
	{"$5$rounds=10000$saltstringsaltst$PT1cdB.P8VA7g0vuDKAAtTLHbK4clWAoBIfc2B1Y8n9", umlaut},
	{"{SHA512-CRYPT}$6$abcdefgh$BPABm5D7ZFU2YVfMLyE5XRqe91qwdcZ6APg7kB/YBeADxUUqXXhg3mlHBbjpyHcrE9xl/9BuqqivCjN2qGEi30", "pencil"}, // [openssl]
	{"$6$rounds=5000$toolongsaltstrin$q6baOWlvOdYKvRdvv2FWIeeqrLYSurxc8Hvuj.9ZNXAmzzmjznqS1WWFPGcPWEv5vYDI/Nrx3nrdO/uNatm0Q.", umlaut},
	{"$2b$05$abcdefghijklmnopqrstuu9DbDHVC356APpr6ZQ6kX5cd2UsUBZyG", umlaut}, // [libxcrypt]
	{"{BLF-CRYPT}$2a$04$abcdefghijklmnopqrstuuYNjWU/RmeD5NS1B0FKYY9AeTpWKaJf2", umlaut},
	{"{CRYPT}$2y$04$abcdefghijklmnopqrstuuYNjWU/RmeD5NS1B0FKYY9AeTpWKaJf2", umlaut},
	{"$y$j75$saltsalt$zkYnQgwrFtZNa6CIAC2ovEuE5pSloqsKnihQVsg3j17", umlaut},                              // [libxcrypt]
	{"$sha1$40000$jtNX3nZ2$h4owRI15kxjZYJLfXVgYk718nzFn", umlaut},                                        // [libxcrypt]
	{"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"}, // [P-H-C]
	{"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
	{"{ARGON2I}$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", "password"}, // [P-H-C]
	{"$scrypt$ln=10,r=8,p=1$c2FsdFNBTFQ$ohg3r5v+yNOsAhD7AsU+Zj9TX0ubdsBdEGyz690lnrc", umlaut},                    // [hashlib]
	{"$pbkdf2-sha256$6400$c2FsdFNBTFQ$8.juCNAaiLzxFTKl8uAJE40BO5iQ9/WnKTDM75wIUu4", umlaut},                      // [hashlib]
	{"{PBKDF2-SHA512}6400$c2FsdFNBTFQ$Wmww.swuMUlSUeDjVdJQIkSD6riT4Bfsm0QgVcJNWVSs9PIWI44fdWWk7.dXO6hZkfuZirRY.tA8jGGz4WpXsA", umlaut},
	{"{PBKDF2}6400$c2FsdFNBTFQ$pHTYiSDyfavcMQ6UNz/wgobOBRc", umlaut},              // [hashlib]
	{"{PBKDF2}$1$saltsalt$5000$127326293ad9dfcbe331d5f9804e409323b4d6d1", umlaut}, // [hashlib]
	{"$md5,rounds=904$iPPKEBnEkp3JV8uX$$nGdqzs6pr262I9C3uoBm00", "pencil"},        // [libxcrypt], as the next
	{"$md5$iPPKEBnE$$VJjLJfKo6QFULgaKww/q9.", "pencil"},
	{"{PLAIN}" + umlaut, umlaut},
	{"{CLEARTEXT}{x}$1$", "{x}$1$"},
	{"{PLAIN.b64}R3LDvMOfZSwgUG9zdGlsaW9uIDE=", umlaut},
	{"{clear.hex}4772c3bcc39f652c20506f7374696c696f6e2031", umlaut},
	{"{SHA}U3hl4yNdtM3zaoHjDNavkTDrcvs=", umlaut}, // [hashlib], as all that follow
	{"{SHA.hex}537865e3235db4cdf36a81e30cd6af9130eb72fb", umlaut},
	{"{SSHA}Pq06+lCat1Mwv4rxeqjAl8TszqRzYWx0U0FMVA==", umlaut},
	{"{SHA256}7BltVDIqEexTnsJ1IxJBqMwJtQFQG6KOhUY5v3sPgKI=", umlaut},
	{"{SHA256.hex}ec196d54322a11ec539ec275231241a8cc09b501501ba28e854639bf7b0f80a2", umlaut},
	{"{SSHA256}KFtN9C0kNqtL+BodpEI1GIPIs9lO+3oJ6ush+P8S3xVzYWx0U0FMVA==", umlaut},
	{"{SHA512}d1yB5+lshOHb8F6jJnP8ef2loHFGKcDb6+Y/xdMTLGL73OK7v1lp92+Y03YfBoMahjV+aSdrP5o3fm6NpvSi6g==", umlaut},
	{"{SSHA512.b64}bHqZ+ZP3awiTN3uGOhhWSeE48rJlEqL0Xb06mfUAQJfsVD/HanlNc0ZqejsMqmjln9ZYOjWldUgnZisMazMnmHNhbHRTQUxU", umlaut},
	{"{MD5}0hlFU8g4Cs1fLEYQSSb7pA==", umlaut},
	{"{LDAP-MD5}0hlFU8g4Cs1fLEYQSSb7pA==", umlaut},
	{"{PLAIN-MD5}d2194553c8380acd5f2c46104926fba4", umlaut},
	{"{SMD5}266MsauGPrcDu0Yi8MSrZXNhbHRTQUxU", umlaut},
	{pencil, "pencil"},
}

// pencil is the user of RFC 7677 3 [hashlib].
const pencil = "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestFormsOfOtherSystemsAreVerified(t *testing.T) {
	t.Parallel()
	fs, err := newForms()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		f, err := fs.parse(v.form)
		if err != nil {
			t.Errorf("%s: %v", v.form, err)
			continue
		}
		if ok, err := f.match(v.password); !ok || err != nil {
			t.Errorf("%s: the password does not match: %v", v.form, err)
		}
		// In front, where no form cuts the password off.
		if ok, _ := f.match("x" + v.password); ok {
			t.Errorf("%s: another password matches", v.form)
		}
	}
}

func TestWhatCannotBeVerifiedIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	fs, err := newForms()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "!", "*LK*", "secretword", "{NTLM}0cb6948805f797bf2a82807973b89537", "{SECRETWORD}x", "{SHA", "{SHA}secretword", "{SHA}AAAA", "{SHA.xyz}AAAA", "{SSHA}AAAA", "{PLAIN}",
		"{PLAIN}a\x00b", "{PLAIN}a\nb", "{MD5-CRYPT}$6$a$b", "{BLF-CRYPT}$1$x$y", "{DES-CRYPT}$1$abcdefgh$2Y9wsBNPlTCv.hehHiGLD1", "$9$secretword", "$sha1", "$y", "$5", "$", "$$", "$$$$$$", "$1$", "$6$salt", "$2y$04$short",
		"$2x$04$abcdefghijklmnopqrstuu7p3JBszvPqguxuqkiZXLLJGbSCdNeTa", "abcdefghijkl!", "_J9..rasmDEhQHI647u!", "$apr1$abcdefgh$/LxyoszM/7Pi8/tGVFhVN1",
		"{PBKDF2}$1$salt$0$00", "{PBKDF2}$1$salt$x$127326293ad9dfcbe331d5f9804e409323b4d6d1", "{SCRAM-SHA-256}1,AA==,AA==,AA==", "{SCRAM-SHA-256}4096,a,b", strings.Repeat("{PLAIN}x", 1000),
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=256,t=2,p=1$$", "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$AAAA",
	} {
		f, err := fs.parse(bad)
		if err == nil {
			t.Errorf("%.60q: taken as %s", bad, f.kind)
			continue
		}
		if strings.Contains(strings.ToLower(err.Error()), "secretword") && !strings.HasPrefix(bad, "{SECRETWORD}") && !strings.HasPrefix(bad, "$9$") {
			t.Errorf("%.60q: the error shows it: %v", bad, err)
		}
	}
}

func TestFormsThatCostTooMuchAreRefused(t *testing.T) {
	t.Parallel()
	fs, err := newForms()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=4000000000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=99999999999999999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=2,p=255$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$scrypt$ln=40,r=8,p=1$c2FsdFNBTFQ$ohg3r5v+yNOsAhD7AsU+Zj9TX0ubdsBdEGyz690lnrc",
		"$scrypt$ln=20,r=1000000,p=1$c2FsdFNBTFQ$ohg3r5v+yNOsAhD7AsU+Zj9TX0ubdsBdEGyz690lnrc",
		"$2y$31$abcdefghijklmnopqrstuuYNjWU/RmeD5NS1B0FKYY9AeTpWKaJf2",
		"$6$rounds=999999999$toolongsaltstrin$q6baOWlvOdYKvRdvv2FWIeeqrLYSurxc8Hvuj.9ZNXAmzzmjznqS1WWFPGcPWEv5vYDI/Nrx3nrdO/uNatm0Q.",
		"$pbkdf2-sha256$999999999$c2FsdFNBTFQ$8.juCNAaiLzxFTKl8uAJE40BO5iQ9/WnKTDM75wIUu4",
		"{PBKDF2}$1$saltsalt$500000000$127326293ad9dfcbe331d5f9804e409323b4d6d1",
		"$sha1$4000000000$jtNX3nZ2$h4owRI15kxjZYJLfXVgYk718nzFn",
		"$y$jzT$F5Jx5fExrKuPp53xLKQ..1$dgO51JC4PA3juYrc2cQxcQPV/sCt01fvx5thEq2TKc3",
		"_zzzzrasmDEhQHI647u6",
		"{SCRAM-SHA-256}400000000,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
	} {
		if _, err := fs.parse(bad); err == nil {
			t.Errorf("%.60s was taken", bad)
		}
	}
}

func TestDESLooksAtEightCharacters(t *testing.T) {
	t.Parallel()
	h, err := parseDES("abJnggxhB/yWI")
	if err != nil {
		t.Fatal(err)
	}
	if !h.match("password and more") || h.match("passwor") {
		t.Error("DES crypt does not end at eight characters")
	}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringN(1, 8, 8).Draw(t, "password")
		made := "ab" + (&desHash{salt: cryptNumber("ab"), count: 25}).hash(p)
		h, err := parseDES(made)
		if err != nil || !h.match(p) {
			t.Errorf("%q does not match what was made of it, %q: %v", p, made, err)
		}
	})
}

func FuzzForm(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.form)
	}
	fs, err := newForms()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		form, err := fs.parse(s)
		if err != nil {
			return
		}
		if form.kind == "" || form.match == nil || form.memory > maxFormMemory {
			t.Errorf("%q is taken as %+v", s, form)
		}
		if len(s) < 120 && form.memory < 1<<20 && cheap(s) {
			form.match("password")
		}
	})
}

// cheap keeps the fuzzer off forms that are allowed to take seconds.
func cheap(s string) bool {
	digits := 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			if digits++; digits > 4 {
				return false
			}
		} else {
			digits = 0
		}
	}
	return !strings.Contains(s, "$2") && !strings.HasPrefix(s, "_") && !strings.Contains(s, "}_") && !strings.Contains(s, "bcrypt")
}
