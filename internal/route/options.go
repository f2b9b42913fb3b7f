package route

// Options steer routing. The domains themselves are in the directory.
type Options struct {
	Names         []string `toml:"names" doc:"further names of this host: mail to them is mail to the default domain" example:"[\"mail.example.test\"]"`
	DefaultDomain string   `toml:"default_domain" doc:"the domain of addresses without one, of the host's own names and of its address literals; empty is the host name" example:"\"example.test\""`
	Postmaster    string   `toml:"postmaster" doc:"who gets the mail to postmaster, mailer-daemon, root and abuse where a domain has nobody of that name; empty is postmaster at the default domain" example:"\"joe@example.test\""`
	NextHop       string   `toml:"next_hop" secret_words:"password=" doc:"where all mail to other hosts goes, as RELAY[:PORT] with the words of routes; empty follows each domain's MX records" example:"\"smarthost.example.net:587 tls=verify user=me password=secret\""`
	Routes        []string `toml:"routes" secret_words:"password=" doc:"next hops by domain, as KEY:RELAY[:PORT] with the words mx, qmtp (also by port 209), tls=POLICY, user=NAME, password=WORD (percent-encoded; sent over TLS alone, or to this machine: add tls=verify, or whoever answers as the relay gets it); KEY is a domain, .SUFFIX or empty for all, an empty RELAY follows the MX records" example:"[\"inside.example:gw.example:26\", \".example.org:\"]"`
	TLS           string   `toml:"tls" default:"opportunistic" doc:"TLS towards other hosts where a route says nothing: opportunistic, none, encrypt, verify; opportunistic looks at certificates where the other side has published which are right (DANE, MTA-STS), verify always" example:"\"encrypt\""`

	RoutesFile string `toml:"routes_file" doc:"a file of routes as qmail's control/smtproutes; routes for a domain or suffix go before it, those for all domains after it" example:"\"/var/qmail/control/smtproutes\""`
	NullClient bool   `toml:"null_client" default:"false" doc:"deliver nothing here: all mail, that to this host's own names too, goes to next_hop" example:"true"`

	SRS       string `toml:"srs" doc:"the domain of this host whose addresses stand in the reverse-path of mail from elsewhere that is sent on to another host (SRS), so that its check of the sender's domain passes; empty keeps the sender's" example:"\"example.test\""`
	SRSSecret string `toml:"srs_secret" secret:"true" doc:"what those addresses are signed with, the same on every host that sends for the domain" example:"\"a long random text\""`

	// Users of the system and their addresses, as qmail and sendmail have them. All files are read
	// again when they change.
	SystemUsers        bool     `toml:"system_users" default:"false" doc:"deliver to the users of this system, as their .qmail files say: locals and virtual_domains tell which addresses are theirs" example:"true"`
	Locals             []string `toml:"locals" doc:"domains whose addresses are names of system users; the host name where neither these nor the file exist" example:"[\"example.test\"]"`
	LocalsFile         string   `toml:"locals_file" doc:"a file of such domains, a line each, as qmail's control/locals" example:"\"/var/qmail/control/locals\""`
	VirtualDomains     []string `toml:"virtual_domains" doc:"addresses and domains that belong to system users, as KEY:PREPEND: KEY is user@domain, a domain, .suffix or empty for all; mail goes to the user PREPEND-LOCAL; an empty PREPEND makes an exception" example:"[\"list.example:joe\", \"joe@example.org:joe-ex\"]"`
	VirtualDomainsFile string   `toml:"virtual_domains_file" doc:"a file of such lines, as qmail's control/virtualdomains" example:"\"/var/qmail/control/virtualdomains\""`
	PercentHack        []string `toml:"percent_hack" doc:"domains for which user%host@domain means user@host" example:"[\"gate.example.test\"]"`
	PercentHackFile    string   `toml:"percent_hack_file" doc:"a file of such domains, as qmail's control/percenthack" example:"\"/var/qmail/control/percenthack\""`
	EnvNoHost          string   `toml:"env_no_host" doc:"the domain of recipients without one, as qmail's control/envnoathost; empty is default_domain" example:"\"example.test\""`
	LocalIPHost        string   `toml:"local_ip_host" doc:"the domain of recipients at this host's addresses, as qmail's control/localiphost; empty is default_domain" example:"\"example.test\""`
	Users              string   `toml:"users" doc:"the folder of users/cdb and users/assign; cdb decides where it exists, else the text of assign" example:"\"/var/qmail/users\""`
	AliasUser          string   `toml:"alias_user" default:"alias" doc:"the system user whose .qmail files take the mail of local names that no user has, and who runs the programs of alias_files" example:"\"alias\""`
	AliasHome          string   `toml:"alias_home" doc:"the home of alias_user in place of the one in passwd" example:"\"/var/qmail/alias\""`
	UserBreak          string   `toml:"user_break" default:"-" doc:"the character between a user's name and the extension, as qmail's conf-break" example:"\"+\""`
	Passwd             string   `toml:"passwd" default:"/etc/passwd" doc:"the file of system users; where /etc/nsswitch.conf names more than files, getent is asked too" example:"\"/etc/passwd\""`
	AliasFiles         []string `toml:"alias_files" doc:"files of aliases as /etc/aliases, for the domains of locals; an alias goes before the user of that name" example:"[\"/etc/aliases\"]"`
	VirtUserTable      string   `toml:"virtusertable" doc:"a file as sendmail's virtusertable: addresses and @domains with where their mail goes; it goes before locals" example:"\"/etc/mail/virtusertable\""`
	Access             string   `toml:"access" doc:"a file as sendmail's access whose To: lines refuse or discard the mail to addresses" example:"\"/etc/mail/access\""`

	// Host is this host's own name; config fills it from the key of that name.
	Host string `toml:"-"`
}
