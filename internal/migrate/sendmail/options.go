package sendmail

import (
	"strconv"
	"strings"
	"time"

	"github.com/postilion/postilion/internal/migrate"
	"github.com/postilion/postilion/internal/smtp"
)

// timeouts are sendmail's Timeout options with their own unit and our keys.
var timeouts = map[string]struct {
	unit time.Duration
	keys []string
}{
	"queuereturn": {24 * time.Hour, []string{"dispatch.lifetime"}}, "queuewarn": {time.Hour, []string{"dispatch.delay_notice"}},
	"initial": {time.Minute, []string{"remote.timeout_greeting"}}, "helo": {time.Minute, []string{"remote.timeout_ehlo"}},
	"mail": {time.Minute, []string{"remote.timeout_mail"}}, "rcpt": {time.Minute, []string{"remote.timeout_rcpt"}},
	"datainit": {time.Minute, []string{"remote.timeout_data"}}, "datablock": {time.Minute, []string{"remote.timeout_block", "smtp.data_timeout"}},
	"datafinal": {time.Minute, []string{"remote.timeout_dot"}}, "connect": {time.Minute, []string{"remote.timeout_connect"}},
	"iconnect": {time.Minute, []string{"remote.timeout_connect"}}, "command": {time.Minute, []string{"smtp.idle_timeout"}},
}

// numbers are options that are numbers here too.
var numbers = map[string]struct {
	keys []string
	text string // the difference; "" for none
}{
	"maxmessagesize":          {[]string{"policy.max_size", "policy.max_send_size"}, ""},
	"maxrecipientspermessage": {[]string{"policy.max_recipients"}, ""},
	"maxhopcount":             {[]string{"policy.max_hops", "dispatch.max_hops"}, "Delivered-To counts too"},
	"maxdaemonchildren":       {[]string{"smtp.max_connections"}, ""},
	"queuela":                 {[]string{"process.queue_load"}, "counted for each processor"},
	"refusela":                {[]string{"floors.refuse_load"}, "counted for each processor"},
}

// texts are options whose values are files or texts here too.
var texts = map[string]string{"servercertfile": "tls.cert", "serverkeyfile": "tls.key", "cacertfile": "remote.ca_file", "heloname": "remote.helo"}

// builtIn are options that say what is so here anyway.
var builtIn = map[string]bool{
	"hoststatusdirectory": true, "queuedirectory": true, "statusfile": true, "helpfile": true, "defaultuser": true, "smtpgreetingmessage": true,
	"deliverymode": true, "tempfilemode": true, "savefromline": true, "matchgecos": true, "unixfromline": true, "operatorchars": true,
	"sevenbitinput": true, "eightbitmode": true, "aliaswait": true, "blanksub": true, "holdexpensive": true, "checkpointinterval": true,
	"errormode": true, "maxqueuerunsize": true, "minqueueage": true, "loglevel": true, "metoo": true, "checkaliases": true, "oldstyleheaders": true,
	"sendmimeerrors": true, "forwardpath": true, "connectioncachesize": true, "connectioncachetimeout": true, "usererrorsubmission": true,
	"supersafe": true, "timezonespec": true, "defaultcharset": true, "dontexpandcnames": true, "allowbogushelo": true, "mustquotechars": true,
	"doublebounceaddress": true, "pidfile": true, "noexpand": true, "trusteduser": true, "maxheaderslength": true, "maxmimeheaderlength": true,
	"recipientfactor": true, "retryfactor": true, "classfactor": true, "queuefactor": true, "queuesortorder": true, "unsafegroupwrites": true,
	"dontblamesendmail": true, "allmacros": true, "userdatabasespec": true, "fallbackmxhost": true, "hostsfile": true, "useerrorsto": true,
	"noRecipientAction": true, "norecipientaction": true, "resolveroptions": true, "processtitleprefix": true, "runasuser": true, "safefileenvironment": true,
	"colonokinaddr": true, "smtpnohelo": true, "dialdelay": true, "singlelinefromheader": true, "singlethreaddelivery": true, "forkeachjob": true,
	"rejectnul": true, "maxnoopcommands": true, "sharedmemorykey": true, "fastsplit": true, "maxqueuechildren": true, "cacertpath": true,
	"clientcertfile": true, "clientkeyfile": true, "dhparameters": true, "authmechanisms": true, "authoptions": true, "tlssrvoptions": true,
}

