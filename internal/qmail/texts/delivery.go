package texts

// local is what qmail-local says (qmail reference 9).
func local() []Text {
	const p = "qmail-local"
	t := func(exit int, words, cause, remedy string) Text {
		class := Temporary
		if exit == 100 {
			class = Permanent
		}
		return Text{Program: p, Words: words, Class: class, Exit: exit, Cause: cause, Remedy: remedy}
	}
	return []Text{
		t(111, "Unable to switch to *: *. (#4.3.0)", "the user's home cannot be entered", "make the home, or mount its file system; see its owner and mode"),
		t(111, "Unable to stat home directory: *. (#4.3.0)", "the file system of the home does not answer", "mount it, look at the file server"),
		t(111, "Uh-oh: home directory is writable. (#4.7.0)", "others can write into the user's home, and could put a .qmail there", "chmod o-w the home"),
		t(111, "Home directory is sticky: user is editing his .qmail file. (#4.2.1)", "the sticky bit holds deliveries while .qmail is edited", "chmod -t the home when the editing is done"),
		t(100, "This message is looping: it already has my Delivered-To line. (#5.4.6)", "the message was delivered to this address before: a forward leads back", "take the forward out that leads back here"),
		t(100, "Sorry, no mailbox here by that name. (#5.1.1)", "no user has this name, and no .qmail file fits", "spell the address right; else make the user, the alias, or a -default file"),
		t(111, "Unable to open *: *. (#4.3.0)", "the .qmail file cannot be read", "give it to the user and make it readable"),
		t(111, "Uh-oh: .qmail file is writable. (#4.7.0)", "others can write the .qmail file", "chmod o-w it"),
		t(111, "Uh-oh: first line of .qmail file is blank. (#4.2.1)", "the .qmail file begins with an empty line", "take the line out"),
		t(111, "Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)", "the file is executable or has +list, so that it may only forward", "chmod -x it, or take the file line out"),
		t(111, "Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)", "the file is executable or has +list, so that it may only forward", "chmod -x it, or take the program line out"),
		t(111, "Unable to chdir to maildir. (#4.2.1)", "the Maildir that .qmail names is not there, or is no folder of the user", "make it with maildirmake as that user"),
		t(111, "Timeout on maildir delivery. (#4.3.0)", "writing into the Maildir took a day", "look at the file system"),
		t(111, "Unable to read message. (#4.3.0)", "the message in the queue cannot be read", "look at the queue's disk"),
		t(111, "Temporary error on maildir delivery. (#4.3.0)", "the Maildir cannot be written: full, over quota, read-only, or without tmp or new", "make room, see tmp, new and cur and their owner"),
		t(111, "Aack, child crashed. (#4.3.0)", "a program of .qmail was killed by a signal, often for its memory limit", "run it by hand with the message; raise the limit"),
		t(111, "Unable to open *: *. (#4.2.1)", "the mbox file cannot be opened", "see its path, owner and mode"),
		t(111, "File has been locked for 30 seconds straight. (#4.3.0)", "something else holds the mbox", "end the reader that holds it; use a Maildir"),
		t(111, "Unable to write *: *. (#4.3.0)", "the mbox cannot be written: full or over quota", "make room"),
		t(111, "Unable to read message: *. (#4.3.0)", "the message in the queue cannot be read", "look at the queue's disk"),
		t(111, "Out of memory. (#4.3.0)", "the memory limit is too low, or the host has none left", "raise the limit"),
		t(111, "Unable to rewind message. (#4.3.0)", "the message in the queue cannot be read again", "look at the queue's disk"),
		t(111, "Unable to fork: *. (#4.3.0)", "no more processes", "raise the limit on processes; lower concurrencylocal"),
		t(111, "Unable to run /bin/sh: *. (#4.3.0)", "the shell cannot be started", "see /bin/sh and the limits"),
		t(111, "Unable to forward message: *.", "the queue did not take the forward; the text says why", "see that text"),
		t(111, "user is over quota", "the mailbox is full (a delivery program said so)", "let the user delete mail, or raise the quota"),
	}
}

