package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/internal/spelling"
	"github.com/tapedeck/tapedeck/transformer"
)

// newExplainCommand prints rows of the tables that the reference pages are
// generated from.
func newExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain NAME",
		Short: "Explain an annotation, an option or a reason code",
		Long: `Prints what an annotation, an option of the configuration, or a reason code of a report
means, what is allowed, and what to do. Annotations work with and without their prefix.`,
		Example: `  tapedeck explain proxy-protocol
  tapedeck explain no-service
  tapedeck explain inbound`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("want tapedeck explain NAME, as in tapedeck explain no-service; the names are in docs/annotations.md, docs/configuration.md and docs/reason-codes.md")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return explainable(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			for _, prefix := range []string{contract.SidecarPrefix, contract.ReplayPrefix, contract.OwnPrefix} {
				name = strings.TrimPrefix(name, prefix)
			}
			text := explain(name)
			if text == "" {
				return fmt.Errorf("explain %s: no annotation, option or reason code has that name; the nearest are %s", args[0], strings.Join(spelling.Nearest(name, explainable(), 3), ", "))
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
}

func explain(name string) string {
	var b strings.Builder
	for _, a := range slices.Concat(transformer.Annotations(), transformer.ReplayAnnotations()) {
		if a.Name == name {
			fmt.Fprintf(&b, "Annotation %s\n  %s\n  Allowed: %s.\n", a.Key(), a.Doc, a.Kind.Allowed)
			if a.Default != "" {
				fmt.Fprintf(&b, "  Default: %s\n", a.Default)
			}
			if a.Inferred != "" {
				fmt.Fprintf(&b, "  Inferred if it is not set: %s.\n", strings.ReplaceAll(a.Inferred, "`", ""))
			}
			if a.When != nil {
				fmt.Fprintf(&b, "  Valid with %s.\n", a.When.Doc)
			}
			if a.NoMeaning != "" {
				fmt.Fprintf(&b, "  Has no meaning here: %s.\n", a.NoMeaning)
			}
		}
	}
	for _, o := range transformer.Options() {
		if o.Name == name {
			fmt.Fprintf(&b, "Option %s\n  %s\n  Allowed: %s.\n", o.Name, o.Doc, o.Kind.Allowed)
			if o.Default != "" {
				fmt.Fprintf(&b, "  Default: %s\n", o.Default)
			}
		}
	}
	if r, ok := transformer.Reasons()[transformer.Code(name)]; ok {
		fmt.Fprintf(&b, "Reason code %s (%s)\n  %s\n", name, r.Severity, r.Sentence)
		if r.Help != "" {
			fmt.Fprintf(&b, "  %s\n", r.Help)
		}
	}
	return b.String()
}

func explainable() []string {
	var names []string
	for _, a := range slices.Concat(transformer.Annotations(), transformer.ReplayAnnotations()) {
		names = append(names, a.Name)
	}
	for _, o := range transformer.Options() {
		names = append(names, o.Name)
	}
	for code := range transformer.Reasons() {
		names = append(names, string(code))
	}
	sort.Strings(names)
	return names
}

func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration",
		Long:    "Prints the JSON Schema of the configuration file, which editors use to check and complete it.",
		Example: "  tapedeck schema > tapedeck.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(fn.Schema())
		},
	}
}
