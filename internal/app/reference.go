package app

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Reference writes the page of all commands, in Markdown, from their help texts.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Commands\n\n<!-- Written by make generate from the help texts. -->\n")
	root := newRoot(&OS{})
	root.InitDefaultCompletionCmd()
	describe(&b, root)
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			describe(&b, c)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func describe(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.Long != "" && c.Name() != "completion" {
		fmt.Fprintf(b, "\n%s\n", c.Long)
	}
	if c.Runnable() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindent(c.Example))
	}
	var rows []string
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", name, inCode(f.DefValue), f.Usage))
	})
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n| Flag | Default | Meaning |\n| --- | --- | --- |\n%s\n", strings.Join(rows, "\n"))
	}
}

func inCode(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}
