package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/role"
)

// What the shell completes beyond verbs and flags: words that are known without asking a server.

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// oneOf completes the first argument, or a flag's value, from a list.
func oneOf(words []string) completion {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// oneOfRoles completes a role's name.
func oneOfRoles() completion {
	var names []string
	for _, r := range append(role.All(), role.RunAs) {
		names = append(names, string(r))
	}
	return oneOf(names)
}

// completeFlag has a flag's value completed from a list.
func completeFlag(c *cobra.Command, flag string, words []string) {
	// It fails only for a flag that the command does not have.
	_ = c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return slices.Clone(words), cobra.ShellCompDirectiveNoFileComp
	})
}
