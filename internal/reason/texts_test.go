package reason

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

var verb = regexp.MustCompile(`%(\[[1-9]\]s)?`)

// verbs lists the arguments that a text takes, sorted, each once.
func verbs(s string) (list []string) {
	for _, v := range verb.FindAllString(s, -1) {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return list
}

func TestEveryReasonSpeaksAllLanguages(t *testing.T) {
	t.Parallel()
	for id, text := range texts {
		want := verbs(text[English])
		for i, v := range want {
			if v != "%["+strconv.Itoa(i+1)+"]s" {
				t.Errorf("%s: verbs %q, want %%[1]s and so on, without a gap", id, want)
			}
		}
		for _, lang := range []Language{English, Korean, Japanese} {
			s := text[lang]
			if s == "" || strings.TrimSpace(s) != s || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%s in language %d: %q is no text of one line", id, lang, s)
			}
			if got := verbs(s); !slices.Equal(got, want) {
				t.Errorf("%s in language %d takes %q, in English %q", id, lang, got, want)
			}
		}
		if text[Korean] == text[English] || text[Japanese] == text[English] {
			t.Errorf("%s is not translated", id)
		}
	}
}

// declared finds the reasons that a file declares, as &Error{…} or ID constants, by variable name.
func declared(file *ast.File) map[string]string {
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, v := range spec.Values {
			if u, ok := v.(*ast.UnaryExpr); ok {
				v = u.X
			}
			if lit, ok := v.(*ast.CompositeLit); ok && isError(lit.Type) {
				found[spec.Names[i].Name] = idOf(lit)
			}
			if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "ID" {
				found[spec.Names[i].Name] = literal(v)
			}
		}
		return true
	})
	return found
}

// isError reports whether a type is Error or reason.Error.
func isError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Error"
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && x.Name == "reason" && e.Sel.Name == "Error"
	}
	return false
}

// idOf returns the Reason that a literal Error has, "" where it is computed.
func idOf(lit *ast.CompositeLit) string {
	for i, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		switch {
		case !ok && i == 3:
			return literal(e)
		case ok && kv.Key.(*ast.Ident).Name == "Reason":
			return literal(kv.Value)
		}
	}
	return ""
}

func literal(e ast.Expr) string {
	if b, ok := e.(*ast.BasicLit); ok && b.Kind == token.STRING {
		s, _ := strconv.Unquote(b.Value)
		return s
	}
	return ""
}

// sources parses the program's files, without tests.
func sources(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	files := token.NewFileSet()
	for _, root := range []string{"..", filepath.Join("..", "..", "cmd")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "queuetest" {
				return fs.SkipDir // a test's own
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err == nil {
				visit(path, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryReasonHasAText(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	sources(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && isError(lit.Type) && (file.Name.Name == "reason" || !isIdent(lit.Type)) {
				if id := idOf(lit); id != "" {
					seen[id] = true
				}
			}
			return true
		})
		if file.Name.Name == "reason" {
			for _, id := range declared(file) {
				seen[id] = true
			}
		}
	})
	for id := range seen {
		if _, ok := texts[ID(id)]; !ok {
			t.Errorf("reason %s has no text", id)
		}
	}
	for id := range texts {
		if !seen[string(id)] {
			t.Errorf("the text of %s belongs to no reason", id)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d reasons were found: the test looks in the wrong place", len(seen))
	}
}

func isIdent(e ast.Expr) bool { _, ok := e.(*ast.Ident); return ok }

// TestReasonsAreGivenTheirArguments: a text with verbs is never sent without what it takes.
func TestReasonsAreGivenTheirArguments(t *testing.T) {
	t.Parallel()
	wants := map[string]int{} // by name of the variable
	sources(t, func(path string, file *ast.File) {
		if file.Name.Name != "reason" {
			return
		}
		for name, id := range declared(file) {
			if isVariable(file, name) { // what other hosts refused gets its arguments where the reply is read
				wants[name] = len(verbs(texts[ID(id)][English]))
			}
		}
	})
	calls := 0
	sources(t, func(path string, file *ast.File) {
		var parents []ast.Node
		ast.Inspect(file, func(n ast.Node) bool {
			if n == nil {
				parents = parents[:len(parents)-1]
				return true
			}
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "reason" {
					if want, ok := wants[sel.Sel.Name]; ok {
						calls++
						checkUse(t, path, sel.Sel.Name, want, parents)
					}
				}
			}
			parents = append(parents, n)
			return true
		})
	})
	if calls < 50 {
		t.Errorf("only %d uses were found: the test looks in the wrong place", calls)
	}
}

// isVariable reports whether a file declares name by var.
func isVariable(file *ast.File, name string) bool {
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				if slices.ContainsFunc(s.(*ast.ValueSpec).Names, func(n *ast.Ident) bool { return n.Name == name }) {
					return true
				}
			}
		}
	}
	return false
}

// checkUse looks at one use of reason.NAME, given the nodes around it.
func checkUse(t *testing.T, path, name string, want int, parents []ast.Node) {
	t.Helper()
	n := len(parents)
	method := ""
	if sel, ok := parents[n-1].(*ast.SelectorExpr); ok {
		method = sel.Sel.Name
	}
	switch method {
	case "With":
		call, ok := parents[n-2].(*ast.CallExpr)
		// Further arguments are for programs, but a text without verbs would show them.
		if ok && !call.Ellipsis.IsValid() && (len(call.Args) < want || want == 0 && len(call.Args) > 0) {
			t.Errorf("%s: reason.%s is given %d arguments, its text takes %d", path, name, len(call.Args), want)
		}
	case "", "Because":
		if want > 0 {
			t.Errorf("%s: reason.%s is used without its %d arguments", path, name, want)
		}
	}
}
