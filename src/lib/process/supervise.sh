# sh supervise.sh RUNDIR CAPTURE_FD3 TOOL ARG...
#
# Runs one tool until it exits and leaves in RUNDIR: claim (the process of this script), process (the tool's process), stdout, stderr, fd3, exit_code. Uses only
# shell builtins, so that a hundred of these start cheaply. Each file is written with a single write and ends with a newline; without it, a reader ignores the
# content.

# Prints "<pid> <start ticks> <boot id>" of the shell process that calls it. A subshell's $$ is its parent's, hence /proc/self.
identity() {
  read -r stat </proc/self/stat
  read -r boot_id </proc/sys/kernel/random/boot_id
  own_pid=${stat%% *}
  # Fields count from after the name, which may contain spaces: state is then $1, and the start time, field 22 of the line, $20.
  set -- ${stat##*) }
  shift 19
  printf '%s %s %s\n' "$own_pid" "$1" "$boot_id"
}

# The kernel may first divide the processors among sessions as equals (sched(7), "The autogroup feature"), whatever the niceness of their processes. The tool
# has a session of its own, so the session gets the tool's niceness. If the kernel does not do this, or refuses, niceness alone applies.
pass_niceness_on() {
  read -r stat </proc/self/stat
  # Field 19 of the line; see above.
  set -- ${stat##*) }
  shift 16
  if [ "$1" != 0 ]; then
    printf '%s' "$1" >/proc/self/autogroup
  fi
}

# Kills processes that the tool started and left behind, which nothing else would stop: for example, a server that should end with the tool but misses its end
# while starting. Ends this shell as well.
end_what_is_left() {
  read -r stat </proc/self/stat
  own_pid=${stat%% *}
  set -- ${stat##*) }
  # Field 5 of the line; a process group with another leader is not ours to kill.
  if [ "$3" = "$own_pid" ]; then
    kill -s KILL 0
  fi
}

# All in one function, so that the shell reads the whole file before it runs anything: the file may be replaced while the tool runs.
main() {
  directory=$1
  capture_fd3=$2
  shift 2
  cd "$directory" || exit 1
  # The creator of the claim runs the tool. A second start, or a start after a stop, finds it taken.
  set -C
  identity 2>/dev/null >claim || exit 0
  set +C
  { pass_niceness_on; } 2>/dev/null
  (
    # The identity is written before the tool exists: exec changes neither pid nor start time.
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
