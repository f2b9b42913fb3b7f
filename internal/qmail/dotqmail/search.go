package dotqmail

import (
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Name is a file to look for.
type Name struct {
	File string // in the user's home
	// Default is the part of the extension that "default" in File stands for, in its own
	// case: the variable DEFAULT. HasDefault is false where that variable is not set.
	Default    string
	HasDefault bool
}

// Safe returns ext as file names have it: letters in lower case, dots as colons, so that no
// address reaches outside of its folder (qmail reference 9.3).
func Safe(ext string) string { return strings.ReplaceAll(qmail.Lower(ext), ".", ":") }

// Search returns the files that may speak for an address, in the order in which they are
// looked for: the first that exists and is a regular file does. Their number is that of the
// dashes in ext and two.
func Search(dash, ext string) []Name {
	safe := Safe(ext)
	first := Name{File: ".qmail" + dash + safe}
	if head, ok := strings.CutSuffix(safe, "default"); ok {
		first.Default, first.HasDefault = ext[len(head):], true
	}
	out := []Name{first}
	for i := len(safe); i >= 0; i-- {
		if i == 0 || safe[i-1] == '-' {
			out = append(out, Name{".qmail" + dash + safe[:i] + "default", ext[i:], true})
		}
	}
	return out
}

// Owners returns the two files whose existence decides the sender of forwards: -owner and
// -owner-default (qmail reference 9.6).
func Owners(dash, ext string) (owner, ownerDefault string) {
	owner = ".qmail" + dash + Safe(ext) + "-owner"
	return owner, owner + "-default"
}

// OwnerFiles tells which of the two files there are.
type OwnerFiles struct{ Owner, Default bool }

// NewSender returns the envelope sender of forwards: the original one, or the owner of the
// address, or that in the form that gives each recipient a sender of its own (VERP).
func NewSender(sender, local, host string, exist OwnerFiles) string {
	switch {
	case sender == "" || sender == "#@[]" || !exist.Owner:
		return sender
	case exist.Default:
		return local + "-owner-@" + host + "-@[]"
	}
	return local + "-owner@" + host
}
