package reason

import "strings"

// This file is why a reason comes up and what to do about it, in each language: what `explain` tells and
// what a bounce adds for its reader. Each reason has an entry in one of the advice tables; a test says
// which are missing.

// advice is a cause and a remedy in the order of Language.
type advice struct{ cause, remedy [3]string }

// adviceTables hold an entry for each reason.
var adviceTables = []map[ID]advice{addressAdvice, remoteAdvice, mailboxAdvice, intakeAdvice, authAdvice, hostAdvice, adminAdvice}

// Advice returns why a reason comes up, and what to do about it, in the given language.
func Advice(id ID, lang Language) (cause, remedy string, ok bool) {
	for _, table := range adviceTables {
		if a, ok := table[id]; ok {
			return a.cause[lang], a.remedy[lang], true
		}
	}
	return "", "", false
}

// LanguageOf finds a language by its tag, of which only the first part counts: "ko-KR" is Korean.
func LanguageOf(tag string) (Language, bool) {
	for i, name := range [...]string{English: "en", Korean: "ko", Japanese: "ja"} {
		if len(tag) >= 2 && (tag[0]|0x20) == name[0] && (tag[1]|0x20) == name[1] && (len(tag) == 2 || tag[2] == '-' || tag[2] == '_') {
			return Language(i), true
		}
	}
	return English, false
}

// Tag returns the language's tag.
func (l Language) Tag() string { return [...]string{English: "en", Korean: "ko", Japanese: "ja"}[l] }

// Explained returns the text of a reason with "*" for what differs from case to case.
func Explained(id ID, lang Language) string {
	return strings.NewReplacer("%[1]s", "*", "%[2]s", "*", "%[3]s", "*", "%[4]s", "*").Replace(texts[id][lang])
}
