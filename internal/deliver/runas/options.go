package runas

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Options are what an operator may choose. The zero value serves nobody.
type Options struct {
	Enabled bool `toml:"enabled" doc:"deliver to users of this system, and let them read their mail; without it the part that keeps root does not exist" example:"true"`
	// MaildirPath is below the home.
	MaildirPath string `toml:"maildir" default:"Maildir" doc:"the Maildir in a user's home that POP3 shows" example:"Mail/inbox"`

	Programs        int           `toml:"programs" default:"50" unit:"programs" doc:"programs that deliveries run at once" example:"20"`
	ProgramsPerUser int           `toml:"programs_per_user" default:"10" unit:"programs" doc:"programs that deliveries to one user run at once" example:"3"`
	Time            time.Duration `toml:"program_time" default:"15m" doc:"time after which a program and what it started in its process group is ended" example:"1h"`
	CPU             time.Duration `toml:"program_cpu" default:"5m" min:"-1s" doc:"processor time that each process may use; -1s is no limit" example:"1m"`
	Memory          int64         `toml:"program_memory" default:"512MiB" unit:"bytes" min:"-1" doc:"memory (RLIMIT_DATA) that each process may have; -1 is no limit" example:"2GiB"`
	Processes       int64         `toml:"program_processes" default:"256" unit:"processes" min:"-1" doc:"processes that the user may have in all while a program runs (RLIMIT_NPROC); -1 is no limit" example:"50"`
	FileSize        int64         `toml:"program_file_size" default:"10GiB" unit:"bytes" min:"-1" doc:"size up to which a program may write a file; -1 is no limit" example:"100MiB"`
	Files           int64         `toml:"program_files" default:"1024" unit:"descriptors" min:"-1" doc:"files that each process may have open; -1 is no limit" example:"64"`
	Nice            int           `toml:"program_nice" default:"0" unit:"nice" doc:"how much programs stand back behind others, 0 to 19" example:"10"`
	OOM             int           `toml:"program_oom" default:"500" unit:"oom_score_adj" min:"-1" doc:"how early programs are ended when memory runs out (proc(5)), 1 to 1000; -1 leaves it" example:"1000"`
	// Setuid lets programs gain rights by setuid files.
	Setuid bool `toml:"program_setuid" doc:"let programs gain rights by setuid and setgid files, such as an old procmail for its lock files" example:"true"`
	// RefusedGroups has names and numbers with spaces between them.
	RefusedGroups string `toml:"refused_groups" default:"root wheel sudo admin google-sudoers disk kmem mem shadow tty input docker podman lxd incus incus-admin libvirt adm systemd-journal staff" doc:"groups of /etc/group that give power over the machine: mail for a user to whom users/assign or a list gives one waits, unless it is the user's own in passwd, and not root's; none refuses none" example:"root disk shadow kmem docker"`
	// Exceptions are lines "USER key=value …".
	Exceptions []string `toml:"exceptions" doc:"other limits for single users: the user, and any of time, cpu, memory, processes, file_size, files" example:"[\"joe time=2h memory=2GiB\", \"lists processes=1000\"]"`

	FilesPerUser int `toml:"operations_per_user" default:"16" unit:"operations" doc:"operations on one user's files at once; a home that hangs holds up as many threads" example:"4"`
	// HangTime is how long an operation on a file may take.
	HangTime time.Duration `toml:"hang_time" default:"30s" doc:"time after which an operation on a file that does not return, as on a network file system that is gone, is given up and the delivery deferred" example:"10s"`
}

// limits are those of one user's programs. Below 0 is none.
type limits struct {
	time, cpu                          time.Duration
	memory, processes, fileSize, files int64
}

// Reserved are the server's own uids and gids, which nobody is served with.
type Reserved struct{ UIDs, GIDs []uint32 }

// normal is Options with its defaults, and what it says of each user.
type normal struct {
	Options
	limits limits
	groups *groups
	users  map[string]limits
}

