package list

import "testing"

// The hashes that a real list has in its archive's index (qmail reference 23.8).
func TestHashesAreThoseOfExistingArchives(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"First post", "firstpost", "FIRST\tPOST"} {
		if got := TextHash(text); got != "iabppfbeleofbbfmgnao" {
			t.Errorf("TextHash(%q) = %s", text, got)
		}
	}
	for _, from := range []string{"joe@mx.test", "joe-lists@mx.test", "joe@mx.test (Joe)"} {
		if got := AuthorHash(from); got != "ijhagfoddgcopchnnbpo" {
			t.Errorf("AuthorHash(%q) = %s", from, got)
		}
	}
	if AuthorHash("no address") != TextHash("noaddress") {
		t.Error("a From field without an address is not hashed as it is")
	}
}
