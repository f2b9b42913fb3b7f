// Package directory is the seam to domains, accounts and aliases. It knows no
// passwords; see package auth.
//
// Domain names are compared as lower-case A-labels, local parts by LocalKey.
package directory

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/postilion/postilion/internal/mail"
)

// Reader answers what an address is. It is safe for concurrent use. An error other
// than ErrNotFound is temporary.
type Reader interface {
	// Find looks an address up: its domain, following alias domains, then the first of
	// locals (keys, see LocalKey) that is an account or an alias, then the domain's
	// catch-all. The error wraps ErrNotFound when the domain is not ours; a domain
	// of ours without the local part gives Found with neither Account nor Alias. Locals are
	// folded as the domain says; those over 16 are not looked at. Without locals only the
	// domain is answered, no catch-all.
	Find(ctx context.Context, domain string, locals []string) (Found, error)
	// Account returns one account by its id, or ErrNotFound.
	Account(ctx context.Context, account uint64) (*Account, error)
}

// Found is what Find found.
type Found struct {
	Domain   Domain
	Local    string   // the key that matched; "" for the catch-all or none
	Account  *Account // nil unless an account matched
	Alias    *Alias   // nil unless an alias matched
	CatchAll bool     // Account or Alias is the domain's catch-all; an Alias to it where it lies elsewhere
}

// Admin changes the directory. Errors name what is wrong and what was expected;
// they wrap ErrNotFound and ErrExists where that is the trouble, and *InvalidError.
type Admin interface {
	Reader
	Domains(ctx context.Context) ([]Domain, error)
	PutDomain(ctx context.Context, d Domain, create bool) error
	// RemoveDomain removes a domain; with accounts in it only if all is set.
	RemoveDomain(ctx context.Context, name string, all bool) error
	// Accounts lists the accounts of a domain, or of all with "", by address.
	Accounts(ctx context.Context, domain string) ([]Account, error)
	// PutAccount creates the account (setting a.ID) or changes the one of a's address.
	PutAccount(ctx context.Context, a *Account, create bool) error
	RemoveAccount(ctx context.Context, address mail.Address) error
	Aliases(ctx context.Context, domain string) ([]Alias, error)
	PutAlias(ctx context.Context, a Alias, create bool) error
	RemoveAlias(ctx context.Context, address mail.Address) error
	Blocks(ctx context.Context) ([]Block, error)
	PutBlock(ctx context.Context, b Block) error
	RemoveBlock(ctx context.Context, what string) error

	// Administrators lists who administers a domain, by its name or its tenant; everybody with "".
	Administrators(ctx context.Context, domain string) ([]Administrator, error)
	// PutAdministrator has the account of a.Address administer a.Domain, or else a.Tenant.
	PutAdministrator(ctx context.Context, a Administrator) error
	RemoveAdministrator(ctx context.Context, a Administrator) error
	// Administered tells what an account administers.
	Administered(ctx context.Context, account uint64) (Administered, error)
	// ChangeAccount is PutAccount for those who may not decide everything: of what is not told
	// in OwnersAlone.
	ChangeAccount(ctx context.Context, a *Account) error
	// SetCatchAll changes a domain's catch-all, and nothing else of it.
	SetCatchAll(ctx context.Context, domain, address string) error
}

// Domain is a mail domain of this host.
type Domain struct {
	Name     string `json:"name"`                // lower-case A-labels
	AliasOf  string `json:"alias_of,omitempty"`  // every address here is the same local part there
	CatchAll string `json:"catch_all,omitempty"` // the address that unknown local parts go to; "" refuses them
	// Separators are the characters that begin a sub-address: joe+lists is joe, folder
	// "lists". "" turns sub-addresses off; NewDomain gives "+".
	Separators    string    `json:"separators"`
	CaseSensitive bool      `json:"case_sensitive,omitempty"` // local parts differ by case
	Disabled      bool      `json:"disabled,omitempty"`       // mail is deferred, logins are refused
	MaxSize       int64     `json:"max_size,omitempty"`       // bytes a message; 0 is the host's limit
	Tenant        uint64    `json:"tenant,omitempty"`
	Created       time.Time `json:"created"`

	// What the domain may hold, whoever puts it there; 0 is no limit. A limit below what is there
	// already only keeps it from growing. With QuotaBytes each account needs a quota.
	MaxAccounts  int   `json:"max_accounts,omitempty"`
	MaxAliases   int   `json:"max_aliases,omitempty"`
	QuotaBytes   int64 `json:"quota_bytes,omitempty"`   // of all accounts together
	DefaultQuota int64 `json:"default_quota,omitempty"` // bytes, of accounts that are added without a quota
}

