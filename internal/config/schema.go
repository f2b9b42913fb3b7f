// Package config is the whole configuration: it composes the Options of the parts and
// reads postilion.toml into them.
//
// Everything that is known of a key stands in the struct tags beside its Go field:
// toml (name), default, unit, doc, example, and secret. The reference page, `config
// explain` and the error texts come from there, so none of them can drift.
package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key is one key of the configuration.
type Key struct {
	Name      string `json:"key"`  // with its group: "smtp.max_size"
	Type      string `json:"type"` // "text", "yes or no", "number", "duration", "size", "list of texts"
	Unit      string `json:"unit,omitempty"`
	Default   string `json:"default"`                // as it would be written; "" for none
	Described string `json:"default_from,omitempty"` // where the value is taken from when there is none
	Doc       string `json:"meaning"`                // one line
	Example   string `json:"example,omitempty"`
	Secret    bool   `json:"secret,omitempty"`   // its value is shown only when asked for
	Repeated  bool   `json:"repeated,omitempty"` // it belongs to a [[group]] that can be given many times

	hidden   string // what begins the words of its value that are shown only when asked for; "" for none
	min, max string // the least and the most that may be given, as it would be written; "" for 0 and for no bound

	path []int // of the field, below its [[group]]'s element if Repeated
	also []int // of a second field that the key sets, where two parts of a group share it
	typ  reflect.Type
}

// Group is one [group] of keys.
type Group struct {
	Name     string // "" for the keys outside of groups
	Doc      string
	Repeated bool

	path []int
	typ  reflect.Type
}

// schema is what a struct says about its keys, in the order of its fields.
type schema struct {
	groups []Group
	keys   []Key
	byName map[string]*Key
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	stringsType  = reflect.TypeFor[[]string]()
)

// newSchema reads the tags of a struct type. A field that cannot be a key is a
// mistake in the program, and the error names it.
func newSchema(t reflect.Type) (*schema, error) {
	s := &schema{byName: map[string]*Key{}}
	s.groups = append(s.groups, Group{})
	if err := s.walk(t, Group{typ: t}, nil, nil); err != nil {
		return nil, err
	}
	for i := range s.keys {
		k := &s.keys[i]
		if s.byName[k.Name] != nil {
			return nil, fmt.Errorf("config: two fields are called %s", k.Name)
		}
		s.byName[k.Name] = k
	}
	return s, nil
}

// walk adds the keys of a struct. overrides replaces the defaults of the parts' own tags,
// as a group's field asks with its "defaults" tag.
func (s *schema) walk(t reflect.Type, g Group, path []int, overrides map[string]string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(append([]int(nil), path...), i)
		name := f.Tag.Get("toml")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			if err := s.walk(f.Type, g, at, overrides); err != nil {
				return err
			}
		case name == "" || name == "-" || !f.IsExported():
		case isGroup(f.Type):
			if g.Name != "" {
				name = g.Name + "." + name
			}
			sub := Group{Name: name, Doc: f.Tag.Get("doc"), path: at, typ: f.Type}
			below := at
			if f.Type.Kind() == reflect.Slice {
				sub.Repeated, sub.typ, below = true, f.Type.Elem(), nil
			}
			s.groups = append(s.groups, sub)
			if err := s.walk(sub.typ, sub, below, pairs(f.Tag.Get("defaults"))); err != nil {
				return err
			}
		default:
			k, err := newKey(f, g, at, overrides)
			if err != nil {
				return err
			}
			if i := s.index(k.Name); i >= 0 && s.keys[i].typ == k.typ && s.keys[i].also == nil {
				s.keys[i].also = at
				continue
			}
			s.keys = append(s.keys, k)
		}
	}
	return nil
}

func (s *schema) index(name string) int {
	return slices.IndexFunc(s.keys, func(k Key) bool { return k.Name == name })
}

// share copies a key's value to the second field that it sets.
func (k *Key) share(root reflect.Value) {
	if k.also != nil {
		root.FieldByIndex(k.also).Set(root.FieldByIndex(k.path))
	}
}

