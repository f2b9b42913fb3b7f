// Postilion-tools is the family's small programs in one binary, which must start in under 5 ms:
// it is run for each delivery. It acts as the program it is linked as, else as its first
// argument names: `postilion-tools forward joe@example.test`.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/postilion/postilion/internal/tools"
	"github.com/postilion/postilion/internal/tools/tool"
)

// version is set by the linker for releases.
var version = "0.1.0-dev"

func main() {
	os.Exit(run(context.Background(), tool.System(os.Args)))
}

// run finds the program and runs it.
func run(ctx context.Context, e *tool.Env) int {
	if p, ok := tools.Find(filepath.Base(e.Name())); ok {
		return p.Run(ctx, e)
	}
	if len(e.Args) < 2 {
		fmt.Fprintln(e.Errs(), "postilion-tools: usage: postilion-tools PROGRAM [ARGUMENTS]; postilion-tools --list names the programs")
		return tool.Permanent
	}
	switch e.Args[1] {
	case "--list":
		for _, p := range tools.Programs() {
			fmt.Fprintf(e.Out(), "%-18s %s\n", p.Name, p.Short)
		}
		return tool.OK
	case "--version":
		fmt.Fprintln(e.Out(), "postilion-tools", version)
		return tool.OK
	}
	p, ok := tools.Find(e.Args[1])
	if !ok {
		fmt.Fprintf(e.Errs(), "postilion-tools: there is no program %q; postilion-tools --list names the programs\n", e.Args[1])
		return tool.Permanent
	}
	e.Args = e.Args[1:]
	return p.Run(ctx, e)
}
