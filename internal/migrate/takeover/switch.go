package takeover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	osfs "github.com/postilion/postilion/internal/fs/os"
)

// State is how far a switch is.
type State string

// The states of a switch, as its journal keeps them.
const (
	Never     State = ""           // nothing was switched
	GoingOver State = "going over" // begun; Over carries on, Back undoes
	IsOver    State = "over"
	GoingBack State = "going back" // begun; Back carries on
)

// Journal is what the data folder keeps of a switch.
type Journal struct {
	Version int       `json:"version"`
	State   State     `json:"state"`
	Root    string    `json:"root"`
	Began   time.Time `json:"began"`
	Plan    Plan      `json:"plan"`
}

const journalVersion = 1

// JournalPath is where a data folder keeps the journal.
func JournalPath(data string) string { return filepath.Join(data, "switch", "journal.json") }

// Read returns the journal of a data folder; its State is Never when there is none.
func Read(data string) (*Journal, error) {
	p, err := os.ReadFile(JournalPath(data))
	if errors.Is(err, fs.ErrNotExist) {
		return &Journal{}, nil
	}
	if err != nil {
		return nil, err
	}
	var j Journal
	if err := json.Unmarshal(p, &j); err != nil {
		return nil, fmt.Errorf("%s: %w", JournalPath(data), err)
	}
	if j.Version > journalVersion {
		return nil, fmt.Errorf("%s was written by a newer version of this program", JournalPath(data))
	}
	return &j, nil
}

// write keeps the journal so that no power cut loses it.
func (j *Journal) write(data string) error {
	path := JournalPath(data)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	p, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(osfs.Replace(path, append(p, '\n'), 0o600), osfs.Sync(filepath.Dir(dir)))
}

// Over takes over: it makes a plan and carries it out, or carries on with one that was cut
// short. It returns the journal; done before, it does nothing.
func Over(o Options) (*Journal, error) {
	j, err := Read(o.Data)
	if err != nil {
		return nil, err
	}
	switch j.State {
	case IsOver:
		return j, nil
	case GoingBack:
		return nil, errors.New("a switch back was cut short: finish it first with `postilion switch back`")
	case Never:
		plan, err := Make(o)
		if err != nil {
			return nil, err
		}
		j = &Journal{Version: journalVersion, State: GoingOver, Root: o.Root, Began: o.now(), Plan: *plan}
		if err := j.write(o.Data); err != nil {
			return nil, fmt.Errorf("the journal: %w", err)
		}
	default:
		o.Root = j.Root
	}
	if err := o.commands(j.Plan.Commands, first); err != nil {
		return j, err
	}
	for _, s := range j.Plan.Steps {
		if err := o.do(s); err != nil {
			return j, fmt.Errorf("%s: %w; nothing is lost: run `switch over` again to go on, or `switch back`", s, err)
		}
	}
	if err := o.commands(j.Plan.Commands, after); err != nil {
		return j, err
	}
	j.State = IsOver
	return j, j.write(o.Data)
}

// Back restores what Over changed. It returns the journal as it was; without a switch it does nothing.
func Back(o Options) (*Journal, error) {
	j, err := Read(o.Data)
	if err != nil || j.State == Never {
		return j, err
	}
	o.Root = j.Root
	if j.State != GoingBack {
		j.State = GoingBack
		if err := j.write(o.Data); err != nil {
			return nil, fmt.Errorf("the journal: %w", err)
		}
	}
	var errs []error
	for i, s := range slices.Backward(j.Plan.Steps) {
		// A folder made in the place of one that was not set aside is the old one.
		if s.Kind == Mkdir && i > 0 && !o.exists(j.Plan.Steps[i-1].To) {
			continue
		}
		if err := o.undo(s); err != nil {
			if errors.Is(err, errStop) {
				return j, err
			}
			errs = append(errs, fmt.Errorf("%s was not undone: %w", s, err))
		}
	}
	if errs != nil {
		return j, errors.Join(append(errs, errors.New("put that right and run `switch back` again"))...)
	}
	if err := o.commands(backwards(j.Plan.Commands), start); err != nil {
		return j, err
	}
	if err := os.Remove(JournalPath(o.Data)); err != nil {
		return j, err
	}
	return j, osfs.Sync(filepath.Dir(JournalPath(o.Data)))
}