func isGroup(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

// pairs splits a "defaults" tag: "listen=:25; max_size=10MiB".
func pairs(tag string) map[string]string {
	m := map[string]string{}
	for p := range strings.SplitSeq(tag, ";") {
		if name, value, ok := strings.Cut(strings.TrimSpace(p), "="); ok {
			m[name] = value
		}
	}
	return m
}

func newKey(f reflect.StructField, g Group, path []int, overrides map[string]string) (Key, error) {
	name := f.Tag.Get("toml")
	k := Key{
		Name: name, Unit: f.Tag.Get("unit"), Default: f.Tag.Get("default"), Doc: f.Tag.Get("doc"),
		Example: f.Tag.Get("example"), Secret: f.Tag.Get("secret") == "true", hidden: f.Tag.Get("secret_words"),
		Repeated: g.Repeated, min: f.Tag.Get("min"), max: f.Tag.Get("max"), path: path, typ: f.Type,
	}
	if g.Name != "" {
		k.Name = g.Name + "." + name
	}
	if d, ok := overrides[name]; ok {
		k.Default = d
	}
	k.Type = typeName(f.Type, k.Unit)
	if f.Type.Kind() == reflect.String && strings.Contains(k.Default, " ") {
		// Words that describe: the value is taken from elsewhere when there is none.
		k.Described, k.Default = k.Default, ""
	}
	if k.Type == "" {
		return k, fmt.Errorf("config: field %s of type %s cannot be a key", k.Name, f.Type)
	}
	if k.Doc == "" {
		return k, fmt.Errorf("config: field %s has no doc tag", k.Name)
	}
	for what, value := range map[string]string{"default": k.Default, "min": k.min, "max": k.max} {
		if value == "" {
			continue
		}
		if err := setText(reflect.New(f.Type).Elem(), &k, value); err != nil {
			return k, fmt.Errorf("config: the %s of %s: %w", what, k.Name, err)
		}
	}
	return k, nil
}

func typeName(t reflect.Type, unit string) string {
	switch {
	case t == durationType:
		return "duration"
	case t == stringsType:
		return "list of texts"
	case reflect.PointerTo(t).Implements(textType):
		return "text"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "yes or no"
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8,
		reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		if unit == "bytes" {
			return "size"
		}
		return "number"
	case reflect.Float64:
		return "number"
	}
	return ""
}

// setText sets v from a value written without TOML's quotes, as defaults and flags are.
func setText(v reflect.Value, k *Key, s string) error {
	t := v.Type()
	switch {
	case t == durationType:
		d, err := ParseDuration(s)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	case t == stringsType:
		var list []string
		for p := range strings.SplitSeq(s, ",") {
			if p = strings.TrimSpace(p); p != "" {
				list = append(list, p)
			}
		}
		v.Set(reflect.ValueOf(list))
		return nil
	case reflect.PointerTo(t).Implements(textType):
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return wantError(k, strconv.Quote(s))
		}
		v.SetBool(b)
	case reflect.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return wantError(k, strconv.Quote(s))
		}
		v.SetFloat(f)
	default:
		return setInteger(v, k, s)
	}
	return nil
}

func setInteger(v reflect.Value, k *Key, s string) error {
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
	if err != nil && k.Type == "size" {
		n, err = ParseSize(s)
	}
	if err != nil {
		return wantError(k, strconv.Quote(s))
	}
	return setInt(v, k, n)
}

func setInt(v reflect.Value, k *Key, n int64) error {
	switch {
	case v.CanInt() && !v.OverflowInt(n):
		v.SetInt(n)
	case v.CanUint() && n >= 0 && !v.OverflowUint(uint64(n)):
		v.SetUint(uint64(n))
	default:
		return fmt.Errorf("%d is out of the range of %s", n, k.Name)
	}
	return nil
}

// wantError says what a key takes when it was given something else.
func wantError(k *Key, have string) error {
	want := map[string]string{
		"text": `a text in quotes`, "yes or no": "true or false", "number": "a number",
		"duration":      `a duration such as "5m" or "1h30m"`,
		"size":          `a size such as "64KiB", or a number of bytes`,
		"list of texts": `a list of texts such as ["a", "b"]`,
	}[k.Type]
	if k.Type == "number" && k.Unit != "" {
		want += " of " + k.Unit
	}
	return fmt.Errorf("want %s, have %s", want, have)
}

// format writes a value as setText reads it.
func format(v reflect.Value, k *Key) string {
	t := v.Type()
	switch {
	case t == durationType:
		return FormatDuration(time.Duration(v.Int()))
	case t == stringsType:
		return strings.Join(v.Interface().([]string), ", ")
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		p, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return ""
		}
		return string(p)
	}
	switch {
	case k.Type == "size" && v.CanInt():
		return FormatSize(v.Int())
	case k.Type == "size" && v.CanUint():
		return FormatSize(int64(v.Uint()))
	}
	return fmt.Sprint(v.Interface())
}

// literal writes a value as TOML.
func literal(v reflect.Value, k *Key) string {
	if v.Type() == stringsType {
		var b strings.Builder
		b.WriteByte('[')
		for i, s := range v.Interface().([]string) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(tomlString(s))
		}
		b.WriteByte(']')
		return b.String()
	}
	s := format(v, k)
	switch k.Type {
	case "text", "duration", "size":
		return tomlString(s)
	}
	return s
}

// tomlString quotes s as a TOML basic string.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