// spawners is what qmail-lspawn, qmail-rspawn and what they share say (qmail reference 8).
func spawners() []Text {
	const internal, report = "qmail-send and the spawner disagree: a broken installation or a broken disk", "reinstall; check the disk"
	return []Text{
		{Program: "spawn", Words: "qmail-spawn out of memory. (#4.3.0)", Cause: "the memory limit is too low", Remedy: "raise the limit"},
		{Program: "spawn", Words: "Internal error: delnum negative. (#4.3.5)", Cause: internal, Remedy: report},
		{Program: "spawn", Words: "Internal error: delnum too big. (#4.3.5)", Cause: internal, Remedy: report},
		{Program: "spawn", Words: "Internal error: delnum in use. (#4.3.5)", Cause: internal, Remedy: report},
		{Program: "spawn", Words: "Internal error: messid has nonnumerics. (#5.3.5)", Class: Permanent, Cause: internal, Remedy: report},
		{Program: "spawn", Words: "Internal error: messid too long. (#5.3.5)", Class: Permanent, Cause: internal, Remedy: report},
		{Program: "spawn", Words: "Internal error: messid too short. (#5.3.5)", Class: Permanent, Cause: internal, Remedy: report},
		{Program: "spawn", Words: "Sorry, address must include host name. (#5.1.3)", Class: Permanent, Cause: "a recipient without @ came to the spawner", Remedy: "set control/envnoathost; write whole addresses"},
		{Program: "spawn", Words: "qmail-spawn unable to open message. (#4.3.0)", Cause: "the message's file is missing or not readable", Remedy: "check the queue's files, their owners and the disk"},
		{Program: "spawn", Words: "qmail-spawn unable to fstat message. (#4.3.0)", Cause: "the disk failed", Remedy: "check the disk"},
		{Program: "spawn", Words: "Sorry, message has wrong type. (#4.3.5)", Cause: "the message's file is no regular file", Remedy: "check the queue; it must not be edited by hand"},
		{Program: "spawn", Words: "Sorry, message has wrong owner. (#4.3.5)", Cause: "the message's file is not qmailq's: the queue was copied or restored as another user", Remedy: "chown the queue's files"},
		{Program: "spawn", Words: "qmail-spawn unable to create pipe. (#4.3.0)", Cause: "no more descriptors", Remedy: "raise the limit on files; lower the concurrency"},
		{Program: "spawn", Words: "qmail-spawn unable to fork. (#4.3.0)", Cause: "no more processes", Remedy: "raise the limit on processes; lower the concurrency"},

		{Program: "qmail-lspawn", Words: "qmail-local crashed.", Cause: "qmail-local was killed by a signal", Remedy: "see the system's log"},
		{Program: "qmail-lspawn", Words: "Trouble reading users/cdb in qmail-lspawn.", Cause: "users/cdb is broken or not readable", Remedy: "run qmail-newu"},
		{Program: "qmail-lspawn", Words: "Out of memory in qmail-lspawn.", Cause: "the memory limit is too low", Remedy: "raise the limit"},
		{Program: "qmail-lspawn", Words: "Temporary failure in qmail-lspawn.", Cause: "the user data base does not answer", Remedy: "see the name service"},
		{Program: "qmail-lspawn", Words: "Unable to find alias user!", Cause: "the user alias does not exist", Remedy: "make the user alias"},
		{Program: "qmail-lspawn", Words: "Not allowed to perform deliveries as root.", Cause: "the address belongs to uid 0", Remedy: "make an alias for it: ~alias/.qmail-root"},
		{Program: "qmail-lspawn", Words: "Internal qmail-lspawn bug.", Cause: "the record of users/cdb is broken", Remedy: "mend users/assign and run qmail-newu"},
		{Program: "qmail-lspawn", Words: "NFS failure in qmail-local.", Cause: "the file server of the home does not answer", Remedy: "see the file server"},
		{Program: "qmail-lspawn", Words: "Unable to run qmail-local.", Class: Temporary, Cause: "bin/qmail-local is missing or may not be run", Remedy: "reinstall"},
		{Program: "qmail-lspawn", Words: "Unable to run qmail-getpw.", Cause: "bin/qmail-getpw is missing or may not be run", Remedy: "reinstall"},
		{Program: "qmail-lspawn", Words: "Error report too long, sorry.", Class: Notice, Cause: "a program printed more than 3000 bytes", Remedy: "send its output elsewhere"},

		{Program: "qmail-rspawn", Words: "qmail-remote crashed.", Cause: "qmail-remote was killed by a signal, often for its memory limit", Remedy: "raise the limit"},
		{Program: "qmail-rspawn", Words: "Unable to run qmail-remote.", Cause: "bin/qmail-remote is missing or may not be run", Remedy: "reinstall"},
		{Program: "qmail-rspawn", Words: "qmail-remote produced no output.", Cause: "qmail-remote, or what stands for it, ended without a word", Remedy: "see the program that QMAILREMOTE names"},
	}
}

