package qmailhost

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/postilion/postilion/internal/migrate"
)

// Life with qmail keeps its services in supervise, under names that are known. Other hosts have folders of
// their own right in what svscan looks at, by any name: /service/smtpd, /service/pop3d. These are known by the
// qmail's programs that their run scripts start, and by the port.

// scanned are the folders that svscan looks at.
var scanned = []string{"/service", "/etc/service", "/var/service"}

// service is a folder under daemontools.
type service struct {
	name string // of the folder
	path string // of its run script
}

// services lists the services of the host: those of the qmail's own folder first. What taking over set aside
// counts as before. A script that is found in several ways counts once.
func services(o Options) (list []service) {
	seen := map[string]bool{}
	folders := []string{filepath.Join(o.Dir, "supervise"), filepath.Join(o.Dir, "service")}
	for _, folder := range scanned {
		folders = append(folders, filepath.Join("/", o.Root, folder))
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := strings.TrimPrefix(e.Name(), migrate.AsidePrefix)
			path := filepath.Join(folder, e.Name(), "run")
			real, err := filepath.EvalSymlinks(path)
			if err != nil || seen[real] || strings.HasPrefix(name, ".") {
				continue
			}
			seen[real] = true
			list = append(list, service{name, path})
		}
	}
	return list
}

// serverPorts are the services by their ports, of each of a qmail's servers; the first port is the usual one.
var serverPorts = map[string][]struct {
	port    int
	service string
}{
	"qmail-smtpd": {{25, "smtp"}, {587, "submission"}, {465, "submissions"}},
	"qmail-popup": {{110, "pop3"}, {995, "pop3s"}},
	"qmail-qmtpd": {{209, "qmtp"}},
	"qmail-qmqpd": {{628, "qmqp"}},
}

// run returns the run script of a service: of the folder that has one of its usual names, else of the first
// whose script has this qmail's server listen where the service does. ok is false where there is none.
func (r *reader) run(service string, usual ...string) (s runScript, ok bool) {
	if s, ok = r.first(service, usual); ok {
		r.used[service] = s
	}
	return s, ok
}

func (r *reader) first(service string, usual []string) (s runScript, ok bool) {
	for _, name := range usual {
		path := filepath.Join(r.o.Dir, "supervise", name, "run")
		if script, ok := r.read(path); ok {
			return runScript{name, path, string(script)}, true
		}
	}
	i := slices.IndexFunc(r.scripts(), func(s runScript) bool { return r.serves(s.text) == service })
	if i < 0 {
		return runScript{}, false
	}
	return r.scripts()[i], true
}

// runScript is a service's script.
type runScript struct{ name, path, text string }

// scripts reads the run scripts of all services, once.
func (r *reader) scripts() []runScript {
	if r.found == nil {
		r.found = []runScript{}
		for _, s := range services(r.o) {
			if script, ok := r.read(s.path); ok {
				r.found = append(r.found, runScript{s.name, s.path, string(script)})
			}
		}
	}
	return r.found
}

// paths returns where the scripts are.
func (r *reader) paths() (list []string) {
	for _, s := range r.scripts() {
		list = append(list, s.path)
	}
	return list
}

// serves tells which service a script is: by the port where it is plain, else the server's usual one; "" for
// what is none of this qmail's.
func (r *reader) serves(script string) string {
	words, line := command(script, "tcpserver")
	if line == 0 {
		words, line = command(script, "sslserver")
	}
	if line == 0 {
		return ""
	}
	_, rest := tcpserverOptions(words[1:])
	for program, ports := range serverPorts {
		if !slices.ContainsFunc(rest, func(w word) bool { return r.own(w, program) }) {
			continue
		}
		if len(rest) < 2 || !rest[1].plain {
			return ports[0].service
		}
		n, err := net.LookupPort("tcp", rest[1].text)
		if err != nil {
			n, _ = strconv.Atoi(rest[1].text)
		}
		for _, p := range ports {
			if p.port == n {
				return p.service
			}
		}
	}
	return ""
}

// own reports whether a word names a program of this qmail: without a folder, or in its bin.
func (r *reader) own(w word, program string) bool {
	if !w.plain || filepath.Base(w.text) != program {
		return false
	}
	if !filepath.IsAbs(w.text) {
		return true
	}
	real := func(path string) string {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			return resolved
		}
		return filepath.Clean(path)
	}
	return real(r.host(filepath.Dir(w.text))) == real(filepath.Join(r.o.Dir, "bin"))
}
