package admin

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"

	"github.com/postilion/postilion/internal/qmail/cdb"
	"github.com/postilion/postilion/internal/qmail/tcprules"
	"github.com/postilion/postilion/internal/tools/tool"
)

// CompileRules is tcprules: it compiles the input. A line that cannot be read leaves the old
// database as it was.
func CompileRules(e *tool.Env) int {
	if len(e.Args) < 3 {
		return e.UsageError("rules.cdb rules.tmp")
	}
	final, tmp := e.Args[1], e.Args[2]
	b, err := io.ReadAll(io.LimitReader(e.In(), sourceLimit))
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read input: ", err)
	}
	rules, err := tcprules.Parse("standard input", b)
	if bad, ok := errors.AsType[*tcprules.SyntaxError](err); ok {
		return e.Fatal(tool.Permanent, "unable to parse this line: ", bad.Raw)
	}
	if err != nil {
		return e.Fatal(tool.Temporary, err)
	}
	err = Replace(e.Path(tmp), e.Path(final), func(f io.WriteSeeker) error { return tcprules.Compile(rules, f) })
	if step, ok := errors.AsType[*Step](err); ok {
		if step.Name == "move" {
			return e.Fatal(tool.Temporary, "unable to move ", tmp, " to ", final, ": ", step)
		}
		return e.Fatal(tool.Temporary, "unable to create ", tmp, ": ", step)
	}
	return tool.OK
}

// checkRules is tcprulescheck: it prints the rule for the client that the variables
// TCPREMOTEIP, TCPREMOTEHOST and TCPREMOTEINFO describe.
func checkRules(_ context.Context, e *tool.Env) int {
	if len(e.Args) < 2 {
		return e.UsageError("rules.cdb")
	}
	name := e.Args[1]
	f, err := os.Open(e.Path(name))
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read ", name, ": ", err)
	}
	defer f.Close()
	c := tcprules.Client{Host: e.Getenv("TCPREMOTEHOST"), Info: e.Getenv("TCPREMOTEINFO")}
	if ip := e.Getenv("TCPREMOTEIP"); ip != "" {
		if c.IP, err = netip.ParseAddr(ip); err != nil {
			return e.Fatal(tool.Permanent, "$TCPREMOTEIP is no address: ", ip)
		}
	}
	var rule tcprules.Rule
	var found bool
	st, err := f.Stat()
	if err == nil {
		var r *cdb.Reader
		if r, err = cdb.New(f, st.Size()); err == nil {
			var db *tcprules.DB
			if db, err = tcprules.NewDB(name, r); err == nil {
				rule, found, err = db.Lookup(c)
			}
		}
	}
	if err != nil {
		return e.Fatal(tool.Temporary, "unable to read ", name, ": ", err)
	}
	if _, err := io.WriteString(e.Out(), tcprules.Report(rule, found)); err != nil {
		return e.Fatal(tool.Temporary, "unable to write output: ", err)
	}
	return tool.OK
}