// Validate names what is wrong and what was expected.
func (o Options) Validate() error {
	_, err := o.normalise()
	return err
}

func (o Options) normalise() (*normal, error) {
	setDefault(&o.MaildirPath, "Maildir")
	setDefault(&o.Programs, 50)
	setDefault(&o.ProgramsPerUser, 10)
	setDefault(&o.Time, 15*time.Minute)
	setDefault(&o.CPU, 5*time.Minute)
	setDefault(&o.Memory, 512<<20)
	setDefault(&o.Processes, 256)
	setDefault(&o.FileSize, 10<<30)
	setDefault(&o.Files, 1024)
	setDefault(&o.OOM, 500)
	setDefault(&o.FilesPerUser, 16)
	setDefault(&o.HangTime, 30*time.Second)
	n := &normal{Options: o, users: map[string]limits{},
		limits: limits{time: o.Time, cpu: o.CPU, memory: o.Memory, processes: o.Processes, fileSize: o.FileSize, files: o.Files}}
	var errs []error
	var err error
	if n.groups, err = newGroups(o.RefusedGroups); err != nil {
		errs = append(errs, err)
	}
	if !local(o.MaildirPath) {
		errs = append(errs, fmt.Errorf("maildir: %q: want a path below the home, such as Maildir", o.MaildirPath))
	}
	for name, v := range map[string]int{"programs": o.Programs, "programs_per_user": o.ProgramsPerUser, "operations_per_user": o.FilesPerUser} {
		if v < 1 {
			errs = append(errs, fmt.Errorf("%s: %d: want at least 1", name, v))
		}
	}
	for name, d := range map[string]time.Duration{"program_time": o.Time, "hang_time": o.HangTime} {
		if d < time.Second {
			errs = append(errs, fmt.Errorf("%s: %v: want at least 1s", name, d))
		}
	}
	if o.Nice < 0 || o.Nice > 19 {
		errs = append(errs, fmt.Errorf("program_nice: %d: want 0 to 19", o.Nice))
	}
	if o.OOM < -1 || o.OOM > 1000 {
		errs = append(errs, fmt.Errorf("program_oom: %d: want 0 to 1000, or -1", o.OOM))
	}
	for _, line := range o.Exceptions {
		if err := n.except(line); err != nil {
			errs = append(errs, fmt.Errorf("exceptions: %q: %w", line, err))
		}
	}
	return n, errors.Join(errs...)
}

// except reads one line of Exceptions.
func (n *normal) except(line string) error {
	f := strings.Fields(line)
	if len(f) < 2 {
		return errors.New("want a user and key=value, such as joe memory=2GiB")
	}
	l, ok := n.users[f[0]]
	if !ok {
		l = n.limits
	}
	for _, setting := range f[1:] {
		key, value, _ := strings.Cut(setting, "=")
		var err error
		switch key {
		case "time":
			if l.time, err = duration(value); err == nil && l.time < time.Second {
				err = errors.New("want at least 1s")
			}
		case "cpu":
			l.cpu, err = duration(value)
		case "memory":
			l.memory, err = size(value)
		case "processes":
			l.processes, err = size(value)
		case "file_size":
			l.fileSize, err = size(value)
		case "files":
			l.files, err = size(value)
		default:
			err = errors.New("want time, cpu, memory, processes, file_size or files")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	n.users[f[0]] = l
	return nil
}

// duration reads a time with its unit.
func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("want a duration such as 30s, 10m or 2h")
	}
	return d, nil
}

// size reads a number with an optional unit of bytes.
func size(s string) (int64, error) {
	unit := int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, int64(1)<<(10*(i+1))
			break
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v == 0 || v > math.MaxInt64/unit {
		return 0, errors.New("want a number, with KiB, MiB or GiB for bytes; -1 is no limit")
	}
	return v * unit, nil
}

// of returns the limits of a user's programs.
func (n *normal) of(user string) limits {
	if l, ok := n.users[user]; ok {
		return l
	}
	return n.limits
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
