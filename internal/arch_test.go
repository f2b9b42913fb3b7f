package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// layers lists the folders of internal from the top down, as docs/contributing.md
// draws them. A package may import those of its own layer and below, never above.
var layers = [][]string{
	{"service", "verbs"},
	{"datafolder"},
	{"config"},
	{"control", "console", "doctor", "explain", "migrate", "tools"},
	{"seam"},
	{"access"},
	{"intake"},
	{"dispatch"},
	{"list", "submit"},
	{"policy"},
	{"deliver/local", "deliver/runas", "deliver/remote"},
	{"bounce"},
	{"deliver"},
	{"route"},
	{"authority"},
	{"auth"},
	{"queue", "mailbox"},
	{"directory"},
	{"blob"},
	{"stats"},
	{"trace", "record"},
	{"serve"},
	{"rpc"},
	{"inject"},
	{"sieve", "dkim", "spf", "dmarc", "srs", "dnsbl"},
	{"smtp", "qmail", "mime"},
	{"mail"},
	{"reason"},
	{"pebblex", "sqlx"},
	{"netx"},
	{"fs"},
	{"id", "role"},
	{"clock"},
	{"testcount", "realmail", "workers"},
}

// strangers are pairs of folders of one layer that do not import each other: what both need lies below them.
var strangers = [][2]string{{"service", "verbs"}}

// layer returns the number of the layer that holds the folder, by its longest prefix.
func layer(folder string) (int, bool) {
	best, at := -1, 0
	for i, l := range layers {
		for _, f := range l {
			if within(folder, f) && len(f) > best {
				best, at = len(f), i
			}
		}
	}
	return at, best >= 0
}

// within reports whether a folder is f or below it.
func within(folder, f string) bool { return folder == f || strings.HasPrefix(folder, f+"/") }

func TestImportsRunDownwardsOnly(t *testing.T) {
	t.Parallel()
	const module = "github.com/postilion/postilion/internal/"
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		from, ok := layer(folder)
		if !ok {
			t.Errorf("%s: folder %s has no layer: give it one in arch_test.go", path, folder)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			target, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			to, internal := strings.CutPrefix(target, module)
			if !internal {
				continue
			}
			seen++
			if l, ok := layer(to); ok && l < from {
				t.Errorf("%s imports %s, which lies above it", path, to)
			}
			for _, s := range strangers {
				if within(folder, s[0]) && within(to, s[1]) || within(folder, s[1]) && within(to, s[0]) {
					t.Errorf("%s imports %s: neither knows of the other", path, to)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no imports were seen: the test looks in the wrong place")
	}
}
