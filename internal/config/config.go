package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postilion/postilion/internal/access/pop3d"
	"github.com/postilion/postilion/internal/auth/secrets"
	"github.com/postilion/postilion/internal/bounce"
	"github.com/postilion/postilion/internal/control"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/deliver/remote"
	"github.com/postilion/postilion/internal/deliver/runas"
	"github.com/postilion/postilion/internal/dispatch"
	"github.com/postilion/postilion/internal/dnsbl"
	"github.com/postilion/postilion/internal/intake/client"
	"github.com/postilion/postilion/internal/intake/inject"
	"github.com/postilion/postilion/internal/intake/qmqpd"
	"github.com/postilion/postilion/internal/intake/qmtpd"
	"github.com/postilion/postilion/internal/intake/smtpd"
	"github.com/postilion/postilion/internal/mail/archive"
	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/netx"
	"github.com/postilion/postilion/internal/policy"
	"github.com/postilion/postilion/internal/policy/headers"
	"github.com/postilion/postilion/internal/queue/pebblestore"
	"github.com/postilion/postilion/internal/route"
	"github.com/postilion/postilion/internal/serve"
	"github.com/postilion/postilion/internal/submit"
	"github.com/postilion/postilion/internal/trace/journal"
	"github.com/postilion/postilion/internal/trace/logs"
)

// FileName is the configuration's name within its folder.
const FileName = "postilion.toml"

// Config is the whole configuration, with defaults filled in.
type Config struct {
	Host string `toml:"host" doc:"this server's name in greetings, Received fields and bounces; the only key that a working server needs" example:"mail.example.test"`
	Data string `toml:"data" doc:"the data folder; empty is the folder of this file" example:"/var/lib/postilion"`

	Qmail     string `toml:"qmail" doc:"the folder of a qmail to run on as it stands: its control files go before the defaults and behind the keys of this file" example:"/var/qmail"`
	QmailRoot string `toml:"qmail_root" doc:"the root folder of that qmail's host, for /etc/tcp.smtp; empty is /" example:"/mnt/old-host"`

	SMTP        SMTP                `toml:"smtp" defaults:"listen=:25" doc:"mail from other hosts"`
	Submission  SMTP                `toml:"submission" defaults:"listen=:587" doc:"mail that accounts send, with STARTTLS"`
	Submissions SMTP                `toml:"submissions" defaults:"listen=:465" doc:"mail that accounts send, with TLS from the first byte"`
	LMTP        SMTP                `toml:"lmtp" doc:"mail for mailboxes here from another server of the house"`
	Inject      inject.Options      `toml:"inject" doc:"mail that programs of this host hand in: sendmail, qmail-inject and their kin"`
	QMTP        QMTP                `toml:"qmtp" doc:"mail from other hosts by QMTP, port 209"`
	QMQP        QMQP                `toml:"qmqp" doc:"mail from the hosts of the house by QMQP, port 628; only from the named networks"`
	POP3        POP3                `toml:"pop3" defaults:"listen=:110" doc:"reading mail, with STLS"`
	POP3S       POP3                `toml:"pop3s" defaults:"listen=:995" doc:"reading mail, with TLS from the first byte"`
	Policy      policy.Options      `toml:"policy" doc:"who may send what to whom"`
	Floors      policy.FloorOptions `toml:"floors" doc:"when the host has too little room or too much load to take mail"`
	Content     headers.Options     `toml:"content_rules" doc:"rules for header fields and attachments"`
	DNSLists    dnsbl.Options       `toml:"dns_lists" doc:"DNS lists of senders, asked for clients of smtp and qmtp"`
	Turn        Turn                `toml:"turn" doc:"hosts that fetch the mail that waits for them"`
	Submit      submit.Options      `toml:"submit" doc:"what is written into messages on their way in"`
	Archive     archive.Options     `toml:"archive" doc:"copies of messages for archives"`
	Queue       pebblestore.Options `toml:"queue" doc:"the queue's store"`
	Dispatch    dispatch.Options    `toml:"dispatch" doc:"when and how much is delivered"`
	Route       route.Options       `toml:"route" doc:"where mail goes"`
	Routes      []Hop               `toml:"routes" doc:"one fixed next hop, for one domain or all; may be given many times"`
	Bounce      bounce.Options      `toml:"bounce" doc:"messages about what could not be delivered"`
	Remote      remote.Options      `toml:"remote" doc:"delivery to other hosts"`
	Auth        secrets.Options     `toml:"auth" doc:"passwords"`
	Local       local.Options       `toml:"local" doc:"delivery into mailboxes here"`
	RunAs       runas.Options       `toml:"runas" doc:"users of this system: their files and their programs"`
	DNS         netx.Options        `toml:"dns" doc:"the name servers that are asked"`
	Log         logs.Options        `toml:"log" doc:"the log"`
	Events      journal.Options     `toml:"events" doc:"the record of what happened to each message"`
	TLS         TLS                 `toml:"tls" doc:"the certificate of all listeners"`
	Admin       control.GateOptions `toml:"admin" doc:"administrators of domains, and owners of accounts, who manage what is theirs"`
	Metrics     Metrics             `toml:"metrics" doc:"counters and health for monitoring"`
	Process     Process             `toml:"process" doc:"processes and their rights"`
	Trial       Trial               `toml:"trial" doc:"trying this server out beside the one that does the work"`
}

