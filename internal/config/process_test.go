package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLimitsThatNoRoleStartsWithAreRefused(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`process.max_files = 10`:        `postilion.toml:2: key process.max_files: 10: want 64 or more, without which roles do not start, or 0 for the system's hard limit`,
		`process.max_files = 64`:        "",
		`process.max_files = 0`:         "",
		`process.max_memory = "100MiB"`: `postilion.toml:2: key process.max_memory: 100MiB: want 2GiB or more: it is address space, of which a role takes that much without using it; memory_limit bounds what it uses`,
		`process.max_memory = "2GiB"`:   "",
		`process.max_memory = 0`:        "",
		`queue.memtable = 1`:            `postilion.toml:2: key queue.memtable: 1: want 256KiB or more`,
		`queue.memtable = "4GiB"`:       `postilion.toml:2: key queue.memtable: 4GiB: want at most 2GiB`,
	} {
		var wants []string
		if want != "" {
			wants = []string{want}
		}
		if diff := cmp.Diff(wants, problems(t, "host = \"mail.example.test\"\n"+line+"\n")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", line, diff)
		}
	}
}
