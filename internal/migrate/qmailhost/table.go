package qmailhost

import (
	"fmt"
	"io"
	"strings"

	"github.com/postilion/postilion/internal/qmail/control"
)

// When is when a change of a control file takes effect.
type When string

const (
	// AtOnce is within seconds of the change, without being told.
	AtOnce When = "at once"
	// AtStart is when the server is started anew, as `reload` says of such keys.
	AtStart When = "at a restart"
)

// Row is one control file and what it comes to here.
type Row struct {
	Name    string
	Keys    []string // ours; none where it has no equal
	When    When
	Default string // where the file is missing, if it is not qmail's own
	Instead string // what to do where the file is not taken
	Take    func(*reader, file)
}

// Rows returns the table for documentation and tests.
func Rows() []Row { return table() }

// table is every control file of qmail, of the conventions of Life with qmail, and of the
// successors' that have an equal here (qmail reference 2.2, 26, 27). me comes first.
func table() []Row {
	return append([]Row{
		{Name: "me", Default: "none: it must be there", Keys: []string{"host"}, When: AtStart, Take: (*reader).takeMe},
		{Name: "badmailfrom", Keys: []string{"policy.bad_senders", "policy.refuse_senders_at"}, When: AtOnce, Take: (*reader).badmailfrom},
		{Name: "bouncefrom", Keys: []string{"bounce.bouncefrom"}, When: AtStart, Take: line("bounce.bouncefrom")},
		{Name: "bouncehost", Keys: []string{"bounce.bouncehost"}, When: AtStart, Take: line("bounce.bouncehost")},
		{Name: "concurrencyincoming", Keys: []string{"smtp.max_connections"}, When: AtStart, Default: "20000, or what the start script says", Take: (*reader).concurrencyIncoming},
		{Name: "concurrencylocal", Keys: []string{"dispatch.local_parallel"}, When: AtStart, Default: "100", Take: concurrency("dispatch.local_parallel")},
		{Name: "concurrencyremote", Keys: []string{"dispatch.remote_parallel"}, When: AtStart, Default: "500", Take: concurrency("dispatch.remote_parallel")},
		{Name: "databytes", Keys: []string{"policy.databytes", "policy.max_size", "policy.max_send_size"}, When: AtOnce, Take: (*reader).databytes},
		{Name: "defaultdelivery", Keys: []string{keyDefaultDelivery}, When: AtStart, Take: (*reader).defaultDelivery},
		{Name: "defaultdomain", Keys: []string{"inject.default_domain"}, When: AtOnce, Take: line("inject.default_domain")},
		{Name: "defaulthost", Keys: []string{"inject.default_host"}, When: AtOnce, Take: line("inject.default_host")},
		{Name: "doublebouncehost", Keys: []string{"bounce.doublebouncehost"}, When: AtStart, Take: line("bounce.doublebouncehost")},
		{Name: "doublebounceto", Keys: []string{"bounce.doublebounceto"}, When: AtStart, Take: line("bounce.doublebounceto")},
		{Name: "envnoathost", Keys: []string{keyEnvNoAtHost}, When: AtOnce, Take: line(keyEnvNoAtHost)},
		{Name: "helohost", Keys: []string{"remote.helo"}, When: AtOnce, Take: line("remote.helo")},
		{Name: "idhost", Keys: []string{"inject.id_host"}, When: AtOnce, Take: line("inject.id_host")},
		{Name: "localiphost", Keys: []string{keyLocalIPHost}, When: AtOnce, Take: line(keyLocalIPHost)},
		{Name: "locals", Keys: []string{keyLocals}, When: AtOnce, Take: (*reader).locals},
		{Name: "morercpthosts", Keys: []string{"policy.rcpthosts"}, When: AtOnce, Instead: "only with rcpthosts, and as qmail-newmrh compiles it", Take: (*reader).morercpthosts},
		{Name: "percenthack", Keys: []string{keyPercentHack}, When: AtOnce, Take: (*reader).percenthack},
		{Name: "plusdomain", Keys: []string{"inject.plus_domain"}, When: AtOnce, Take: line("inject.plus_domain")},
		{Name: "qmqpservers", Keys: []string{keyQMQPServers}, When: AtOnce, Take: (*reader).qmqpservers},
		{Name: "queuelifetime", Keys: []string{"dispatch.lifetime"}, When: AtStart, Take: seconds("dispatch.lifetime")},
		{Name: "rcpthosts", Default: "every domain is taken", Keys: []string{"policy.rcpthosts", "policy.rcpthosts_only", "policy.any_recipient"}, When: AtOnce, Take: (*reader).rcpthosts},
		{Name: "smtpgreeting", Keys: []string{"smtp.greeting"}, When: AtOnce, Take: (*reader).smtpgreeting},
		{Name: "smtproutes", Keys: []string{"route.routes"}, When: AtOnce, Take: (*reader).smtproutes},
		{Name: "timeoutconnect", Keys: []string{"remote.timeout_connect"}, When: AtOnce, Take: seconds("remote.timeout_connect")},
		{Name: "timeoutremote", Keys: remoteTimeouts, When: AtOnce, Take: seconds(remoteTimeouts...)},
		{Name: "timeoutsmtpd", Keys: []string{"smtp.idle_timeout", "smtp.data_timeout"}, When: AtOnce, Take: seconds("smtp.idle_timeout", "smtp.data_timeout")},
		{Name: "virtualdomains", Keys: []string{keyVirtualDomains}, When: AtOnce, Take: (*reader).virtualdomains},

		// Of successors (qmail reference 27).
		{Name: "badrcptto", Default: "none", Keys: []string{"policy.bad_recipients"}, When: AtOnce, Take: (*reader).badrcptto},
		{Name: "bouncemaxbytes", Keys: []string{"bounce.bounce_max_return"}, When: AtStart, Default: "65536", Take: optional("bounce.bounce_max_return")},
		{Name: "bouncesubject", Keys: []string{"bounce.bouncesubject"}, When: AtStart, Default: "failure notice", Take: line("bounce.bouncesubject")},
		{Name: "doublebouncesubject", Keys: []string{"bounce.doublebouncesubject"}, When: AtStart, Default: "failure notice", Take: line("bounce.doublebouncesubject")},
		{Name: "bouncemessage", Keys: []string{"bounce.bouncemessage"}, When: AtStart, Default: "qmail's apology", Take: message("bounce.bouncemessage")},
		{Name: "doublebouncemessage", Keys: []string{"bounce.doublebouncemessage"}, When: AtStart, Default: "qmail's sentence", Take: message("bounce.doublebouncemessage")},
		{Name: "maxhops", Keys: []string{"policy.max_hops", "dispatch.max_hops"}, When: AtStart, Default: "100", Take: optional("policy.max_hops", "dispatch.max_hops")},
		{Name: "maxrecipients", Keys: []string{"policy.max_recipients"}, When: AtOnce, Default: "1000", Take: optional("policy.max_recipients")},
		{Name: "brtlimit", Keys: []string{"smtp.max_errors"}, When: AtOnce, Default: "20", Take: optional("smtp.max_errors")},
		{Name: "outgoingip", Keys: []string{"remote.bind4", "remote.bind6"}, When: AtOnce, Default: "the system's choice", Take: (*reader).outgoingIP},
		{Name: "servercert.pem", Keys: []string{"tls.cert", "tls.key"}, When: AtStart, Default: "a certificate of our own making", Take: (*reader).serverCert},
		{Name: "dnsbllist", Keys: []string{keyDNSLists}, When: AtOnce, Default: "what the start script says", Take: (*reader).dnsbllist},
	}, successors()...)
}

