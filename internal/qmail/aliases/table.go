package aliases

import "github.com/postilion/postilion/internal/qmail"

// Table is aliases for lookup, letters' case ignored. A nil Table has none. It is safe for
// concurrent use.
type Table struct {
	aliases []Alias
	index   map[string]int
}

// NewTable makes a table. Of several with one name the first counts.
func NewTable(list []Alias) *Table {
	t := &Table{list, make(map[string]int, len(list))}
	for i, a := range list {
		if _, ok := t.index[qmail.Lower(a.Name)]; !ok {
			t.index[qmail.Lower(a.Name)] = i
		}
	}
	return t
}

// Lookup finds a name. An alias with a Fault is found: its mail waits.
func (t *Table) Lookup(name string) (Alias, bool) {
	if t == nil {
		return Alias{}, false
	}
	i, ok := t.index[qmail.Lower(name)]
	if !ok {
		return Alias{}, false
	}
	return t.aliases[i], true
}

// All returns the aliases in the order of the file. The slice is not to be changed.
func (t *Table) All() []Alias {
	if t == nil {
		return nil
	}
	return t.aliases
}
