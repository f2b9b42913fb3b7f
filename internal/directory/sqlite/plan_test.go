package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLookupsNeverScanATable(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "directory.db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		findDomain, findFirst, selectAccounts + ` WHERE id = ?`, selectAccounts + ` WHERE domain = ? AND local_key = ?`, `SELECT id FROM accounts WHERE mailbox = ?`,
		selectDomains + ` WHERE alias_of = ? AND alias_of <> '' OR catch_all_domain = ? AND catch_all_domain <> '' ORDER BY name`,
		selectAdmins + ` WHERE a.account = ?`, selectAdmins + ` WHERE a.account = ? AND a.domain = ?`,
		selectDomains + ` WHERE tenant = ? AND tenant <> 0 ORDER BY name`,
	} {
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = "x"
		}
		rows, err := db.sqlx.Read.Query(`EXPLAIN QUERY PLAN `+query, args...)
		plan, err := many(rows, err, func(s scanner) (detail string, err error) {
			var id, parent, unused int
			err = s.Scan(&id, &parent, &unused, &detail)
			return detail, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(plan, "\n"); !strings.Contains(all, "SEARCH") || strings.Contains(all, "SCAN") {
			t.Errorf("%s\nis done by %q", query, plan)
		}
	}
}