// successors are files of qmail's successors without an equal, with what to do instead.
func successors() []Row {
	return []Row{
		{Name: "bouncelifetime", Instead: "bounces live as long as other messages: dispatch.lifetime"},
		{Name: "badhelo", Instead: "the name in HELO decides nothing here"},
		{Name: "badmailfromnorelay", Instead: "policy.bad_senders holds for all clients; the patterns have no equal"},
		{Name: "badrcpttonorelay", Instead: "policy.bad_recipients holds for all clients; the patterns have no equal"},
		{Name: "spfbehavior", Instead: "SPF is not checked"},
		{Name: "spfrules", Instead: "SPF is not checked"},
		{Name: "spfguess", Instead: "SPF is not checked"},
		{Name: "spfexp", Instead: "SPF is not checked"},
		{Name: "taps", Instead: "copies are configured as archive recipients, without patterns"},
		{Name: "bindroutes", Instead: "one address for all: remote.bind4, remote.bind6"},
		{Name: "domainbindings", Instead: "one address for all: remote.bind4, remote.bind6"},
		{Name: "authsenders", Instead: "relays are chosen by recipient: [[routes]] with user and password"},
		{Name: "relaymailfrom", Instead: "a reverse-path proves nothing: let clients log in, or name their addresses"},
		{Name: "relaydomains", Instead: "a client's name proves little: name the addresses in the client rules"},
		{Name: "goodrcptto", Instead: "recipients are checked before they are taken, without a list"},
		{Name: "recipients", Instead: "recipients are checked before they are taken, without a list"},
		{Name: "tlsserverciphers", Instead: "ciphers are the library's choice; tls.min_version sets the oldest protocol"},
		{Name: "tlsclientciphers", Instead: "ciphers are the library's choice"},
		{Name: "clientcert.pem", Instead: "no certificate is shown to other hosts"},
		{Name: "clientca.pem", Instead: "clients are not asked for certificates"},
		{Name: "dh512.pem", Instead: "keys for the exchange are made by the library"},
		{Name: "dh1024.pem", Instead: "keys for the exchange are made by the library"},
		{Name: "dh2048.pem", Instead: "keys for the exchange are made by the library"},
		{Name: "rsa512.pem", Instead: "keys for the exchange are made by the library"},
		{Name: "rsa2048.pem", Instead: "keys for the exchange are made by the library"},
		{Name: "tlshosts", Instead: "TLS that a host must have is said by its route: tls=verify"},
		{Name: "notlshosts", Instead: "a host without TLS is said by its route: tls=none"},
		{Name: "holdlocal", Instead: "dispatch.local_parallel = -1 holds these deliveries"},
		{Name: "holdremote", Instead: "dispatch.remote_parallel = -1 holds these deliveries"},
		{Name: "maxdeliveredto", Instead: "hops are counted together: maxhops"},
		{Name: "badmailto", Instead: "as badrcptto: write its addresses there"},
		{Name: "relayclients", Instead: "name the clients in the client rules, with RELAYCLIENT"},
		{Name: "srs_domain", Instead: "route.srs is the domain"},
		{Name: "srs_secrets", Instead: "route.srs_secret is the key"},
		{Name: "moreipme", Instead: "this host's addresses are the system's; behind an address translation name its domains in locals"},
		{Name: "tarpitcount", Instead: "many recipients get a temporary answer: policy.max_recipients"},
		{Name: "tarpitdelay", Instead: "many recipients get a temporary answer: policy.max_recipients"},
	}
}

