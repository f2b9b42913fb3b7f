package fstest

import (
	"os"
	"syscall"
)

// WriteProgram is os.WriteFile for what a test runs. Nobody may run a file that somebody has open for writing
// (ETXTBSY), and a child that another test starts meanwhile has every descriptor of this process until it runs its
// own program: none is started while the file is open.
func WriteProgram(path, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), 0o755)
}
