package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// usage is what a tree of processes has used.
type usage struct {
	cpu time.Duration // user and system, of the living and of the children they reaped
	rss int64         // bytes of resident memory of the living
}

// clockTick is the unit of CPU times in /proc (USER_HZ, 100 on every Linux that Go runs on).
const clockTick = 10 * time.Millisecond

// usageOf adds up the process and all of its descendants.
func usageOf(pid int) (usage, error) {
	children := map[int][]int{}
	stats := map[int][]string{}
	list, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return usage{}, err
	}
	for _, name := range list {
		p, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		id, rest, ok := cutStat(string(p))
		if !ok {
			return usage{}, fmt.Errorf("%s: unreadable: %q", name, p)
		}
		stats[id] = rest
		parent, _ := strconv.Atoi(rest[1])
		children[parent] = append(children[parent], id)
	}
	var u usage
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		f, ok := stats[todo[0]]
		if !ok {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime: proc(5)
			ticks, _ := strconv.ParseInt(f[i], 10, 64)
			u.cpu += time.Duration(ticks) * clockTick
		}
		pages, _ := strconv.ParseInt(f[21], 10, 64)
		u.rss += pages * int64(os.Getpagesize())
		todo = append(todo, children[todo[0]]...)
	}
	return u, nil
}

// cutStat splits /proc/pid/stat behind the command name, which may hold anything. The
// first of the rest is the state, the second the parent.
func cutStat(s string) (pid int, rest []string, ok bool) {
	open, end := strings.IndexByte(s, ' '), strings.LastIndexByte(s, ')')
	if open < 0 || end < 0 {
		return 0, nil, false
	}
	pid, err := strconv.Atoi(s[:open])
	rest = strings.Fields(s[end+1:])
	return pid, rest, err == nil && len(rest) > 22
}

// syncFloor measures how many times a second the folder's disk makes a 4 KiB append
// durable, each writer with a file of its own.
func syncFloor(dir string, writers int, d time.Duration) (float64, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	total, end := 0, time.Now().Add(d)
	var failed error
	for i := range writers {
		wg.Go(func() {
			n, err := syncLoop(filepath.Join(dir, fmt.Sprintf("floor.%d", i)), end)
			mu.Lock()
			defer mu.Unlock()
			total += n
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	return float64(total) / d.Seconds(), failed
}

func syncLoop(name string, end time.Time) (n int, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer f.Close()
	block := make([]byte, 4096)
	for ; time.Now().Before(end); n++ {
		if _, err := f.Write(block); err != nil {
			return n, err
		}
		if err := f.Sync(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}
