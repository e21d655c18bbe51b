package app

import (
	"io"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OS holds every fact of the operating system that a command may see, so that commands are tested in process.
type OS struct {
	// Args are the arguments without the program's name.
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal says that Stderr, where progress goes, is a terminal; Width is its width in columns.
	Terminal bool
	// Asks says that Stdin is a terminal: somebody may answer a question.
	Asks bool
	// Env reads one environment variable.
	Env func(string) string
	// Home is the user's home folder, User the name, UID the number.
	Home, User string
	UID        int
	Host       string
	PID        int
	// Executable is the absolute path of this program.
	Executable string
	// Dir is the current folder.
	Dir string
	// Now is the wall clock.
	Now func() time.Time
	// Notify relays signals until the returned function is called.
	Notify func(c chan<- os.Signal, signals ...os.Signal) (stop func())
}

// FromOS returns the facts of this process.
func FromOS() (OS, error) {
	executable, err := os.Executable()
	if err != nil {
		return OS{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return OS{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return OS{}, err
	}
	o := OS{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: isTerminal(os.Stderr) && os.Getenv("TERM") != "dumb",
		Asks:     isTerminal(os.Stdin),
		Env:      os.Getenv, UID: os.Getuid(), Host: host, PID: os.Getpid(),
		Executable: executable, Dir: dir, Now: time.Now,
		Notify: func(c chan<- os.Signal, signals ...os.Signal) func() {
			signal.Notify(c, signals...)
			return func() { signal.Stop(c) }
		},
	}
	o.Home, o.User = os.Getenv("HOME"), os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		if o.Home == "" {
			o.Home = u.HomeDir
		}
		o.User = u.Username
	}
	return o, nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// endSignals are those that end a command.
func endSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
}