// Listener is a service's addresses and the limits of its connections.
type Listener struct {
	Listen []string `toml:"listen" doc:"addresses to listen on, as address:port or :port; empty turns the service off" example:"192.0.2.1:2525"`
	serve.Options
	ClientOptions
}

// ClientOptions are client.Options under a name of their own.
type ClientOptions = client.Options

// Validate looks at both parts.
func (l *Listener) Validate() error {
	return errors.Join(l.Options.Validate(), l.ClientOptions.Validate())
}

// QMTP is the QMTP service.
type QMTP struct {
	Listener
	qmtpd.Options
}

// QMQP is the QMQP service.
type QMQP struct {
	Listener
	qmqpd.Options
}

// SMTP is one SMTP service.
type SMTP struct {
	Listener
	smtpd.Options
}

// POP3 is one POP3 service.
type POP3 struct {
	Listener
	pop3d.Options
}

// Hop is one [[routes]] table.
type Hop struct {
	Domain       string `toml:"domain" doc:"the destination: a domain, .suffix for all below it, empty for every domain" example:"inside.example"`
	Host         string `toml:"host" doc:"the relay, a name or an address; empty follows the MX records as usual" example:"relay.example.net"`
	Port         int    `toml:"port" default:"25" doc:"the relay's port" example:"587"`
	User         string `toml:"user" doc:"the user name to log in with" example:"me"`
	Password     string `toml:"password" secret:"true" doc:"the password to log in with" example:"secret"`
	PasswordFile string `toml:"password_file" doc:"a file whose first line is the password" example:"/etc/postilion/relay-password"`
	TLS          string `toml:"tls" default:"opportunistic" doc:"opportunistic, none, encrypt, verify or implicit; the last two alone look at the certificate whatever the host has published, without which a password goes to whoever answers" example:"verify"`
}