// remote is what qmail-remote says (qmail reference 11).
func remote() []Text {
	const p = "qmail-remote"
	const said = "see the reply behind \"Remote host said:\", which is the other host's"
	t := func(class Class, words, cause, remedy string) Text {
		return Text{Program: p, Words: words, Class: class, Cause: cause, Remedy: remedy}
	}
	return []Text{
		t(Temporary, "Sorry, I couldn't find any host by that name. (#4.1.2)", "DNS does not answer for the domain", "see the domain's spelling and the name servers; it is tried again"),
		t(Permanent, "Sorry, I couldn't find any host named *. (#5.1.2)", "DNS knows no such domain", "spell the domain right"),
		t(Permanent, "Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)", "the domain takes no mail: no MX with an address", "use another address"),
		t(Permanent, "Sorry. Although I'm listed as a best-preference MX or A for that host,\nit isn't in my control/locals file, so I don't treat it as local. (#5.4.6)", "DNS sends the domain's mail to this host, which does not know the domain", "add the domain to control/locals or virtualdomains, or change its MX"),
		t(Temporary, "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)", "no host of the domain takes a connection, or timed out ones rest (tcpto)", "wait; see port 25 outbound; qmail-tcpok forgets the timed out ones"),
		t(Temporary, "CNAME lookup failed temporarily. (#4.4.3)", "DNS failed, with 1.03 often an answer above 512 bytes", "see the name server; a newer qmail takes large answers"),
		t(Temporary, "Connected to * but greeting failed.", "the other host greets with an error", said),
		t(Temporary, "Connected to * but my name was rejected.", "the other host refuses the name in HELO", "set control/helohost to this host's full name, which DNS knows"),
		t(Permanent, "Connected to * but sender was rejected.", "the other host refuses the sender", said),
		t(Permanent, "* does not like recipient.", "the other host refuses the recipient", said),
		t(Permanent, "Giving up on *.", "no recipient was taken", said),
		t(Permanent, "* failed on DATA command.", "the other host refuses to take the message", said),
		t(Permanent, "* failed after I sent the message.", "the other host refuses the message's content", said),
		t(Temporary, "Connected to * but connection died. (#4.4.2)", "the connection broke off or timed out", "it is tried again; see the network and path MTU if it stays"),
		t(Temporary, "Connected to * but connection died. Possible duplicate! (#4.4.2)", "the connection broke off after the message was sent: it may have arrived", "nothing; the recipient may get it twice"),
		t(Temporary, "System resources temporarily unavailable. (#4.3.0)", "no more sockets or memory", "raise the limits; lower concurrencyremote"),
		t(Temporary, "Unable to switch to home directory. (#4.3.0)", "/var/qmail cannot be entered", "see its mode"),
		t(Temporary, "Unable to read control files. (#4.3.0)", "a control file cannot be read, or neither helohost nor me exists", "write control/me; see the files' modes"),
		t(Permanent, "I (qmail-remote) was invoked improperly. (#5.3.5)", "the program was called in a wrong way", "see what calls it"),
		t(Permanent, "SMTP cannot transfer messages with partial final lines. (#5.6.2)", "the message does not end with a line feed", "send it again through qmail-inject"),
		t(Notice, "Remote host said: *", "the other host's own words", "they say what it wants"),
		t(Notice, "* accepted message.", "the other host has the message", "nothing"),
	}
}
