// Package tools is the table of the family's small programs. Each is a function in a package of
// its family below this one; here they only get their names.
package tools

import (
	"slices"
	"strings"

	"github.com/postilion/postilion/internal/tools/admin"
	"github.com/postilion/postilion/internal/tools/aliasing"
	"github.com/postilion/postilion/internal/tools/box"
	"github.com/postilion/postilion/internal/tools/ezmlm"
	"github.com/postilion/postilion/internal/tools/header"
	"github.com/postilion/postilion/internal/tools/injection"
	"github.com/postilion/postilion/internal/tools/local"
	"github.com/postilion/postilion/internal/tools/netio"
	"github.com/postilion/postilion/internal/tools/operate"
	"github.com/postilion/postilion/internal/tools/reports"
	"github.com/postilion/postilion/internal/tools/serial"
	"github.com/postilion/postilion/internal/tools/stamp"
	"github.com/postilion/postilion/internal/tools/svc"
	"github.com/postilion/postilion/internal/tools/tool"
	"github.com/postilion/postilion/internal/tools/wrap"
)

// Programs returns every program, sorted by name.
func Programs() []tool.Program {
	all := slices.Concat(
		admin.Programs(),
		aliasing.Programs(injection.Send, injection.Hosts),
		box.Programs(),
		ezmlm.Programs(injection.Send),
		header.Programs(),
		injection.Programs(),
		local.Programs(),
		netio.Programs(),
		operate.Programs(),
		reports.Programs(),
		serial.Programs(injection.Send, injection.Control),
		stamp.Programs(),
		svc.Programs(),
		wrap.Programs(),
	)
	slices.SortFunc(all, func(a, b tool.Program) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Find returns the program of that name.
func Find(name string) (tool.Program, bool) {
	all := Programs()
	i, ok := slices.BinarySearchFunc(all, name, func(p tool.Program, n string) int { return strings.Compare(p.Name, n) })
	if !ok {
		return tool.Program{}, false
	}
	return all[i], true
}