// kindOf is how successors' files are read.
func kindOf(name string) control.Kind {
	switch name {
	case "badrcptto", "dnsbllist":
		return control.KindList
	case "bouncemaxbytes", "maxhops", "maxrecipients", "brtlimit":
		return control.KindInt
	}
	return control.KindLine
}

// remoteTimeouts are what timeoutremote is, which counts for each read and write.
var remoteTimeouts = []string{"remote.timeout_greeting", "remote.timeout_ehlo", "remote.timeout_mail", "remote.timeout_rcpt",
	"remote.timeout_data", "remote.timeout_block", "remote.timeout_dot"}

// The keys of other parts that a tree fills. Of those in pairs the first takes what a file
// says, the second the file itself, which is then read again when it changes.
const (
	keyLocals             = "route.locals"
	keyLocalsFile         = "route.locals_file"
	keyVirtualDomains     = "route.virtual_domains"
	keyVirtualDomainsFile = "route.virtual_domains_file"
	keyPercentHack        = "route.percent_hack"
	keyPercentHackFile    = "route.percent_hack_file"
	keyRoutes             = "route.routes"
	keyRoutesFile         = "route.routes_file"
	keyRcptHosts          = "policy.rcpthosts"
	keyEnvNoAtHost        = "route.env_no_host"
	keyLocalIPHost        = "route.local_ip_host"
	keyUsers              = "route.users"
	keyAliasHome          = "route.alias_home"
	keySystemUsers        = "route.system_users"
	keyDefaultDelivery    = "local.default_delivery"
	keyQMQPServers        = "remote.qmqp_servers"
	keyClientRules        = "smtp.access_rules"
	keyDNSLists           = "dns_lists.lists"
)

// WriteTable writes the table as Markdown for docs/qmail-host.md.
func WriteTable(w io.Writer) {
	fmt.Fprint(w, "| file | key | without the file | a change counts |\n|---|---|---|---|\n")
	for _, row := range table() {
		if row.Take == nil {
			continue
		}
		keys := make([]string, len(row.Keys))
		for i, k := range row.Keys {
			keys[i] = "`" + k + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", row.Name, strings.Join(keys, ", "), row.absent(), row.When)
	}
}

// absent tells what holds without the file.
func (row *Row) absent() string {
	f, ok := control.FileNamed(row.Name)
	switch {
	case row.Default != "":
		return row.Default
	case !ok:
		return ""
	case f.FromMe:
		return "control/me"
	case f.ShowNone != "":
		return strings.ToLower(f.ShowNone[:1]) + strings.TrimSuffix(f.ShowNone[1:], ".")
	}
	return f.Default
}
