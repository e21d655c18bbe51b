package ssh_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/ssh"
)

// client plays OpenSSH's client: with a master, which is a file at the control path, it runs the last word with a shell, or
// connects to where -W says.
// It checks that no call could make a connection of its own.
const client = `
socket= what= subsystem= to=
while [ $# -gt 0 ]; do
  case $1 in
  -F) [ "$2" = /dev/null ] || exit 99; shift ;;
  -S) socket=$2; shift ;;
  -o) options="$options;$2;"; shift ;;
  -O) what=check; shift ;;
  -W) to=$2; shift ;;
  -s) subsystem=yes ;;
  --) shift; break ;;
  esac
  shift
done
case $options in *";ControlMaster=no;"*";BatchMode=yes;"*";StrictHostKeyChecking=yes;"*";ProxyCommand=false;"*) ;; *) exit 98 ;; esac
[ "$1" = u1@login ] || exit 97
if [ ! -e "$socket" ]; then echo "Control socket connect($socket): No such file or directory" >&2; exit 255; fi
[ -z "$what" ] || exit 0
if [ -n "$to" ]; then exec bash -c '
  echo "debug1: auto-mux: Trying existing master" >&2
  if ! { exec 3<>"/dev/tcp/${1%:*}/${1##*:}"; } 2>/dev/null; then
    echo "Stdio forwarding request failed: Session open refused by peer" >&2
    exit 255
  fi
  echo "debug1: mux_client_request_stdio_fwd: master session id: 2" >&2
  cat <&3 & cat >&3
  kill $!' forward "$to"
fi
if [ -n "$subsystem" ]; then echo "subsystem request failed" >&2; exit 1; fi
if [ -e "$socket.full" ]; then echo "mux_client_request_session: session request failed: Session open refused by peer" >&2; exit 255; fi
export HOME=/ USER=u1 LOGNAME=u1 SHELL=/bin/sh
exec 3<&0
setsid /bin/sh -c "$2" <&3 3<&- & # what runs there does not end with the client
wait $!
`

func openMaster(t *testing.T) (h *ssh.Host, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "a socket")
	must(t, os.WriteFile(socket, nil, 0o600))
	h, err := ssh.OpenMaster(ssh.MasterOptions{Destination: "u1@login", ControlPath: socket, Program: script(t, "ssh", client)})
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	return h, socket
}

// The same things work through a connection of the user's.
func TestMaster(t *testing.T) {
	h, _ := openMaster(t)
	out, err := h.Run(t.Context(), slurmbridge.Command{Argv: []string{"/bin/sh", "-c", "cat; exit 255"}, Stdin: []byte("in")})
	if err != nil || string(out.Stdout) != "in" || out.Code != 255 {
		t.Errorf("%+v, %v", out, err)
	}
	dir := t.TempDir()
	must(t, h.Probe(t.Context(), dir))
	node, err := h.Stage(t.Context(), dir, program(t))
	must(t, err)
	conformance.Files(t, h.Files(node), dir)
}

func TestNoMaster(t *testing.T) {
	h, socket := openMaster(t)
	must(t, os.WriteFile(socket+".full", nil, 0o600))
	wantUnreachable(t, try(t.Context(), h), "the master refused a session, or the host ended it", "Session open refused by peer")
	must(t, os.Remove(socket))
	wantUnreachable(t, try(t.Context(), h), "no master is running at "+socket+" (Control socket connect", "open one with ssh -M -S '"+socket+"' -N u1@login and leave it open")
	_, err := h.Files("/n").Open(t.Context(), "/log", 0)
	wantUnreachable(t, err, "no master is running")
	must(t, os.WriteFile(socket, nil, 0o600))
	must(t, os.Remove(socket+".full"))
	must(t, try(t.Context(), h))
}

// What is cancelled ends there, though no signal goes through a master.
func TestCancelThroughMaster(t *testing.T) {
	h, _ := openMaster(t)
	must(t, try(t.Context(), h))
	file := filepath.Join(t.TempDir(), "pid")
	begin := time.Now()
	_, err := h.Run(within(t, 200*time.Millisecond), slurmbridge.Command{Argv: []string{"/bin/sh", "-c", "echo $$ >" + file + "; exec sleep 600"}})
	wantUnreachable(t, err, "sh did not end in time")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("after %s", took)
	}
	eventually(t, "it has ended", func() bool {
		b, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}

func TestMasterOptionsThatAreRefused(t *testing.T) {
	for want, o := range map[string]ssh.MasterOptions{
		"give the absolute path of the socket": {Destination: "u1@login", ControlPath: "socket"},
		"name the host":                        {ControlPath: "/socket"},
		"install OpenSSH's client":             {Destination: "u1@login", ControlPath: "/socket", Program: "/no/such/ssh"},
	} {
		if _, err := ssh.OpenMaster(o); err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, slurmbridge.ErrUnreachable) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
