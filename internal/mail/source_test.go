package mail

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestASourceRemembersThatItFailedAndNotThatItEnded(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	for _, want := range []error{nil, broken} {
		in := &Source{Reader: strings.NewReader("all of it")}
		if want != nil {
			in.Reader = io.MultiReader(in.Reader, iotest.ErrReader(want))
		}
		p, err := io.ReadAll(in)
		if string(p) != "all of it" || err != want || in.Err != want {
			t.Errorf("%q, %v, remembered %v: want %v", p, err, in.Err, want)
		}
	}
}
