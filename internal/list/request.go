package list

import (
	"io"
	"strconv"
	"strings"
)

// This file reads what sends a mail on to another address of a list: commands in subjects, and
// sublists for domains.

// commandNames maps what people of other list managers write to this one's commands.
var commandNames = map[string]string{
	"system": "help", "help": "help", "subscribe": "subscribe", "unsubscribe": "unsubscribe", "index": "index", "info": "info",
	"list": "list", "query": "query", "sub": "subscribe", "unsub": "unsubscribe", "remove": "unsubscribe", "signoff": "unsubscribe",
	"lists": "help", "which": "help", "ind": "index", "rev": "list", "review": "list", "recipients": "list", "who": "list",
	"showdist": "list", "put": "help", "set": "help",
}

// CommandOfRequest reads a mail to LOCAL-request. It returns the command's address in the subject, or
// in the first line of the text, and the line that goes before the mail on its way there; an empty
// address for mail that is none for LOCAL-request.
func CommandOfRequest(f *Folder, sender, action string, content io.ReadSeeker) (to, line string, err error) {
	verb, _, _ := strings.Cut(action, "-")
	if lowerASCII(verb) != "request" {
		return "", "", nil
	}
	if err := CheckRequester(sender); err != nil {
		return "", "", err
	}
	fields, body, err := readHeader(content)
	if err != nil {
		return "", "", err
	}
	line = "Delivered-To: request processor for " + f.Local + "@" + f.Host + "\n"
	text := ""
	for _, field := range fields {
		switch name, value := fieldName(field); {
		case name == "mailing-list":
			return "", "", errListed
		case field == line:
			return "", "", errLoop
		case name == "subject":
			text = decodeWords(oneLine(value))
		}
	}
	if !startsWithLetter(text) {
		if text, err = firstLine(content, body); err != nil {
			return "", "", err
		}
	}
	command, target, err := parseCommand(f, text)
	if err != nil {
		return "", "", err
	}
	if target == "" {
		target = sender
	}
	return f.Local + "-" + command + "-" + Verp(target) + "@" + f.Host, line, nil
}

func startsWithLetter(s string) bool {
	return s != "" && (s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z')
}

// firstLine returns the first line of a body that begins with a letter.
func firstLine(content io.ReadSeeker, body int64) (string, error) {
	if _, err := content.Seek(body, io.SeekStart); err != nil {
		return "", unreadable(err)
	}
	text, err := io.ReadAll(io.LimitReader(content, maxEnclosed))
	if err != nil {
		return "", unreadable(err)
	}
	for line := range strings.Lines(string(text)) {
		if startsWithLetter(line) {
			return strings.TrimSpace(line), nil
		}
	}
	return "help", nil
}

// parseCommand reads "subscribe", "subscribe joe@host", "LOCAL-subscribe-joe=host@HOST".
func parseCommand(f *Folder, text string) (command, target string, err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")), " ")
	if len(word) > len(f.Local) && strings.EqualFold(word[:len(f.Local)], f.Local) && word[len(f.Local)] == '-' {
		word, _, _ = strings.Cut(word[len(f.Local)+1:], "@")
		command, target, _ = strings.Cut(word, "-")
		target = Unverp(target)
	} else {
		if strings.Contains(word, "@") {
			return "", "", refuse("the local part of the command string does not match this list (#5.1.1)")
		}
		arguments := strings.Fields(rest)
		command = word
		if len(arguments) > 0 {
			target = arguments[len(arguments)-1]
		}
	}
	command = lowerASCII(command)
	if known, ok := commandNames[command]; ok {
		command = known
	}
	for _, part := range []string{command, target} {
		if i := strings.IndexFunc(part, func(r rune) bool { return !isPlain(r) }); i >= 0 {
			return "", "", refuse("Bad character in address components (#5.1.3)")
		}
	}
	if target != "" && !strings.Contains(target, "@") {
		target += "@" + f.Host
	}
	return command, target, nil
}

// isPlain lets through what commands and addresses need, which is nothing that anybody expands.
func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_+=@", r)
}

// SublistFor returns the address of the sublist that requests for an address belong to, by a file
// of lines "domain:lo:hi:list@host", or "" where this list sees to them. Domains are written from
// the top: "edu.x". lo and hi bound the number of the file that the address would lie in.
func SublistFor(f *Folder, file, sender, action string) (to string, err error) {
	verb, target, named := strings.Cut(action, "-")
	switch verb = lowerASCII(verb); {
	case verb != "subscribe" && verb != "unsubscribe":
		return "", nil
	case !named:
		target = sender
	default:
		target = Unverp(target)
	}
	if strings.ContainsAny(file, "/\x00") {
		return "", refuse("%s: the file of sublists lies in the list's folder", file)
	}
	if _, found, err := f.read(file, maxSetting); err != nil || !found {
		return "", err
	}
	if err := CheckRequester(sender); err != nil {
		return "", err
	}
	if err := CheckAddress(target); err != nil {
		return "", err
	}
	name, err := Sublist(f, file, target)
	if err != nil || name == "" {
		return "", err
	}
	i := strings.LastIndexByte(name, '@')
	return name[:i] + "-" + verb + "-" + Verp(target) + name[i:], nil
}

// Sublist returns the sublist that an address belongs to, "" for the list itself.
func Sublist(f *Folder, file, address string) (name string, err error) {
	content, _, err := f.read(file, maxSetting)
	if err != nil {
		return "", err
	}
	lower := lowerASCII(address)
	number := int(bucketOf(lower, true, true) - '@')
	labels := strings.Split(strings.TrimSuffix(lower[strings.LastIndexByte(lower, '@')+1:], "."), ".")
	domain := labels[len(labels)-1]
	if len(labels) > 1 {
		domain += "." + labels[len(labels)-2]
	}
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || !strings.Contains(line, ":") {
			continue
		}
		parts := strings.SplitN(line, ":", 4)
		if len(parts) < 3 {
			return "", broken("%s: line %d: want domain:lo:hi:list", f.path(file), n)
		}
		if parts[0] != "" && !strings.HasPrefix(domain, lowerASCII(parts[0])) {
			continue
		}
		lo, hi := 0, buckets-1
		for i, to := range []*int{&lo, &hi} {
			if text := strings.TrimSpace(parts[1+i]); text != "" {
				if *to, err = strconv.Atoi(text); err != nil {
					return "", broken("%s: line %d: %q is no number", f.path(file), n, text)
				}
			}
		}
		if number < lo || number > hi {
			continue
		}
		if len(parts) == 4 {
			name = strings.TrimSpace(parts[3])
		}
		if name != "" && !strings.Contains(name, "@") {
			name += "@" + f.Host
		}
		return name, nil
	}
	return "", nil
}
