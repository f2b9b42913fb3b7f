// Package datafolder is what the running server and the program's verbs both know of a data folder: where what lies in it, who holds
// it, and as whom it may be worked on. Only the server changes whose it is; see service/owners.
package datafolder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/role"
)

// Host is the data folder of the host's own server.
const Host = "/var/lib/postilion"

// Default is the data folder when none is given: root's is the host's.
func Default() string {
	if os.Getuid() == 0 {
		return Host
	}
	return "postilion-data"
}

// ConfigPath returns the configuration's path for a data folder.
func ConfigPath(data string) string { return filepath.Join(data, config.FileName) }

// CountersFile keeps a role's counts over restarts.
const CountersFile = "counters.json"

// Events is where a role keeps its events and counts.
func Events(data string, r role.Role) string { return filepath.Join(data, "events", string(r)) }

// Recordings is where a role's recordings are, below the data folder.
func Recordings(r role.Role) string { return "events/" + string(r) + "/record" }

// Policies has the MTA-STS policies of other domains, a file for each; below the data folder.
const Policies = "mta-sts"

// Directory is the directory's file.
func Directory(data string) string { return filepath.Join(data, "directory", "directory.db") }

// testingFile marks a data folder that was made with --for-testing.
const testingFile = "for-testing"

// MarkTesting makes the mark.
func MarkTesting(data string) error {
	return os.WriteFile(filepath.Join(data, testingFile),
		[]byte("This data folder was made for testing: its server may run with another time.\n"), 0o644)
}

// IsTesting reports whether it is there.
func IsTesting(data string) (bool, error) {
	_, err := os.Stat(filepath.Join(data, testingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
