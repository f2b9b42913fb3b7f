package osfs

import "testing"

func TestKernelReleases(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.8.0":          true,
		"5.10.0-9-amd64": true,
		"6.1":            true,
		"6.0-rc1":        true,
		"5.7.19":         false,
		"4.4.0":          false,
		"4.18.0-553.el8": false,
		"":               false,
		"nonsense":       false,
		"6":              false,
	} {
		if got := releaseAtLeast(release, 5, 8); got != want {
			t.Errorf("%q is at least 5.8: %v, want %v", release, got, want)
		}
	}
}
