#!/bin/bash
# enter.sh STATE ROOT CGROUP... is process 1 of a site's name spaces (mounts, processes, host name, IPC): it puts the
# site's root together, goes into it, and becomes boot.sh. All mounts are in the name space and end with it.
set -euo pipefail
state=$1 lower=$2
shift 2

# /proc is still the machine's, so these are the numbers that the machine knows this process by.
read -r pid _ </proc/self/stat
stat=$(</proc/self/stat)
stat=${stat##*) }
read -r -a field <<<"$stat"
echo "$pid ${field[19]}" >"$state/pid.new" # the start time tells a reused pid from ours
mv "$state/pid.new" "$state/pid"

hostname login1

# What the site writes is in memory, on top of the root in the cache. Not the folder of the state: an overlay cannot
# have its upper folder on an overlay, as it would be in a container.
mount -t tmpfs -o mode=0755 testsite "$state/root"
cd "$state/root"
mkdir lower upper work new
mount --bind "$lower" lower
mount -o remount,bind,ro lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work testsite new 2>"$state/log/overlay.log" || {
  echo "enter.sh: no overlay here ($(<"$state/log/overlay.log")); copying the root" >&2
  cp -a lower/. new/
  mount --bind new new
}
cd new
cp -a "$state/site/." .

mount -t proc proc proc
mount --rbind /sys sys
# In a cgroup name space, a new mount shows the site's own cgroup as the root: the cgroups of two sites, which Slurm
# names by node and job, do not meet.
for c; do
  [[ -d sys/fs/cgroup/$c ]] || continue
  umount "sys/fs/cgroup/$c" # the same file system cannot be mounted on itself
  mount -t cgroup -o "$c" cgroup "sys/fs/cgroup/$c"
done
mount -t tmpfs -o mode=0755,nosuid testsite run
mount -t tmpfs -o mode=0755,nosuid testsite dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev testsite dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/fuse c 10 229 # Apptainer mounts images as an ordinary user; with 0600 it fails and tries nothing else
# Numbers from the range for local use (no driver answers): not 195, which on a machine with a GPU would be the GPU.
for i in 0 1 2 3; do mknod -m 666 dev/nvidia$i c 240 "$i"; done

# The same paths inside and outside: the state, with the jobs' work folder in it. hpc's home and /tmp lie on disk too.
mkdir -p ".$state"
mount --bind "$state" ".$state"
mount --bind "$state/home" home/users/hpc
mount --bind "$state/tmp" tmp
mount --bind "$state/log" var/log/slurm

mkdir .old
pivot_root . .old
cd /
umount -l .old
rmdir .old
exec /bin/bash /testsite/boot.sh
