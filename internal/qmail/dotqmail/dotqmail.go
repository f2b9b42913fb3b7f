// Package dotqmail reads .qmail files: which file speaks for an address, what its lines
// say, and what programs started from it are told (qmail reference 9). It opens nothing and
// runs nothing.
package dotqmail

import (
	"fmt"
	"strings"

	"github.com/postilion/postilion/internal/qmail"
)

// Kind is what an instruction does.
type Kind uint8

// The kinds of instructions: dot-qmail(5).
const (
	Maildir Kind = iota // ./path/ or /path/
	Mbox                // ./path or /path
	Program             // |command
	Forward             // &address, or an address
)

// String returns the word that qmail-local -n prints.
func (k Kind) String() string { return [...]string{"maildir", "mbox", "program", "forward"}[k] }

// Instruction is a line that delivers.
type Instruction struct {
	qmail.Place
	Kind Kind
	// Text is the path of a Maildir (it ends in "/") or mbox as written, the command of a
	// program, the envelope address of a forward, which may lack "@".
	Text string
}

// Wrong is what keeps a file from being obeyed.
type Wrong uint8

const (
	BlankFirst   Wrong = iota // "first line of .qmail file is blank"
	FileWithX                 // "has file delivery but has x bit set"
	ProgramWithX              // "has prog delivery but has x bit set"
	NUL                       // not a text file
)

// Problem is why mail for a file waits. Its text is qmail-local's, for the operator with
// the line in front.
type Problem struct {
	qmail.Place
	Wrong Wrong
}

// Error returns FILE:LINE: text.
func (p *Problem) Error() string {
	return p.Place.String() + ": " + [...]string{
		"Uh-oh: first line of .qmail file is blank. (#4.2.1)",
		"Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)",
		"Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)",
		"Uh-oh: .qmail file has a NUL byte, it is no text file. (#4.2.1)",
	}[p.Wrong]
}

// Parse reads a file's instructions. forwardOnly is that the owner may execute the file, which
// forbids files and programs as the line "+list" does from there on. With a Problem the
// instructions are those before it, which qmail-local carries out first, at every attempt again;
// a careful reader carries out none.
//
// A file of 0 bytes means the default delivery: give that instead, with forwardOnly false.
// A file of comments alone gives no instructions and no Problem: its mail is discarded.
func Parse(file string, data []byte, forwardOnly bool) ([]Instruction, *Problem) {
	var out []Instruction
	for n, line := range qmail.Lines(data) {
		at := qmail.Place{File: file, Line: n}
		line = strings.TrimRight(line, " \t")
		switch {
		case strings.IndexByte(line, 0) >= 0:
			return out, &Problem{at, NUL}
		case line == "" && n == 1:
			return out, &Problem{at, BlankFirst}
		case line == "" || line[0] == '#':
		case line[0] == '.' || line[0] == '/':
			if forwardOnly {
				return out, &Problem{at, FileWithX}
			}
			kind := Mbox
			if strings.HasSuffix(line, "/") {
				kind = Maildir
			}
			out = append(out, Instruction{at, kind, line})
		case line[0] == '|':
			if forwardOnly {
				return out, &Problem{at, ProgramWithX}
			}
			out = append(out, Instruction{at, Program, line[1:]})
		case line[0] == '+':
			forwardOnly = forwardOnly || line == "+list"
		default:
			out = append(out, Instruction{at, Forward, strings.TrimPrefix(line, "&")})
		}
	}
	return out, nil
}

// Check tells what in a file does not do what it looks like (dot-qmail(5); qmail reference
// 9.4). The Problem of Parse, if there is one, is not among the faults.
func Check(file string, data []byte) []*qmail.Fault {
	var out []*qmail.Fault
	for n, line := range qmail.Lines(data) {
		text := strings.TrimRight(line, " \t")
		if text == "" || text[0] == '#' {
			continue
		}
		if why := doubtful(text); why != "" {
			out = append(out, &qmail.Fault{Place: qmail.Place{File: file, Line: n}, Text: fmt.Sprintf("%q %s", text, why)})
		}
	}
	return out
}

// Doubt tells why an instruction does not do what it looks like, as Check does; "" for nothing.
func (i *Instruction) Doubt() string {
	switch i.Kind {
	case Forward:
		return doubtful("&" + i.Text)
	case Program:
		return doubtful("|" + i.Text)
	}
	return doubtful(i.Text)
}

// doubtful tells what is wrong with a line that is no comment; "" for nothing.
func doubtful(text string) string {
	cr := strings.HasSuffix(text, "\r")
	switch text[0] {
	case '|':
		if strings.TrimSpace(text[1:]) == "" {
			return "runs an empty command, which succeeds and keeps nothing"
		}
		return ""
	case '+':
		if text != "+list" {
			return "is ignored: the only line with + is +list"
		}
		return ""
	case '.', '/':
		switch {
		case cr:
			return "ends with a carriage return, which is part of the file name"
		case strings.ContainsAny(text, " \t"):
			return "is one file name with a blank in it, not two files"
		}
		return ""
	}
	address := strings.TrimPrefix(text, "&")
	switch {
	case address == "":
		return "forwards to an empty address, which loses the message"
	case cr:
		return "ends with a carriage return, which is part of the address"
	case text[0] == ' ' || text[0] == '\t':
		return "begins with a blank, so it is a forward to an address with a blank, and bounces"
	case strings.ContainsAny(address, "<>"):
		return "has < or > in a forward: want the bare address"
	case strings.ContainsAny(address, "()\""):
		return "has a comment or quotes in a forward: want the bare address"
	case strings.ContainsAny(address, " \t,"):
		return "has a blank or a comma in a forward: want one bare address a line"
	case address[0] == '\\':
		return "begins with a backslash, which is part of the address here: to keep a copy, name a file such as ./Maildir/"
	case text[0] != '&' && !letterOrDigit(text[0]):
		return "is a forward to an address of that name: want &ADDRESS, a file that begins with . or /, or | and a command"
	}
	return ""
}

// letterOrDigit reports whether a forward may begin with c and no "&" before it (dot-qmail(5)). Bytes of
// international addresses are letters.
func letterOrDigit(c byte) bool {
	return c >= 0x80 || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// Verdict is what a program's exit status means (qmail reference 9.5).
type Verdict uint8

// The verdicts on a program.
const (
	Success  Verdict = iota // 0
	Stop                    // 99: success, and the instructions behind are not carried out
	Bounce                  // a permanent failure
	TryAgain                // a temporary failure
)

// Exit tells what a program's exit status means.
func Exit(status int) Verdict {
	switch status {
	case 0:
		return Success
	case 99:
		return Stop
	case 100, 64, 65, 70, 76, 77, 78, 112:
		return Bounce
	}
	return TryAgain
}
