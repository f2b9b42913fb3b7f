package maildir

import (
	"os"
	"strings"
	"sync"
)

// Create makes a mailbox, or a folder of one, with what is missing of it. The caller syncs
// ancestors of the folder before it relies on it.
func (s *Store) Create(mailbox, folder string) error {
	sub, err := FolderPath(folder)
	if err != nil {
		return err
	}
	dir := mailbox
	if sub != "" {
		dir += "/" + sub
	}
	if err := s.createDirs(dir); err != nil || sub == "" {
		return err
	}
	f, err := s.fs.OpenFile(dir+"/maildirfolder", os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Store) createDirs(dir string) error {
	s.known.forget(dir)
	for _, name := range []string{"/cur", "/new", "/tmp"} { // tmp last: it is what deliveries look for
		if err := s.fs.MkdirAll(dir+name, dirMode); err != nil {
			return err
		}
	}
	return nil
}

// ancestors lists the folders whose names lead to dir/new: the root, each folder
// on the way, and dir.
func ancestors(dir string) []string {
	list := []string{"."}
	for i := range len(dir) {
		if dir[i] == '/' {
			list = append(list, dir[:i])
		}
	}
	return append(list, dir)
}

// maxKnown bounds the durableSet, some 20 MB. Past it the set starts anew, which
// costs a few syncs more.
const maxKnown = 200_000

// durableSet remembers the folders that this process knows to be durable. Others,
// made by a process that may have died before its sync, are synced with their first delivery.
type durableSet struct {
	mu   sync.RWMutex
	dirs map[string]struct{}
}

func (d *durableSet) has(dir string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.dirs[dir]
	return ok
}

func (d *durableSet) add(dir string) {
	if d.has(dir) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dirs == nil || len(d.dirs) >= maxKnown {
		d.dirs = map[string]struct{}{}
	}
	d.dirs[strings.Clone(dir)] = struct{}{}
}

func (d *durableSet) forget(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.dirs, dir)
}
