package config

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postilion/postilion/internal/intake/netstrings"
)

// A default stands twice: in the tag, from which configuration and documentation take it, and in the code of the part,
// whose zero Options work without either. The test reads that code for a constant beside the field: behind `o.Field` or
// `&o.Field` in a call's arguments or a list's elements, or what `if o.Field == 0` leads to.

const module = "github.com/postilion/postilion/"

func TestPartsDefaultToWhatTheirTagsSay(t *testing.T) {
	t.Parallel()
	s, err := newSchema(reflect.TypeFor[Config]())
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]*partCode{}
	idle, total := netstrings.Timeouts(0, 0)
	elsewhere := map[string]time.Duration{ // another package's constants
		"internal/intake/qmtpd.Options.IdleTimeout": idle, "internal/intake/qmtpd.Options.Total": total,
		"internal/intake/qmqpd.Options.IdleTimeout": idle, "internal/intake/qmqpd.Options.Total": total,
	}
	done := map[string]bool{}
	for i := range s.keys {
		k := &s.keys[i]
		if k.Repeated {
			continue
		}
		owner, field := ownerOf(k)
		folder, ours := strings.CutPrefix(owner.PkgPath(), module)
		name := folder + "." + owner.Name() + "." + field.Name
		tag := field.Tag.Get("default")
		if !ours || folder == "internal/config" || done[name] || tag == "" || field.Type.Kind() == reflect.String {
			continue // an empty word is whatever the part takes it for
		}
		done[name] = true
		want := reflect.New(field.Type).Elem()
		if err := setText(want, k, tag); err != nil {
			t.Fatal(err)
		}
		if parts[folder] == nil {
			parts[folder] = readCode(t, folder)
		}
		have := parts[folder].defaults[field.Name]
		if d, ok := elsewhere[name]; ok {
			have = append(have, constant.MakeInt64(int64(d)))
		}
		switch {
		case want.IsZero():
		case len(have) == 0:
			t.Errorf("%s: the tag says %s, and no constant in the code", name, format(want, k))
		case !slices.ContainsFunc(have, func(c constant.Value) bool { return equal(want, c) }):
			t.Errorf("%s: the tag says %s, the code %v", name, format(want, k), have)
		}
	}
}

// ownerOf returns a key's field and the struct that has it.
func ownerOf(k *Key) (owner reflect.Type, f reflect.StructField) {
	t := reflect.TypeFor[Config]()
	for _, i := range k.path {
		owner, f = t, t.Field(i)
		t = f.Type
	}
	return owner, f
}

// equal reports whether a field holds what a constant says.
func equal(v reflect.Value, c constant.Value) bool {
	switch {
	case c.Kind() != constant.Int && c.Kind() != constant.Float:
	case v.CanInt():
		n, exact := constant.Int64Val(constant.ToInt(c))
		return exact && n == v.Int()
	case v.CanFloat():
		x, _ := constant.Float64Val(constant.ToFloat(c))
		return x == v.Float()
	}
	return false
}

// partCode is what the source of a package says.
type partCode struct {
	t         *testing.T
	constants map[string]ast.Expr
	imports   map[string]string           // folders of this program, by the last word
	defaults  map[string][]constant.Value // by field
}

func readCode(t *testing.T, folder string) *partCode {
	t.Helper()
	p := &partCode{t: t, constants: map[string]ast.Expr{}, imports: map[string]string{}, defaults: map[string][]constant.Value{}}
	paths, err := filepath.Glob(filepath.Join("../..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		for _, i := range f.Imports {
			if path := strings.Trim(i.Path.Value, `"`); strings.HasPrefix(path, module) {
				p.imports[filepath.Base(path)] = strings.TrimPrefix(path, module)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if d, ok := n.(*ast.ValueSpec); ok && len(d.Names) == len(d.Values) {
				for i, name := range d.Names {
					p.constants[name.Name] = d.Values[i]
				}
			}
			return true
		})
	}
	for _, f := range files {
		ast.Inspect(f, p.look)
	}
	return p
}

// look notes the constants that stand beside fields.
func (p *partCode) look(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		p.beside(n.Args)
	case *ast.CompositeLit:
		p.beside(n.Elts)
	case *ast.IfStmt:
		field := ""
		if c, ok := n.Cond.(*ast.BinaryExpr); ok && (c.Op == token.EQL || c.Op == token.LEQ) {
			field = fieldName(c.X)
		}
		if field == "" {
			break
		}
		for _, s := range n.Body.List {
			switch s := s.(type) {
			case *ast.AssignStmt:
				if to, ok := s.Lhs[0].(*ast.SelectorExpr); ok && to.Sel.Name == field {
					p.note(field, s.Rhs[0])
				}
			case *ast.ReturnStmt:
				if len(s.Results) > 0 {
					p.note(field, s.Results[0])
				}
			}
		}
	}
	return true
}

// beside notes a constant right behind a field.
func (p *partCode) beside(list []ast.Expr) {
	for i, e := range list[:max(len(list)-1, 0)] {
		if name := fieldName(e); name != "" {
			p.note(name, list[i+1])
		}
	}
}

func (p *partCode) note(field string, e ast.Expr) {
	if v := p.eval(e, 0); v.Kind() != constant.Unknown && v.ExactString() != "0" {
		p.defaults[field] = append(p.defaults[field], v)
	}
}

// fieldName returns Field of o.Field, &o.Field, x.opts.Field and conversions of them; "" for anything else.
func fieldName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.UnaryExpr:
		return fieldName(e.X)
	case *ast.CallExpr:
		if len(e.Args) > 0 {
			return fieldName(e.Args[0])
		}
	case *ast.SelectorExpr:
		holder := ""
		switch x := e.X.(type) {
		case *ast.Ident:
			holder = x.Name
		case *ast.SelectorExpr:
			holder = x.Sel.Name
		}
		if slices.Contains([]string{"o", "opts", "options", "Options"}, holder) {
			return e.Sel.Name
		}
	}
	return ""
}

// durations are package time's.
var durations = map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

// eval returns the value of a constant expression, else an unknown one.
func (p *partCode) eval(e ast.Expr, depth int) constant.Value {
	if depth > 10 {
		return constant.MakeUnknown()
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.ParenExpr:
		return p.eval(e.X, depth+1)
	case *ast.BinaryExpr:
		x, y := p.eval(e.X, depth+1), p.eval(e.Y, depth+1)
		if x.Kind() == constant.Unknown || y.Kind() == constant.Unknown {
			break
		}
		if e.Op == token.SHL {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n))
		}
		return constant.BinaryOp(x, e.Op, y)
	case *ast.Ident:
		if c, ok := p.constants[e.Name]; ok {
			return p.eval(c, depth+1)
		}
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		switch {
		case ok && x.Name == "time" && durations[e.Sel.Name] != 0:
			return constant.MakeInt64(int64(durations[e.Sel.Name]))
		case ok && p.imports[x.Name] != "":
			return readCode(p.t, p.imports[x.Name]).eval(e.Sel, depth+1)
		}
	}
	return constant.MakeUnknown()
}
