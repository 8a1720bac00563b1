# sh supervise.sh RUNDIR CAPTURE_FD3 TOOL ARG...
#
# Runs one tool to its end and leaves in RUNDIR: claim (who runs this script), process (who the tool is), stdout, stderr, fd3, exit_code.
# Only shell builtins are used, so that a hundred of these start cheaply. Each file is written with one write and ends in a newline; a reader believes it only
# with that newline.

# Prints "<pid> <start ticks> <boot id>" of the shell process that calls it. A subshell's $$ is its parent's, hence /proc/self.
identity() {
  read -r stat </proc/self/stat
  read -r boot_id </proc/sys/kernel/random/boot_id
  own_pid=${stat%% *}
  # Fields count from behind the name, which may hold spaces: state is then $1, and the start time, field 22 of the line, $20.
  set -- ${stat##*) }
  shift 19
  printf '%s %s %s\n' "$own_pid" "$1" "$boot_id"
}

# The kernel may share the processors out among sessions first (sched(7), "The autogroup feature"), as equals, whatever the niceness of those in them. The tool has a
# session of its own, so the session gets the niceness that the tool was started with. Where the kernel does not do so, or refuses, niceness alone has to do.
pass_niceness_on() {
  read -r stat </proc/self/stat
  # Field 19 of the line; see above.
  set -- ${stat##*) }
  shift 16
  if [ "$1" != 0 ]; then
    printf '%s' "$1" >/proc/self/autogroup
  fi
}

# What the tool has started and left behind would be nobody's: a server that is to end with the tool misses its end while it starts itself. Ends this shell as well.
end_what_is_left() {
  read -r stat </proc/self/stat
  own_pid=${stat%% *}
  set -- ${stat##*) }
  # Field 5 of the line; a group that somebody else leads is not ours to end.
  if [ "$3" = "$own_pid" ]; then
    kill -s KILL 0
  fi
}

# All in one function, so that the shell has read the whole file before it does anything: the file may be replaced while the tool runs.
main() {
  directory=$1
  capture_fd3=$2
  shift 2
  cd "$directory" || exit 1
  # Whoever creates the claim runs the tool. A second start, or a stop that came first, finds it taken.
  set -C
  identity 2>/dev/null >claim || exit 0
  set +C
  { pass_niceness_on; } 2>/dev/null
  (
    # Before the tool exists, its identity stands in the file: exec changes neither pid nor start time.
    identity >process
    cd /
    if [ "$capture_fd3" = 1 ]; then
      exec 3>"$directory/fd3"
    fi
    exec "$@" >"$directory/stdout" 2>"$directory/stderr"
  ) 2>stderr &
  wait $!
  printf '%s\n' $? >exit_code
  end_what_is_left
}

main "$@"
exit
