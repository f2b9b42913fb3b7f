package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/tools"
)

// Every page can be found from the README.
func TestTheReadmeLinksEveryPage(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if !strings.Contains(string(readme), "](docs/"+page+")") {
			t.Errorf("README.md does not link docs/%s", page)
		}
	}
}

// Every small program is on its page; the z-reports are there as `z...`.
func TestTheProgramPageNamesEveryProgram(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("programs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tools.Programs() {
		if !strings.HasPrefix(p.Name, "z") && !strings.Contains(string(page), "`"+p.Name+"`") {
			t.Errorf("programs.md does not name %s", p.Name)
		}
	}
}

// Every folder of internal is told of in the contributors' table.
func TestEveryFolderIsTold(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("contributing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Folders\n")
	table, _, _ = strings.Cut(table, "\n## ")
	folders, err := os.ReadDir("../internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if f.IsDir() && !strings.Contains(table, "`internal/"+f.Name()+"`") && !strings.Contains(table, "`"+f.Name()+"`") {
			t.Errorf("contributing.md does not tell of internal/%s", f.Name())
		}
	}
}
