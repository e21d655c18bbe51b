package slurmbridge

import "context"

// Runner runs programs on a host of the site from which its batch system can be used: this one, or a login node.
type Runner interface {
	// Run runs a command to its end. An exit code other than 0 is no error. An error wraps ErrUnreachable and leaves open
	// whether the command ran, and how it ended.
	Run(ctx context.Context, c Command) (Output, error)
}

// Command is a program to run. No shell reads its words.
type Command struct {
	// Argv is the program, by its name or absolute path, and its arguments.
	Argv []string
	// Env is added, as NAME=value, to an environment that holds only what a login sets: HOME, USER, LOGNAME, SHELL, PATH,
	// and SLURM_CONF where the host sets it. What a user or an enclosing job sets would change what a command prints.
	Env []string
	// Stdin is what the program reads.
	Stdin []byte
}

// Output is what a command left.
type Output struct {
	Stdout, Stderr []byte
	// Code is the exit code; 128 and the number of the signal that ended it.
	Code int
}
