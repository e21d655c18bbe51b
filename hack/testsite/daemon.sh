#!/bin/bash
# daemon.sh start|stop|kill|restart NAME... acts on daemons of the site that it runs in: munged mariadbd slurmdbd
# slurmctld slurmd@NODE slurmrestd sshd registry. Start returns when the daemon answers; stop waits until it is gone; kill is -9.
# It lies at /testsite/daemon.sh in a site.
set -euo pipefail
cd /
# shellcheck source=/dev/null # written by hack/testsite.sh
. /testsite/site.env

log=/var/log/slurm


# until_ok WHAT COMMAND... tries for a minute: a busy machine takes its time.
until_ok() {
  local what=$1 end=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "$what does not answer; its log is in $log" >&2; return 1; }
    sleep 0.05
  done
}
listens() { : <>"/dev/tcp/$1/$2"; }

pidfile() {
  case $1 in
  munged) echo /run/munge/munged.pid ;;
  mariadbd) echo /run/mysqld/mysqld.pid ;;
  slurmd@*) echo "/run/slurmd-${1#*@}.pid" ;;
  *) echo "/run/$1.pid" ;;
  esac
}

start() {
  case $1 in
  munged)
    setpriv --reuid munge --regid munge --clear-groups munged --num-threads=2
    ;;
  mariadbd) # no TCP, little memory; what a crash would lose does not matter
    run mariadbd setpriv --reuid mysql --regid mysql --clear-groups mariadbd --skip-networking --pid-file=/run/mysqld/mysqld.pid \
      --innodb-buffer-pool-size=64M --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=0 --skip-log-bin
    until_ok mariadbd mariadb -e 'select 1'
    ;;
  slurmdbd)
    slurmdbd
    until_ok slurmdbd sacctmgr -n list cluster
    ;;
  slurmctld)
    slurmctld
    until_ok slurmctld scontrol ping
    ;;
  slurmd@*) # a UTS name space each: hostname is the node's name, and slurmd needs no -N
    # shellcheck disable=SC2016 # for the inner shell
    unshare -u sh -c 'hostname "$1" && exec slurmd' sh "${1#*@}"
    ;;
  slurmrestd)
    local openapi=openapi/slurmctld
    [[ $ACCOUNTING != 1 ]] || openapi+=,openapi/slurmdbd
    SLURM_JWT=daemon run slurmrestd setpriv --reuid slurmrestd --regid slurmrestd --clear-groups slurmrestd -a rest_auth/jwt -s "$openapi" "$LOGIN:${PORT}30"
    until_ok slurmrestd listens "$LOGIN" "${PORT}30"
    ;;
  sshd)
    /usr/sbin/sshd -E "$log/sshd.log"
    ;;
  registry) # as nobody: it serves one folder
    install -d -o nobody -g nogroup /var/lib/registry
    run registry setpriv --reuid nobody --regid nogroup --clear-groups /testsite/registry serve "$LOGIN:${PORT}50" /var/lib/registry
    until_ok registry listens "$LOGIN" "${PORT}50"
    ;;
  *) echo "no daemon called $1" >&2; return 2 ;;
  esac
}

# run NAME COMMAND... in the background, with a log of its own, and the pid where pidfile has it.
run() {
  local name=$1
  shift
  setsid "$@" </dev/null >>"$log/$name.log" 2>&1 &
  [[ $name == mariadbd ]] || echo $! >"$(pidfile "$name")" # mariadbd writes its own
}

# stop NAME SIGNAL
stop() {
  local file pid
  file=$(pidfile "$1")
  read -r pid <"$file" || { echo "$1 does not run: no $file" >&2; return 1; }
  kill "-$2" "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
  rm -f "$file"
}

verb=$1
shift
for name; do
  case $verb in
  start) start "$name" ;;
  stop) stop "$name" TERM ;;
  kill) stop "$name" KILL ;;
  restart)
    stop "$name" TERM || true
    start "$name"
    ;;
  *) echo "usage: daemon.sh start|stop|kill|restart NAME..." >&2; exit 2 ;;
  esac
done
