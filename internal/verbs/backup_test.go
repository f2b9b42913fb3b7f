package verbs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/datafolder"
)

// A backup that cannot be made leaves nothing: neither half a copy that looks like one, nor pieces
// below the data folder.
func TestABackupThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	data, to := t.TempDir(), filepath.Join(t.TempDir(), "today")
	if _, err := Quickstart(t.Context(), QuickstartOptions{Domain: "example.test", Data: data, Config: datafolder.ConfigPath(data)}); err != nil {
		t.Fatal(err)
	}
	secrets := filepath.Join(data, "auth", "secrets.db")
	if err := errors.Join(os.Rename(secrets, secrets+".kept"), os.WriteFile(secrets, []byte("no database, this"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), data, datafolder.ConfigPath(data), to); err == nil {
		t.Error("a broken database is copied")
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", to, err)
	}
	err := filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "backup-") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.Rename(secrets+".kept", secrets); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), data, datafolder.ConfigPath(data), to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"queue/db", "directory/directory.db", "auth/secrets.db", "postilion.toml"} {
		if _, err := os.Stat(filepath.Join(to, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestABackupHasTheConfigurationThatLiesElsewhere(t *testing.T) {
	t.Parallel()
	data, file, to := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere.toml"), filepath.Join(t.TempDir(), "today")
	if _, err := Quickstart(t.Context(), QuickstartOptions{Domain: "example.test", Data: data, Config: file, Flags: []string{"data=" + data}}); err != nil {
		t.Fatal(err)
	}
	if err := Backup(t.Context(), data, file, to); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if got, gerr := os.ReadFile(datafolder.ConfigPath(to)); err != nil || gerr != nil || string(got) != string(want) {
		t.Errorf("%q, %v, want %q, %v", got, gerr, want, err)
	}
	if err := Backup(t.Context(), data, file, to); err == nil || err.Error() != to+" is there already: want the name of a new folder" {
		t.Errorf("have %v", err)
	}
}

// A folder that was named by mistake gets no databases.
func TestVerbsMakeNothingInAFolderThatIsNoDataFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "passwd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := data + " is no data folder: there is neither a postilion.toml in it nor what a server keeps; name yours with --data"
	_, stores := OpenStores(t.Context(), data)
	_, queue := OpenQueue(t.Context(), data)
	to := filepath.Join(t.TempDir(), "copy")
	for what, err := range map[string]error{"stores": stores, "queue": queue, "backup": Backup(t.Context(), data, datafolder.ConfigPath(data), to)} {
		if err == nil || err.Error() != want {
			t.Errorf("%s: have %v, want %s", what, err, want)
		}
	}
	if list, err := os.ReadDir(data); err != nil || len(list) != 1 {
		t.Errorf("there is %v now, %v", list, err)
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a copy is there")
	}
	if err := os.WriteFile(datafolder.ConfigPath(data), []byte("host = \"mx.example.test\"\n"), 0o600); err != nil { // before the first start
		t.Fatal(err)
	}
	s, err := OpenStores(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
