package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// A clock that is wrong by weeks when the server starts, and right or wrong the other way the next time, loses nothing and
// repeats nothing: what waited for a host goes there once it answers, even where it is past its lifetime by then, logins
// work, and deliveries go on.
func TestClocksThatJumpOverRestartsLoseNothing(t *testing.T) {
	t.Parallel()
	k := newSink(t)
	var mu sync.Mutex
	round := ""
	k.Rcpt = func(to string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(to, "slow"+round+"@") {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "come back later"}
		}
		return nil
	}
	s := newServer(t, setup{forTesting: true, config: toSink(k)})
	offsets := []string{"", "30d", "-30d", "3h", "-3h", ""}
	for i, offset := range offsets {
		if i > 0 {
			s.Stop()
			s.offset = offset
			mu.Lock()
			round = fmt.Sprint(i)
			mu.Unlock()
			s.serve()
			s.Must("flush")
			eventually(t, "what waited is gone", s.empty)
		} else {
			round = "0"
		}
		check(t, s.Send("sender@else.example", s.Account, letter(fmt.Sprintf("here-%d", i))))
		s.arrived(s.Account, s.Password, i+1)
		check(t, s.Send(s.Account, fmt.Sprintf("slow%d@else.example", i), letter(fmt.Sprintf("slow-%d", i))))
		eventually(t, "the first attempt has failed", func() bool {
			q := s.queue()
			return len(q) == 1 && q[0].Recipients[0].Attempts == 1
		})
	}
	mu.Lock()
	round = "none"
	mu.Unlock()
	s.Must("flush")
	s.drain()
	var subjects []string
	for _, m := range k.All() {
		header, _, _ := bytes.Cut(bytes.ReplaceAll(m.Content, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
		subjects = append(subjects, field(header, "Subject"))
	}
	slices.Sort(subjects)
	if want := "slow-0 slow-1 slow-2 slow-3 slow-4 slow-5"; strings.Join(subjects, " ") != want {
		t.Errorf("the other host got %v, want %s", subjects, want)
	}
	s.arrived(s.Account, s.Password, len(offsets)) // and no bounce
}
