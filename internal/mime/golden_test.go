package mime

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/postilion/postilion/internal/realmail"
)

// fixtures is the folder of real mail beside the repository.
// readFixtures returns the files of one archive by name.
func readFixtures(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	realmail.Each(t, archive, func(name string, content []byte) bool {
		files[name] = content
		return true
	})
	return files
}

// TestAgreesWithDovecotAndCyrus compares what FETCH must answer with what two servers
// agree on, for real mail.
func TestAgreesWithDovecotAndCyrus(t *testing.T) {
	t.Parallel()
	z, err := gzip.NewReader(realmail.Open(t, "golden-imap-dev.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, a := range []string{"mime-dev.tar.zst", "cjk-dev.tar.zst", "spamassassin-6046.tar.zst", "lkml-samsung-soc-5k.tar.zst"} {
		maps.Copy(files, readFixtures(t, a))
	}
	total, wrong := map[string]int{}, map[string]int{}
	s := bufio.NewScanner(z)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var row [3]string
		if err := json.Unmarshal(s.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		data, ok := files[row[0]]
		if !ok {
			total["missing file"]++
			continue
		}
		want := row[2]
		if !strings.HasPrefix(want, "sha256:") {
			p, err := base64.StdEncoding.DecodeString(want)
			if err != nil {
				t.Fatal(err)
			}
			want = string(p)
		}
		total[row[1]]++
		if got := fetch(t, data, row[1]); got != want {
			if wrong[row[1]]++; wrong[row[1]] <= 6 {
				t.Logf("%s %s:\nwant %s\nhave %s", row[0], row[1], want, got)
			}
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	// Some of the answers belong to another message of the same Message-ID: those are the
	// disagreements that are allowed.
	allowed := map[string]int{"ENVELOPE": 2, "BODYSTRUCTURE": 6, "RFC822.SIZE": 23, "BODY.PEEK[TEXT]": 1, "BODY.PEEK[1]": 7, "BODY.PEEK[HEADER]": 17, "BODY.PEEK[1.MIME]": 11}
	for item, most := range allowed {
		t.Logf("%s: %d of %d agree", item, total[item]-wrong[item], total[item])
		if wrong[item] > most || total[item] == 0 {
			t.Errorf("%s: %d of %d disagree, want at most %d", item, wrong[item], total[item], most)
		}
	}
}

// fetch renders an item as the golden answers are: upper case, literals without their
// lengths, bodies as sums.
func fetch(t *testing.T, data []byte, item string) string {
	crlf := toCRLF(data)
	root, err := Parse(bytes.NewReader(crlf), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	sum := func(from, size int64) string {
		text := string(crlf[from : from+size])
		h := sha256.Sum256([]byte("(" + strings.Replace(item, ".PEEK", "", 1) + ` "` + text + `")`))
		return "sha256:" + hex.EncodeToString(h[:])
	}
	switch item {
	case "RFC822.SIZE":
		return fmt.Sprintf("(RFC822.SIZE %d)", len(crlf))
	case "BODY.PEEK[TEXT]":
		return sum(root.Head.Size, int64(len(crlf))-root.Head.Size)
	case "BODY.PEEK[HEADER]":
		return sum(0, root.Head.Size)
	case "BODY.PEEK[1]", "BODY.PEEK[1.MIME]":
		p := root
		if len(root.Parts) > 0 {
			p = root.Parts[0]
		}
		if item == "BODY.PEEK[1]" {
			return sum(p.Body.Offset, p.Body.Size)
		}
		return sum(p.Head.Offset, p.Head.Size)
	case "ENVELOPE":
		return strings.ToUpper("(ENVELOPE " + envelope(root.Header) + ")")
	case "BODYSTRUCTURE":
		return strings.ToUpper("(BODYSTRUCTURE " + structure(root) + ")")
	}
	t.Fatalf("no item %s", item)
	return ""
}

func toCRLF(p []byte) []byte {
	p = bytes.ReplaceAll(p, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))
}

// nstring is IMAP's, as the golden answers show strings and literals alike.
func nstring(s string, present bool) string {
	if !present {
		return "NIL"
	}
	return `"` + s + `"`
}

func envelope(h Header) string {
	text := func(name string) string {
		for _, f := range h {
			if strings.EqualFold(f.Name, name) {
				return nstring(Unfold(f.Value), true)
			}
		}
		return "NIL"
	}
	from := addresses(h, "From")
	or := func(name string) string {
		if a := addresses(h, name); a != "NIL" {
			return a
		}
		return from
	}
	return "(" + strings.Join([]string{text("Date"), text("Subject"), from, or("Sender"), or("Reply-To"),
		addresses(h, "To"), addresses(h, "Cc"), addresses(h, "Bcc"), text("In-Reply-To"), text("Message-ID")}, " ") + ")"
}

func addresses(h Header, name string) string {
	var b strings.Builder
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		group, in := "", false
		for _, a := range ParseAddresses(Unfold(f.Value)) {
			if in && (!a.InGroup || a.Group != group || a.Empty) {
				b.WriteString("(NIL NIL NIL NIL)")
				in = false
			}
			if a.InGroup && !in {
				fmt.Fprintf(&b, "(NIL NIL %s NIL)", nstring(a.Group, true))
				group, in = a.Group, true
			}
			if a.Empty {
				continue
			}
			fmt.Fprintf(&b, "(%s %s %s %s)", nstring(a.Name, a.Name != ""), nstring(a.Route, a.Route != ""), nstring(a.Local, true), nstring(a.Domain, true))
		}
		if in {
			b.WriteString("(NIL NIL NIL NIL)")
		}
	}
	if b.Len() == 0 {
		return "NIL"
	}
	return "(" + b.String() + ")"
}

func structure(p *Part) string {
	disp := "NIL"
	if p.Disposition != "" {
		disp = "(" + nstring(p.Disposition, true) + " " + paramList(p.DispParams) + ")"
	}
	lang := field(p, "Content-Language")
	if lang != "NIL" {
		lang = "(" + lang + ")"
	}
	tail := fmt.Sprintf(" %s %s %s", disp, lang, field(p, "Content-Location"))
	if p.IsMultipart() {
		var b strings.Builder
		for _, c := range p.Parts {
			b.WriteString(structure(c))
		}
		if len(p.Parts) == 0 {
			b.WriteString(structure(&Part{Type: "text", Subtype: "plain"}))
		}
		return fmt.Sprintf("(%s %s %s%s)", b.String(), nstring(p.Subtype, true), paramList(p.Params), tail)
	}
	params := paramList(p.Params)
	if !p.HasType && p.Type == "text" {
		params = `("charset" "us-ascii")`
	}
	enc := p.Encoding
	if enc == "" {
		enc = "7bit"
	}
	s := fmt.Sprintf("(%s %s %s %s %s %s %d", nstring(p.Type, true), nstring(p.Subtype, true), params,
		field(p, "Content-Id"), field(p, "Content-Description"), nstring(enc, true), p.Body.WireSize)
	switch {
	case p.Message != nil:
		s += fmt.Sprintf(" %s %s %d", envelope(p.Message.Header), structure(p.Message), p.Body.Lines)
	case p.Type == "text":
		s += fmt.Sprintf(" %d", p.Body.Lines)
	}
	return s + " " + field(p, "Content-MD5") + tail + ")"
}

func field(p *Part, name string) string {
	v := p.Header.Get(name)
	return nstring(v, v != "")
}

func paramList(list []Param) string {
	if len(list) == 0 {
		return "NIL"
	}
	var s []string
	for _, p := range list {
		s = append(s, nstring(p.Name, true), nstring(p.Value, true))
	}
	return "(" + strings.Join(s, " ") + ")"
}
