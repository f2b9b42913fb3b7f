package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/mime"
)

// toolCommand prints what our parsers see, so that others can compare it with theirs.
func (a *app) toolCommand() *cobra.Command {
	group := &cobra.Command{Use: "tool", Short: "Show as JSON how messages are understood"}
	verb := func(use, short string, see func(io.Reader) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return see(a.in) }}
	}
	group.AddCommand(
		verb("mime", "Read a message and print its tree of parts", a.toolMIME),
		verb("address", "Read address lists, one a line, and print their addresses", a.toolAddress),
		verb("dsn", "Read a bounce and print what it tells of each recipient", a.toolDSN),
	)
	return group
}

// maxMessage bounds the message that is read, in bytes.
const maxMessage = 1 << 30

func (a *app) toolMIME(in io.Reader) error {
	message, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err != nil {
		return fmt.Errorf("reading the standard input: %w", err)
	}
	if len(message) > maxMessage {
		return fmt.Errorf("the message is larger than %d bytes", maxMessage)
	}
	return a.printJSON(mime.Describe(message))
}

// maxAddressLine bounds a line of addresses in bytes.
const maxAddressLine = 16 << 20

func (a *app) toolAddress(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxAddressLine)
	all := [][]mime.Mailbox{}
	for lines.Scan() {
		all = append(all, mime.Mailboxes(mime.ParseAddresses(strings.TrimSuffix(lines.Text(), "\r"))))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the standard input: %w", err)
	}
	return a.printJSON(all)
}

func (a *app) toolDSN(in io.Reader) error {
	report, err := bounce.Parse(in)
	if err != nil {
		return err
	}
	return a.printJSON(report)
}