// Account is a mailbox with its owner.
type Account struct {
	ID            uint64       `json:"id"`
	Address       mail.Address `json:"address"`
	Name          string       `json:"name,omitempty"` // the owner's name, for people
	Disabled      bool         `json:"disabled,omitempty"`
	NoSend        bool         `json:"no_send,omitempty"` // may not submit mail
	QuotaBytes    int64        `json:"quota_bytes,omitempty"`
	QuotaMessages int64        `json:"quota_messages,omitempty"`
	MaxSize       int64        `json:"max_size,omitempty"`       // bytes a message; 0 is the domain's limit
	MaxRecipients int          `json:"max_recipients,omitempty"` // a message; 0 is the host's limit
	Mailbox       string       `json:"mailbox"`                  // the Maildir's path below the data folder's mail/
	Tenant        uint64       `json:"tenant,omitempty"`
	Created       time.Time    `json:"created"`
	// System is who owns the mailbox where it lies in the home of a user of this system; nil otherwise.
	System *SystemUser `json:"system,omitempty"`
}

// SystemUser is a user of this system.
type SystemUser struct {
	Name string `json:"name"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Home string `json:"home"` // absolute: the account's Mailbox is below it
}

// SystemID is the id of the account of a user of this system. No account of a directory has it.
func SystemID(uid uint32) uint64 { return 1<<62 | uint64(uid) }

// Alias sends an address on to others.
type Alias struct {
	Address mail.Address   `json:"address"`
	Targets []mail.Address `json:"targets"` // at least one
	Tenant  uint64         `json:"tenant,omitempty"`
}

// OwnersAlone reports whether two states of an account differ in what only the server's owner decides:
// where its mailbox is, the tenant, and the limits that go before the domain's.
func OwnersAlone(a, b *Account) bool {
	return a.Mailbox != b.Mailbox || a.Tenant != b.Tenant || a.MaxSize != b.MaxSize || a.MaxRecipients != b.MaxRecipients
}

// Administrator is an account that administers a domain, or all domains of a tenant. It is one as long as the
// account exists: a later one of the same address is not.
type Administrator struct {
	Account uint64       `json:"account"` // the account's id
	Address mail.Address `json:"address"` // the account's address
	Domain  string       `json:"domain,omitempty"`
	Tenant  uint64       `json:"tenant,omitempty"` // where Domain is ""
	Created time.Time    `json:"created"`
}

// Administered is what an account administers: domains, its tenants' among them, with their alias domains, by name.
type Administered struct {
	Domains []Domain `json:"domains,omitempty"`
	Tenants []uint64 `json:"tenants,omitempty"`
}

// Block keeps a client or an account out of every protocol.
type Block struct {
	What    string    `json:"what"` // an address, a CIDR range, or an account's address
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Created time.Time `json:"created"`
}

// Errors, tested for with errors.Is.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
)

// InvalidError is a value that cannot be stored.
type InvalidError struct {
	What, Value, Want string
	// Other is a further domain that is in the way, which not everybody may know of; "" for none.
	Other string
}

// Error names the value and what was expected.
func (e *InvalidError) Error() string {
	text := e.What + " " + strconv.Quote(e.Value) + ": want " + e.Want
	if e.Other != "" {
		text += ", as it is of " + strconv.Quote(e.Other)
	}
	return text
}

// LocalKey returns the form that local parts are compared in: NFC, lower case
// unless the domain tells case apart.
func LocalKey(local string, caseSensitive bool) string {
	local = norm.NFC.String(local)
	if caseSensitive {
		return local
	}
	return strings.ToLower(local)
}
