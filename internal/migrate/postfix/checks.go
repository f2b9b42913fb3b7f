package postfix

import (
	"path/filepath"
	"strings"

	"github.com/postilion/postilion/internal/policy/headers"
)

// This file takes header_checks, mime_header_checks and nested_header_checks: content rules read their files as
// they stand. Where one of the latter two is set, each looks at its own fields alone, as in Postfix.

// checkScopes are the parameters with the word that stands before the path for each.
var checkScopes = map[string]string{"header_checks": "header:", "mime_header_checks": "mime:", "nested_header_checks": "nested:"}

func (r *reader) headerChecks(p parameter, value string) {
	const key = "content_rules.files"
	scopes := []string{checkScopes[p.name]}
	if p.name == "header_checks" {
		// The other two have its value unless they are set.
		for _, name := range []string{"mime_header_checks", "nested_header_checks"} {
			if _, ok := r.byName[name]; !ok {
				scopes = append(scopes, checkScopes[name])
			}
		}
		if len(scopes) == len(checkScopes) {
			scopes = []string{""}
		}
	}
	for table := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' }) {
		kind, path, ok := strings.Cut(table, ":")
		if !ok || kind != "regexp" && kind != "pcre" {
			r.not(p, key, "%s: rules are read from tables of the types regexp and pcre", table)
			continue
		}
		if !strings.HasPrefix(path, "/") {
			r.not(p, key, "%s: want an absolute path", table)
			continue
		}
		path = filepath.Join("/", r.o.Root, path)
		if err := (&headers.Options{Files: []string{path}}).Validate(); err != nil {
			wrong, _, _ := strings.Cut(err.Error(), "\n")
			r.not(p, key, "%s", wrong)
			continue
		}
		for _, s := range scopes {
			r.r.Add(key, s+path, r.file, p.line)
		}
		r.taken(p, key)
	}
}