// errStop marks the errors of Options.Step.
var errStop = errors.New("stopped")

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o *Options) step(what string) error {
	if o.Step == nil {
		return nil
	}
	if err := o.Step(what); err != nil {
		return fmt.Errorf("%w: %w", errStop, err)
	}
	return nil
}

func first(c Command) []string { return c.First }
func after(c Command) []string { return c.Over }
func start(c Command) []string { return c.Back }

// backwards is the order in which services are started again: init reads its files before that.
func backwards(list []Command) []Command {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// commands stops or starts services. It runs nothing below a root of its own.
func (o *Options) commands(list []Command, which func(Command) []string) error {
	if o.Run == nil || filepath.Join("/", o.Root) != "/" {
		return nil
	}
	var errs []error
	for _, c := range list {
		argv := which(c)
		if len(argv) == 0 {
			continue
		}
		if err := o.Run(argv); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", strings.Join(argv, " "), err))
		}
	}
	return errors.Join(errs...)
}

// do carries a step out, unless the disk shows that it is done.
func (o *Options) do(s Step) error {
	path := o.on(s.Path)
	switch s.Kind {
	case Aside:
		if o.exists(s.To) {
			return nil
		}
		if err := o.step(s.String()); err != nil {
			return err
		}
		return rename(path, o.on(s.To))
	case Mkdir:
		if o.exists(s.Path) {
			return nil
		}
		if err := o.step(s.String()); err != nil {
			return err
		}
		return errors.Join(os.Mkdir(path, 0o755), osfs.Sync(filepath.Dir(path)))
	}
	if have, err := os.Readlink(path); err == nil && have == s.To {
		return nil
	}
	if err := o.step(s.String()); err != nil {
		return err
	}
	return errors.Join(os.Symlink(s.To, path), osfs.Sync(filepath.Dir(path)))
}

// some names the first few files of a folder.
func (o *Options) some(folder string) string {
	const most = 5
	entries, _ := os.ReadDir(o.on(folder)) // what cannot be listed is named by its folder alone
	var names []string
	for _, e := range entries[:min(len(entries), most)] {
		names = append(names, fmt.Sprintf("%q", e.Name()))
	}
	if len(entries) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// undo takes a step back, unless the disk shows that it was not taken. What is no longer as
// the step left it is somebody else's: the error says so.
func (o *Options) undo(s Step) error {
	path := o.on(s.Path)
	switch s.Kind {
	case Aside:
		if !o.exists(s.To) {
			return nil
		}
		if o.exists(s.Path) {
			return fmt.Errorf("something new is at %s, and what was there is %s", s.Path, s.To)
		}
		if err := o.step("undo " + s.String()); err != nil {
			return err
		}
		return rename(o.on(s.To), path)
	case Mkdir:
		if !o.exists(s.Path) {
			return nil
		}
		if !o.isEmptyFolder(s.Path) {
			return fmt.Errorf("%s holds files of others: %s", s.Path, o.some(s.Path))
		}
		if err := o.step("undo " + s.String()); err != nil {
			return err
		}
		return errors.Join(os.Remove(path), osfs.Sync(filepath.Dir(path)))
	}
	have, err := os.Readlink(path)
	if err != nil || have != s.To {
		return nil // ours is gone; what is there now is found by the step that set the old one aside
	}
	if err := o.step("undo " + s.String()); err != nil {
		return err
	}
	return errors.Join(os.Remove(path), osfs.Sync(filepath.Dir(path)))
}

func (o *Options) isEmptyFolder(path string) bool {
	entries, err := os.ReadDir(o.on(path))
	return err == nil && len(entries) == 0
}

func rename(from, to string) error {
	return errors.Join(os.Rename(from, to), osfs.Sync(filepath.Dir(to)))
}
