// Testcount reads what `go test -json` writes and counts tests: those without
// sub-tests of their own. It prints the output of failures and of what never ended, the reason of each skip, and last
// "counts PASSED FAILED SKIPPED".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
}

func main() {
	output := map[string][]string{}
	running := map[string]bool{}
	parents := map[string]bool{}
	results := map[string]string{}
	var order []string
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 64<<10), 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "run":
			running[key] = true
			if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
				parents[e.Package+" "+e.Test[:i]] = true
			}
		case "output":
			output[key] = append(output[key], e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				delete(running, key)
				results[key] = e.Action
				order = append(order, key)
			} else if e.Action == "fail" {
				fmt.Printf("FAILED package %s\n%s", e.Package, strings.Join(output[key], ""))
			}
			if e.Action == "pass" {
				delete(output, key)
			}
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	counts := map[string]int{}
	for _, key := range slices.Sorted(maps.Keys(running)) { // the package's time was up, or its process died
		counts["fail"]++
		fmt.Printf("FAILED %s: it never ended\n%s", key, strings.Join(output[key], ""))
	}
	for _, key := range order {
		if parents[key] && results[key] != "fail" {
			continue
		}
		counts[results[key]]++
		switch results[key] {
		case "fail":
			fmt.Printf("FAILED %s\n%s", key, strings.Join(output[key], ""))
		case "skip":
			fmt.Printf("skipped %s: %s\n", key, reason(output[key]))
		}
	}
	fmt.Println("counts", counts["pass"], counts["fail"], counts["skip"])
}

// reason is what a test said before it was skipped, in one line.
func reason(output []string) string {
	for _, l := range output {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "=== ") && !strings.HasPrefix(l, "--- ") {
			return l
		}
	}
	return ""
}
