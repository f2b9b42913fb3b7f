package rolecall

// The methods of every role's sockets.
const (
	MethodFacts    = "role.facts"    // admin: what the role says of itself
	MethodCounters = "role.counters" // both: a stats.Snapshot
	MethodAlive    = "role.alive"    // admin, office: returns when what the role keeps answers
	MethodPrepare  = "role.prepare"  // admin: check a new configuration, as TOML, and keep it ready
	MethodSwitch   = "role.switch"   // admin: bring it into force
)

// MethodSnapshot has a role that keeps a database copy it into the new file named. On the admin socket.
const MethodSnapshot = "role.snapshot"

// The methods of roles that record dialogues, on their admin sockets.
const (
	MethodRecordAdd    = "record.add"    // a record.Rule
	MethodRecordRemove = "record.remove" // a rule's id; whether there was one
	MethodRecordList   = "record.list"   // []record.Status
)
