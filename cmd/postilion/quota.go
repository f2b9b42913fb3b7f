package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
	"github.com/postilion/postilion/internal/deliver/local"
	"github.com/postilion/postilion/internal/directory"
	"github.com/postilion/postilion/internal/verbs"
)

func (a *app) quotaCommand() *cobra.Command {
	group := &cobra.Command{Use: "quota", Short: "See how full mailboxes are, and give many the same quota",
		Long: "See how full mailboxes are, count them anew, and give many accounts the quota of one. The quota of an account\n" +
			"is set by `account set --quota`. Accounts are named by their addresses, or all of a domain by its name."}
	show := func(use, short string, recount bool) *cobra.Command {
		return &cobra.Command{
			Use: use + " [ADDRESS|DOMAIN...]", Short: short, Args: cobra.ArbitraryArgs,
			RunE: func(c *cobra.Command, args []string) error { return a.showQuotas(c.Context(), args, recount) },
		}
	}
	var yes bool
	like := &cobra.Command{
		Use: "copy PROTOTYPE ADDRESS|DOMAIN...", Short: "Give accounts the quota of another", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return a.copyQuota(c.Context(), args[0], args[1:], yes) },
	}
	like.Flags().BoolVar(&yes, "yes", false, "do not ask")
	group.AddCommand(show("show", "Show what mailboxes hold, and may hold", false),
		show("recount", "Count mailboxes anew, whatever maildirsize says", true), like)
	return a.takeAs(group)
}

// namedAccounts finds accounts by addresses and domains, each once; all without a name.
func namedAccounts(ctx context.Context, d directory.Admin, names []string) (list []directory.Account, err error) {
	if len(names) == 0 {
		return d.Accounts(ctx, "")
	}
	seen := map[uint64]bool{}
	for _, name := range names {
		var some []directory.Account
		if strings.Contains(name, "@") {
			x, err := findAccount(ctx, d, name)
			if err != nil {
				return nil, err
			}
			some = []directory.Account{*x}
		} else if some, err = d.Accounts(ctx, name); err != nil {
			return nil, err
		}
		for _, x := range some {
			if !seen[x.ID] {
				seen[x.ID] = true
				list = append(list, x)
			}
		}
	}
	return list, nil
}

// quotaView is one line of `quota show` in JSON.
type quotaView struct {
	Address       string `json:"address"`
	QuotaBytes    int64  `json:"quota_bytes,omitempty"`
	QuotaMessages int64  `json:"quota_messages,omitempty"`
	local.Usage
}

func (a *app) showQuotas(ctx context.Context, names []string, recount bool) error {
	return a.withStores(ctx, func(s *verbs.Stores) error {
		accounts, err := namedAccounts(ctx, s.Directory, names)
		if err != nil {
			return err
		}
		usage, err := s.Usage(ctx, accounts, recount)
		if err != nil {
			return err
		}
		views, trouble := []quotaView{}, 0
		for i, x := range accounts {
			views = append(views, quotaView{x.Address.String(), x.QuotaBytes, x.QuotaMessages, usage[i]})
			if usage[i].Trouble != "" {
				trouble++
			}
		}
		if err := a.show(views, func(w io.Writer) { a.printQuotas(w, views) }); err != nil {
			return err
		}
		if trouble > 0 {
			return fmt.Errorf("%d of %d mailboxes could not be looked at", trouble, len(views))
		}
		return nil
	})
}

func (a *app) printQuotas(w io.Writer, views []quotaView) {
	var rows [][]string
	for _, v := range views {
		full, state := "-", v.Trouble
		if v.QuotaBytes > 0 || v.QuotaMessages > 0 {
			full = strconv.Itoa(v.Percent) + " %"
		}
		if !v.GraceEnds.IsZero() {
			state = "full from " + v.GraceEnds.Format("2006-01-02 15:04:05Z07:00") + " on"
		}
		rows = append(rows, []string{v.Address, local.SizeWords(v.Bytes), limit(v.QuotaBytes), strconv.FormatInt(v.Messages, 10), number(v.QuotaMessages), full, state})
	}
	a.table(w, []string{"ACCOUNT", "HOLDS", "QUOTA", "MESSAGES", "QUOTA", "FULL", ""}, rows)
}

// copyQuota gives accounts the quota of a prototype.
func (a *app) copyQuota(ctx context.Context, prototype string, names []string, yes bool) error {
	return a.withStores(ctx, func(s *verbs.Stores) error {
		from, err := findAccount(ctx, s.Directory, prototype)
		if err != nil {
			return err
		}
		accounts, err := namedAccounts(ctx, s.Directory, names)
		if err != nil {
			return err
		}
		var change []directory.Account
		for _, x := range accounts {
			if x.QuotaBytes != from.QuotaBytes || x.QuotaMessages != from.QuotaMessages {
				x.QuotaBytes, x.QuotaMessages = from.QuotaBytes, from.QuotaMessages
				change = append(change, x)
			}
		}
		words := quotaInWords(from)
		if len(change) > 1 {
			if err := a.confirm(yes, "%d accounts get %s", len(change), words); err != nil {
				return err
			}
		}
		step, finish := a.progress("accounts", len(change))
		defer finish()
		for i := range change {
			step(1)
			if err := s.Directory.PutAccount(ctx, &change[i], false); err != nil {
				return fmt.Errorf("%s: %w; %d of %d accounts have their new quota", change[i].Address, err, i, len(change))
			}
		}
		finish()
		if len(accounts) == 0 {
			return errors.New("there are no such accounts")
		}
		return a.done("%d accounts have got %s; %d had it already", len(change), words, len(accounts)-len(change))
	})
}

func quotaInWords(x *directory.Account) string {
	var parts []string
	if x.QuotaBytes > 0 {
		parts = append(parts, config.FormatSize(x.QuotaBytes))
	}
	if x.QuotaMessages > 0 {
		parts = append(parts, strconv.FormatInt(x.QuotaMessages, 10)+" messages")
	}
	if parts == nil {
		return "no quota"
	}
	return "the quota of " + strings.Join(parts, " and ")
}
