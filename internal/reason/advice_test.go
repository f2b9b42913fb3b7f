package reason

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// A reason whose cause and remedy nobody wrote down is of no help to whoever meets it.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	for _, id := range IDs() {
		seen := map[string]bool{}
		for _, lang := range []Language{English, Korean, Japanese} {
			cause, remedy, ok := Advice(ID(id), lang)
			if !ok {
				t.Errorf("%s has no cause and remedy: add them to an advice table", id)
				break
			}
			for _, s := range []string{cause, remedy} {
				if s == "" || strings.TrimSpace(s) != s || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n") || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "。") {
					t.Errorf("%s in %s: %q is no sentence of one line without its end", id, lang.Tag(), s)
				}
				if ascii := !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x1100 }); ascii != (lang == English) || seen[s] {
					t.Errorf("%s in %s: %q is not in that language", id, lang.Tag(), s)
				}
				seen[s] = true
			}
		}
	}
	texts := map[ID]int{}
	for _, table := range adviceTables {
		for id := range table {
			texts[id]++
		}
	}
	for id, n := range texts {
		if n > 1 {
			t.Errorf("%s is explained %d times", id, n)
		}
	}
}

func TestLanguagesAreFoundByTheirTags(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]Language{"en": English, "ko": Korean, "ko-KR": Korean, "JA": Japanese, "ja_JP.UTF-8": Japanese} {
		if got, ok := LanguageOf(tag); !ok || got != want {
			t.Errorf("%q is %v, %v", tag, got, ok)
		}
	}
	for _, tag := range []string{"", "k", "kok", "C", "de"} {
		if _, ok := LanguageOf(tag); ok {
			t.Errorf("%q is a language", tag)
		}
	}
}
