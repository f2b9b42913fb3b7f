package ezmlm

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/list"
	"github.com/postilion/postilion/internal/tools/tool"
)

func itoa(n int) string { return strconv.Itoa(n) }

func pid() int { return os.Getpid() }

// prefixed is a message with a line before it.
func prefixed(line string, message io.Reader) io.Reader {
	return io.MultiReader(strings.NewReader(line), message)
}

// duration reads a number of units of so many seconds, up to a century's.
func duration(text string, unit int64) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || int64(n) > 100*366*24*60*60/unit {
		return 0, false
	}
	return time.Duration(int64(n)*unit) * time.Second, true
}

// splitInput tells for each line of the input which list its address belongs to.
func (c *call) splitInput(file string) int {
	r := bufio.NewScanner(c.e.In())
	w := bufio.NewWriter(c.e.Out())
	for n := 1; r.Scan(); n++ {
		address := strings.TrimSpace(r.Text())
		if address == "" || address[0] == '#' {
			continue
		}
		if err := list.CheckAddress(address); err != nil {
			return c.e.Fatal(tool.Permanent, "line ", n, ": ", err)
		}
		name, err := list.Sublist(c.list, file, address)
		if err != nil {
			return c.fail(err)
		}
		if name == "" {
			name = c.list.Local + "@" + c.list.Host
		}
		io.WriteString(w, name+": "+address+"\n")
	}
	if err := errors.Join(r.Err(), w.Flush()); err != nil {
		return c.e.Fatal(tool.Temporary, "unable to copy: ", err)
	}
	return tool.OK
}
