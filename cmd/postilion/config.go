package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postilion/postilion/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Check, show and explain the configuration"}
	var secrets bool
	show := &cobra.Command{
		Use: "show", Short: "List every key with its value and where that comes from", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			f, err := a.readConfig()
			if err != nil {
				return err
			}
			list, err := f.Settings(secrets)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) {
				var rows [][]string
				for _, s := range list {
					rows = append(rows, []string{s.Key, s.Value, s.Origin.String()})
				}
				a.table(w, []string{"KEY", "VALUE", "FROM"}, rows)
			})
		},
	}
	show.Flags().BoolVar(&secrets, "secrets", false, "show passwords too")
	explain := &cobra.Command{
		Use: "explain KEY", Short: "Explain a key, or all keys of a group", Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			_, keys, err := config.Schema()
			var names []string
			for _, k := range keys {
				names = append(names, k.Name+"\t"+k.Doc)
			}
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if a.json {
				return a.explainJSON(args[0])
			}
			f, err := a.readConfig()
			if err != nil {
				f = nil // the key is explained without a configuration, or with a wrong one, too
			}
			if err := config.Explain(a.out, args[0], f, escape); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	reference := &cobra.Command{
		Use: "reference", Short: "Print the reference page of all keys, as Markdown", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				_, keys, err := config.Schema()
				if err != nil {
					return err
				}
				return a.printJSON(keys)
			}
			return config.Reference(a.out)
		},
	}
	group.AddCommand(a.checkCommand(), show, explain, reference)
	return group
}

func (a *app) explainJSON(name string) error {
	keys, err := config.Find(name)
	if err != nil {
		return usageError{err}
	}
	return a.printJSON(keys)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.show(map[string]string{"version": version}, func(w io.Writer) { fmt.Fprintf(w, "postilion %s\n", version) })
		},
	}
}