// option takes one option by its long name.
func (r *reader) option(name, value, file string, n int, line string) {
	low := strings.ToLower(name)
	if t, ok := strings.CutPrefix(low, "timeout."); ok {
		r.timeout(t, value, file, n, line)
		return
	}
	if num, ok := numbers[low]; ok {
		r.number(num.keys, num.text, value, file, n, line)
		return
	}
	if key, ok := texts[low]; ok {
		if strings.HasPrefix(value, "/") {
			value = r.host(value)
		}
		r.r.Set(key, value, file, n)
		r.r.Taken(migrate.At(file, n, line), key)
		return
	}
	switch low {
	case "smtpgreetingmessage":
		r.greeting(value, file, n, line)
	case "daemonportoptions":
		r.listener(value, file, n, line)
	case "aliasfile":
		r.aliasFiles(value, file, n, line)
	case "doublebounceaddress":
		if local, domain, ok := strings.Cut(value, "@"); ok {
			r.r.Set("bounce.doublebouncehost", domain, file, n)
			value = local
		}
		r.r.Set("bounce.doublebounceto", value, file, n)
		r.r.Taken(migrate.At(file, n, line), "bounce.doublebounceto")
	case "privacyoptions":
		r.r.Note(migrate.At(file, n, line), migrate.Differs, "", "EXPN is never answered and VRFY tells nothing; who sees the queue is inject.queue_users")
	case "badrcptthrottle":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "smtp.max_errors", "sendmail slows such clients down; the key ends the connection")
	case "connectionratethrottle":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "smtp.connection_rate", "sendmail limits all clients together, the key each one a minute")
	case "minfreeblocks":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "floors.free_bytes", "write the bytes there: blocks differ from disk to disk")
	case "fallbackmxhost", "fallbacksmarthost":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "there is no relay of last resort")
	case "inputmailfilters":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "mail filters (milters) are not spoken to; submit.filter runs a program for each message")
	case "runasuser", "safefileenvironment", "clientcertfile", "clientkeyfile":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "has no equal")
	default:
		if !builtIn[low] {
			r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "option %s has no equal", smtp.Text(name, 60))
		}
	}
}

func (r *reader) timeout(name, value, file string, n int, line string) {
	name, variant, _ := strings.Cut(name, ".")
	t, ok := timeouts[name]
	d, read := span(value, t.unit)
	switch {
	case name == "hoststatus" || name == "ident" || name == "auth" || name == "starttls" || name == "lhlo" || name == "rset" ||
		name == "quit" || name == "misc" || name == "control" || name == "resolver" || name == "fileopen" || name == "aconnect":
		return // as sendmail has them by default, or without an equal that anybody would miss
	case !ok:
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "", "this timeout has no equal")
	case variant != "" && variant != "normal":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, t.keys[0], "all messages have the same")
	case !read || d == 0 && name != "queuewarn":
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, t.keys[0], "want a time such as 4h or 5d above 0")
	default:
		for _, key := range t.keys {
			r.r.Set(key, d.String(), file, n)
		}
		r.r.Taken(migrate.At(file, n, line), t.keys[0])
	}
}

func (r *reader) number(keys []string, difference, value, file string, n int, line string) {
	v, err := strconv.Atoi(value)
	switch {
	case err != nil || v < 0:
		r.r.Note(migrate.At(file, n, line), migrate.NotCarried, keys[0], "want a number")
		return
	case v == 0:
		return // no limit of sendmail's; ours are generous
	}
	for _, key := range keys {
		r.r.Set(key, strconv.Itoa(v), file, n)
	}
	if difference != "" {
		r.r.Note(migrate.At(file, n, line), migrate.Differs, keys[0], "%s", difference)
		return
	}
	r.r.Taken(migrate.At(file, n, line), keys[0])
}

// greeting takes the text behind the host's name; macros mean nothing here.
func (r *reader) greeting(value, file string, n int, line string) {
	rest := strings.TrimSpace(strings.TrimPrefix(value, "$j"))
	if strings.Contains(rest, "$") {
		if rest != "Sendmail $v/$Z; $b" && rest != "Sendmail $v; $b" {
			r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "smtp.greeting", "macros have no equal: write the text without them")
		}
		return
	}
	greeting := strings.TrimSpace("ESMTP " + rest)
	if rest == "" || smtp.Text(greeting, 200) != greeting {
		return
	}
	r.r.Set("smtp.greeting", greeting, file, n)
	r.r.Taken(migrate.At(file, n, line), "smtp.greeting")
}

func (r *reader) aliasFiles(value, file string, n int, line string) {
	for f := range strings.SplitSeq(value, ",") {
		f = strings.TrimSpace(f)
		if kind, path, ok := strings.Cut(f, ":"); ok && kind != "" && !strings.Contains(kind, "/") {
			if kind != "hash" && kind != "dbm" && kind != "btree" && kind != "cdb" && kind != "implicit" {
				r.r.Note(migrate.At(file, n, line), migrate.NotCarried, "route.alias_files", "aliases of kind %s are not read", smtp.Text(kind, 30))
				continue
			}
			f = path
		}
		r.file("route.alias_files", r.host(f), true)
	}
	r.r.Taken(migrate.At(file, n, line), "route.alias_files")
}