// Process is what the supervisor needs to know.
type Process struct {
	UIDBase     int           `toml:"uid_base" default:"64100" max:"4294900000" doc:"roles whose user postilion-ROLE does not exist run under this uid plus the role's number" example:"64100"`
	Single      bool          `toml:"single" doc:"run all roles in one process even as root" example:"true"`
	MaxFiles    int64         `toml:"max_files" default:"0" doc:"descriptors that each role may open; 0 is the system's hard limit" example:"65536"`
	MemoryLimit int64         `toml:"memory_limit" unit:"bytes" default:"0" doc:"heap size that each role keeps to by collecting harder; 0 is none" example:"512MiB"`
	MaxMemory   int64         `toml:"max_memory" unit:"bytes" default:"0" doc:"address space that a role may not exceed: it dies and is restarted; 0 is none" example:"8GiB"`
	QueueLoad   int           `toml:"queue_load" default:"8" unit:"load average a processor" min:"-1" doc:"1-minute load a processor above which mail is only queued (sendmail's QueueLA); -1 is no limit" example:"6"`
	StopTimeout time.Duration `toml:"stop_timeout" default:"45s" doc:"time that a role is given to stop before it is killed" example:"1m"`
}

// Trial has the server work without touching anything of the old system.
type Trial struct {
	Enabled     bool `toml:"enabled" doc:"listen on other ports, deliver for users of the system into the folder trial of the data folder, run none of their programs, show none of their mail, and send nothing to other hosts" example:"true"`
	PortsOffset int  `toml:"ports_offset" default:"10000" doc:"what a trial adds to every port that it listens on" example:"20000"`
	Send        bool `toml:"send" doc:"let a trial send mail to other hosts" example:"true"`
}

// Address is where a listener configured for addr listens.
func (t *Trial) Address(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	n, bad := strconv.Atoi(port)
	if !t.Enabled || err != nil || bad != nil || n == 0 {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(n+t.PortsOffset))
}

// check looks for ports that there are not.
func (t *Trial) check(services []Service) error {
	if !t.Enabled {
		return nil
	}
	if t.PortsOffset < 1 || t.PortsOffset > 65000 {
		return fmt.Errorf("ports_offset: %d: want 1 to 65000, so that the old server keeps its ports", t.PortsOffset)
	}
	var errs []error
	for _, s := range services {
		for _, a := range s.Listen {
			_, port, _ := net.SplitHostPort(t.Address(a))
			if n, err := strconv.Atoi(port); err == nil && n > 65535 {
				errs = append(errs, fmt.Errorf("ports_offset: %s.listen %s would be port %d: want an offset that keeps all ports below 65536", s.Name, a, n))
			}
		}
	}
	return errors.Join(errs...)
}

// Metrics is the console's listener.
type Metrics struct {
	Listen []string `toml:"listen" default:"127.0.0.1:9125" doc:"addresses of the HTTP listener with /metrics and /health; empty turns it off" example:"127.0.0.1:9125"`
}

// TLS is the server's certificate.
type TLS struct {
	Cert      string        `toml:"cert" default:"tls/cert.pem" doc:"the certificate chain in PEM; a relative name is in the data folder" example:"/etc/ssl/mail.pem"`
	Key       string        `toml:"key" default:"tls/key.pem" doc:"its private key in PEM" example:"/etc/ssl/mail.key"`
	ACME      bool          `toml:"acme" doc:"fetch and renew the certificate by ACME (Let's Encrypt) instead; port 80 must lead to acme_http" example:"true"`
	ACMEEmail string        `toml:"acme_email" doc:"the address that the certificate authority writes to" example:"postmaster@example.test"`
	ACMECA    string        `toml:"acme_ca" default:"https://acme-v02.api.letsencrypt.org/directory" doc:"the directory of the certificate authority" example:"https://acme-staging-v02.api.letsencrypt.org/directory"`
	ACMERoots string        `toml:"acme_roots" doc:"certificates in PEM that the certificate authority's own server is verified with; empty is the system's" example:"/etc/ssl/house-ca.pem"`
	ACMEHTTP  string        `toml:"acme_http" default:":80" doc:"the address to answer ACME's HTTP challenges on" example:":80"`
	Check     time.Duration `toml:"check" default:"10s" doc:"how often the certificate's files are looked at for a change" example:"1m"`
	MinTLS    string        `toml:"min_version" default:"1.2" doc:"the oldest TLS version that clients may speak" example:"1.3"`
}

