package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/config"
)

// pages returns the text of each page, without what is generated.
func pages(t *testing.T) map[string]string {
	t.Helper()
	list, err := filepath.Glob("../../docs/*.md")
	check(t, err)
	texts := map[string]string{}
	for _, path := range append(list, "../../README.md") {
		text, err := os.ReadFile(path)
		check(t, err)
		if filepath.Base(path) != "configuration.md" {
			texts[path] = string(text)
		}
	}
	return texts
}

var (
	command = regexp.MustCompile("(?m)(?:^\\s*|[\x60(]|[$;&] |exec )postilion ([a-z][^\x60\n#|;>)]*)")
	flag    = regexp.MustCompile(`^--?([a-z][a-z-]*)`)
	key     = regexp.MustCompile("\x60([a-z_0-9]+(?:\\.[a-z_0-9]+)+)\x60")
)

// Every command on a page is one that the program knows, with its flags.
func TestPagesNameVerbsAndFlagsThatExist(t *testing.T) {
	t.Parallel()
	seen := 0
	for page, text := range pages(t) {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1])
			root := (&app{out: io.Discard, err: io.Discard}).root()
			root.InitDefaultHelpCmd()
			verb, rest, err := root.Find(words)
			if err != nil || verb == root || verb.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
				t.Errorf("%s: `postilion %s`: there is no such verb", page, m[1])
				continue
			}
			seen++
			for _, w := range rest {
				if f := flag.FindStringSubmatch(w); f != nil && strings.HasPrefix(w, "--") && verb.Flag(f[1]) == nil && f[1] != "help" {
					t.Errorf("%s: `postilion %s`: %s has no flag --%s", page, m[1], verb.CommandPath(), f[1])
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d commands were seen", seen)
	}
}

// Every key on a page is one of the configuration's.
func TestPagesNameKeysThatExist(t *testing.T) {
	t.Parallel()
	groups, keys := map[string]bool{}, map[string]bool{}
	_, all, err := config.Schema()
	check(t, err)
	for _, k := range all {
		group, _, _ := strings.Cut(k.Name, ".")
		groups[group], keys[k.Name] = true, true
	}
	seen := 0
	for page, text := range pages(t) {
		for _, m := range key.FindAllStringSubmatch(text, -1) {
			group, _, _ := strings.Cut(m[1], ".")
			if !groups[group] || strings.HasSuffix(m[1], ".sock") {
				continue
			}
			if seen++; !keys[m[1]] {
				t.Errorf("%s: there is no key %s", page, m[1])
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d keys were seen", seen)
	}
}
