// Package docs checks what the pages of this folder say of the code.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rows is the number of rows of each group of the feature table.
var rows = []struct {
	group string
	count int
}{
	{"A", 13}, {"B", 4}, {"C", 6}, {"D", 18}, {"E", 10}, {"F", 4}, {"G", 8}, {"H", 4},
	{"I", 6}, {"J", 5}, {"K", 8}, {"L", 4}, {"M", 9}, {"N", 5}, {"O", 3},
}

var (
	rowLine = regexp.MustCompile(`^\| ([A-O][0-9]+) \| (.*) \| (.*) \| (.*) \| (.*) \|$`)
	quoted  = regexp.MustCompile("`([^`]+)`")
	link    = regexp.MustCompile(`\]\(([^)#]+)`)
)

// Every row of the table is on the page once, and what is said to work names tests and
// pages that exist.
func TestTheFeaturePageNamesWhatExists(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("features.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(page)) {
		m := rowLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		id, state, where, shown := m[1], m[3], m[4], m[5]
		seen[id]++
		switch {
		case state == "planned":
			continue
		case state != "works" && !strings.HasPrefix(state, "partly: "):
			t.Errorf("%s: state %q: want works, partly: WHAT IS MISSING, or planned", id, state)
		}
		for _, l := range link.FindAllStringSubmatch(where, -1) {
			if _, err := os.Stat(l[1]); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		if !strings.Contains(where, "](") {
			t.Errorf("%s says %q and names no page", id, state)
		}
		checkTests(t, id, shown)
	}
	for _, g := range rows {
		for n := range g.count {
			id := fmt.Sprint(g.group, n+1)
			if seen[id] != 1 {
				t.Errorf("row %s is on the page %d times", id, seen[id])
			}
			delete(seen, id)
		}
	}
	for id := range seen {
		t.Errorf("there is no row %s", id)
	}
}

// checkTests reads a cell such as "`internal/stats` `TestOne`, `TestTwo`": folders with the
// tests in them.
func checkTests(t *testing.T, id, cell string) {
	t.Helper()
	dir, tests := "", 0
	for _, q := range quoted.FindAllStringSubmatch(cell, -1) {
		if !strings.HasPrefix(q[1], "Test") {
			dir = q[1]
			continue
		}
		tests++
		files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(text), "\nfunc "+q[1]+"(")
		}
		if !found {
			t.Errorf("%s: there is no %s in %s", id, q[1], dir)
		}
	}
	if tests == 0 {
		t.Errorf("%s names no test", id)
	}
}

// Links between the pages lead somewhere.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md", "../CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), l[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