// File is a configuration with what is known of its source.
type File struct {
	*Config
	Path    string // of the file; "" without one
	Origins map[string]Origin
	Notes   []migrate.Note // what became of the lines of a qmail's files
}

var theSchema = sync.OnceValues(func() (*schema, error) { return newSchema(reflect.TypeFor[Config]()) })

// Schema returns all groups and keys in the order of the reference page. An error is a mistake in the struct tags of this program,
// which tests find.
func Schema() ([]Group, []Key, error) {
	s, err := theSchema()
	if err != nil {
		return nil, nil, err
	}
	return s.groups, s.keys, nil
}

// Read reads the file at path and then flags of the form key=value, which win. Where one of
// both names a qmail, its files are read before them, and the file may be missing. The error is
// a Problems with everything that is wrong, or the file's.
func Read(path string, flags []string) (*File, error) {
	src, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	tree, named := readTree(path, src, flags)
	if err != nil && !named {
		return nil, err
	}
	return parse(source{path: path, text: src, flags: flags, tree: tree})
}

// Parse is Read on a text, and reads no qmail; path is the name for errors.
func Parse(path string, src []byte, flags []string) (*File, error) {
	return parse(source{path: path, text: src, flags: flags})
}

// Decode reads what Encode wrote: values that have been taken already, some of them a qmail's. The error is Parse's; name is what it
// calls the text.
func Decode(name string, src []byte) (*File, error) {
	return parse(source{path: name, text: src, encoded: true})
}

// source is what a configuration is read from.
type source struct {
	path    string // for errors, and of the data folder where that is not named
	text    []byte
	flags   []string // key=value
	tree    *tree    // nil without a qmail
	encoded bool     // by Encode
}

func parse(src source) (*File, error) {
	path := src.path
	s, err := theSchema()
	if err != nil {
		return nil, err
	}
	c := new(Config)
	l := &loader{schema: s, into: reflect.ValueOf(c).Elem(), file: path, origins: map[string]Origin{}}
	setDefaults(s, l.into)
	notes := l.tree(src.tree)
	l.file = path
	l.load(src.text)
	for _, f := range src.flags {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			l.flagProblem("--set %q: want key=value", f)
			continue
		}
		l.flag(strings.TrimSpace(name), value)
	}
	l.file = path
	l.supersede()
	if c.Data == "" && path != "" {
		c.Data = filepath.Dir(path)
	}
	f := &File{Config: c, Path: path, Origins: l.origins, Notes: notes}
	for _, p := range l.checks(f, src) {
		o := l.origins[p.Key]
		p.File, p.Line = o.File, o.Line
		if p.File == "" && o.From != "flag" {
			p.File = path
		}
		l.problems = append(l.problems, p)
	}
	if len(l.problems) > 0 {
		sortProblems(l.problems)
		return nil, l.problems
	}
	c.fill()
	return f, nil
}

// Setting is one key with its value, as `config show` lists it.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// Settings lists every key with its value and where that came from. Secret values, and secret words of values, are
// left out unless secrets is set.
func (f *File) Settings(secrets bool) ([]Setting, error) {
	s, err := theSchema()
	if err != nil {
		return nil, err
	}
	var list []Setting
	add := func(name, full string, k *Key, v reflect.Value) {
		value := format(v, k)
		if !secrets {
			value = k.public(value)
		}
		o, ok := f.Origins[full]
		if !ok {
			o = Origin{From: "default"}
		}
		list = append(list, Setting{name, value, o})
	}
	root := reflect.ValueOf(f.Config).Elem()
	for i := range s.keys {
		if k := &s.keys[i]; !k.Repeated {
			add(k.Name, k.Name, k, root.FieldByIndex(k.path))
		}
	}
	s.eachRepeated(root, func(g *Group, n int, element reflect.Value, keys []*Key) {
		for _, k := range keys {
			full := fmt.Sprintf("%s[%d]%s", g.Name, n, k.Name[len(g.Name):])
			add(full, full, k, element.FieldByIndex(k.path))
		}
	})
	return list, nil
}

