package injection

import (
	"os"
	"os/exec"
)

// queueProgram is a program that runs in place of qmail-queue.
type queueProgram struct {
	content, envelope *os.File // its descriptors 0 and 1
	custom            *os.File // what it says on descriptor 6
}

// startQueueProgram starts c with the descriptors of qmail-queue's protocol.
func startQueueProgram(c *exec.Cmd) (*queueProgram, error) {
	var all []*os.File
	closeAll := func() {
		for _, f := range all {
			f.Close()
		}
	}
	var ends [3][2]*os.File // read, write
	for i := range ends {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, err
		}
		ends[i] = [2]*os.File{r, w}
		all = append(all, r, w)
	}
	c.Stdin, c.Stdout = ends[0][0], ends[1][0]
	c.ExtraFiles = []*os.File{nil, nil, nil, ends[2][1]}
	if err := c.Start(); err != nil {
		closeAll()
		return nil, err
	}
	ends[0][0].Close()
	ends[1][0].Close()
	ends[2][1].Close()
	return &queueProgram{ends[0][1], ends[1][1], ends[2][0]}, nil
}
