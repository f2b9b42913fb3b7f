package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/datafolder"
	"github.com/postilion/postilion/internal/trace/logs"
)

// app is one run of the program: its streams and the flags that all verbs share.
type app struct {
	in       io.Reader
	out, err io.Writer

	data, config string
	qmail        string
	set          []string
	json         bool
	located      bool // data or config was given
	as           asFlags
}

// locate settles data folder and configuration from each other.
func (a *app) locate() error {
	if a.qmail != "" {
		dir, err := filepath.Abs(a.qmail)
		if err != nil {
			return err
		}
		a.set = append([]string{"qmail=" + dir}, a.set...)
	}
	asked := a.data != ""
	if !asked {
		a.data = os.Getenv("POSTILION_DATA")
	}
	a.located = a.data != "" || a.config != ""
	told := a.data != ""
	switch {
	case told:
	case a.config != "":
		a.data = filepath.Dir(a.config)
	default:
		a.data = a.asFolder(datafolder.Default())
	}
	abs, err := filepath.Abs(a.data)
	if err != nil {
		return err
	}
	a.data = abs
	apart := a.config != ""
	if !apart {
		a.config = datafolder.ConfigPath(a.data)
	}
	return a.agree(asked, told && apart)
}

// agree has the flags and the file speak of one data folder: verbs that look into another than the one that is served, or a
// server that makes its folders where the file happens to lie, are what nobody asks for. asked is whether --data was given;
// told is whether the folder is to be that of the flag, or of the environment, where the file does not name one.
func (a *app) agree(asked, told bool) error {
	f, err := config.Read(a.config, a.set)
	o, named := config.Origin{}, false
	if err == nil { // a file that is wrong is told by who reads it
		o, named = f.Origins["data"]
	}
	switch {
	case named && sameFolder(f.Data, a.data):
	case named && asked:
		return usageError{fmt.Errorf("--data says %s, and %s says data = %q: leave one of them out", a.data, o, f.Data)}
	case named:
		a.data = f.Data
	case told:
		a.set = append([]string{"data=" + a.data}, a.set...)
	}
	return nil
}

// sameFolder reports whether two paths lead to one folder.
func sameFolder(a, b string) bool {
	if a == b {
		return true
	}
	x, xerr := os.Stat(a)
	y, yerr := os.Stat(b)
	return xerr == nil && yerr == nil && os.SameFile(x, y)
}

// readConfig reads the configuration, with a hint when there is none.
func (a *app) readConfig() (*config.File, error) {
	f, err := config.Read(a.config, a.set)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration %s: make one with `postilion quickstart DOMAIN`, or name yours with --config or --data%w", a.config, errNoConfig)
	}
	return f, err
}

// printJSON prints v with nothing in it that a terminal obeys: indented on a terminal,
// elsewhere in one line, so that a program can read lines.
func (a *app) printJSON(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	if f, ok := a.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		e.SetIndent("", "  ")
	}
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(logs.PlainJSON(b.Bytes()))
	return err
}

// show prints v as JSON with --json, and lets human print it otherwise.
func (a *app) show(v any, human func(w io.Writer)) error {
	if a.json {
		return a.printJSON(v)
	}
	w := bufio.NewWriter(a.out)
	human(w)
	return w.Flush()
}

// done tells what was done: a sentence, or {"done": true, …} with --json.
func (a *app) done(format string, args ...any) error {
	if a.json {
		return a.printJSON(map[string]any{"done": true, "text": fmt.Sprintf(format, args...)})
	}
	fmt.Fprintln(a.out, escape(fmt.Sprintf(format, args...)))
	return nil
}

// table prints rows in columns below a head. Cells are escaped.
func (a *app) table(w io.Writer, head []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = escape(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush()
}

// escape makes a text from outside safe for a terminal: control characters, bytes that
// are no UTF-8 and invisible runes are written as Go writes them in quotes.
func escape(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

func isPlain(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// escapeLines escapes all but line ends.
func escapeLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = escape(l)
	}
	return strings.Join(lines, "\n")
}

// terminal reports whether the output is a terminal that wants colours.
func (a *app) terminal() bool {
	f, ok := a.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// colour paints s on a terminal: "red", "green" or "yellow".
func (a *app) colour(name, s string) string {
	code := map[string]string{"red": "31", "green": "32", "yellow": "33", "bold": "1"}[name]
	if code == "" || !a.terminal() {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// confirm asks before many things change. Without a terminal --yes is needed.
func (a *app) confirm(yes bool, format string, args ...any) error {
	question := fmt.Sprintf(format, args...)
	if yes {
		return nil
	}
	f, ok := a.in.(*os.File)
	if a.json || !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{fmt.Errorf("%s: say --yes to do it", question)}
	}
	fmt.Fprintf(a.err, "%s. Go on? [y/N] ", escape(question))
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return errors.New("nothing was changed")
	}
	return nil
}

// ago writes an age in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in " + ago(-d)
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// firstLine reads one line of the standard input, such as a password.
func (a *app) firstLine() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(a.in, 4096)).ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && line != "") {
		return "", fmt.Errorf("reading the standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
