package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results holds the figures by row and column, in the order they came.
type results struct {
	rows  []string
	cells map[string]map[string][]figures
	floor []string // lines of text
}

func (r *results) add(row, column string, f figures) {
	if r.cells == nil {
		r.cells = map[string]map[string][]figures{}
	}
	if r.cells[row] == nil {
		r.rows = append(r.rows, row)
		r.cells[row] = map[string][]figures{}
	}
	r.cells[row][column] = append(r.cells[row][column], f)
}

func (r *results) median(row, column string, of func(figures) float64) (float64, bool) {
	var v []float64
	for _, f := range r.cells[row][column] {
		v = append(v, of(f))
	}
	return median(v), len(v) > 0
}

// ratio is the median of what one column did as a multiple of another in the same turn.
func (r *results) ratio(row, column, base string) (float64, bool) {
	v := r.pairs(row, column, base, func(f, base figures) float64 { return f.rate / base.rate })
	return median(v), len(v) > 0
}

// cpu is the mean: the clock of a process ticks too coarsely for one burst.
func (r *results) cpu(row, column string) (mean float64) {
	list := r.cells[row][column]
	for _, f := range list {
		mean += f.cpu / float64(len(list))
	}
	return mean
}

// pairs applies of to what two columns did in the same turns.
func (r *results) pairs(row, column, base string, of func(f, base figures) float64) (v []float64) {
	list, bases := r.cells[row][column], r.cells[row][base]
	for i := range min(len(list), len(bases)) {
		v = append(v, of(list[i], bases[i]))
	}
	return v
}

// allowed is what a column of the row oneSession did of what the null sink's round trip and one sync take together, the median of the turns.
func (r *results) allowed(column string) (float64, bool) {
	trips := r.pairs(oneSession, "null sink", "one sync", func(trip, sync figures) float64 { return 1/trip.rate + 1/sync.rate })
	list := r.cells[oneSession][column]
	var v []float64
	for i := range min(len(trips), len(list)) {
		v = append(v, list[i].rate*trips[i])
	}
	return median(v), len(v) > 0
}

// floors measures what the disk allows.
func (b *bench) floors() error {
	for _, writers := range []int{1, 4, 20} {
		n, err := syncFloor(b.dir, writers, 2*time.Second)
		if err != nil {
			return err
		}
		b.results.floor = append(b.results.floor, fmt.Sprintf("%d writers: %.0f", writers, n))
	}
	return nil
}

// columns of the table, in order; those that were not measured are left out.
var columns = []string{"one sync", "null sink", "two processes at least", "Postfix", "notqmail", "Postilion, roles apart", "Postilion, one process"}

// table renders the results in Markdown: rate and CPU a message, with the ratio to the
// server beside behind ours.
func (r *results) table() []byte {
	used := slices.DeleteFunc(slices.Clone(columns), func(c string) bool {
		return !slices.ContainsFunc(r.rows, func(row string) bool { return len(r.cells[row][c]) > 0 })
	})
	var b bytes.Buffer
	fmt.Fprintf(&b, "| messages/s; server CPU a message | %s |\n|---|%s\n", strings.Join(used, " | "), strings.Repeat("---|", len(used)))
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s |", row)
		for _, c := range used {
			fmt.Fprintf(&b, " %s |", r.cell(row, c))
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func (r *results) cell(row, column string) string {
	rate, ok := r.median(row, column, func(f figures) float64 { return f.rate })
	cpu := r.cpu(row, column)
	rss, _ := r.median(row, column, func(f figures) float64 { return f.rss })
	switch {
	case !ok:
		return "–"
	case rate == 0:
		return fmt.Sprintf("%.0f MiB", rss)
	case cpu == 0:
		return fmt.Sprintf("%.0f", rate)
	}
	s := fmt.Sprintf("%.0f; %.0f µs", rate, cpu)
	if !strings.HasPrefix(column, "Postilion") {
		return s
	}
	for _, peer := range []string{"Postfix", "notqmail"} {
		if ratio, ok := r.ratio(row, column, peer); ok {
			s += fmt.Sprintf(" (%.1f×)", ratio)
		}
	}
	return s
}

const (
	beginMark = "<!-- bench: begin -->\n"
	endMark   = "<!-- bench: end -->\n"
)

// report prints the results, or puts them between the markers of a file.
func (b *bench) report(output string) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Measured %s on %d processors, Linux %s, %d rounds, medians. Syncs of a 4 KiB append a second: %s.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), kernel(), b.rounds, strings.Join(b.results.floor, ", "))
	if b.postfix != "" {
		fmt.Fprintf(&out, "Without Postfix: %s.\n", b.postfix)
	}
	out.WriteByte('\n')
	out.Write(b.results.table())
	var shares []string
	for _, c := range columns {
		if share, ok := b.results.allowed(c); ok && c != "one sync" && c != "null sink" {
			shares = append(shares, fmt.Sprintf("%s %.0f %%", c, 100*share))
		}
	}
	if len(shares) > 0 {
		fmt.Fprintf(&out, "\nOne session on a reused connection, of what the null sink's round trip and one sync allow (medians of the turns): %s.\n", strings.Join(shares, ", "))
	}
	if output == "" {
		_, err := os.Stdout.Write(out.Bytes())
		return err
	}
	text, err := os.ReadFile(output)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(beginMark))
	_, tail, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", output, beginMark, endMark)
	}
	return os.WriteFile(output, slices.Concat(head, []byte(beginMark), out.Bytes(), []byte(endMark), tail), 0o644)
}

func kernel() string {
	out, err := exec.Command("uname", "-r").Output()
	if err != nil {
		return "of unknown version"
	}
	return strings.TrimSpace(string(out))
}
