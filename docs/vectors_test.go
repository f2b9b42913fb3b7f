package docs

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// vectorCount is the number of vectors of the qmail reference, section 28.
const vectorCount = 54

var (
	vectorLine = regexp.MustCompile(`^\| ([0-9]+) \| (.+) \| (same|differs|theirs|planned) \| (.*)\| (.*)\|$`)
	rowID      = regexp.MustCompile(`^[A-O][0-9]+\b`)
)

// Every vector is on its page once, in order, and what is said of it is shown by tests that exist.
// What is planned names a row of the feature page that does not work yet.
func TestTheVectorPageNamesWhatExists(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("vectors.md")
	if err != nil {
		t.Fatal(err)
	}
	features, err := os.ReadFile("features.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSuffix(line, "\n")
		m := vectorLine.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| no ") {
				t.Errorf("%q is no line of the table", line)
			}
			continue
		}
		seen++
		number, state, how, shown := m[1], m[3], strings.TrimSpace(m[4]), m[5]
		if number != strconv.Itoa(seen) {
			t.Errorf("vector %s stands where %d belongs", number, seen)
		}
		if state != "planned" {
			if state != "same" && how == "" {
				t.Errorf("vector %s is %q and does not say how", number, state)
			}
			checkTests(t, "vector "+number, shown)
			continue
		}
		row := rowID.FindString(how)
		if row == "" || !waits(string(features), row) {
			t.Errorf("vector %s waits for %q, which is no row that waits", number, how)
		}
	}
	if seen != vectorCount {
		t.Errorf("%d vectors are on the page, want %d", seen, vectorCount)
	}
}

// waits reports whether a row of the feature page does not work yet, or not wholly.
func waits(features, row string) bool {
	for line := range strings.Lines(features) {
		if m := rowLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil && m[1] == row {
			return m[3] != "works"
		}
	}
	return false
}
