package assign_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/qmail/assign"
	"github.com/postilion/postilion/internal/qmail/cdb"
)

// lines is how many lines the tables of the benchmarks have.
const lines = 100_000

func big() string {
	var b strings.Builder
	for i := range lines / 2 {
		fmt.Fprintf(&b, "=user%[1]d:user%[1]d:%[2]d:100:/home/user%[1]d:::\n+user%[1]d-:user%[1]d:%[2]d:100:/home/user%[1]d:-::\n", i, i+1000)
	}
	b.WriteString("+:alias:7790:2108:/var/qmail/alias:-::\n.\n")
	return b.String()
}

// BenchmarkLookup looks one address of 100,000 lines up: exactly, by an extension, not at all.
func BenchmarkLookup(b *testing.B) {
	text := big()
	entries, err := assign.Parse("users/assign", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(b.TempDir(), "cdb")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := assign.Compile(entries, f); err != nil {
		b.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	r, err := cdb.New(f, st.Size())
	if err != nil {
		b.Fatal(err)
	}
	db, err := assign.NewDB(name, r)
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		l    assign.Lookup
	}{{"text", assign.NewTable(entries)}, {"cdb", db}} {
		for _, local := range []string{"user31415", "user27182-a-list-of-things", "somebody-who-is-not-here"} {
			b.Run(way.name+"/"+local, func(b *testing.B) {
				for b.Loop() {
					if _, ok, err := way.l.Lookup(local); !ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			})
		}
	}
}
