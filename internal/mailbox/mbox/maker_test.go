package mbox

import (
	"strings"
	"testing"
)

// FuzzMaker reads what may be in a NAME.lock: what is taken for a maker is what one of ours writes.
func FuzzMaker(f *testing.F) {
	for _, seed := range []string{"1 boot pid:[1] 5 x\n", "1\n", "", "0", "-1 a b c d\n", "1 a b c\n", "1 a b c d e\n", "99999999999999999999 a b c d", "1  b c d\n", "1 a b c d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := parseMaker(text)
		if !ok {
			return
		}
		p := Process{PID: m.pid, Boot: m.boot, PIDs: m.pids, Start: m.start, Started: func(int) (string, bool) { return m.start, true }}
		if m.boot == "" { // of a process that knows nothing of itself
			if p.same(m) || p.fate(m, true) != stranger {
				t.Errorf("%q is known again", text)
			}
			return
		}
		again, ok := parseMaker(p.text(m.serial))
		if !ok || again != m || !p.same(m) || p.fate(m, true) != alive {
			t.Errorf("%q became %+v and then %+v", text, m, again)
		}
		if m.pid <= 0 || strings.Contains(m.boot, " ") {
			t.Errorf("%q: %+v", text, m)
		}
	})
}
