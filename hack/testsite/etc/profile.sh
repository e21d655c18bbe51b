# Read by login shells.
export PS1='[\u@\h @SITE@ \W]\$ '
