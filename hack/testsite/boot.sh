#!/bin/bash
# boot.sh is process 1 of a site: it starts the daemons, says so in $STATE/ready, and reaps. When it ends, the site is gone.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# shellcheck source=/dev/null # written by hack/testsite.sh
. /testsite/site.env
nodes=(mel2001 mel2002 mel2003 mel2004)
d=/testsite/daemon.sh

install -d -o munge -g munge -m 0755 /run/munge
install -d -o munge -g munge -m 0700 /etc/munge /var/log/munge /var/lib/munge
(umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key && chown munge: /etc/munge/munge.key)
install -d -o mysql -g mysql /run/mysqld
install -d /run/sshd /var/spool/slurmctld
ssh-keygen -q -t ed25519 -N '' -C testsite -f /etc/ssh/ssh_host_ed25519_key
ssh-keygen -q -t ed25519 -N '' -C hpc -f "$STATE/ssh/id_ed25519"
echo "[$LOGIN]:8822 $(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >"$STATE/ssh/known_hosts"
install -d -o hpc -g hpc -m 0700 /home/users/hpc/.ssh
install -o hpc -g hpc -m 0600 "$STATE/ssh/id_ed25519.pub" /home/users/hpc/.ssh/authorized_keys
if [[ $RESTD == 1 ]]; then
  (umask 077 && head -c 32 /dev/urandom >/etc/slurm/jwt_hs256.key && cp /etc/slurm/jwt_hs256.key "$STATE/") # a test may sign with it
fi
for n in "${nodes[@]}"; do install -d "/var/spool/slurmd/$n"; done

$d start munged sshd registry
if [[ $ACCOUNTING == 1 ]]; then
  $d start mariadbd slurmdbd
  # sacctmgr before slurmctld, which reads all of it at its start.
  bash /testsite/accounts.sh
fi
$d start slurmctld
# A small project, so that a job can wait for its share (AssocGrpGRES). Only slurmctld makes the resource gres/gpu known.
[[ $ACCOUNTING != 1 ]] || sacctmgr -i -Q modify account p200001 set GrpTRES=gres/gpu=2 >/dev/null
$d start "${nodes[@]/#/slurmd@}"
# It takes two seconds of a core to start, so who does not know yet whether it is asked can start it later.
[[ $RESTD != 1 || $RESTD_WAITS == 1 ]] || $d start slurmrestd

end=$((SECONDS + 30))
until [[ $(sinfo -h -N -p gpu -t idle -o %N | wc -l) == "${#nodes[@]}" ]]; do
  ((SECONDS < end)) || { sinfo -N -l >&2; echo "boot.sh: the nodes do not become idle" >&2; exit 1; }
  sleep 0.05
done
echo ready >"$STATE/ready"

# Whatever loses its parent becomes a child of process 1; bash reaps it, but only while it waits.
while :; do sleep 3600 & wait; done