// public is a value as everybody may see it.
func (k *Key) public(value string) string {
	if k.Secret && value != "" {
		return "(secret)"
	}
	if k.hidden == "" {
		return value
	}
	words := strings.Split(value, " ")
	for i, w := range words {
		if rest, ok := strings.CutPrefix(w, k.hidden); ok {
			words[i] = k.hidden + "(secret)"
			if strings.HasSuffix(rest, ",") { // between two texts of a list
				words[i] += ","
			}
		}
	}
	return strings.Join(words, " ")
}

// eachRepeated visits the elements of all [[groups]].
func (s *schema) eachRepeated(root reflect.Value, visit func(g *Group, n int, element reflect.Value, keys []*Key)) {
	for i := range s.groups {
		g := &s.groups[i]
		if !g.Repeated {
			continue
		}
		var keys []*Key
		for j := range s.keys {
			if k := &s.keys[j]; k.Repeated && strings.HasPrefix(k.Name, g.Name+".") {
				keys = append(keys, k)
			}
		}
		list := root.FieldByIndex(g.path)
		for n := range list.Len() {
			visit(g, n, list.Index(n), keys)
		}
	}
}

// Encode writes the groups named (all without names) as TOML: the keys outside of
// groups always, every other key that differs from its default. A role process is
// handed its part of the configuration this way.
func (c *Config) Encode(groups ...string) ([]byte, error) {
	s, err := theSchema()
	if err != nil {
		return nil, err
	}
	want := func(group string) bool {
		if len(groups) == 0 || group == "" {
			return true
		}
		for _, g := range groups {
			if g == group || strings.HasPrefix(group, g+".") {
				return true
			}
		}
		return false
	}
	root := reflect.ValueOf(c).Elem()
	defaults := reflect.New(root.Type()).Elem()
	setDefaults(s, defaults)
	var b strings.Builder
	for _, g := range s.groups {
		if g.Repeated || !want(g.Name) {
			continue
		}
		head := g.Name != ""
		for i := range s.keys {
			k := &s.keys[i]
			if k.Repeated || groupOf(k.Name) != g.Name {
				continue
			}
			v, d := root.FieldByIndex(k.path), defaults.FieldByIndex(k.path)
			if reflect.DeepEqual(v.Interface(), d.Interface()) {
				continue
			}
			if head {
				fmt.Fprintf(&b, "[%s]\n", g.Name)
				head = false
			}
			fmt.Fprintf(&b, "%s = %s\n", k.Name[strings.LastIndexByte(k.Name, '.')+1:], literal(v, k))
		}
	}
	s.eachRepeated(root, func(g *Group, _ int, element reflect.Value, keys []*Key) {
		if !want(g.Name) {
			return
		}
		fmt.Fprintf(&b, "[[%s]]\n", g.Name)
		for _, k := range keys {
			fmt.Fprintf(&b, "%s = %s\n", k.Name[len(g.Name)+1:], literal(element.FieldByIndex(k.path), k))
		}
	})
	return []byte(b.String()), nil
}

// With returns a copy of c in which the keys that take chooses are as now has them. The error is Schema's.
func (c *Config) With(now *Config, take func(key string) bool) (*Config, error) {
	s, err := theSchema()
	if err != nil {
		return nil, err
	}
	merged := *c
	into, from := reflect.ValueOf(&merged).Elem(), reflect.ValueOf(now).Elem()
	for i := range s.keys {
		if k := &s.keys[i]; !k.Repeated && take(k.Name) {
			into.FieldByIndex(k.path).Set(from.FieldByIndex(k.path))
			k.share(into)
		}
	}
	return &merged, nil
}

func groupOf(key string) string {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return key[:i]
	}
	return ""
}
