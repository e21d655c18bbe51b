# shellcheck shell=bash
# Read by a shell in the new root (hack/testsite/root.sh): users, and an empty database in the size that the site wants.
# No key is made here: each site makes its own.
set -euo pipefail

useradd --system --no-create-home slurmrestd
# Shadow '*' and not useradd's '!': sshd without PAM takes '!' for a locked account. The id is one that no user of the
# machine is likely to have, for hpc's files are seen outside of the site too.
mkdir /home/users
useradd --uid 20000 --user-group --shell /bin/bash --home-dir /home/users/hpc --create-home --password '*' hpc

rm -rf /var/lib/mysql /etc/munge/munge.key /etc/ssh/ssh_host_*
mkdir -m 0700 /var/lib/mysql
chown mysql: /var/lib/mysql
mariadb-install-db --user=mysql --innodb-log-file-size=16M --skip-test-db --auth-root-authentication-method=socket >/dev/null </dev/null

apt-get clean
rm -rf /var/lib/apt/lists/*
