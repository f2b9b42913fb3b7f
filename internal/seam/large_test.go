package seam

import (
	"fmt"
	"testing"

	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/directory/memdir"
	"github.com/postilion/postilion/internal/mail"
)

func TestALargeDomainIsListedOverTheSeam(t *testing.T) {
	t.Parallel()
	const many = 2000
	db, err := memdir.New("a0@a.test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range many - 1 {
		if err := db.PutAccount(t.Context(), &directory.Account{Address: mail.Address{Local: fmt.Sprint("a", i+1), Domain: "a.test"}, Name: "somebody with a name"}, true); err != nil {
			t.Fatal(err)
		}
	}
	cl, _ := dial(t, AdminHandlers(db))
	all, err := Directory{cl}.Accounts(t.Context(), "")
	if err != nil || len(all) != many {
		t.Errorf("%d accounts of %d, %v", len(all), many, err)
	}
}
