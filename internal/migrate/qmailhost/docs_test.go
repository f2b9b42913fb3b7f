package qmailhost

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The table in the documentation is this package's.
func TestTheDocumentedTableIsFresh(t *testing.T) {
	t.Parallel()
	const page = "../../../docs/qmail-host.md"
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	WriteTable(&want)
	if !strings.Contains(string(have), want.String()) {
		t.Errorf("%s does not have this table:\n%s", page, want.String())
	}
}
