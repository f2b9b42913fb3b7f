package role

import "testing"

// A role's number is part of uids and ports on hosts that are set up: it never changes.
func TestEachRoleKeepsItsNumber(t *testing.T) {
	t.Parallel()
	for i, r := range []Role{Directory, Auth, Local, Remote, Queue, SMTPD, Access, Console} {
		if r.Number() != i+1 {
			t.Errorf("%s is number %d, want %d", r, r.Number(), i+1)
		}
		if got, err := Parse(string(r)); got != r || err != nil {
			t.Errorf("%s: %q %v", r, got, err)
		}
	}
	if RunAs.Number() != 0 {
		t.Errorf("runas, which keeps root, is number %d", RunAs.Number())
	}
	if r, err := Parse("smtp"); err == nil {
		t.Errorf("a service is taken for role %s", r)
	}
}
