package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads what time.ParseDuration does, and days and weeks: "7d", "1w", "1d12h". Below zero is taken;
// more than a hundred years of days or weeks, and anything else, is an error that says what is wanted.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf(`want a duration such as "5m", "1h30m" or "7d", have %q`, s)
	rest, total := strings.TrimSpace(s), time.Duration(0)
	for _, u := range []struct {
		letter byte
		length time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		i := strings.IndexByte(rest, u.letter)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseFloat(rest[:i], 64)
		if err != nil || math.Abs(n) > 36500 {
			return 0, bad
		}
		total += time.Duration(n * float64(u.length))
		rest = rest[i+1:]
		if rest == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	return total + d, nil
}

// FormatDuration writes a duration without the zero parts that time.Duration's String shows.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0s"
	case d%day == 0 && d >= 2*day:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizes = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3},
	{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"k", 1 << 10}, {"B", 1},
}

// ParseSize reads a number of bytes: "64KiB", "10MB" (10⁷), "512". The error says what is wanted, and what was there.
func ParseSize(s string) (int64, error) {
	t, factor := strings.TrimSpace(s), int64(1)
	for _, u := range sizes {
		if n, ok := strings.CutSuffix(t, u.suffix); ok {
			t, factor = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(t, 64)
	if err != nil || math.Abs(n*float64(factor)) >= math.MaxInt64 || math.IsNaN(n) {
		return 0, fmt.Errorf(`want a size such as "64KiB", "10MiB" or a number of bytes, have %q`, s)
	}
	return int64(n * float64(factor)), nil
}

// FormatSize writes a number of bytes with the largest binary unit that divides it.
func FormatSize(n int64) string {
	for _, u := range sizes[:4] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
