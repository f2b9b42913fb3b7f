// Package migrate reads other mail systems' settings and says what they come to here: the
// keys of postilion.toml with the file and line that each value comes from, and for every
// line that was read whether it was taken, means something else here, or has no place here.
//
// It reads and never writes; nothing that a file says makes it fail as a whole.
package migrate

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fate is what became of a setting.
type Fate string

const (
	Taken      Fate = "taken"       // it means the same here
	Differs    Fate = "differs"     // it is taken, with a difference that the text names
	NotCarried Fate = "not carried" // it has no equal here; the text says what to do
)

// Note tells what became of one line, or of one file.
type Note struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // 1-based; 0 for the whole file
	What string `json:"what"`           // the setting as it stands there, shortened
	Fate Fate   `json:"fate"`
	Key  string `json:"key,omitempty"`  // ours
	Text string `json:"text,omitempty"` // the difference, or what to do instead
}

// Where returns FILE:LINE, or FILE.
func (n Note) Where() string {
	if n.Line == 0 {
		return n.File
	}
	return n.File + ":" + strconv.Itoa(n.Line)
}

// Setting is one key of postilion.toml.
type Setting struct {
	Key   string   `json:"key"`
	Value string   `json:"value"`          // as a flag would give it; unused for lists
	List  []string `json:"list,omitempty"` // of keys that are lists of texts
	File  string   `json:"file"`
	Line  int      `json:"line,omitempty"` // 0 when the file's absence says it
}

// Report is what a source of settings comes to.
type Report struct {
	Settings []Setting `json:"settings"`
	Notes    []Note    `json:"notes"`
}

// Set records a key's value. A later one replaces an earlier one of the same key.
func (r *Report) Set(key, value, file string, line int) {
	r.put(Setting{Key: key, Value: value, File: file, Line: line})
}

// SetList records the value of a key that is a list.
func (r *Report) SetList(key string, list []string, file string, line int) {
	r.put(Setting{Key: key, List: append([]string{}, list...), File: file, Line: line})
}

// Add appends to a key that is a list; the first entry's place is the list's.
func (r *Report) Add(key, entry, file string, line int) {
	if s := r.find(key); s != nil {
		if !slices.Contains(s.List, entry) {
			s.List = append(s.List, entry)
		}
		return
	}
	r.SetList(key, []string{entry}, file, line)
}

func (r *Report) put(s Setting) {
	if old := r.find(s.Key); old != nil {
		*old = s
		return
	}
	r.Settings = append(r.Settings, s)
}

func (r *Report) find(key string) *Setting {
	i := slices.IndexFunc(r.Settings, func(s Setting) bool { return s.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Settings[i]
}

// OneForAll leaves the next hop out where a route is for all domains, which goes before it.
func (r *Report) OneForAll() {
	const key = "route.next_hop"
	routes, _ := r.Get("route.routes")
	hop, ok := r.Get(key)
	if !ok || !slices.ContainsFunc(routes.List, func(s string) bool { return strings.HasPrefix(s, ":") }) {
		return
	}
	r.Settings = slices.DeleteFunc(r.Settings, func(s Setting) bool { return s.Key == key })
	r.Note(At(hop.File, hop.Line, "the next hop for all mail"), NotCarried, key, "a route for all domains goes before it")
}

// Get returns a key's setting.
func (r *Report) Get(key string) (Setting, bool) {
	s := r.find(key)
	if s == nil {
		return Setting{}, false
	}
	return *s, true
}

// Origin is a setting of the old system, and where it stands.
type Origin struct {
	File string
	Line int    // from 1; 0 for the whole file
	What string // as it stands there
}

// At returns the Origin of a line.
func At(file string, line int, what string) Origin { return Origin{file, line, what} }

// Note records what became of a setting: key is ours, "" for none, and the text tells the difference, or what to do
// instead.
func (r *Report) Note(o Origin, fate Fate, key, format string, args ...any) {
	r.Notes = append(r.Notes, Note{o.File, o.Line, shorten(o.What), fate, key, fmt.Sprintf(format, args...)})
}

// Taken notes a setting that means the same here as key.
func (r *Report) Taken(o Origin, key string) { r.Note(o, Taken, key, "") }

// shorten bounds what is quoted of a file.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Count tells how many notes have a fate.
func (r *Report) Count(f Fate) (n int) {
	for _, note := range r.Notes {
		if note.Fate == f {
			n++
		}
	}
	return n
}

// Sort orders the notes by file and line.
func (r *Report) Sort() {
	slices.SortStableFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// WriteNotes lists what became of each line. escape makes a text from a file safe for the
// reader's terminal.
func (r *Report) WriteNotes(w io.Writer, escape func(string) string) {
	for _, n := range r.Notes {
		fmt.Fprintf(w, "%s: %s: %s", escape(n.Where()), n.Fate, escape(n.What))
		if n.Key != "" {
			fmt.Fprintf(w, " -> %s", n.Key)
		}
		if n.Text != "" {
			fmt.Fprintf(w, "; %s", escape(n.Text))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d taken, %d differ, %d not carried\n", r.Count(Taken), r.Count(Differs), r.Count(NotCarried))
}

// Seconds writes a number of seconds as a duration's value.
func Seconds(n int64) string { return (time.Duration(n) * time.Second).String() }
