package injection

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/postilion/postilion/internal/qmail/aliases"
	"github.com/postilion/postilion/internal/tools/admin"
	"github.com/postilion/postilion/internal/tools/tool"
)

// maxAliases bounds /etc/aliases in bytes.
const maxAliases = 64 << 20

// newaliases checks /etc/aliases, compiles it into /etc/aliases.cdb for fastforward, and prints what
// sendmail prints (qmail reference 18.3, 25.10). The server itself reads the text.
func newaliases(ctx context.Context, e *tool.Env) int {
	file := e.Getenv("POSTILION_ROOT") + "/etc/aliases"
	if len(e.Args) > 1 && e.Args[1] != "" && e.Args[1][0] != '-' {
		file = e.Path(e.Args[1])
	}
	p, err := tool.ReadAtMost(file, maxAliases)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read ", file, ": ", err)
	}
	list, faults := aliases.Parse(file, p)
	for _, f := range faults {
		fmt.Fprintln(e.Errs(), tool.Printable(f.Error()))
	}
	if len(faults) > 0 {
		return e.Fatal(tool.Permanent, "nothing was changed")
	}
	names, err := controls(ctx, e)
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read controls: ", err)
	}
	hosts := aliases.Hosts{Default: cmp.Or(e.Getenv("QMAILDEFAULTHOST"), names.DefaultHost),
		Plus: cmp.Or(e.Getenv("QMAILPLUSDOMAIN"), names.PlusDomain), Domain: cmp.Or(e.Getenv("QMAILDEFAULTDOMAIN"), names.DefaultDomain)}
	table, err := hosts.Forwards(list)
	if err != nil {
		return e.Fatal(tool.Temporary, err)
	}
	if err := admin.Replace(file+".tmp", file+".cdb", func(f io.WriteSeeker) error { return aliases.CompileForward(table, f) }); err != nil {
		return e.Fatal(tool.Temporary, "unable to write ", file, ".cdb: ", err)
	}
	longest, total := 0, 0
	for _, a := range list {
		n := len(a.Name)
		for _, t := range a.Targets {
			n += len(t.Text) + 1
		}
		longest, total = max(longest, n-len(a.Name)), total+n
	}
	fmt.Fprintf(e.Out(), "%s: %d aliases, longest %d bytes, %d bytes total\n", file, len(list), longest, total)
	return tool.OK
}
